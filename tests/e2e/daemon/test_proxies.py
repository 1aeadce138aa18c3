"""The product behind nginx, haproxy and Caddy, with the lines of docs/proxy.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from websockets.sync.client import connect

from appliance.audit import AuditLog
from tests.e2e.daemon.driver import Daemon, running, until
from tests.fakes.far import Answer
from tests.fakes.proxies import BARE, CLIENT, NAME, PORTS, Browser, document_settings, lines_of, proxy_running

PASSWORD = "a long enough password"
ACCESS = ("--set", "access.loopback=login")


@dataclass(frozen=True)
class Site:
    """A daemon behind a proxy, whose operator is logged in."""

    daemon: Daemon
    browser: Browser
    path: str
    """In front of every route: empty or `/grader`."""

    @property
    def stranger(self) -> Browser:
        return replace(self.browser, cookie="")


@pytest.fixture(
    scope="module", params=[(proxy, path) for proxy in PORTS for path in ("", "/grader")], ids="".join
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    proxy, path = request.param
    folder = tmp_path_factory.mktemp("site")
    below = ("--set", f"web.base_path={path}") if path else ()
    with (
        running(folder / "device", "--camera", "demo", *ACCESS, *document_settings(), *below) as daemon,
        proxy_running(proxy, lines_of(proxy, path), daemon, folder / "proxy") as browser,
    ):
        (line,) = daemon.log_lines("FIRST CODE")
        fields = {"code": re.findall(r"\w{4}-\w{4}-\w{4}", line)[0], "password": PASSWORD, "repeat": PASSWORD}
        if path:
            browser.cookie_name = "__Secure-interview-grader"
        answer = browser.submit(f"{path}/login", fields)
        assert (answer.status, answer.headers["Location"]) == (303, f"{path}/")
        yield Site(daemon, browser, path)


def test_the_operator_works_through_the_proxy(site: Site) -> None:
    token = site.browser.token(f"{site.path}/")
    headers = {"X-CSRF-Token": token, "Origin": site.browser.origin}
    assert site.browser.post_json(f"{site.path}/api/session/stop", {}, headers).status == 200
    version = site.browser.request(f"{site.path}/api/state").json()["notice"]["version"]
    agreed = {"notice_version": version, "people": 1}
    assert site.browser.post_json(f"{site.path}/api/session/start", agreed, headers).status == 200
    assert site.browser.request(f"{site.path}/snapshot.jpg").body[:2] == b"\xff\xd8"
    assert site.browser.request(f"{site.path}/static/live.js").status == 200


def test_readings_and_pictures_arrive_one_by_one(site: Site) -> None:
    with (
        site.browser.socket() as sock,
        connect(
            f"wss://{NAME}:{site.browser.port}{site.path}/ws/live",
            sock=sock,
            ssl=site.browser.context(),
            origin=site.browser.origin,  # type: ignore[arg-type]
            additional_headers={"Cookie": f"{site.browser.cookie_name}={site.browser.cookie}"},
        ) as client,
    ):
        assert '"faces"' in str(client.recv(15))
    connection = site.browser.connect()
    cookie = {"Cookie": f"{site.browser.cookie_name}={site.browser.cookie}"}
    connection.request("GET", f"{site.path}/stream.mjpg", headers=cookie)
    answer = connection.getresponse()
    assert answer.status == 200
    until(lambda: answer.readline().startswith(b"X-Frame-Number"), 15, "a picture")
    answer.close()
    connection.close()


def test_an_outsider_is_no_one_whatever_is_claimed(site: Site) -> None:
    for claimed in (
        {},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost", "X-Real-IP": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1;host=localhost", "X-Forwarded-Prefix": "/x"},
    ):
        for path in ("/", "/api/state", "/stream.mjpg", "/sessions", "/metrics"):
            assert site.stranger.request(f"{site.path}{path}", headers=claimed).status == 401, (path, claimed)
        stop = f"{site.path}/api/session/stop"
        assert site.stranger.post_json(stop, {}, claimed).status == 401, claimed


def test_the_audit_log_names_the_client_not_what_it_claims(site: Site) -> None:
    form = {"name": "operator", "password": "a wrong password"}
    claimed = {"X-Forwarded-For": "203.0.113.5", "Forwarded": "for=203.0.113.5"}
    assert site.stranger.submit(f"{site.path}/login", form, claimed).status == 401
    log = AuditLog(site.daemon.folder / "state")
    (address,) = {entry["address"] for entry in log.entries() if entry["event"] == "login_failed"}
    assert address == CLIENT


def test_a_page_of_another_site_changes_nothing(site: Site) -> None:
    token = site.browser.token(f"{site.path}/")
    headers = {"X-CSRF-Token": token, "Origin": "https://evil.example"}
    assert site.browser.post_json(f"{site.path}/api/session/stop", {}, headers).status == 403


def stop(browser: Browser, **headers: str) -> Answer:
    return browser.post_json("/api/session/stop", {}, headers)


@pytest.mark.parametrize(
    "access", [(), ACCESS, ("--host", "0.0.0.0"), ("--set", "access.open_to_network=true")]
)
def test_a_bare_proxy_makes_no_outsider_operator(access: tuple[str, ...], tmp_path: Path) -> None:
    trusted = ("--set", 'web.trusted_proxies=["127.0.0.1"]')
    with running(tmp_path / "device", "--camera", "demo", *trusted, *access) as daemon:
        lines = BARE.replace("SCHEME", "https" if "https://" in daemon.out else "http")
        with proxy_running("nginx", lines, daemon, tmp_path / "proxy") as outsider:
            for answer in (stop(outsider), outsider.request("/"), outsider.request("/login")):
                assert answer.status == 403
                assert "names no client" in answer.json()["error"]
            assert outsider.request("/healthz").status == 200
        assert daemon.log_lines("WARNING", "names no client")


def test_an_unknown_proxy_on_the_device_is_refused_with_what_to_set(tmp_path: Path) -> None:
    lines = lines_of("nginx").replace("https://", "http://")
    with (
        running(tmp_path / "device", "--camera", "demo") as daemon,
        proxy_running("nginx", lines, daemon, tmp_path / "proxy") as outsider,
    ):
        for answer in (stop(outsider, Origin=outsider.origin), outsider.request("/")):
            assert answer.status == 403
            assert 'add "127.0.0.1" to web.trusted_proxies' in answer.json()["error"]
        assert len(daemon.log_lines("WARNING", "web.trusted_proxies")) == 1


def test_plain_http_between_a_proxy_and_a_checkout(tmp_path: Path) -> None:
    lines = lines_of("nginx").replace("https://", "http://")
    with (
        running(tmp_path / "device", "--camera", "demo", *document_settings()) as daemon,
        proxy_running("nginx", lines, daemon, tmp_path / "proxy") as browser,
    ):
        (line,) = daemon.log_lines("FIRST CODE")
        fields = {"code": re.findall(r"\w{4}-\w{4}-\w{4}", line)[0], "password": PASSWORD, "repeat": PASSWORD}
        assert browser.request("/api/state").status == 401
        assert browser.submit("/login", fields).status == 303
        headers = {"X-CSRF-Token": browser.token(), "Origin": browser.origin}
        assert browser.post_json("/api/session/stop", {}, headers).status == 200
