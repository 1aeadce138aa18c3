"""Every line of the audit log: which action writes which event, and who is recorded.

A table: a line that is no longer written, or says something else, fails here, and so does an event of the log
that no row of the table brings about.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from appliance.audit import EVENTS, AuditLog
from appliance.auth.reset import reset_access
from appliance.composition.store import make_store
from appliance.configuration.changes import record_changes
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.consent.session import Session
from appliance.media.ingest import Ingest
from appliance.values import Box, Reading, Stamps
from appliance.web.app import create_app
from appliance.web.context import AppContext
from tests.e2e.daemon.driver import clean_environment, until
from tests.fakes.consent import NOTICE, make_terms
from tests.fakes.far import FAR, Client, served_far
from tests.fakes.parts import frame
from tests.fakes.records import ID, second, session_info
from tests.fakes.web import make_context, pictures
from tests.machine import ROOT

OPERATOR, VIEWER, NEW = "a long enough password", "another good password", "a third one, also good"
WORDS = "correct horse battery"
Line = tuple[str, str, dict[str, Any]]
"""Event, who, and the required details with their values."""


@dataclass
class World:
    """A device: its pages at one address, its records, its commands."""

    context: AppContext
    port: int
    folder: Path

    @property
    def state(self) -> Path:
        return self.context.audit.path.parent

    def client(self) -> Client:
        return Client(self.port, self.folder)

    def logged_in(self) -> Client:
        client = self.client()
        assert client.log_in("operator", OPERATOR).status == 303
        return client

    def submit(self, client: Client, path: str, **fields: str) -> None:
        answer = client.submit(path, {**fields, "csrf_token": client.token()})
        assert answer.status in (200, 303), answer

    def post(self, path: str, content: object = None) -> None:
        client = self.logged_in()
        answer = client.post_json(path, content or {}, {"X-CSRF-Token": client.token()})
        assert answer.status == 200, answer

    def run(self, *words: str | Path, given: str = "", module: str = "appliance") -> None:
        """A command on this device's state."""
        own = {"STATE_DIRECTORY": str(self.state)}
        where = ["--data-dir", str(self.state)] if module == "appliance" else []
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, words), *where],
            cwd=ROOT,
            env=clean_environment(own),
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done

    def recorded(self, id: str = ID) -> None:
        """Add a recorded session, which a command or the page then finds."""
        store = self.context.store
        store.begin(session_info(id))
        store.add(id, [second(0)])
        store.end(id)

    def shut(self) -> None:
        """Stop the appliance, so that commands may use the records."""
        self.context.store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    context = make_context(login=True, ingest=Ingest())
    accounts = context.auth.accounts
    assert accounts.claim(accounts.new_first_code(), OPERATOR)
    accounts.add_viewer("anna", VIEWER)
    context.auth.tokens.create("script", "viewer")
    with served_far(create_app(context), tmp_path) as server:
        yield World(context, server.port, tmp_path)
    context.store.close()


# --- logging in ---


def first_code(world: World) -> None:
    code = world.context.auth.accounts.reset()
    fields = {"code": code, "password": NEW, "repeat": NEW}
    assert world.client().submit("/login", fields).status == 303


def wrong_first_code(world: World) -> None:
    world.context.auth.accounts.reset()
    fields = {"code": "AAAA-AAAA-AAAA", "password": NEW, "repeat": NEW}
    assert world.client().submit("/login", fields).status == 401


def log_out(world: World) -> None:
    client = world.logged_in()
    world.submit(client, "/logout")


# --- accounts and tokens ---


def on_page(path: str, **fields: str) -> Callable[[World], None]:
    return lambda world: world.submit(world.logged_in(), path, **fields)


def on_terminal(*words: str, given: str = "") -> Callable[[World], None]:
    return lambda world: world.run(*words, given=given)


def reset_by_button(world: World) -> None:
    reset_access(world.context.auth.accounts, world.context.audit, "button")


# --- the session ---


def live(world: World, **more: Any) -> None:
    world.context.session.start(NOTICE, "operator", **more)


def recording(world: World) -> None:
    live(world)
    world.context.session.start_recording("", "", "operator")


def time_limit_reached(world: World) -> None:
    """As when a session reaches its time limit."""
    live(world)
    session = world.context.session
    session._snapshot = replace(session.snapshot, until=time.monotonic())
    session.tick()


def stopped(world: World) -> None:
    live(world)
    world.context.session.stop("button")
    world.context.session.stop("button")


def paused(world: World) -> None:
    live(world)
    world.context.session.pause("operator")
    world.context.session.resume("operator")


def aim_stopped(world: World) -> None:
    world.context.session.start_preview("operator")
    world.context.session.stop("button")


def recording_stopped(world: World) -> None:
    recording(world)
    world.context.session.stop_recording("operator")


