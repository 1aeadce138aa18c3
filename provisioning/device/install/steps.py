"""`setup.sh install`: plans and applies the steps that make a board a device."""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.arguments import Parser
from device.errors import FAULT, DeviceError, UserError, last_error
from device.install import summary, uninstall
from device.install.initial_settings import InitialSettings
from device.install.source import Source, open_source, signers_file
from device.install.undo_record import UndoRecord
from device.layout import USER, Layout
from device.system import accounts, board, generated_files, hostname, lock, packages, release_files, service
from device.system.sandbox import Sandbox
from device.system.status import RunningRelease
from device.text import printable
from device.update.journal import CHANGING
from device.update.releases import Releases

PROGRAM = "setup.sh install"
_REPAIR_MB = 50
"""Free space, in MB, that is enough if a release is already installed."""


@dataclass(frozen=True)
class Step:
    """`plan` describes what would change, "" if nothing would; `apply` changes it."""

    plan: Callable[[], str]
    apply: Callable[[], None]


class Installation:
    """The steps on one device."""

    def __init__(
        self, options: argparse.Namespace, layout: Layout, source: Source, found: board.Board
    ) -> None:
        self._options, self._layout, self._source, self._board = options, layout, source, found
        self._record = UndoRecord(layout.record)
        self._name = hostname.desired_name(options.name)
        self._network = generated_files.allowed_networks(layout, options.allow)
        self._signers = signers_file(options, layout, source)
        self._given = InitialSettings(options.config, layout, self._check) if options.config else None
        self._changed: list[str] = []

    def run(self) -> list[str]:
        """Apply every step that has a plan; returns what was changed."""
        if words := hostname.rename_notice(self._name, self._options.name):
            summary.say(words)
        if self._given and (words := self._given.conflict()):
            summary.say(words)
        for step in self._steps():
            if words := step.plan():
                self._changed.append(words)
                summary.say(f"would change: {words}" if self._options.check else words)
                if not self._options.check:
                    step.apply()
        return self._changed

    @property
    def settings_fault(self) -> str:
        """Why the given settings are not used, "" if they are or none were given."""
        return self._given.fault if self._given else ""

    def _steps(self) -> list[Step]:
        steps = [
            Step(self._plan_packages, self._apply_packages),
            Step(self._plan_package_files, self._apply_package_files),
            Step(self._source.plan, self._apply_release),
            Step(self._plan_files, self._apply_files),
            Step(self._plan_accounts, self._apply_accounts),
            *([self._generated(self._signers, "the keys of trusted signers")] if self._signers else []),
            self._generated(generated_files.avahi_service(self._layout), "the announcement on the network"),
            Step(self._plan_name, lambda: hostname.rename(self._name, self._record)),
        ]
        if self._options.allow:
            steps.append(self._generated(self._network, f"allowed networks: {' '.join(self._options.allow)}"))
        if self._options.log:
            log = generated_files.journald_config(self._layout, self._options.log)
            steps.append(
                Step(
                    lambda: "" if log.is_current() else "the storage of the log",
                    lambda: generated_files.apply_journald_config(log),
                )
            )
        if self._given:
            steps.append(Step(self._given.plan, self._given.apply))
        return [
            *steps,
            Step(self._plan_engines, self._apply_engines),
            Step(self._plan_service, self._apply_service),
        ]

    # --- packages ---

    def _packages(self) -> tuple[list[packages.Package], list[packages.Package]]:
        wanted = packages.read_packages(self._source.boards, self._board.name)
        return packages.by_availability(packages.missing(wanted), offline=self._source.offline)

    def _plan_packages(self) -> str:
        to_install, absent = self._packages()
        changing = not (self._options.check or self._source.offline)
        if changing and (any(each.needed for each in absent) or not packages.has_package_lists()):
            packages.update_package_lists()
            to_install, absent = self._packages()
        packages.refuse_missing(absent)
        for each in absent:
            summary.say(f"continuing without {each.name}: {each.purpose}")
        return f"packages: {' '.join(each.name for each in to_install)}" if to_install else ""

    def _apply_packages(self) -> None:
        packages.install(self._packages()[0])

    def _plan_package_files(self) -> str:
        files = packages.not_installed(self._options.package)
        return f"package files: {' '.join(path.name for path in files)}" if files else ""

    def _apply_package_files(self) -> None:
        packages.install_files(packages.not_installed(self._options.package))

    # --- release, files, accounts ---

    def _apply_release(self) -> None:
        self._layout.opt.mkdir(parents=True, exist_ok=True)
        self._source.install()

    def _files(self) -> list[release_files.Copy | release_files.Link]:
        return release_files.all_files(self._layout, self._board.name, self._source.folder)

    def _plan_files(self) -> str:
        files = self._files()
        wrong = [file.path for file in files if not file.is_current()] + release_files.stale_files(
            self._layout, files
        )
        return f"{len(wrong)} system files, such as {wrong[0]}" if wrong else ""

    def _apply_files(self) -> None:
        release_files.install(self._layout, self._files())

    def _plan_accounts(self) -> str:
        lacking = accounts.missing(self._sysusers())
        folders = [
            each for each in (self._layout.config, self._layout.config / "secrets") if not each.is_dir()
        ]
        if not accounts.owns(USER, self._layout.state):
            folders.append(self._layout.state)
        return ", ".join([*lacking, *(f"folder {each}" for each in folders)])

    def _apply_accounts(self) -> None:
        accounts.create(self._sysusers(), self._record)
        self._layout.state.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # before the first start of the service
        self._layout.state.chmod(0o700)
        if not accounts.owns(USER, self._layout.state):
            user = pwd.getpwnam(USER)
            accounts.change_owner(self._layout.state, user.pw_uid, user.pw_gid)
        service.reload_system_files()

    def _sysusers(self) -> list[Path]:
        return release_files.sysusers(self._source.folder, self._board.name)

    # --- generated files ---

    @staticmethod
    def _generated(file: generated_files.GeneratedFile, words: str) -> Step:
        return Step(lambda: "" if file.is_current() else words, file.write)

    def _plan_name(self) -> str:
        now = hostname.current_name()
        return "" if now == self._name else f"the device's name: {self._name}, was {now}"

    # --- the engines ---

    def _plan_engines(self) -> str:
        if self._options.check and self._changed:
            return ""  # the release is not installed yet and cannot be queried
        due = self._run_release("-m", "appliance.on_update", "unmeasured").stdout.strip()
        return f"the engines: measure, as {due}" if due else ""

    def _apply_engines(self) -> None:
        """Measure with the service stopped: an accelerator has one user at a time. A failure is not fatal."""
        if service.unit_property("ActiveState") not in ("inactive", "failed"):
            self._refuse_while_live()
            service.stop()
        done = self._run_release("-m", "appliance.on_update", "measure")
        message = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
        summary.say(message if done.returncode == 0 else f"not measured, so the CPU is used: {message}")

    def _run_release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python of the current release in the sandbox, with the service's state."""
        sandbox = Sandbox(self._layout.current, self._layout.state, root=self._layout.root)
        return sandbox.run_captured(str(self._layout.current / "venv/bin/python"), *arguments)

    # --- the service ---

    def _plan_service(self) -> str:
        if self._changed or not service.all_running() or not service.is_enabled():
            return "the service: check, enable, start"
        return ""

    def _apply_service(self) -> None:
        service.reload_system_files()
        self._refuse_while_live()
        if fault := self._check():
            raise UserError(f"installed, but the check fails, so the service is not started: {fault}")
        os.sync()  # if the service is enabled, everything is on the disk, even after a power cut
        service.enable()
        try:
            service.restart()
        except DeviceError as error:
            if not (self._given and self._given.is_applied):
                raise
            self._given.revert(str(error))
            service.restart()

    def _refuse_while_live(self) -> None:
        if not self._options.now:
            _running(self._layout).require_no_live_session()

    def _check(self, config: Path | None = None) -> str:
        """What the service finds wrong with the owner's settings, or with those in `config`."""
        done = self._run_release("-m", "appliance", "check", *(("--config", str(config)) if config else ()))
        return last_error(done.stderr or done.stdout) if done.returncode else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the installer; returns the exit code."""
    options = _parser().parse_args(arguments)
    layout = Layout()
    os.umask(0o022)  # the service's user must be able to read installed files, whatever root's umask is
    try:
        if options.uninstall:
            uninstall.need_root()
            _acquire_lock(layout)
            uninstall.uninstall(layout, check=options.check)
            return 0
        return _install(options, layout)
    except DeviceError as error:
        print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"{PROGRAM}: {error}; correct that and run it again", file=sys.stderr)
        return FAULT


def _install(options: argparse.Namespace, layout: Layout) -> int:
    uninstall.need_root()
    _acquire_lock(layout)
    if (layout.opt / CHANGING).exists():
        raise UserError("an update was interrupted; run sudo interview-grader-update recover, then try again")
    if not options.check:
        shutil.rmtree(layout.unpacking, ignore_errors=True)  # else it would count as used space
        Releases(layout.opt).sweep()
    found = board.find_board()
    needs_mb = _REPAIR_MB if layout.current.exists() else board.NEEDS_MB
    if reasons := board.missing_requirements(layout.opt, needs_mb=needs_mb):
        raise UserError("; ".join(reasons))
    if gone := Releases(layout.opt).python_mismatch():
        raise UserError(gone)
    summary.say(f"the board: {found.name} ({found.model})")
    with open_source(options, layout) as source:
        installation = Installation(options, layout, source, found)
        changed = installation.run()
    if options.check:
        summary.say("nothing was changed" if changed else "nothing would change")
        return 0
    summary.print_ready(layout, _running(layout).wait_until_answering(), installation.settings_fault)
    summary.say("done" if changed else "nothing was changed: everything was as it should be")
    return 0


def _running(layout: Layout) -> RunningRelease:
    return RunningRelease(Sandbox(layout.current, layout.state, root=layout.root))


def _acquire_lock(layout: Layout) -> None:
    """Keep other installations and updates out until this process has ended."""
    lock.acquire(
        layout.opt / lock.NAME if layout.opt.is_dir() else layout.root / "run" / f"{USER}-{lock.NAME}"
    )


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="Install the appliance on this board, or repair it.")
    parser.add_argument("--check", action="store_true", help="only report what would change")
    parser.add_argument("--uninstall", action="store_true", help="remove everything but the owner's data")
    parser.add_argument(
        "--offline", type=Path, metavar="BUNDLE", help="install this bundle, without the network"
    )
    parser.add_argument(
        "--signers",
        type=Path,
        metavar="FILE",
        help="public keys of the signers this device trusts (default: unchanged)",
    )
    parser.add_argument(
        "--package",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a .deb file that the distribution does not have, such as libedgetpu1-std",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="the device's name: NAME.local on the network (default: replace a factory name)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NETWORK",
        help="allow traffic with another network, such as 203.0.113.0/24",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the owner's settings, if the device has none yet"
    )
    log = parser.add_mutually_exclusive_group()
    for name, text, words in (
        ("--keep-log", generated_files.KEPT_LOG, "keep up to 64 MB of the system's log across restarts"),
        ("--volatile-log", generated_files.VOLATILE_LOG, "keep it in memory, as on Raspberry Pi OS"),
    ):
        log.add_argument(name, dest="log", action="store_const", const=text, help=words)
    parser.add_argument("--now", action="store_true", help="even while a session is live or recording")
    return parser
