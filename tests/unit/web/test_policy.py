"""Who may do what: the Host, the Origin and the policy of every route."""

from __future__ import annotations

import socket

import pytest
from flask import Flask

from appliance.auth.tokens import ROLES
from appliance.web.app import create_app
from appliance.web.security import policy
from tests.fakes.consent import NOTICE
from tests.fakes.web import make_context

START = {"notice_version": NOTICE, "people": 1}
HOME = "http://127.0.0.1:8080"
OWN = socket.gethostname().partition(".")[0]


def status(app: Flask, method: str, path: str, *, client: str = "127.0.0.1", **headers: str) -> int:
    """The answer to one request; headers by name, with _ for -."""
    host = headers.pop("Host", "127.0.0.1:8080")
    answer = app.test_client().open(
        path,
        method=method,
        base_url=HOME,
        headers={"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()},
        environ_overrides={"REMOTE_ADDR": client},
        json=START if method == "POST" else None,
    )
    answer.close()
    return answer.status_code


def test_every_route_declares_who_may_call_it() -> None:
    app = create_app(make_context())
    found = {rule.rule: policy.policy_of(app, rule.endpoint) for rule in app.url_map.iter_rules()}
    assert found == {
        "/": policy.VIEWER,
        "/stream.mjpg": policy.VIEWER,
        "/snapshot.jpg": policy.VIEWER,
        "/ws/live": policy.VIEWER,
        "/ws/pictures": policy.VIEWER,
        "/ws/analyze": policy.ANALYZE,
        "/webcam": policy.ANALYZE,
        "/about": policy.VIEWER,
        "/api/state": policy.VIEWER,
        "/api/analyze": policy.ANALYZE,
        "/api/status": policy.LOCAL,
        "/api/session/start": policy.OPERATOR,
        "/api/session/stop": policy.OPERATOR,
        "/api/session/aim": policy.OPERATOR,
        "/api/session/seat": policy.OPERATOR,
        "/api/session/again": policy.OPERATOR,
        "/api/session/baseline": policy.OPERATOR,
        "/api/session/record": policy.OPERATOR,
        "/api/session/record/stop": policy.OPERATOR,
        "/api/session/discard": policy.OPERATOR,
        "/api/session/pause": policy.OPERATOR,
        "/api/session/marker": policy.OPERATOR,
        "/api/session/withdraw": policy.OPERATOR,
        "/api/session/link": policy.OPERATOR,
        "/api/lawful": policy.OPERATOR,
        "/aim.jpg": policy.OPERATOR,
        "/mine/<token>": policy.PUBLIC,
        "/mine/<token>/copy.<any(csv, json, pdf):kind>": policy.PUBLIC,
        "/sessions": policy.OPERATOR,
        "/sessions/<id>": policy.OPERATOR,
        "/sessions/<id>/export.<any(csv, json, pdf):kind>": policy.OPERATOR,
        "/sessions/<id>/erase": policy.OPERATOR,
        "/api/sessions": policy.OPERATOR,
        "/api/sessions/<id>": policy.OPERATOR,
        "/camera": policy.CAMERA,
        "/ws/camera": policy.CAMERA,
        "/api/link": policy.OPERATOR,
        "/link/<token>": policy.PUBLIC,
        "/notice": policy.VIEWER,
        "/healthz": policy.PUBLIC,
        "/login": policy.PUBLIC,
        "/logout": policy.PUBLIC,
        "/access": policy.OPERATOR,
        "/access/add": policy.OPERATOR,
        "/access/remove": policy.OPERATOR,
        "/access/viewer-password": policy.OPERATOR,
        "/access/password": policy.OPERATOR,
        "/access/log-out-everywhere": policy.OPERATOR,
        "/access/revoke": policy.OPERATOR,
        "/api/openapi.json": policy.VIEWER,
        "/metrics": policy.TOKEN,
        "/static/<path:filename>": policy.PUBLIC,
    }


def test_http_basic_is_for_the_picture_and_the_state() -> None:
    app = create_app(make_context())
    found = {rule.rule for rule in app.url_map.iter_rules() if policy.takes_basic(app, rule.endpoint)}
    assert found == {"/stream.mjpg", "/snapshot.jpg", "/api/state"}


def test_a_route_that_changes_something_must_not_take_http_basic() -> None:
    app = create_app(make_context())
    app._got_first_request = False
    view = policy.policy(policy.VIEWER, basic=True)(lambda: "")
    app.add_url_rule("/change", "change", view, methods=["POST"])
    with pytest.raises(LookupError, match="change"):
        policy.require_policies(app)


def test_a_route_without_a_policy_is_an_error_at_start() -> None:
    app = create_app(make_context())
    app._got_first_request = False
    app.add_url_rule("/forgotten", "forgotten", lambda: "")
    with pytest.raises(LookupError, match="forgotten"):
        policy.require_policies(app)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8080", 200),
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("localhost..", 400),
        (".", 400),
        ("[::1]:8080", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example", 400),
        ("192.168.1.5", 400),
        ("interview-grader.local", 400),
        ("[::1", 400),
        ("", 400),
        ("a b", 400),
    ],
)
def test_on_loopback_only_loopback_names_are_answered(host: str, expected: int) -> None:
    assert status(create_app(make_context()), "GET", "/api/state", Host=host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.5:8080", 200),
        ("[fe80::1]:8080", 200),
        ("interview-grader.local", 200),
        (f"{OWN}.local", 200),
        (f"{OWN}.local.", 200),
        (f"{OWN.upper()}-2.LOCAL:8443", 200),
        (f"{OWN}.fritz.box", 200),
        (f"{OWN}.evil.example", 400),
        ("evil.example", 400),
        ("192.168.1.5.evil.example", 400),
    ],
)
def test_on_the_network_addresses_and_own_names_are_answered(host: str, expected: int) -> None:
    app = create_app(make_context(open_to_network=True))
    assert status(app, "GET", "/api/state", client="192.168.1.7", Host=host) == expected


