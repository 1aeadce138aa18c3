"""Requests through a proxy: who is believed, who the client is, and the path in front of the page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from appliance.web.app import create_app
from appliance.web.proxies import TrustedProxies, route_of
from tests.fakes.web import make_context

PROXY, CLIENT = "192.0.2.1", "198.51.100.7"
HOST = "grader.example"
OUTSIDE = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "X-Forwarded-Host": HOST}
PASSWORD = "a long enough password"


def ask(app: Flask, path: str, headers: dict[str, str], *, peer: str = PROXY, **more: Any) -> TestResponse:
    """A request on a connection from `peer`."""
    return app.test_client(use_cookies=False).open(
        path,
        base_url="http://127.0.0.1:8080",
        headers=headers,
        environ_overrides={"REMOTE_ADDR": peer},
        buffered=True,
        **more,
    )


def seen(headers: dict[str, str], *networks: str, peer: str = PROXY, path: str = "/") -> dict[str, Any]:
    """The WSGI environ that the application gets behind `networks`, by default only `PROXY`."""
    found: dict[str, Any] = {}
    app = TrustedProxies(networks or (PROXY,)).wrap(lambda environ, _: found.update(environ) or [])
    given = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    app({"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "PATH_INFO": path, **given}, lambda *_: None)
    return found


@pytest.mark.parametrize(
    "headers",
    [
        OUTSIDE,
        {"Forwarded": f"for={CLIENT};proto=https;host={HOST}"},
        {"Forwarded": f'For="{CLIENT}:4711"; Proto=HTTPS; Host="{HOST}"'},
        {"Forwarded": f"for=unknown, for={CLIENT};proto=https;host={HOST}"},
        OUTSIDE | {"X-Forwarded-For": f"127.0.0.1, {CLIENT}"},
        OUTSIDE | {"X-Forwarded-Proto": "http, https", "X-Forwarded-Host": f"evil.example,{HOST}"},
    ],
)
def test_the_nearest_address_is_the_client(headers: dict[str, str]) -> None:
    environ = seen(headers)
    assert environ["REMOTE_ADDR"] == CLIENT
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", HOST)
    assert route_of(environ).is_forwarded


@pytest.mark.parametrize(
    ("addresses", "client"),
    [
        (f"{CLIENT}, 10.0.0.9", CLIENT),
        (f"203.0.113.5, {CLIENT}, 10.0.0.9, 10.0.0.8", CLIENT),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("2001:db8::5", "2001:db8::5"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("::ffff:198.51.100.7", CLIENT),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(addresses: str, client: str) -> None:
    assert seen({"X-Forwarded-For": addresses}, PROXY, "10.0.0.0/24")["REMOTE_ADDR"] == client


def test_scheme_and_host_are_those_that_the_outer_proxy_saw() -> None:
    headers = {
        "X-Forwarded-For": f"{CLIENT}, 10.0.0.9",
        "X-Forwarded-Proto": "https, http",
        "X-Forwarded-Host": f"{HOST}, inner.example",
    }
    environ = seen(headers, PROXY, "10.0.0.9")
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", HOST)
    standard = {"Forwarded": f"for={CLIENT};proto=https;host={HOST}, for=10.0.0.9;proto=http"}
    environ = seen(standard, PROXY, "10.0.0.9")
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", HOST)


def test_no_one_else_is_believed() -> None:
    environ = seen(OUTSIDE | {"X-Forwarded-Prefix": "/grader"}, peer="192.0.2.2")
    assert environ["REMOTE_ADDR"] == "192.0.2.2"
    assert environ["wsgi.url_scheme"] == "http" and "HTTP_HOST" not in environ
    assert not environ["SCRIPT_NAME"]
    assert not route_of(environ).is_forwarded


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "names no client"),
        ({"X-Forwarded-Proto": "https"}, "names no client"),
        ({"Forwarded": "proto=https"}, "not a numeric address"),
        ({"X-Forwarded-For": "unknown"}, "not a numeric address"),
        ({"X-Forwarded-For": f"{CLIENT}, 1.2.3"}, "not a numeric address"),
        (OUTSIDE | {"X-Forwarded-Proto": "gopher"}, "other than http and https"),
        (OUTSIDE | {"X-Forwarded-Prefix": "//evil.example"}, "no plain path"),
        (OUTSIDE | {"Forwarded": f"for={CLIENT}"}, "sends Forwarded and X-Forwarded"),
    ],
)
def test_what_a_proxy_does_not_say_clearly_is_refused_with_the_reason(
    headers: dict[str, str], reason: str
) -> None:
    app = create_app(make_context(open_to_network=True, trusted_proxies=(PROXY,)))
    for path, method in (("/", "GET"), ("/api/session/stop", "POST"), ("/login", "GET")):
        answer = ask(app, path, headers, method=method)
        assert answer.status_code == 403
        assert answer.json and reason in answer.json["error"] and PROXY in answer.json["error"]
    assert ask(app, "/healthz", headers).status_code == 200, "the check of a load balancer"


@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_proxy_on_the_device_makes_no_one_operator(login: bool, peer: str) -> None:
    context = make_context(login=login, trusted_proxies=("127.0.0.1", "::1"))
    app = create_app(context)
    for headers in ({}, OUTSIDE | {"X-Forwarded-Host": "127.0.0.1"}, {"X-Forwarded-For": "127.0.0.1"}):
        answer = ask(app, "/api/session/stop", headers, peer=peer, method="POST")
        assert answer.status_code in (401, 403), headers
        assert ask(app, "/api/state", headers, peer=peer).status_code in (401, 403), headers
    assert ask(app, "/api/state", {}, peer="127.0.0.2").status_code == 200, "another program on the device"


@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("name", ["Forwarded", "Via", "X-Real-IP", *OUTSIDE, "X-Forwarded-Prefix"])
def test_what_an_unknown_proxy_on_the_device_forwards_is_no_ones(
    login: bool, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(make_context(login=login))
    for _ in range(2):
        answer = ask(app, "/api/state", {name: "127.0.0.1"}, peer="127.0.0.1")
        assert answer.status_code == 403
        assert answer.json and 'add "127.0.0.1" to web.trusted_proxies' in answer.json["error"]
    assert len([line for line in caplog.messages if "web.trusted_proxies" in line]) == 1


def test_without_login_a_forwarded_client_is_no_viewer() -> None:
    app = create_app(make_context(allowed_hosts=(HOST,), trusted_proxies=(PROXY,)))
    for path in ("/", "/api/state", "/stream.mjpg", "/ws/live"):
        answer = ask(app, path, OUTSIDE)
        assert answer.status_code == 403, path
        assert answer.json and "no login" in answer.json["error"]


def test_on_an_open_network_a_forwarded_client_is_a_viewer() -> None:
    app = create_app(
        make_context(open_to_network=True, allowed_hosts=(HOST,), trusted_proxies=("127.0.0.1",))
    )
    assert ask(app, "/api/state", OUTSIDE, peer="127.0.0.1").status_code == 200
    assert ask(app, "/api/session/stop", OUTSIDE, peer="127.0.0.1", method="POST").status_code == 403


def test_the_local_token_is_not_for_what_a_proxy_forwards() -> None:
    context = make_context(login=True, loopback_is_operator=False, trusted_proxies=("127.0.0.0/8",))
    app, bearer = create_app(context), {"Authorization": f"Bearer {context.auth.local_token}"}
    assert ask(app, "/api/state", bearer, peer="127.0.0.1").status_code == 200
    assert ask(app, "/api/state", bearer | OUTSIDE, peer="127.0.0.1").status_code != 200


def test_the_forwarded_host_is_a_name_of_the_device() -> None:
    app = create_app(make_context(login=True, trusted_proxies=(PROXY,)))
    assert ask(app, "/login", OUTSIDE).status_code == 400
    app = create_app(make_context(login=True, allowed_hosts=(HOST,), trusted_proxies=(PROXY,)))
    assert ask(app, "/login", OUTSIDE).status_code == 200


def test_a_page_of_another_site_is_refused_with_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(make_context(login=True, allowed_hosts=(HOST,)))
    headers = {"Host": HOST, "Origin": f"https://{HOST}"}
    for _ in range(2):
        answer = ask(app, "/login", headers, method="POST")
        assert answer.status_code == 403
        assert answer.json and f'add "{PROXY}" to web.trusted_proxies' in answer.json["error"]
    assert len([line for line in caplog.messages if "web.trusted_proxies" in line]) == 1
    trusting = create_app(make_context(login=True, allowed_hosts=(HOST,), trusted_proxies=(PROXY,)))
    form = {"name": "anna", "password": PASSWORD}
    answer = ask(trusting, "/login", OUTSIDE | headers, method="POST", data=form)
    assert answer.status_code == 401
    silent = {"X-Forwarded-For": CLIENT, **headers}
    answer = ask(trusting, "/login", silent, method="POST")
    assert answer.json and f"http://{HOST} if X-Forwarded-Proto" in answer.json["error"]


def test_wrong_passwords_count_for_the_client_not_for_the_proxy() -> None:
    context = make_context(login=True, allowed_hosts=(HOST,), trusted_proxies=(PROXY,))
    context.auth.accounts.add_viewer("anna", PASSWORD)
    app = create_app(context)
    form = {"name": "anna", "password": "a wrong password"}

    def guess(client: str) -> int:
        return ask(app, "/login", OUTSIDE | {"X-Forwarded-For": client}, method="POST", data=form).status_code

    assert [guess(CLIENT) for _ in range(7)][-1] == 429
    assert guess("198.51.100.8") == 401
    addresses = {
        entry.get("address") for entry in context.audit.entries() if entry["event"] == "login_failed"
    }
    assert addresses == {CLIENT, "198.51.100.8"}


@pytest.mark.parametrize("host", ["10.9.8.7", "[2001:db8::7]:8080", None])
def test_the_check_of_a_balancer_is_answered_by_address(host: str | None) -> None:
    app = create_app(make_context())
    environ = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": host or ""}
    assert app.test_client().get("/healthz", environ_overrides=environ).status_code == 200
    assert app.test_client().get("/about", environ_overrides=environ).status_code == 400
    evil = {**environ, "HTTP_HOST": "evil.example"}
    assert app.test_client().get("/healthz", environ_overrides=evil).status_code == 400


BELOW = [
    ("/grader", {}, "/grader/"),
    ("/grader", {}, "/"),
    ("", {"X-Forwarded-Prefix": "/grader"}, "/"),
    ("/old", {"X-Forwarded-Prefix": "/grader/"}, "/grader/"),
]


@pytest.mark.parametrize(("base_path", "more", "path"), BELOW)
def test_below_a_path_every_address_has_it(base_path: str, more: dict[str, str], path: str) -> None:
    """Whether the proxy removes the prefix or not."""
    context = make_context(login=True, allowed_hosts=(HOST,), trusted_proxies=(PROXY,), base_path=base_path)
    app, headers = create_app(context), OUTSIDE | more
    accept = {"Accept": "text/html"}
    assert ask(app, path, headers | accept).headers["Location"] == "/grader/login"
    answer = ask(app, f"{path}sessions", headers | accept)
    assert answer.headers["Location"] == "/grader/login?next=%2Fgrader%2Fsessions"
    page = ask(app, f"{path}login", headers).text
    linked = re.findall(r'(?:href|src|action)="([^"]*)"', page)
    assert linked and all(each.startswith("/grader/") for each in linked)
    assert '<meta name="base" content="/grader/">' in page
    assert f'<meta name="origin" content="https://{HOST}">' in page
    assert ask(app, f"{path}static/live.js", headers).status_code == 200


def test_below_a_path_the_cookie_stays_below_it() -> None:
    context = make_context(login=True, allowed_hosts=(HOST,), trusted_proxies=(PROXY,), base_path="/grader")
    context.auth.accounts.add_viewer("anna", PASSWORD)
    app = create_app(context)
    form = {"name": "anna", "password": PASSWORD, "next": "/grader/about"}
    answer = ask(app, "/grader/login", OUTSIDE, method="POST", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/grader/about")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Secure-interview-grader=")
    assert {"Secure", "HttpOnly", "Path=/grader/", "SameSite=Strict"} <= set(cookie.split("; "))
    known = OUTSIDE | {"Cookie": cookie.partition(";")[0]}
    assert ask(app, "/grader/api/state", known).status_code == 200
    other = ask(app, "/grader/login", OUTSIDE, method="POST", data=form | {"next": "/other/"})
    assert other.headers["Location"] == "/grader/", "another page of this host"