def closed(world: World) -> None:
    recording(world)
    world.context.session.close()


def withdrawn(world: World) -> None:
    live(world)
    world.context.session.withdraw("operator")


def seated(world: World) -> None:
    live(world)
    for _ in range(2):
        world.context.session.set_zone(Box(0.1, 0.1, 0.5, 0.5), "operator")


def unseated(world: World) -> None:
    live(world, zone=Box(0.1, 0.1, 0.5, 0.5))
    world.context.session.set_zone(None, "operator")


def settled(world: World) -> None:
    session = Session(make_terms(region="", purpose=""), needs_consent=True, audit=world.context.audit)
    session.set_jurisdiction("EU", "practice", "operator", "none")


def away_and_back(world: World) -> None:
    live(world, people=2)
    world.context.session.reconfirm("operator")


# --- records ---


def page_export(world: World) -> None:
    world.recorded()
    assert world.logged_in().request(f"/sessions/{ID}/export.csv").status == 200


def page_erase(world: World) -> None:
    world.recorded()
    client = world.logged_in()
    assert (
        client.request(
            f"/sessions/{ID}/erase",
            "POST",
            headers={"X-CSRF-Token": client.token(), "Origin": client.origin},
        ).status
        == 200
    )


def own_copy(world: World) -> None:
    live(world)
    now = world.context.session.snapshot
    world.recorded(str(now.id))
    assert world.client().request(f"/mine/{now.token}/copy.json").status == 200


def own_withdrawal(world: World) -> None:
    live(world)
    client = world.client()
    path = f"/mine/{world.context.session.snapshot.token}"
    assert client.request(path, "POST", body=b"", headers={"Origin": client.origin}).status == 200


def shell_export(world: World) -> None:
    world.recorded()
    world.shut()
    world.run("sessions", "export", ID, "--csv")


def shell_erase(world: World) -> None:
    world.recorded()
    world.shut()
    world.run("sessions", "erase", ID)


def backup_and_restore(world: World) -> None:
    world.recorded()
    world.shut()
    passphrase = world.folder / "passphrase"
    passphrase.write_text(WORDS)
    world.run("backup", world.folder / "kept", "--passphrase-file", passphrase)
    world.run("restore", world.folder / "kept", "--passphrase-file", passphrase)


def sweep_records(world: World, wait_for: str = "") -> None:
    """Open the records as the daemon does, with this device's state and audit log.

    `wait_for`: an event that the background writes before the records are closed.
    """
    config, audit = load_config(ConfigOptions(data_dir=world.state)), world.context.audit
    store = make_store(config.storage, config.state_dir, audit)
    store.tick()
    if wait_for:
        until(lambda: any(entry.get("what") == wait_for for entry in audit.entries()), 20, wait_for)
    store.close()


def swept(world: World) -> None:
    world.recorded()
    world.shut()
    with contextlib.closing(sqlite3.connect(world.state / "records.db")) as connection, connection:
        connection.execute("UPDATE sessions SET began_lived = began_lived - 86400 * 400")
    sweep_records(world)


def set_aside(world: World) -> None:
    world.recorded()
    world.shut()
    (world.state / "records.db").write_bytes(b"no database at all" * 1000)
    sweep_records(world, wait_for="salvaged")


# --- what was seen ---


def seen(world: World) -> None:
    live(world)
    context, client = world.context, world.logged_in()
    epoch = context.session.consent_epoch
    taken = replace(frame(1, time.monotonic()), consent_epoch=epoch)
    context.live.readings.put(Reading(taken, (), Stamps(0.0, 0.0, 0.0)))
    assert client.request("/api/state").json()["reading"] is not None


def picture_seen(world: World) -> None:
    live(world)
    client = world.logged_in()
    with pictures(world.context):
        assert client.request("/snapshot.jpg").status == 200


def socket_of(world: World, client: Client, path: str) -> ClientConnection:
    """A WebSocket of a client that is logged in."""
    headers = {"Origin": client.origin, "Cookie": f"{client.cookie_name}={client.cookie}"}
    address = f"wss://127.0.0.1:{world.port}{path}"
    return connect(address, proxy=None, ssl=client.context(), additional_headers=headers, open_timeout=15)


def camera_of_a_session(world: World) -> None:
    """A browser is the camera, before and after it is closed and opened again."""
    live(world)
    ingest = world.context.ingest
    assert ingest is not None
    with socket_of(world, world.logged_in(), "/ws/camera") as browser:
        assert "wait" in json.loads(browser.recv(15))
        for _ in range(2):
            browser.send('{"waiting": true}')
            ingest.open()
            assert json.loads(browser.recv(15)) == {"taken": 0}
            ingest.close()
            assert "wait" in json.loads(browser.recv(15))