@pytest.mark.parametrize("open_to_network", [True, False])
def test_allowed_hosts_adds_names(open_to_network: bool) -> None:
    app = create_app(make_context(open_to_network=open_to_network, allowed_hosts=("grader.example",)))
    assert status(app, "GET", "/api/state", Host="Grader.Example:8080") == 200


@pytest.mark.parametrize("network", [True, False])
def test_a_browser_under_an_unknown_name_gets_a_page_in_words(network: bool) -> None:
    client = create_app(make_context(open_to_network=network)).test_client()
    headers = {"Host": "evil.example:8080", "Accept": "text/html,*/*;q=0.8"}
    with client.get("/", headers=headers, environ_overrides={"REMOTE_ADDR": "127.0.0.1"}) as answer:
        assert (answer.status_code, answer.mimetype) == (400, "text/html")
        assert "evil.example:8080" in answer.text and "web.allowed_hosts" in answer.text
        assert ("localhost" in answer.text) is not network
        assert "csrf" not in answer.text and f"{OWN}.local" not in answer.text, (
            "it says nothing about the device"
        )
    with client.get("/", headers={"Host": "evil.example"}) as answer:
        assert answer.status_code == 400 and "evil.example" in answer.json["error"]


def test_a_page_under_a_name_with_a_trailing_dot_may_change_things() -> None:
    app = create_app(make_context())
    host = "localhost.:8080"
    assert status(app, "POST", "/api/session/stop", Host=host, Origin=f"http://{host}") == 200


ORIGINS = [
    (HOME, True),
    ("http://127.0.0.1:9999", False),
    ("https://127.0.0.1:8080", False),
    ("http://localhost:8080", False),
    ("http://evil.example", False),
    ("null", False),
    ("", False),
]


@pytest.mark.parametrize(("origin", "own"), ORIGINS)
def test_only_the_own_page_may_change_anything(origin: str, own: bool) -> None:
    app = create_app(make_context())
    assert status(app, "POST", "/api/session/start", Origin=origin) == (200 if own else 403)


@pytest.mark.parametrize(("origin", "own"), ORIGINS)
def test_only_the_own_page_may_open_the_websocket(origin: str, own: bool) -> None:
    app = create_app(make_context())
    found = status(app, "GET", "/ws/live", Origin=origin, Upgrade="websocket", Connection="Upgrade")
    assert (found == 403) is not own


