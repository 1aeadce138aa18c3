"""Logging in over a real TLS server: first code, cookies, roles, and what ends when a login ends."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from appliance.auth.clock import ForwardClock
from appliance.auth.idle import IdleTracker
from appliance.values import Reading, Stamps
from appliance.web.app import create_app
from appliance.web.context import AppContext
from tests.e2e.daemon.driver import until
from tests.fakes.consent import NOTICE
from tests.fakes.far import COOKIE, FAR, WITHIN_S, Client, served_far
from tests.fakes.parts import frame
from tests.fakes.web import make_context, pictures

OPERATOR, VIEWER, NEW = "a long enough password", "another good password", "a third one, also good"


@dataclass(frozen=True)
class Device:
    context: AppContext
    port: int
    folder: Path

    def client(self) -> Client:
        return Client(self.port, self.folder)

    def logged_in(self, name: str = "operator", password: str = OPERATOR) -> Client:
        client = self.client()
        assert client.log_in(name, password).status == 303
        return client

    def events(self) -> list[tuple[str, str]]:
        return [(entry["event"], entry["who"]) for entry in self.context.audit.entries()]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """With a login, before any password is set."""
    context = make_context(login=True, idle_minutes=60)
    with served_far(create_app(context), tmp_path) as server:
        yield Device(context, server.port, tmp_path)


@pytest.fixture
def settled(device: Device) -> Device:
    """As above, with an operator and a viewer."""
    assert device.context.auth.accounts.claim(device.context.auth.accounts.new_first_code(), OPERATOR)
    device.context.auth.accounts.add_viewer("anna", VIEWER)
    return device


def first(client: Client, code: str, password: str = OPERATOR, repeat: str | None = None) -> int:
    fields = {"code": code, "password": password, "repeat": password if repeat is None else repeat}
    return client.submit("/login", fields).status


# --- the first code ---


def test_first_code_sets_the_password_and_logs_in(device: Device) -> None:
    client = device.client()
    assert 'name="code"' in client.request("/login").text
    code = device.context.auth.accounts.new_first_code()
    assert first(client, code) == 303
    assert client.request("/access").status == 200
    assert 'name="code"' not in device.client().request("/login").text
    assert first(device.client(), code, NEW) == 401
    assert device.logged_in().request("/api/state").status == 200
    assert device.events()[:2] == [("access", "operator"), ("login", "operator")]


def test_a_wrong_first_code_is_explained(device: Device) -> None:
    code = device.context.auth.accounts.new_first_code()
    assert first(device.client(), "AAAA-AAAA-AAAA") == 401
    assert first(device.client(), code, "short") == 400
    assert first(device.client(), code, OPERATOR, "other than that") == 400
    assert first(device.client(), code) == 303


def test_different_passwords_give_no_free_guess_at_the_first_code(device: Device) -> None:
    device.context.auth.accounts.new_first_code()
    seen = []
    for _ in range(6):
        seen.append(first(device.client(), "AAAA-AAAA-AAAA"))
        first(device.client(), "AAAA-AAAA-AAAA", OPERATOR, "other than that")
    assert seen == [401] * 5 + [429]


# --- the cookie ---


def test_the_cookie_has_the_strictest_attributes(settled: Device) -> None:
    answer = settled.client().log_in("operator", OPERATOR)
    (cookie,) = answer.headers.get_all("Set-Cookie") or []
    name, *attributes = [part.strip() for part in cookie.split(";")]
    assert name.startswith(f"{COOKIE}=")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"]
    assert OPERATOR not in cookie


@pytest.mark.parametrize(
    ("name", "password"),
    [("operator", "wrong password"), ("nobody", OPERATOR), ("anna", OPERATOR), ("", ""), ("operator", "")],
)
def test_wrong_credentials_get_one_answer(settled: Device, name: str, password: str) -> None:
    client = settled.client()
    answer = client.log_in(name, password)
    assert (answer.status, client.cookie) == (401, "")
    assert "Name or password is wrong." in answer.text
    assert settled.events() == [("login_failed", "unknown")]


def test_an_unknown_name_is_not_logged(settled: Device) -> None:
    settled.client().log_in("my secret password", "x")
    assert "secret" not in settled.context.audit.path.read_text()


def test_five_wrong_attempts_slow_down_only_their_address(settled: Device) -> None:
    for _ in range(5):
        assert settled.client().log_in("operator", "wrong password").status == 401
    refused = settled.client().log_in("operator", OPERATOR)
    assert refused.status == 429 and 1 <= int(refused.headers["Retry-After"]) <= 2
    app = create_app(settled.context)
    elsewhere = app.test_client().post(
        "/login",
        base_url="https://192.0.2.1",
        data={"name": "operator", "password": OPERATOR},
        environ_overrides={"REMOTE_ADDR": "192.0.2.200"},
    )
    assert elsewhere.status_code == 303


def test_a_login_with_another_account_gives_no_free_guesses(settled: Device) -> None:
    guessed = [
        status
        for _ in range(4)
        for status in (
            *[settled.client().log_in("operator", "a wrong password").status for _ in range(4)],
            settled.client().log_in("anna", VIEWER).status,
        )
    ]
    assert guessed.count(401) <= 5, guessed
    assert guessed[-1] == 429


def test_a_login_in_use_ends_after_the_longest_time(settled: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    client, now, days = settled.logged_in(), time.time(), 0.0
    monkeypatch.setattr(settled.context.auth.cookies, "_clock", ForwardClock(lambda: now + 86_400 * days))
    while days < 29.96:
        days += 0.03  # within the hour after which an unused login ends
        assert client.request("/api/state").status == 200, days
    days = 30.02
    assert client.request("/api/state").status == 401


def test_guesses_from_the_same_address_do_not_end_a_login(settled: Device) -> None:
    client = settled.logged_in()
    for _ in range(7):
        settled.client().log_in("operator", "wrong password")
    assert client.request("/api/state").status == 200


def test_a_cookie_is_renewed_while_it_is_used_and_ends_when_it_is_not(
    settled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, now, minutes = settled.logged_in(), time.time(), 0
    monkeypatch.setattr(settled.context.auth.cookies, "_clock", ForwardClock(lambda: now + 60 * minutes))
    first_cookie = client.cookie
    client.request("/api/state")
    assert client.cookie == first_cookie
    for minutes in (50, 100, 150):
        assert client.request("/api/state").status == 200, minutes
    assert client.cookie != first_cookie
    old = Client(settled.port, settled.folder, cookie=first_cookie)
    assert old.request("/api/state").status == 401
    minutes = 211
    assert client.request("/api/state").status == 401


def test_logins_survive_a_restart(settled: Device) -> None:
    from appliance.auth.service import make_auth_service

    cookie = settled.logged_in().cookie
    again = make_auth_service(settled.context.audit.path.parent, login=True)
    login = again.cookies.read(cookie)
    assert login is not None
    assert again.accounts.role_of(login.name, login.epoch, login.id) == "operator"


# --- logging out ---


def test_logout_ends_this_login_for_every_copy_of_its_cookie(settled: Device) -> None:
    client, other = settled.logged_in(), settled.logged_in()
    copy = Client(settled.port, settled.folder, cookie=client.cookie)
    assert client.request("/logout").status == 200
    assert client.request("/api/state").status == 200, "a link alone must not log out"
    answer = client.submit("/logout", {"csrf_token": client.token()})
    assert (answer.status, answer.headers["Location"], client.cookie) == (303, "/login", "")
    assert copy.request("/api/state").status == 401
    assert other.request("/api/state").status == 200
    assert ("logout", "operator") in settled.events()


def test_a_pending_answer_never_renews_an_ended_login(settled: Device) -> None:
    client = settled.logged_in()
    answer = client.submit("/logout", {"csrf_token": client.token()})
    assert len(answer.headers.get_all("Set-Cookie") or []) == 1


@pytest.mark.parametrize("how", ["password", "remove", "out"])
def test_what_else_ends_a_login(settled: Device, how: str) -> None:
    operator, anna = settled.logged_in(), settled.logged_in("anna", VIEWER)
    token = operator.token()
    if how == "password":
        fields = {"name": "anna", "password": NEW, "csrf_token": token}
        assert operator.submit("/access/viewer-password", fields).status == 303
    elif how == "remove":
        assert operator.submit("/access/remove", {"name": "anna", "csrf_token": token}).status == 303
    else:
        settled.context.auth.accounts.end_logins("anna")
    assert anna.request("/api/state").status == 401
    assert operator.request("/api/state").status == 200


def test_the_operators_new_password_ends_every_other_login(settled: Device) -> None:
    here, there = settled.logged_in(), settled.logged_in()
    fields = {"current": OPERATOR, "password": NEW, "repeat": NEW, "csrf_token": here.token()}
    assert here.submit("/access/password", {**fields, "current": "wrong password"}).status == 403
    assert here.submit("/access/password", {**fields, "repeat": "something else"}).status == 400
    assert here.submit("/access/password", fields).status == 303
    assert here.request("/api/state").status == 200
    assert there.request("/api/state").status == 401
    assert settled.client().log_in("operator", OPERATOR).status == 401
    assert settled.logged_in("operator", NEW).request("/access").status == 200


def test_log_out_everywhere_else(settled: Device) -> None:
    here, there = settled.logged_in(), settled.logged_in()
    assert here.submit("/access/log-out-everywhere", {"csrf_token": here.token()}).status == 303
    assert (here.request("/api/state").status, there.request("/api/state").status) == (200, 401)


# --- the page of accounts ---


def test_a_viewer_made_by_the_operator_may_only_watch(settled: Device) -> None:
    operator = settled.logged_in()
    fields = {"name": "bert", "password": NEW, "csrf_token": operator.token()}
    assert operator.submit("/access/add", fields).status == 303
    assert "bert" in operator.request("/access").text
    bert = settled.logged_in("bert", NEW)
    assert bert.request("/").status == 200
    assert 'id="start"' not in bert.request("/").text and 'id="start"' in operator.request("/").text
    assert bert.request("/access").status == 403
    start = {"notice_version": NOTICE, "people": 1}
    assert bert.post_json("/api/session/start", start, {"X-CSRF-Token": bert.token()}).status == 403
    assert operator.post_json("/api/session/start", start, {"X-CSRF-Token": operator.token()}).status == 200


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("add", {"name": "anna", "password": NEW}, 409),
        ("add", {"name": "Not a name", "password": NEW}, 400),
        ("add", {"name": "bert", "password": "short"}, 400),
        ("add", {"name": "operator", "password": NEW}, 409),
        ("add", {"name": "<script>alert(1)</script>", "password": NEW}, 400),
        ("add", {"name": "bert"}, 400),
        ("remove", {"name": "bert"}, 404),
        ("remove", {"name": "operator"}, 400),
        ("viewer-password", {"name": "bert", "password": NEW}, 404),
        ("revoke", {"name": "bert"}, 404),
    ],
)
def test_the_page_explains_a_mistake(settled: Device, path: str, fields: dict[str, str], status: int) -> None:
    operator = settled.logged_in()
    answer = operator.submit(f"/access/{path}", {**fields, "csrf_token": operator.token()})
    assert answer.status == status
    assert 'role="alert"' in answer.text and "<script>alert" not in answer.text
    assert set(settled.context.auth.accounts.roles()) == {"operator", "anna"}


def test_a_token_is_revoked_on_the_page(settled: Device) -> None:
    operator, secret = settled.logged_in(), settled.context.auth.tokens.create("backup", "viewer")
    bearer = Client(settled.port, settled.folder, headers={"Authorization": f"Bearer {secret}"})
    assert bearer.request("/api/state").status == 200
    assert operator.submit("/access/revoke", {"name": "backup", "csrf_token": operator.token()}).status == 303
    assert bearer.request("/api/state").status == 401


# --- redirects ---


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        ("/about", "/about"),
        ("/access?done=added", "/access?done=added"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("", "/"),
    ],
)
def test_the_login_redirects_only_to_this_device(settled: Device, wanted: str, sent: str) -> None:
    answer = settled.client().submit("/login", {"name": "anna", "password": VIEWER, "next": wanted})
    assert (answer.status, answer.headers["Location"]) == (303, sent)


def test_a_page_redirects_to_the_login_and_back(settled: Device) -> None:
    answer = settled.client().request("/about", headers={"Accept": "text/html"})
    assert answer.headers["Location"] == "/login?next=%2Fabout"
    assert re.search(r'name="next" value="/about"', settled.client().request("/login?next=%2Fabout").text)
    assert settled.logged_in().request("/login?next=/about").headers["Location"] == "/about"


# --- open connections end with the login ---


def test_a_stream_ends_with_its_login(settled: Device) -> None:
    settled.context.session.start(NOTICE, "operator")
    client = settled.logged_in("anna", VIEWER)
    connection = client.connect()
    with closing(connection), pictures(settled.context):
        connection.request("GET", "/stream.mjpg", headers={"Cookie": f"{COOKIE}={client.cookie}"})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.readline()
        assert ("viewer", "viewer") in settled.events()
        settled.context.auth.accounts.remove("anna")
        answer.read()  # to its end
    until(lambda: settled.context.live.viewers.count == 0, WITHIN_S, "the viewer is no longer counted")


def test_an_idle_login_ends_its_open_connections(tmp_path: Path) -> None:
    context, later_s = make_context(login=True), [0.0]
    uses = IdleTracker(3600.0, lambda: time.monotonic() + later_s[0])
    context = replace(context, auth=replace(context.auth, idle=uses))
    assert context.auth.accounts.claim(context.auth.accounts.new_first_code(), OPERATOR)
    with served_far(create_app(context), tmp_path) as server, pictures(context):
        context.session.start(NOTICE, "operator")
        client = Client(server.port, tmp_path)
        assert client.log_in("operator", OPERATOR).status == 303
        cookie = {"Cookie": f"{COOKIE}={client.cookie}"}
        with (
            closing(client.connect()) as connection,
            socket.create_connection(("127.0.0.1", server.port), WITHIN_S) as sock,
            connect(
                f"wss://127.0.0.1:{server.port}/ws/live",
                sock=sock,
                ssl=client.context(),
                additional_headers=cookie,
            ) as listening,
        ):
            connection.request("GET", "/stream.mjpg", headers=cookie)
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.readline(), "pictures come while the login is in use"
            later_s[0] = 3601.0
            until(lambda: not answer.readline(), WITHIN_S, "the stream ends")
            with pytest.raises(ConnectionClosed):
                listening.recv(WITHIN_S)
    assert context.session.state == "live"


def test_readings_end_with_their_token(settled: Device) -> None:
    settled.context.session.start(NOTICE, "operator")
    secret = settled.context.auth.tokens.create("watch", "viewer")
    client = settled.client()
    with (
        socket.create_connection(("127.0.0.1", settled.port), WITHIN_S) as sock,
        connect(
            f"wss://127.0.0.1:{settled.port}/ws/live",
            sock=sock,
            ssl=client.context(),
            additional_headers={"Authorization": f"Bearer {secret}"},
        ) as listening,
    ):
        settled.context.auth.tokens.revoke("watch")
        settled.context.auth.tokens.create("watch", "viewer")  # another session, which is not theirs
        with pytest.raises(ConnectionClosed):
            listening.recv(WITHIN_S)
    assert ("viewer", "token:watch") in settled.events()


# --- who saw what ---


def test_every_way_to_see_a_session_is_in_the_audit_log_once(settled: Device) -> None:
    context = settled.context
    ids = []
    for _ in range(2):
        context.session.start(NOTICE, "operator")
        ids.append(context.session.id)
        anna, watch = settled.logged_in("anna", VIEWER), settled.logged_in()
        with pictures(context):
            for _ in range(3):
                assert anna.request("/snapshot.jpg").status == 200
        taken = replace(frame(1, time.monotonic()), consent_epoch=context.session.consent_epoch)
        context.live.readings.put(Reading(taken, (), Stamps(0.0, 0.0, 0.0)))
        for _ in range(3):
            assert watch.request("/api/state").json()["reading"] is not None
        context.live.readings.clear()
        context.session.stop("operator")
        assert watch.request("/snapshot.jpg").status == 409
        assert watch.request("/api/state").json()["reading"] is None
    seen = [
        (entry["session"], entry["what"], entry["who"], entry.get("name"), entry["address"])
        for entry in context.audit.entries()
        if entry["event"] == "viewer"
    ]
    assert seen == [
        (id, *each)
        for id in ids
        for each in (("picture", "viewer", "anna", FAR), ("readings", "operator", None, FAR))
    ]


# --- limits ---


def test_too_many_requests_from_one_address(tmp_path: Path) -> None:
    context = make_context(login=True, requests_per_s=5)
    with served_far(create_app(context), tmp_path) as server:
        client = Client(server.port, tmp_path)
        answers = [client.request("/healthz") for _ in range(24)]
        assert {answer.status for answer in answers[:20]} == {200}
        assert answers[-1].status == 429
        assert int(answers[-1].headers["Retry-After"]) >= 1


def test_a_full_disk_does_not_prevent_a_login(settled: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.errors import StoreError

    def full(*_given: object, **_details: object) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(type(settled.context.audit), "require", full)
    assert settled.logged_in().request("/api/state").status == 200


def test_unreadable_accounts_admit_no_one(settled: Device) -> None:
    client = settled.logged_in()
    (settled.context.audit.path.parent / "accounts.json").write_text("{")
    for answer in (client.request("/api/state"), settled.client().log_in("operator", OPERATOR)):
        assert answer.status == 507
        assert "access reset" in answer.json()["error"]


def test_addresses_are_in_the_audit_log_and_passwords_are_not(settled: Device) -> None:
    settled.logged_in()
    settled.client().log_in("operator", "wrong password")
    log = settled.context.audit.path.read_text()
    assert FAR in log
    assert OPERATOR not in log and "wrong password" not in log
    assert settled.context.audit.verify().fault == ""
