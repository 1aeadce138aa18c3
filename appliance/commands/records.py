"""The commands about records: `sessions`, `backup`, `restore` and `audit`."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from appliance.commands.arguments import Commands, config_options, load_retention
from appliance.errors import ConfigError, StateConflict, StoreError
from appliance.system.files import atomic_write
from appliance.system.native import as_owner
from appliance.system.terminal import print_line

if TYPE_CHECKING:
    from appliance.audit import AuditLog
    from appliance.configuration.load import RetentionConfig
    from appliance.records import SessionRecord, Store

log = logging.getLogger("appliance.records")

PASSPHRASE = "INTERVIEW_GRADER_PASSPHRASE"
"""Environment variable for scripts. Never an argument, which every user of the machine could see."""


def add_commands(commands: Commands) -> None:
    """Add `sessions`, `backup`, `restore` and `audit`."""
    common = config_options()
    sessions = commands.add_parser("sessions", help="list, show, export or erase recorded sessions")
    actions = sessions.add_subparsers(dest="action", required=True, metavar="ACTION")
    show_all = actions.add_parser("list", parents=[common], help="list all sessions, newest first")
    show = actions.add_parser("show", parents=[common], help="summarise one session")
    export = actions.add_parser("export", parents=[common], help="export one session as JSON, CSV or PDF")
    erase = actions.add_parser("erase", parents=[common], help="erase one session and its copies")
    salvage = actions.add_parser(
        "salvage", parents=[common], help="import the readable part of a damaged file"
    )
    salvage.add_argument("file", type=Path, metavar="FILE")
    for parser in (show, export, erase):
        parser.add_argument("id", metavar="ID")
    export.set_defaults(kind="json")
    kinds = export.add_mutually_exclusive_group()
    for kind in ("csv", "json", "pdf"):
        kinds.add_argument(
            f"--{kind}", dest="kind", action="store_const", const=kind, help=f"as {kind.upper()}"
        )
    export.add_argument("-o", dest="output", type=Path, metavar="FILE", help="write to FILE")

    backup = commands.add_parser("backup", parents=[common], help="write all records to one encrypted file")
    restore = commands.add_parser("restore", parents=[common], help="import the records of a backup")
    for parser in (backup, restore):
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument(
            "--passphrase-file",
            type=Path,
            metavar="FILE",
            help=f"read the passphrase from the first line of FILE (default: {PASSPHRASE}, or a prompt)",
        )

    audit = commands.add_parser("audit", help="verify or show the audit log")
    looks = audit.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = looks.add_parser("verify", parents=[common], help="check that no line was changed or removed")
    show_log = looks.add_parser("show", parents=[common], help="print every entry")

    functions = {
        show_all: _list,
        show: _show,
        export: _export,
        erase: _erase,
        salvage: _salvage,
        backup: _backup,
        restore: _restore,
        verify: _verify_audit,
        show_log: _show_audit,
    }
    for parser, function in functions.items():
        parser.set_defaults(
            function=lambda options, function=function: function(options, load_retention(options))
        )


@contextlib.contextmanager
def _opened(config: RetentionConfig) -> Iterator[tuple[Store, AuditLog]]:
    from appliance.audit import AuditLog
    from appliance.composition.store import make_store

    if config.doubt:
        days = config.storage.keep_days
        log.warning("%s; until that is corrected, records are kept for %d days", config.doubt, days)
    with as_owner(config.state_dir):
        audit = AuditLog(config.state_dir)
        store = make_store(config.storage, config.state_dir, audit)
        try:
            yield store, audit
        finally:
            store.close()


def _list(options: argparse.Namespace, config: RetentionConfig) -> int:
    from appliance.records.export.tables import format_length, format_local

    with _opened(config) as (store, _audit):
        for summary in store.sessions():
            until = (
                f"expires {format_local(summary.expires)}" if summary.ended is not None else "being recorded"
            )
            began, length = format_local(summary.recorded), format_length(summary.seconds)
            print_line(f"{summary.id}  {began}  {length:>6}  {until}  {summary.label}".rstrip())
    return 0


def _show(options: argparse.Namespace, config: RetentionConfig) -> int:
    with _opened(config) as (store, _audit):
        for line in _session_lines(_find(store, options.id)):
            print_line(line)
    return 0


def _session_lines(session: SessionRecord) -> Iterator[str]:
    from appliance.records.export.tables import deletion_text, format_length, format_local
    from appliance.values import shown_name

    summary = session.summary
    began, length = format_local(summary.recorded), format_length(summary.seconds)
    yield f"{summary.id}  {began}  {length} min  {summary.label}".rstrip()
    if summary.note:
        yield summary.note
    yield f"notice version {summary.notice_version}"
    yield deletion_text(summary)
    for totals in session.seconds.totals():
        means = ", ".join(f"{shown_name(name)} {value:.2f}" for name, value in (totals.means or {}).items())
        frames = f"{totals.scored} of {totals.frames} frames"
        yield f"person {totals.person}: {means or 'not readable'} ({frames})"
    for marker in session.markers:
        yield f"{format_length(int(marker.at))} {marker.text}"


def _export(options: argparse.Namespace, config: RetentionConfig) -> int:
    from appliance.records.export import export_session

    if options.kind == "pdf" and not options.output and sys.stdout.isatty():
        raise ConfigError("the terminal cannot show a PDF; add -o FILE", key="sessions export")
    # Opened before switching to the state's owner: the file belongs to the caller.
    with _output(options.output) as output, _opened(config) as (store, audit):
        session = _find(store, options.id)
        audit.require("export", "shell", session=session.summary.id, format=options.kind)
        for block in export_session(session, options.kind):
            output.write(block)
    return 0


def _erase(options: argparse.Namespace, config: RetentionConfig) -> int:
    with _opened(config) as (store, audit):
        _find(store, options.id)
        try:
            store.erase(options.id)
        except StateConflict as error:
            raise ConfigError(str(error), key="ID", value=options.id) from error
        audit.require("erase", "shell", session=options.id)
        print_line(f"erased {options.id}")
    return 0


def _salvage(options: argparse.Namespace, config: RetentionConfig) -> int:
    file: Path = options.file
    with _opened(config) as (store, _audit):
        if not file.is_file():
            raise ConfigError("expected a damaged file of records", key="FILE", value=str(file))
        if store.path.exists() and file.samefile(store.path):
            raise ConfigError(
                "is the file in use; expected one that was set aside", key="FILE", value=str(file)
            )
        done = store.salvage(file)
        if not done.sessions + done.erased + done.old:
            raise StoreError(f"{file}: contains no readable session")
        print_line(
            f"salvaged {done.rows} rows of {done.sessions} sessions, {done.nameless} of these without date "
            f"and notice; skipped {done.erased} erased, {done.old} older than storage.keep_days"
        )
    return 0


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    """The file of an export, standard output for None."""
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
    elif path.exists() and not path.is_file():
        with path.open("wb") as file:  # a pipe or a device cannot be replaced
            yield file
    else:
        with atomic_write(path.resolve()) as file:  # where a link leads
            yield file


def _find(store: Store, id: str) -> SessionRecord:
    session = store.session(id)
    if session is None:
        raise ConfigError("unknown session; see `sessions list`", key="ID", value=id)
    return session


def _backup(options: argparse.Namespace, config: RetentionConfig) -> int:
    if options.file.exists():
        raise ConfigError("already exists; choose another name", key="FILE", value=str(options.file))
    passphrase = _passphrase(options, twice=True)
    # The service of an installed device is sandboxed: it can delete nothing elsewhere.
    within = not config.sandboxed or config.state_dir.resolve() in options.file.resolve().parents
    with _opened(config) as (store, audit):
        count = store.backup(options.file, passphrase, followed=within)
        audit.require("backup", "shell", action="made", sessions=count)
    fate = (
        "erasing one of these sessions also deletes this file"
        if within
        else "it stays until you delete it, also when one of these sessions is erased: the service can "
        f"delete backups only in {config.state_dir}"
    )
    print_line(f"{count} sessions in {options.file}; {fate}")
    return 0


def _restore(options: argparse.Namespace, config: RetentionConfig) -> int:
    if not options.file.is_file():
        raise ConfigError("expected a backup file", key="FILE", value=str(options.file))
    if config.doubt:
        raise ConfigError(f"{config.doubt}; it decides what is too old to restore: correct it first")
    passphrase = _passphrase(options, twice=False)
    with _opened(config) as (store, audit):
        done = store.restore(options.file, passphrase)
        audit.require("backup", "shell", action="restored", sessions=done.taken)
    print_line(
        f"restored {done.taken} sessions; skipped {done.here} that exist already, {done.erased} erased, "
        f"{done.old} older than storage.keep_days"
    )
    return 0


def _passphrase(options: argparse.Namespace, *, twice: bool) -> str:
    if options.passphrase_file is not None:
        try:
            lines = options.passphrase_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot be read ({error})", key="--passphrase-file") from error
        return str(lines[0]) if lines else ""
    if PASSPHRASE in os.environ:
        return os.environ[PASSPHRASE]
    if not sys.stdin.isatty():
        raise ConfigError(f"no passphrase: set {PASSPHRASE}, or use --passphrase-file FILE")
    given = getpass.getpass("Passphrase: ")
    if twice and getpass.getpass("Again: ") != given:
        raise ConfigError("the passphrases do not match; try again")
    return given


def _show_audit(options: argparse.Namespace, config: RetentionConfig) -> int:
    from appliance.audit import AuditLog

    known = ("n", "time", "event", "who", "hash")
    for entry in AuditLog(config.state_dir).entries():
        details = " ".join(f"{name}={value}" for name, value in entry.items() if name not in known)
        print_line(f"{entry.get('time')}  {entry.get('event')}  {entry.get('who')}  {details}".rstrip())
    return 0


def _verify_audit(options: argparse.Namespace, config: RetentionConfig) -> int:
    from appliance.audit import AuditLog

    log = AuditLog(config.state_dir)
    verdict = log.verify()
    if verdict.fault:
        raise StoreError(f"{log.path}: {verdict.fault}; {verdict.lines} lines before it are intact")
    torn = f", {verdict.torn} left unfinished by a power cut" if verdict.torn else ""
    last = f"; last hash: {verdict.last}" if verdict.last else ""
    print_line(f"{verdict.lines} lines, all intact{torn}{last}")
    return 0
