"""Runs the service's code for root: as the service's user, in its unit's sandbox, without root's terminal.

An attacker may control the service and its state. Commands and updates of root must not let it become root:
see docs/decisions/0060-root-and-the-service.md.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.layout import SERVICE, USER
from device.system import board, release_files

_NOT_SANDBOX = (
    *("Type", "NotifyAccess", "RuntimeDirectory", "WorkingDirectory", "SuccessExitStatus"),
    *("ExecStart", "ExecStop", "ExecReload", "ExecCondition", "Watchdog", "Timeout", "Restart"),
    *("Syslog", "Log", "Standard", "TTY", "MemoryHigh", "MemoryMax", "TasksMax"),
)
"""Prefixes of keys that say how the service runs and what resources it gets, not what it may do."""

_FILES = ("ProtectSystem", "ProtectHome", "PrivateTmp")
"""Keys that hide files from the service. Some commands get the caller's files by name."""

_PORTS = "net_bind_service"
_STOP_S = 20.0


@dataclass(frozen=True)
class Sandbox:
    """Runs the code of one release. `state`: the service's; `root`: of the system, another folder in tests.

    `user`: who runs it, "" for the caller, without a sandbox.
    """

    release: Path
    state: Path
    user: str = USER
    root: Path = Path("/")

    def command(
        self,
        words: Sequence[str],
        unit: str,
        environment: Mapping[str, str],
        *,
        folder: str = "/",
        sees_files: bool = False,
        by_systemd: bool | None = None,
    ) -> list[str]:
        """The command line that runs `words` sandboxed; the caller must start it in a new session.

        `unit`: its name for systemd. `folder`: its working directory. `sees_files`: whether it sees
        files that are hidden from the service. `by_systemd`: None detects systemd; without it there is no
        sandbox, but user and rights are the service's, and the working directory is the caller's.
        """
        own = {**environment, "HOME": str(self.state), "STATE_DIRECTORY": str(self.state)}
        if not self.user:
            return ["env", *(f"{name}={value}" for name, value in own.items()), *words]
        if by_systemd if by_systemd is not None else has_systemd():
            lines = [line for line in self.properties() if not (sees_files and _key(line) in _FILES)]
            lines += ["ProtectSystem=full"] if sees_files else []
            lines += [f"WorkingDirectory=-{folder}", f"ReadWritePaths={self.state}"]
            options = [f"--property={line}" for line in lines]
            options += [f"--setenv={name}={value}" for name, value in own.items()]
            how = ("--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", f"--unit={unit}")
            return ["systemd-run", *how, *options, "--", *words]
        who = (f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "--no-new-privs")
        rights = (f"--{kind}=-all,+{_PORTS}" for kind in ("inh-caps", "ambient-caps", "bounding-set"))
        cleared = [f"{name}={value}" for name, value in own.items()]
        path = f"PATH={os.environ.get('PATH', os.defpath)}"
        return ["setpriv", *who, *rights, "--", "env", "-i", path, *cleared, *words]

    def run_captured(
        self,
        *words: str,
        limit_s: float | None = None,
        by_systemd: bool | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it with the settings of the caller's environment, and capture its output.

        It gets the caller's standard input unless that is a terminal. It is stopped with the caller, or
        after `limit_s` seconds, which raises `subprocess.TimeoutExpired`.
        """
        unit = new_unit_name()
        environment = {**environment_settings(), "LC_ALL": "C.UTF-8"}
        command = self.command(words, unit, environment, by_systemd=by_systemd)
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        stdin = subprocess.DEVNULL if os.isatty(0) else None
        try:
            return subprocess.run(
                command,
                env=own,
                stdin=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                cwd="/",
                timeout=limit_s,
                check=False,
                start_new_session=True,
            )
        except BaseException:  # a signal to our session does not reach the command's
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(["systemctl", "--quiet", "stop", unit], timeout=_STOP_S, check=False)
            raise

    def properties(self) -> list[str]:
        """The sandbox properties of the release's unit, and what the device adds to them.

        They come from this release's own files, since the installed ones may be another release's.
        """
        boards, kind = self.release / "provisioning/boards", board.find_board(self.root).name
        files = [self.release / "systemd" / SERVICE, *boards.glob(f"{kind}.conf")]
        for folder in ("etc/systemd/system", "run/systemd/system"):
            added = sorted((self.root / folder / f"{SERVICE}.d").glob("*.conf"))
            files += [path for path in added if path != self.root / release_files.BOARD_UNIT]
        lines = [line for file in files for line in _service_lines(file.read_text(encoding="utf-8"))]
        kept = [line for line in lines if not _key(line).startswith(_NOT_SANDBOX)]
        sandbox = [one for line in kept for one in _one_by_one(line)]
        settings, seen = boards / f"{kind}.toml", self.root / release_files.BOARD_FILE
        if settings.exists() and seen.exists():  # a missing one would be created
            sandbox.append(f"BindReadOnlyPaths={settings.resolve()}:{seen}")
        return sandbox


def environment_settings() -> dict[str, str]:
    """The appliance's settings in the environment."""
    return {name: value for name, value in os.environ.items() if name.startswith("INTERVIEW_GRADER__")}


def has_systemd() -> bool:
    """Whether systemd runs this system, as sd_booted(3) checks."""
    return Path("/run/systemd/system").is_dir()


def new_unit_name() -> str:
    """A unit name that no other command has."""
    return f"interview-grader-command-{os.getpid()}-{os.urandom(4).hex()}.service"


def _service_lines(text: str) -> list[str]:
    """Every assignment of [Service], continued lines joined."""
    section, found = "", []
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif line and line[0] not in "#;" and section == "[Service]":
            key, _, value = line.partition("=")
            found.append(f"{key.strip()}={value.strip()}")
    return found


def _one_by_one(line: str) -> list[str]:
    """One property per address: systemd-run accepts `localhost` and `link-local` only alone."""
    key, _, value = line.partition("=")
    return [f"{key}={word}" for word in value.split()] if key.startswith("IPAddress") and value else [line]


def _key(line: str) -> str:
    return line.partition("=")[0]