def test_the_upgrade_header_is_case_insensitive() -> None:
    app = create_app(make_context())
    found = status(
        app, "GET", "/ws/live", Origin="http://evil.example", Upgrade="WebSocket", Connection="Upgrade"
    )
    assert found == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_without_an_origin_sec_fetch_site_decides(site: str) -> None:
    app = create_app(make_context())
    assert status(app, "POST", "/api/session/stop", Sec_Fetch_Site=site) == 403
    assert status(app, "POST", "/api/session/stop", Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize(
    ("site", "expected"), [("same-origin", 200), ("same-site", 403), ("cross-site", 403), ("none", 403)]
)
def test_a_null_origin_is_accepted_from_the_same_origin_only(site: str, expected: int) -> None:
    app = create_app(make_context())
    assert status(app, "POST", "/api/session/stop", Origin="null", Sec_Fetch_Site=site) == expected


def test_a_program_needs_no_origin() -> None:
    assert status(create_app(make_context()), "POST", "/api/session/start") == 200


@pytest.mark.parametrize("path", ["/api/session/start", "/api/session/stop"])
def test_only_the_operator_starts_and_stops(path: str) -> None:
    context = make_context(open_to_network=True)
    app = create_app(context)
    assert status(app, "POST", path, client="192.168.1.7", Host="192.168.1.5") == 403
    assert context.session.state == "idle"
    assert status(app, "POST", path, client="127.0.0.1") == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", 200), ("/api/state", 200), ("/healthz", 200), ("/metrics", 403), ("/nowhere", 404)],
)
def test_what_a_viewer_on_the_network_may_read(path: str, expected: int) -> None:
    app = create_app(make_context(open_to_network=True))
    assert status(app, "GET", path, client="192.168.1.7", Host="192.168.1.5") == expected


def test_ipv4_mapped_loopback_is_loopback() -> None:
    app = create_app(make_context(open_to_network=True))
    assert status(app, "POST", "/api/session/start", client="::ffff:127.0.0.1") == 200
    assert status(app, "POST", "/api/session/stop", client="::ffff:192.168.1.7", Host="192.168.1.5") == 403


def test_a_forwarded_address_does_not_make_a_caller_operator() -> None:
    app = create_app(make_context(open_to_network=True))
    found = status(
        app,
        "POST",
        "/api/session/start",
        client="192.168.1.7",
        Host="192.168.1.5",
        X_Forwarded_For="127.0.0.1",
    )
    assert found == 403


def test_an_analyze_token_may_only_send_pictures() -> None:
    context = make_context(login=True)
    app = create_app(context)
    app._got_first_request = False
    app.add_url_rule("/send", "send", policy.policy(policy.ANALYZE)(lambda: "read"), methods=["POST"])
    tokens = {role: context.auth.tokens.create(role, role) for role in ROLES}

    def answer(method: str, path: str, role: str) -> int:
        sent = {"Host": "192.168.1.5", "Authorization": f"Bearer {tokens[role]}"}
        return status(app, method, path, client="192.168.1.7", **sent)

    assert {role: answer("POST", "/send", role) for role in ROLES} == {
        "viewer": 403,
        "operator": 200,
        "metrics": 403,
        "analyze": 200,
    }
    for path in ("/", "/api/state", "/snapshot.jpg", "/ws/live", "/metrics", "/sessions", "/access"):
        assert answer("GET", path, "analyze") == 403, path
    assert answer("POST", "/api/session/start", "analyze") == 403
    assert context.session.state == "idle"


@pytest.mark.parametrize(("path", "role"), [("/send", "analyze"), ("/metrics", "metrics")])
def test_a_refusal_names_the_role_that_a_token_needs(path: str, role: str) -> None:
    context = make_context(login=True)
    app = create_app(context)
    app._got_first_request = False
    app.add_url_rule("/send", "send", policy.policy(policy.ANALYZE)(lambda: "read"))
    token = context.auth.tokens.create("dashboard", "viewer")
    headers = {"Host": "192.168.1.5", "Authorization": f"Bearer {token}"}
    with app.test_client().get(path, headers=headers) as answer:
        assert answer.status_code == 403 and f"--role {role}" in answer.json["error"]
