"""The service as systemd and the network see it: enabled, started, ready, and what it says."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from device.errors import DeviceError, Refused
from device.layout import GAVE_UP, LOOK, RECOVER, RETENTION, SERVICE, STARTED, TIMER, Places
from device.system.shell import attempt, run, succeeds

READY_S = 60.0
_MAX_BYTES = 1 << 20
_ANSWER_S = 5.0
_TOKEN_BYTES = 64
_TOKEN = re.compile(rb"[0-9a-f]{64}")
_Answer = HTTPResponse | urllib.error.HTTPError
_Source = tuple[str, int] | None
_SOURCE = "127.{}.{}.{}".format(*os.urandom(2), 2 + os.urandom(1)[0] % 250)
LOCAL_TOKEN = Places().state / "local-token"
TAKE_BACK = "interview-grader-take-back"


def show(key: str, unit: str = SERVICE) -> str:
    """A property of the unit as `systemctl show` gives it."""
    return attempt("systemctl", "show", "--value", "-p", key, unit).stdout.strip()


def is_enabled() -> bool:
    """Whether service and timer start with the system, and what finishes an update before them."""
    return all(succeeds("systemctl", "--quiet", "is-enabled", unit) for unit in STARTED)


def is_active() -> bool:
    """Whether service and timer run."""
    return all(succeeds("systemctl", "--quiet", "is-active", unit) for unit in (SERVICE, TIMER))


def enable(units: Sequence[str] = STARTED) -> None:
    """Start them with the system."""
    run("systemctl", "--quiet", "enable", *units)


def disable() -> None:
    """Stop all of it now, and do not start it with the system."""
    attempt("systemctl", "--quiet", "disable", "--now", TIMER, LOOK, SERVICE, RECOVER)
    others = (GAVE_UP, RETENTION, f"{TAKE_BACK}.service")
    attempt("systemctl", "stop", *others)
    for unit in (SERVICE, *others):
        attempt("systemctl", "reset-failed", unit)


def reload() -> None:
    """Have units, folders and device rules in force as their files are now."""
    run("systemctl", "daemon-reload")
    run("systemd-tmpfiles", "--create", "interview-grader.conf")
    if succeeds("udevadm", "control", "--reload"):  # in a container there is no udev
        attempt("udevadm", "trigger", "--subsystem-match=video4linux", "--subsystem-match=gpio")
        attempt("udevadm", "trigger", "--subsystem-match=usb", "--subsystem-match=apex")


def restart() -> None:
    """Start it anew and wait until it says that it is ready; raises `DeviceError` with what it said."""
    attempt("systemctl", "reset-failed", SERVICE)
    run("systemctl", "start", TIMER)
    if attempt("systemctl", "restart", SERVICE).returncode:
        raise DeviceError(f"the service does not start: {last_words()}")


def stop() -> None:
    """Stop it, and whoever has the records open in its place; raises `DeviceError`."""
    attempt("systemctl", "stop", RETENTION)
    run("systemctl", "stop", SERVICE)


def watch(release: Path) -> None:
    """Have systemd take the change back, by that release's code, if the updater is killed meanwhile."""
    program = (str(release / "venv/bin/python"), "-I", str(release / "provisioning/update"))
    # One that still waits for an earlier change serves this one too.
    attempt("systemd-run", "--quiet", "--collect", f"--unit={TAKE_BACK}", *program, "recover", "--wait")


def unwatch() -> None:
    """Nobody need wait for that any more."""
    attempt("systemctl", "stop", f"{TAKE_BACK}.service")


def start() -> None:
    """Start it and wait until it is ready; raises `DeviceError`."""
    attempt("systemctl", "reset-failed", SERVICE)
    if attempt("systemctl", "start", SERVICE).returncode:
        raise DeviceError(f"the service does not start: {last_words()}")


def wait_steady(healthy_s: float, steady_s: float) -> None:
    """Until one process has been healthy for `steady_s`; raises `DeviceError` if that takes `healthy_s`."""
    began = since = time.monotonic()
    before = ""
    while True:
        process, fault, now = show("MainPID"), _fault(), time.monotonic()
        if fault or process != before:
            since, before = now, process
        if not fault and now - since >= steady_s:
            return
        if now - began >= healthy_s + steady_s:
            raise DeviceError(f"not healthy within {healthy_s:.0f} s: {fault or 'it starts again and again'}")
        time.sleep(0.5)


def _fault() -> str:
    """What keeps it from being healthy, "" if nothing does."""
    try:
        if (own := address()) and not is_own(own):
            return ""  # it serves another address only, which is not asked: that it is steady must do
        health = ask("/healthz")
        if health.get("status") not in ("ok", "idle"):
            return f"/healthz: {health.get('reason') or health}"
        state = ask("/api/state")
    except DeviceError as error:
        return str(error)
    if "error" in state:  # with a state directory that cannot be written it has no token for root
        return f"/api/state: {state['error']}"
    storage = state.get("storage")
    if isinstance(storage, dict) and storage.get("state") in ("read_only", "failed"):
        return str(storage.get("reason"))
    return ""