def webcam_analysed(world: World) -> None:
    client = world.logged_in()
    for _ in range(2):
        with socket_of(world, client, "/ws/analyze?consent=yes"):
            pass
    entries = world.context.audit.entries
    until(lambda: [entry.get("what") for entry in entries()][-1] == "end", 15, "the end of the webcam")


def picture_sent(world: World) -> None:
    client = world.logged_in()
    page = {"X-CSRF-Token": client.token(), "Content-Type": "image/jpeg"}
    for query in ("", "?consent=yes", "?consent=yes"):
        answer = client.request(f"/api/analyze{query}", "POST", body=b"damaged", headers=page)
        assert answer.status == 422


# --- the software ---


def settings_changed(world: World) -> None:
    for port in (1, 2):
        record_changes({"web": {"port": port}}, world.state, world.context.audit)


def another_version(world: World) -> None:
    for version in ("1", "2"):
        record_changes({"web": {"port": 1}}, world.state, world.context.audit, version)


def failed_update(world: World) -> None:
    words = ("--version", "1", "--wanted", "2", "--outcome", "failed", "--reason", "no camera")
    world.run("note", *words, module="appliance.on_update")


LOGGED_IN: Line = ("login", "operator", {"name": "operator", "address": FAR})
AGREED: Line = ("agreement", "operator", {"version": NOTICE})
BEGUN: Line = ("start", "operator", {})
RECORDED: Line = ("record", "operator", {})

