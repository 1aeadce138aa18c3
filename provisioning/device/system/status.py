"""Asks the running release for its status, `interview-grader status --json`, and waits for it.

The command runs as the service's user, so root opens no address that the service names. For an older release,
without that command, this reads `/healthz` at a loopback port on which the kernel reports it listening.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import DeviceError, UserError
from device.system import service
from device.system.sandbox import Sandbox

READY_S = 60.0
_POLL_S = 0.5
_COMMAND_S = 60.0  # a slow board that is starting something else
_ANSWER_S = 5.0
_MAX_BYTES = 1 << 16
_LISTENING = "0A"
_HOW = "press Stop on the page and try again, or add --now"
_HEALTHY = ("ok", "idle")
_UNUSABLE_STORAGE = ("read_only", "failed")


@dataclass(frozen=True)
class Status:
    """The part of `status --json` that provisioning needs. None: not reported.

    `running`: whether the daemon answers; None if it listens only on a network address, which is not queried.
    `live`: whether a restart would end a session with people. `is_complete`: not only from `/healthz`.
    """

    running: bool | None
    health: str
    reason: str = ""
    state: str | None = None
    live: bool | None = None
    storage_fault: str = ""
    address: str | None = None
    certificate_sha256: str | None = None
    first_code: str | None = None
    lamps: bool | None = None
    is_complete: bool = True

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Status:
        """From the answer of the command; raises `ValueError` for anything else."""
        try:
            health, storage = data["health"], data["storage"] or {}
            fault = storage.get("reason") or storage.get("state", "")
            return cls(
                running=_optional(data["running"], bool),
                health=str(health["status"]),
                reason=str(health["reason"] or ""),
                state=_optional(data["state"], str),
                live=_optional(data["live"], bool),
                storage_fault=str(fault) if storage.get("state") in _UNUSABLE_STORAGE else "",
                address=_optional(data["address"], str),
                certificate_sha256=_optional(data["certificate_sha256"], str),
                first_code=_optional(data["first_code"], str),
                lamps=_optional(data["lamps"], bool),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a status: {error}") from error

    @classmethod
    def from_health(cls, data: Mapping[str, Any]) -> Status:
        """From the body of `/healthz`; raises `ValueError` for anything else."""
        if not isinstance(data, dict) or not isinstance(data.get("status"), str):
            raise ValueError("not the body of /healthz")
        live = False if data["status"] == "idle" else None
        reason = str(data.get("reason") or "")
        return cls(running=True, health=data["status"], reason=reason, live=live, is_complete=False)

    @property
    def words(self) -> str:
        """The health for a person."""
        return self.reason or self.health


class RunningRelease:
    """Asks the release that the service runs, by its own command."""

    def __init__(self, release: Sandbox) -> None:
        self._release = release

    def status(self) -> Status:
        """Its current status; raises `DeviceError` if the command cannot run."""
        program = str(self._release.release / "venv/bin/interview-grader")
        try:
            done = self._release.run_captured(program, "status", "--json", limit_s=_COMMAND_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"{program}: {error}") from error
        try:
            return Status.from_json(json.loads(done.stdout))
        except ValueError:  # a release without this command, or with settings that it refuses
            return _status_of_health()

    def require_no_live_session(self) -> None:
        """Raises `UserError` while a restart would end a session with people, or might."""
        if not service.is_running():
            return
        try:
            status = self.status()
        except DeviceError as error:
            status = Status(running=False, health="unknown", reason=str(error))
        if status.live is False or not service.is_running():
            return
        if status.state:
            raise UserError(f"a session is {status.state}; {_HOW}")
        reason = f"{status.reason}; " if status.reason else ""
        raise UserError(f"{reason}a session may be live; {_HOW}")

    def wait_until_answering(self) -> Status:
        """Its first answer, whatever its health; raises `DeviceError` if there is none in time."""
        deadline = time.monotonic() + READY_S
        while True:
            status = self.status()
            if status.running or (status.running is None and service.is_running()):
                return status
            if time.monotonic() >= deadline:
                raise DeviceError(f"the service does not answer: {status.reason}; {service.last_log_line()}")
            time.sleep(_POLL_S)

    def wait_until_steady(self, healthy_s: float, steady_s: float) -> None:
        """Return once one process has been healthy for `steady_s`.

        Raises `DeviceError` if it does not become healthy within `healthy_s`.
        """
        began = since = time.monotonic()
        before = ""
        while True:
            process, fault, now = service.unit_property("MainPID"), self.fault(), time.monotonic()
            is_new = process != before
            if fault or is_new:
                since, before = now, process
            if not fault and now - since >= steady_s:
                return
            # A slow board needs time to answer, which is no fault of a process that has been healthy so far.
            if (fault or is_new) and now - began >= healthy_s + steady_s:
                reason = fault or "it keeps restarting"
                raise DeviceError(f"not healthy within {healthy_s:.0f} s: {reason}")
            time.sleep(_POLL_S)

    def fault(self) -> str:
        """Why it is not healthy; "" if it is, or if it listens only on a network address."""
        if not service.is_running():
            return f"the service is not running: {service.last_log_line()}"
        try:
            status = self.status()
        except DeviceError as error:
            return str(error)
        if status.running is None:
            return ""  # only a steady process can be checked
        if status.health not in _HEALTHY:
            return f"/healthz: {status.words}" if status.running else status.words
        if status.is_complete and status.state is None:
            return "it does not report its state to its own user; check that it can write its state directory"
        return status.storage_fault


def _optional(value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{value!r}: expected {kind.__name__}")
    return value


# --- A release without the command ---


def _status_of_health() -> Status:
    """The status by `/healthz` alone, at the first loopback port of the service that answers it."""
    process = service.unit_property("MainPID")
    reason = "the service is not running"
    if process.isdigit() and process != "0":
        addresses = list(listening(int(process)))
        if addresses and not any(_reachable(address) for address, _ in addresses):
            return Status(running=None, health="unknown", reason="it listens only on a network address")
        reason = "nothing answers /healthz on this device"
        for address, port in addresses:
            for is_encrypted in (True, False):
                if near := _reachable(address):
                    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                        return Status.from_health(_get_health(near, port, is_encrypted))
    return Status(running=False, health="down", reason=reason)


def listening(process: int, proc: Path = Path("/proc")) -> Iterator[tuple[str, int]]:
    """Address and port of each TCP socket on which a process listens, as the kernel reports it."""
    links = set()
    with contextlib.suppress(OSError):
        for descriptor in (proc / str(process) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                links.add(os.readlink(descriptor))
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError):
            for line in (proc / str(process) / "net" / name).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and f"socket:[{fields[9]}]" in links:
                    address, _, port = fields[1].rpartition(":")
                    yield _address(address, family), int(port, 16)


def _address(digits: str, family: socket.AddressFamily) -> str:
    """The address as people write it, from 32-bit words in this machine's byte order."""
    packed = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    return socket.inet_ntop(family, packed)


def _reachable(address: str) -> str:
    """The loopback address at which this device reaches a listening socket, "" if there is none."""
    found = ipaddress.ip_address(address)
    if found.is_unspecified:
        return "127.0.0.1"
    return address if found.is_loopback else ""


def _get_health(address: str, port: int, is_encrypted: bool) -> Any:
    """The body of `/healthz`; raises `OSError`, `ValueError` or `HTTPException`. Follows no redirect."""
    # An address that other users do not know: the service limits connections by address.
    source = (
        ("127.{}.{}.{}".format(*os.urandom(2), 2 + os.urandom(1)[0] % 250), 0) if "." in address else None
    )
    connection: http.client.HTTPConnection
    if is_encrypted:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this device
        connection = http.client.HTTPSConnection(
            address, port, timeout=_ANSWER_S, source_address=source, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, port, timeout=_ANSWER_S, source_address=source)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        deadline, data = time.monotonic() + _ANSWER_S, b""
        answer = connection.getresponse()
        while block := answer.read1(_MAX_BYTES):
            data += block
            if len(data) > _MAX_BYTES or time.monotonic() > deadline:
                raise ValueError("the answer is too long or too slow")
    return json.loads(data)