def last_words() -> str:
    """The last line that the service itself wrote to the journal."""
    said = attempt(
        "journalctl", "-u", SERVICE, "-t", "interview-grader", "-n", "1", "-o", "cat", "--no-pager"
    )
    return said.stdout.strip() or f"see journalctl -u {SERVICE}"


def address() -> str:
    """The address that it says it has, in its status line; "" while it is not ready."""
    if not succeeds("systemctl", "--quiet", "is-active", SERVICE):
        return ""  # the line of its last life may still be there
    found = re.search(r"https?://(?:\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z.-]+):[0-9]{1,5}\b", show("StatusText"))
    return found.group().replace("//localhost:", "//127.0.0.1:") if found else ""


def is_own(address: str) -> bool:
    """Whether an address leads to this device and nowhere else. A name does not: it must be looked up."""
    try:
        return ipaddress.ip_address(urlsplit(address).hostname or "").is_loopback
    except ValueError:
        return False


def port() -> int:
    """The port it serves; 0 while it is not ready."""
    return int(address().rpartition(":")[2] or 0)


def wait_healthy() -> str:
    """What /healthz says: "ok", "idle", or why there is no picture; `DeviceError` when nobody answers."""
    deadline = time.monotonic() + READY_S
    while True:
        if (own := address()) and not is_own(own):
            return f"not asked: it serves {own} only"
        try:
            answer = ask("/healthz")
            return str(answer.get("reason") or answer.get("status"))
        except DeviceError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.5)


def refuse_while_live() -> None:
    """Raises `Refused` while somebody is being read, or may be: a restart would end that."""
    try:
        if not address() or ask("/healthz").get("status") == "idle":
            return
        answer = ask("/api/state")
    except DeviceError as error:
        if not address():
            return  # it has ended meanwhile
        raise Refused(f"{error}; a session is perhaps live: try again, or add --now") from error
    session = answer.get("session")
    nobody = isinstance(session, dict) and session.get("people") is None  # a clip, which shows nobody living
    # Where it cannot be reached by loopback it tells nobody without a login: then it may be live.
    state = answer.get("state") or "perhaps live"
    if state not in ("live", "recording") or not nobody:
        raise Refused(f"a session is {state}; press Stop on the page and try again, or add --now")


def ask(path: str) -> dict[str, object]:
    """What the service answers on this device itself, whatever its status; raises `DeviceError`."""
    own = address()
    if not own:
        raise DeviceError(f"the service is not ready: {last_words()}")
    if not is_own(own):
        raise DeviceError(
            f"the service says that it is at {own}: expected this device's own 127.0.0.1 or ::1"
        )
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this device: nobody in between
    connections = _Connections(context, _source(own))
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), connections, _NoWayOn())
        token = _authorization()
        answer = _get(opener, own + path, token)
        if token and answer.status == HTTPStatus.UNAUTHORIZED:  # left by another process or release
            answer.close()
            answer = _get(opener, own + path, {})
        with answer:
            return dict(json.loads(_read(answer)))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{own}{path} does not answer as expected: {error}") from error


def _get(opener: urllib.request.OpenerDirector, url: str, headers: dict[str, str]) -> _Answer:
    """The answer, whatever its status; raises `OSError`."""
    try:
        answer: _Answer = opener.open(urllib.request.Request(url, headers=headers), timeout=_ANSWER_S)
    except urllib.error.HTTPError as error:
        return error
    return answer


def _source(own: str) -> _Source:
    """Where root asks from: an address that other local users do not know. ::1 is the only one of IPv6.

    The service limits connections by address: others may hold all of 127.0.0.1, and that is no fault of it.
    """
    return (_SOURCE, 0) if "//127." in own else None


class _Connections(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Plain and encrypted ones, from one source."""

    def __init__(self, context: ssl.SSLContext, source: _Source) -> None:
        super().__init__(context=context)
        self._how, self._tls = {"source_address": source}, {"context": context}

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(HTTPConnection, req, **self._how)

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(HTTPSConnection, req, **self._how, **self._tls)


def _authorization() -> dict[str, str]:
    """The header with the service's token for root, where it asks local clients for one.

    The service may replace that file. So root follows no link, and sends nothing but what a token looks like.
    """
    try:
        descriptor = os.open(LOCAL_TOKEN, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        token = os.read(descriptor, _TOKEN_BYTES + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    return {"Authorization": f"Bearer {token.decode()}"} if _TOKEN.fullmatch(token) else {}


class _NoWayOn(urllib.request.HTTPRedirectHandler):
    """No answer leads to another address."""

    def redirect_request(self, *_: object) -> None:
        return None


def _read(answer: IO[bytes]) -> bytes:
    """All of it, if it is no more and takes no longer than an answer of ours."""
    deadline, data = time.monotonic() + _ANSWER_S, b""
    while block := answer.read1(_MAX_BYTES):  # type: ignore[attr-defined]
        data += block
        if len(data) > _MAX_BYTES or time.monotonic() > deadline:
            raise ValueError("it does not end")
    return data
