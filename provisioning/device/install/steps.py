"""`setup.sh install`: what an installed device has, step by step. A step without work changes nothing."""

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
from device.errors import FAULT, DeviceError, Refused, told
from device.install import summary, uninstall
from device.install.given_settings import GivenSettings
from device.install.source import Source, signers_of, source_of
from device.install.undo_record import Record
from device.layout import USER, Places
from device.system import accounts, board, generated_files, hostname, lock, packages, release_files, service
from device.system.sandbox import Confined
from device.system.status import RunningRelease
from device.text import printable
from device.update.journal import CHANGING
from device.update.releases import Releases

PROGRAM = "setup.sh install"
_MENDING_MB = 50
"""Room that is enough where a release is installed already."""


@dataclass(frozen=True)
class Step:
    """`todo` says in words what would change, "" if nothing would; `do` changes it."""

    todo: Callable[[], str]
    do: Callable[[], None]


class Installation:
    """The steps on one device."""

    def __init__(
        self, options: argparse.Namespace, places: Places, source: Source, found: board.Board
    ) -> None:
        self._options, self._places, self._source, self._board = options, places, source, found
        self._record = Record(places.record)
        self._name = hostname.wanted_name(options.name)
        self._network = generated_files.networks(places, options.allow)
        self._signers = signers_of(options, places, source)
        self._given = GivenSettings(options.config, places, self._check) if options.config else None
        self._changed: list[str] = []

    def run(self) -> list[str]:
        """Do every step that has something to do; returns what was changed."""
        if words := hostname.renaming(self._name, self._options.name):
            summary.say(words)
        if self._given and (words := self._given.kept()):
            summary.say(words)
        for step in self._steps():
            if words := step.todo():
                self._changed.append(words)
                summary.say(f"would change: {words}" if self._options.check else words)
                if not self._options.check:
                    step.do()
        return self._changed

    @property
    def settings_fault(self) -> str:
        """Why the settings that were given are not used, "" if they are or none were given."""
        return self._given.fault if self._given else ""

    def _steps(self) -> list[Step]:
        steps = [
            Step(self._packages_todo, self._packages_do),
            Step(self._package_files_todo, self._package_files_do),
            Step(self._source.todo, self._release_do),
            Step(self._files_todo, self._files_do),
            Step(self._accounts_todo, self._accounts_do),
            *([self._written(self._signers, "whose releases it takes")] if self._signers else []),
            self._written(generated_files.announcement(self._places), "the announcement on the network"),
            Step(self._name_todo, lambda: hostname.rename(self._name, self._record)),
        ]
        if self._options.allow:
            steps.append(self._written(self._network, f"networks allowed: {' '.join(self._options.allow)}"))
        if self._options.log:
            log = generated_files.log(self._places, self._options.log)
            steps.append(
                Step(
                    lambda: "" if log.is_there() else "where the log is kept",
                    lambda: generated_files.use_log(log),
                )
            )
        if self._given:
            steps.append(Step(self._given.todo, self._given.take))
        return [
            *steps,
            Step(self._engines_todo, self._engines_do),
            Step(self._service_todo, self._service_do),
        ]

    # --- packages ---

    def _packages(self) -> tuple[list[packages.Package], list[packages.Package]]:
        wanted = packages.read_packages(self._source.boards, self._board.name)
        return packages.to_be_had(packages.missing(wanted), offline=self._source.offline)

    def _packages_todo(self) -> str:
        to_install, absent = self._packages()
        changing = not (self._options.check or self._source.offline)
        if changing and (any(each.needed for each in absent) or not packages.has_lists()):
            packages.update_lists()
            to_install, absent = self._packages()
        packages.refuse_without(absent)
        for each in absent:
            summary.say(f"goes without {each.name}: {each.purpose}")
        return f"packages: {' '.join(each.name for each in to_install)}" if to_install else ""

    def _packages_do(self) -> None:
        packages.install(self._packages()[0])

    def _package_files_todo(self) -> str:
        files = packages.to_install(self._options.package)
        return f"package files: {' '.join(path.name for path in files)}" if files else ""

    def _package_files_do(self) -> None:
        packages.install_files(packages.to_install(self._options.package))

    # --- release, files, accounts ---

    def _release_do(self) -> None:
        self._places.opt.mkdir(parents=True, exist_ok=True)
        self._source.install()

    def _files(self) -> list[release_files.Copy | release_files.Link]:
        return release_files.all_files(self._places, self._board.name, self._source.folder)

    def _files_todo(self) -> str:
        files = self._files()
        wrong = [file.path for file in files if not file.is_there()] + release_files.stale(
            self._places, files
        )
        return f"{len(wrong)} files of the system, such as {wrong[0]}" if wrong else ""

    def _files_do(self) -> None:
        release_files.place(self._places, self._files())

    def _accounts_todo(self) -> str:
        lacking = accounts.lacking(self._sysusers())
        folders = [
            each for each in (self._places.config, self._places.config / "secrets") if not each.is_dir()
        ]
        if not accounts.owns(USER, self._places.state):
            folders.append(self._places.state)
        return ", ".join([*lacking, *(f"folder {each}" for each in folders)])

    def _accounts_do(self) -> None:
        accounts.make(self._sysusers(), self._record)
        self._places.state.mkdir(mode=0o700, parents=True, exist_ok=True)  # before the service's first start
        self._places.state.chmod(0o700)
        if not accounts.owns(USER, self._places.state):
            user = pwd.getpwnam(USER)
            accounts.give(self._places.state, user.pw_uid, user.pw_gid)
        service.reload()

    def _sysusers(self) -> list[Path]:
        return release_files.sysusers(self._source.folder, self._board.name)

    # --- what is written ---

    @staticmethod
    def _written(file: generated_files.Written, words: str) -> Step:
        return Step(lambda: "" if file.is_there() else words, file.make)

    def _name_todo(self) -> str:
        now = hostname.present_name()
        return "" if now == self._name else f"the device's name: {self._name}, was {now}"

    # --- the engines ---

    def _engines_todo(self) -> str:
        if self._options.check and self._changed:
            return ""  # nobody can ask a release that is not here yet
        due = self._ask_release("-m", "appliance.on_update", "unmeasured").stdout.strip()
        return f"the engines: measure, as {due}" if due else ""

    def _engines_do(self) -> None:
        """With the service stopped: an accelerator has one user at a time. It can go without."""
        if service.show("ActiveState") not in ("inactive", "failed"):
            self._refuse_while_live()
            service.stop()
        done = self._ask_release("-m", "appliance.on_update", "measure")
        said = (done.stdout.strip() or done.stderr.strip() or "nothing was said").splitlines()[-1]
        summary.say(said if done.returncode == 0 else f"not measured, so the CPU is taken: {said}")

    def _ask_release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python of the current release as the service does, with the service's state."""
        confined = Confined(self._places.current, self._places.state, root=self._places.root)
        return confined.ask(str(self._places.current / "venv/bin/python"), *arguments)

    # --- the service ---

    def _service_todo(self) -> str:
        if self._changed or not service.is_active() or not service.is_enabled():
            return "the service: check, enable, start"
        return ""

    def _service_do(self) -> None:
        service.reload()
        self._refuse_while_live()
        if fault := self._check():
            raise Refused(f"installed, but the check fails, so the service is not started: {fault}")
        os.sync()  # where the service is enabled all of it is there, also after a power cut
        service.enable()
        try:
            service.restart()
        except DeviceError as error:
            if not (self._given and self._given.is_taken):
                raise
            self._given.give_back(str(error))
            service.restart()

    def _refuse_while_live(self) -> None:
        if not self._options.now:
            _running(self._places).refuse_while_live()

    def _check(self, config: Path | None = None) -> str:
        """What is wrong with the owner's settings, or those in `config`, as the service finds it."""
        done = self._ask_release("-m", "appliance", "check", *(("--config", str(config)) if config else ()))
        return told(done.stderr or done.stdout) if done.returncode else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the installer; returns the exit code."""
    options = _parser().parse_args(arguments)
    places = Places()
    os.umask(0o022)  # the service's user reads what is installed, whatever the shell of root is set to
    try:
        if options.uninstall:
            uninstall.need_root()
            _alone(places)
            uninstall.uninstall(places, check=options.check)
            return 0
        return _install(options, places)
    except DeviceError as error:
        print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"{PROGRAM}: {error}; correct that and run it again", file=sys.stderr)
        return FAULT


def _install(options: argparse.Namespace, places: Places) -> int:
    uninstall.need_root()
    _alone(places)
    if (places.opt / CHANGING).exists():
        raise Refused("an update was interrupted: sudo interview-grader-update recover, then again")
    if not options.check:
        shutil.rmtree(places.unpacking, ignore_errors=True)  # or it would count as room that is taken
        Releases(places.opt).sweep()
    found = board.find_board()
    needs_mb = _MENDING_MB if places.current.exists() else board.NEEDS_MB
    if reasons := board.objections(places.opt, needs_mb=needs_mb):
        raise Refused("; ".join(reasons))
    if gone := Releases(places.opt).python_gone():
        raise Refused(gone)
    summary.say(f"the board: {found.name} ({found.model})")
    with source_of(options, places) as source:
        installation = Installation(options, places, source, found)
        changed = installation.run()
    if options.check:
        summary.say("nothing was changed" if changed else "nothing would change")
        return 0
    summary.print_ready(places, _running(places).wait_until_answering(), installation.settings_fault)
    summary.say("done" if changed else "nothing was changed: everything was as it should be")
    return 0


def _running(places: Places) -> RunningRelease:
    return RunningRelease(Confined(places.current, places.state, root=places.root))


def _alone(places: Places) -> None:
    """Nobody else changes what is installed until this has ended."""
    lock.hold(places.opt / lock.NAME if places.opt.is_dir() else places.root / "run" / f"{USER}-{lock.NAME}")


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="Make this board a device; again, to mend it.")
    parser.add_argument("--check", action="store_true", help="only say what would change")
    parser.add_argument("--uninstall", action="store_true", help="remove everything but the owner's data")
    parser.add_argument(
        "--offline", type=Path, metavar="BUNDLE", help="from this bundle, without the network"
    )
    parser.add_argument(
        "--signers",
        type=Path,
        metavar="FILE",
        help="public keys of the signers this device trusts (default: as before)",
    )
    parser.add_argument(
        "--package",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a .deb file that the distribution does not have, as libedgetpu1-std",
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="the device's name: NAME.local on the network (default: a factory name goes)",
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="NETWORK", help="a further network, as 203.0.113.0/24"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the owner's settings, if the device has none yet"
    )
    log = parser.add_mutually_exclusive_group()
    for name, text, words in (
        ("--keep-log", generated_files.KEPT_LOG, "keep the system's log over restarts, up to 64 MB of it"),
        ("--volatile-log", generated_files.VOLATILE_LOG, "keep it in memory, as Raspberry Pi OS does anyway"),
    ):
        log.add_argument(name, dest="log", action="store_const", const=text, help=words)
    parser.add_argument("--now", action="store_true", help="also while a session is live or recording")
    return parser
