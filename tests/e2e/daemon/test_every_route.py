"""Every route, over a real TLS server: who is admitted, and what is refused before its view runs."""

from __future__ import annotations

import base64
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask import Flask

from appliance.auth.tokens import ROLES
from appliance.web.api.openapi import operations
from appliance.web.app import create_app
from appliance.web.context import AppContext
from appliance.web.pages.pictures import MAX_REQUEST_BYTES
from appliance.web.security import policy
from tests.fakes.far import FAR, FORM, Client, served_far
from tests.fakes.web import make_context

OPERATOR, VIEWER = "a long enough password", "another good password"
FOREIGN = ["evil.example", "127.0.0.1.evil.example", "xn--bcher-kva.example:443"]
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
}

# Posts without a page's token, each with a reason.
NO_PAGE_TOKEN = {
    "/login": "there is no login yet; the Origin is checked",
    "/mine/<token>": "the link itself is the secret; the Origin is checked",
    "/link/<token>": "the link itself is the secret; the Origin is checked",
    "/logout": "without a login it does nothing; with one the view checks it (a test of its own below)",
}


@dataclass(frozen=True)
class Route:
    """One route and method."""

    rule: str
    method: str
    policy: str
    socket: bool = False

    @property
    def path(self) -> str:
        return re.sub(r"<[^>]+>", "x", self.rule.replace("<any(csv, json, pdf):kind>", "csv"))

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD") or self.socket

    def headers(self) -> dict[str, str]:
        return dict(UPGRADE) if self.socket else {}

    def __str__(self) -> str:
        return f"{'WS' if self.socket else self.method} {self.rule}"


def all_routes(app: Flask) -> list[Route]:
    found = [
        Route(rule.rule, method, policy.policy_of(app, rule.endpoint)) for rule, method in operations(app)
    ]
    sockets = {rule.rule for rule in app.url_map.iter_rules() if rule.websocket}
    static = Route("/static/live.js", "GET", policy.PUBLIC)
    return [*found, *(replace(route, socket=True) for route in found if route.rule in sockets), static]


ROUTES = all_routes(create_app(make_context()))
CLOSED = [route for route in ROUTES if route.policy != policy.PUBLIC]