ROWS: dict[str, tuple[Callable[[World], None], list[Line]]] = {
    "first code": (
        first_code,
        [
            ("access", "operator", {"what": "operator password set with the first code", "address": FAR}),
            ("login", "operator", {"name": "operator", "address": FAR}),
        ],
    ),
    "wrong first code": (wrong_first_code, [("login_failed", "unknown", {"name": "first code"})]),
    "login": (lambda world: world.logged_in() and None, [LOGGED_IN]),
    "login of a viewer": (
        lambda world: world.client().log_in("anna", VIEWER) and None,
        [("login", "viewer", {"name": "anna", "address": FAR})],
    ),
    "wrong password": (
        lambda world: world.client().log_in("anna", NEW) and None,
        [("login_failed", "unknown", {"name": "anna", "address": FAR})],
    ),
    "unknown name": (
        lambda world: world.client().log_in("bert", NEW) and None,
        [("login_failed", "unknown", {"name": None, "address": FAR})],
    ),
    "logout": (log_out, [LOGGED_IN, ("logout", "operator", {"name": "operator"})]),
    "viewer added": (
        on_page("/access/add", name="bert", password=NEW),
        [LOGGED_IN, ("access", "operator", {"what": "added", "name": "bert"})],
    ),
    "viewer removed": (
        on_page("/access/remove", name="anna"),
        [LOGGED_IN, ("access", "operator", {"what": "removed", "name": "anna"})],
    ),
    "password of a viewer": (
        on_page("/access/viewer-password", name="anna", password=NEW),
        [LOGGED_IN, ("access", "operator", {"what": "password", "name": "anna"})],
    ),
    "own password": (
        on_page("/access/password", current=OPERATOR, password=NEW, repeat=NEW),
        [LOGGED_IN, ("access", "operator", {"what": "password", "name": "operator"})],
    ),
    "logged out everywhere": (
        on_page("/access/log-out-everywhere"),
        [LOGGED_IN, ("access", "operator", {"what": "out", "name": "operator"})],
    ),
    "token revoked": (
        on_page("/access/revoke", name="script"),
        [LOGGED_IN, ("access", "operator", {"what": "revoked", "name": "script"})],
    ),
    "viewer added in a shell": (
        on_terminal("access", "add-viewer", "bert", given=f"{NEW}\n"),
        [("access", "shell", {"what": "added", "name": "bert"})],
    ),
    "viewer removed in a shell": (
        on_terminal("access", "remove", "anna"),
        [("access", "shell", {"what": "removed", "name": "anna"})],
    ),
    "access reset in a shell": (
        on_terminal("access", "reset"),
        [("access", "shell", {"what": "operator password reset"})],
    ),
    "access reset by the button": (
        reset_by_button,
        [("access", "button", {"what": "operator password reset"})],
    ),
    "token created": (
        on_terminal("token", "create", "watch", "--role", "metrics"),
        [("access", "shell", {"what": "token created", "name": "watch", "role": "metrics"})],
    ),
    "token revoked in a shell": (
        on_terminal("token", "revoke", "script"),
        [("access", "shell", {"what": "revoked", "name": "script"})],
    ),
    "aiming": (
        lambda world: world.context.session.start_preview("operator"),
        [("aiming", "operator", {"seconds": 60})],
    ),
    "start": (live, [AGREED, BEGUN]),
    "start with more": (
        lambda world: live(world, people=3),
        [("agreement", "operator", {"people": 3, "version": NOTICE}), BEGUN],
    ),
    "seat": (seated, [AGREED, BEGUN, ("settings", "operator", {"seat": "drawn"})]),
    "no seat": (unseated, [AGREED, BEGUN, ("settings", "operator", {"seat": "none"})]),
    "back": (away_and_back, [AGREED, BEGUN, ("agreement", "operator", {"people": 2, "again": 1})]),
    "record": (recording, [AGREED, BEGUN, RECORDED]),
    "recording stopped": (
        recording_stopped,
        [AGREED, BEGUN, RECORDED, ("stop", "operator", {"recording": True})],
    ),
    "stop": (stopped, [AGREED, BEGUN, ("stop", "button", {"state": "live"})]),
    "pause": (paused, [AGREED, BEGUN, ("pause", "operator", {}), ("resume", "operator", {})]),
    "camera": (camera_of_a_session, [AGREED, BEGUN, LOGGED_IN, ("camera", "operator", {"address": FAR})]),
    "stop of an aiming": (aim_stopped, [("aiming", "operator", {}), ("stop", "button", {"state": "aiming"})]),
    "stop by the timer": (time_limit_reached, [AGREED, BEGUN, ("stop", "timer", {"state": "live"})]),
    "stop with the appliance": (closed, [AGREED, BEGUN, RECORDED, ("stop", "shell", {"state": "recording"})]),
    "withdraw": (withdrawn, [AGREED, BEGUN, ("withdraw", "operator", {"erased": True})]),
    "withdraw by the link": (own_withdrawal, [AGREED, BEGUN, ("withdraw", "link", {"erased": True})]),
    "law": (
        settled,
        [("settings", "operator", {"region": "EU", "purpose": "practice", "institution": "none"})],
    ),
    "export": (page_export, [LOGGED_IN, ("export", "operator", {"session": ID, "format": "csv"})]),
    "erase": (page_erase, [LOGGED_IN, ("erase", "operator", {"session": ID})]),
    "own copy": (own_copy, [AGREED, BEGUN, ("export", "link", {"format": "json"})]),
    "export in a shell": (shell_export, [("export", "shell", {"session": ID, "format": "csv"})]),
    "erase in a shell": (shell_erase, [("erase", "shell", {"session": ID})]),
    "backup and restore": (
        backup_and_restore,
        [
            ("backup", "shell", {"action": "made", "sessions": 1}),
            ("backup", "shell", {"action": "restored", "sessions": 0}),
        ],
    ),
    "records swept": (swept, [("storage", "timer", {"what": "swept", "sessions": 1})]),
    "records set aside": (
        set_aside,
        [("storage", "timer", {"what": "set aside"}), ("storage", "timer", {"what": "salvaged"})],
    ),
    "readings seen": (
        seen,
        [AGREED, BEGUN, LOGGED_IN, ("viewer", "operator", {"what": "readings", "address": FAR})],
    ),
    "picture seen": (
        picture_seen,
        [AGREED, BEGUN, LOGGED_IN, ("viewer", "operator", {"what": "picture", "address": FAR})],
    ),
    "webcam, in one pair of lines": (
        webcam_analysed,
        [
            LOGGED_IN,
            *(
                ("webcam", "operator", {"what": what, "consent": "yes", "name": "operator", "address": FAR})
                for what in ("begin", "end")
            ),
        ],
    ),
    "picture sent, in one line": (
        picture_sent,
        [LOGGED_IN, ("picture", "operator", {"consent": "yes", "address": FAR})],
    ),
    "settings changed": (settings_changed, [("settings", "configuration", {"changed": "web.port"})]),
    "another version": (another_version, [("update", "configuration", {"before": "1", "now": "2"})]),
    "failed update": (
        failed_update,
        [("update", "shell", {"outcome": "failed", "wanted": "2", "reason": "no camera"})],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_action_is_recorded(name: str, world: World) -> None:
    do, lines = ROWS[name]
    do(world)
    log = AuditLog(world.state)
    with contextlib.suppress(
        AssertionError
    ):  # an end is written in the background; missing lines are shown below
        until(lambda: len(list(log.entries())) >= len(lines), 10, "every line")
    entries = list(log.entries())
    assert [(entry["event"], entry["who"]) for entry in entries] == [line[:2] for line in lines]
    for entry, (_, _, details) in zip(entries, lines, strict=True):
        assert {key: entry.get(key, "missing") for key in details} == details
    assert AuditLog(world.state).verify().fault == ""


def test_every_event_of_the_log_is_in_the_table() -> None:
    assert {line[0] for _, lines in ROWS.values() for line in lines} == set(EVENTS)