def routes(chosen: list[Route]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("route", chosen, ids=str)


@dataclass(frozen=True)
class Device:
    """A device on the network with its accounts and tokens."""

    context: AppContext
    port: int
    folder: Path
    logins: dict[str, str]
    tokens: dict[str, str]

    def client(self, account: str = "", token: str = "") -> Client:
        bearer = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        return Client(self.port, self.folder, cookie=self.logins.get(account, ""), headers=bearer)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    folder: Path = tmp_path_factory.mktemp("device")
    context = make_context(login=True)
    assert context.auth.accounts.claim(context.auth.accounts.new_first_code(), OPERATOR)
    context.auth.accounts.add_viewer("anna", VIEWER)
    tokens = {role: context.auth.tokens.create(role, role) for role in ROLES}
    with served_far(create_app(context), folder) as server:
        logins = {}
        for name, password in (("operator", OPERATOR), ("anna", VIEWER)):
            client = Client(server.port, folder)
            assert client.log_in(name, password).status == 303
            logins[name] = client.cookie
        yield Device(context, server.port, folder, logins, tokens)


def ask(
    client: Client, route: Route, headers: dict[str, str] | None = None, body: bytes | None = None
) -> int:
    sent = {**route.headers(), **(headers or {})}
    return client.request(route.path, route.method, headers=sent, body=body, whole=False).status


def test_the_list_of_routes_has_media_sockets_pages_and_changes() -> None:
    found = {str(route) for route in ROUTES}
    assert {
        *("GET /", "GET /stream.mjpg", "GET /snapshot.jpg", "WS /ws/live", "GET /ws/live"),
        *("POST /api/session/start", "POST /login", "POST /access/add", "GET /static/live.js"),
    } <= found
    named = (policy.PUBLIC, policy.VIEWER, policy.OPERATOR, policy.TOKEN, policy.LOCAL)
    policies = (*named, policy.ANALYZE, policy.CAMERA)
    assert {route.policy for route in ROUTES} == set(policies)


@routes(CLOSED)
def test_without_login_every_closed_route_is_401(device: Device, route: Route) -> None:
    anonymous = device.client()
    for headers in ({}, {"Authorization": "Bearer ig_nothing"}, {"Authorization": "Basic b3BlcmF0b3I6eA=="}):
        assert ask(anonymous, route, headers) == 401
    # Where HTTP Basic is taken, that was a wrong try; later tests log in from this address.
    device.context.auth.login_attempts.succeeded(FAR, "HTTP Basic")
    for pretended in ({"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "::1"}):
        assert ask(anonymous, route, pretended) == 401
    content, _, signature = device.logins["operator"].rpartition(".")
    # Not the last letter: only four of its six bits belong to the signature.
    other = "B" if signature.startswith("A") else "A"
    forged = Client(device.port, device.folder, cookie=f"{content}.{other}{signature[1:]}")
    assert ask(forged, route) == 401


@routes([route for route in CLOSED if route.method == "GET" and not route.socket])
def test_a_browser_without_login_is_redirected_to_it(device: Device, route: Route) -> None:
    answer = device.client().request(route.path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/login")


@routes(CLOSED)
def test_the_wrong_role_is_refused(device: Device, route: Route) -> None:
    unfit = {
        policy.VIEWER: [device.client(token="metrics"), device.client(token="analyze")],
        policy.OPERATOR: [
            device.client("anna"),
            device.client(token="viewer"),
            device.client(token="metrics"),
            device.client(token="analyze"),
        ],
        policy.TOKEN: [device.client("anna"), device.client(token="viewer"), device.client(token="analyze")],
        policy.ANALYZE: [
            device.client("anna"),
            device.client(token="viewer"),
            device.client(token="metrics"),
        ],
        policy.CAMERA: [
            device.client("anna"),
            device.client(token="viewer"),
            device.client(token="metrics"),
            device.client(token="analyze"),
        ],
        policy.LOCAL: [device.client("operator"), device.client(token="operator")],
    }[route.policy]
    for client in unfit:
        page = {} if client.headers else {"X-CSRF-Token": client.token()}
        assert ask(client, route, page) == 403


@routes([route for route in CLOSED if route.policy != policy.LOCAL])
def test_the_right_role_is_admitted(device: Device, route: Route) -> None:
    fit = {
        policy.VIEWER: [device.client("anna"), device.client("operator"), device.client(token="viewer")],
        policy.OPERATOR: [device.client("operator"), device.client(token="operator")],
        policy.TOKEN: [device.client("operator"), device.client(token="metrics")],
        policy.ANALYZE: [device.client("operator"), device.client(token="analyze")],
        policy.CAMERA: [device.client("operator"), device.client(token="operator")],
    }[route.policy]
    if route.rule == "/access/log-out-everywhere":
        fit = fit[1:]  # it would end the logins of later tests
    for client in fit:
        page = {} if client.headers else {"X-CSRF-Token": client.token()}
        assert ask(client, route, page) not in (401, 403)
    if route.rule == "/access/log-out-everywhere":
        renew(device)


def renew(device: Device) -> None:
    client = Client(device.port, device.folder)
    assert client.log_in("operator", OPERATOR).status == 303
    device.logins["operator"] = client.cookie


@routes(ROUTES)
@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_name_is_refused(device: Device, route: Route, host: str) -> None:
    for client in (device.client(), device.client("operator"), device.client(token="operator")):
        assert ask(client, route, {"Host": host}) == 400


@routes([route for route in ROUTES if route.changes])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1", "https://127.0.0.1:1", "null"]
)
def test_a_page_of_another_site_changes_nothing(device: Device, route: Route, origin: str) -> None:
    for client in (device.client(), device.client("operator"), device.client(token="operator")):
        assert ask(client, route, {"Origin": origin, "X-CSRF-Token": "x"}) == 403


@routes([route for route in CLOSED if route.method == "POST"])
def test_a_post_without_the_pages_token_is_refused(device: Device, route: Route) -> None:
    client = device.client("operator")
    others = device.client("anna").token()
    kinds = ("application/json", FORM, "text/plain")
    for kind, token in itertools.product(kinds, (None, "", "x", others)):
        given = {} if token is None else {"X-CSRF-Token": token}
        headers = {"Content-Type": kind, "Origin": client.origin, **given}
        assert ask(client, route, headers, b"{}") == 403
        assert ask(client, route, {"Content-Type": kind, **given}, b"{}") == 403


def test_only_posts_with_a_reason_need_no_token() -> None:
    open_posts = {route.rule for route in ROUTES if route.method == "POST" and route.policy == policy.PUBLIC}
    assert open_posts <= set(NO_PAGE_TOKEN)


def test_a_login_is_not_ended_by_a_post_without_its_token(device: Device) -> None:
    client = device.client("operator")
    assert client.submit("/logout", {}).status == 403
    assert client.request("/api/state").status == 200


@routes([route for route in ROUTES if route.method == "POST"])
@pytest.mark.parametrize("size", [70_000, 2**40])
def test_a_huge_body_is_refused_unread(device: Device, route: Route, size: int) -> None:
    is_picture = route.rule == "/api/analyze" and size < MAX_REQUEST_BYTES
    expected = (401, 403) if is_picture else (413,)  # not logged in, and no page's token
    for client in (device.client(), device.client("operator")):
        connection = client.connect()
        try:
            connection.putrequest("POST", route.path)
            connection.putheader("Cookie", f"__Host-interview-grader={client.cookie}")
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            assert connection.getresponse().status in expected
        finally:
            connection.close()


MALFORMED = [
    ("application/json", b"{"),
    ("application/json", b"\xff\xfe"),
    ("application/json", b"[" * 30_000),
    ("application/json", b"[]"),
    (FORM, b"%ff=%00&name=" + b"x" * 20_000),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n"),
    ("multipart/form-data", b"nothing"),
    ("nonsense", b"\x00" * 100),
]


@routes([route for route in ROUTES if route.method == "POST"])
@pytest.mark.parametrize(("kind", "body"), MALFORMED)
def test_a_malformed_body_is_a_client_error(device: Device, route: Route, kind: str, body: bytes) -> None:
    for client in (device.client(), device.client(token="operator")):
        assert ask(client, route, {"Content-Type": kind}, body) < 500


@routes(ROUTES)
def test_a_huge_head_is_refused(device: Device, route: Route) -> None:
    assert ask(device.client("operator"), route, {"X-Padding": "x" * 20_000}) in (413, 431)


@routes(ROUTES)
def test_every_answer_has_its_headers(device: Device, route: Route) -> None:
    client = device.client(token="operator")
    answer = client.request(route.path, route.method, headers=route.headers(), whole=False)
    if answer.status == 101:
        return
    csp = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert csp["default-src"] == csp["script-src"] == csp["style-src"] == "'self'"
    assert csp["frame-ancestors"] == "'self'"
    assert "unsafe" not in str(csp) and "http" not in str(csp)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    if not route.rule.startswith("/static"):
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in answer.headers
