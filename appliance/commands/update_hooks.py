"""What the updater asks of a release, run by that release's own code: `python -m appliance.on_update`.

`try` reads the demo clip through all engines and migrates a copy of the records; `fit` makes records that a
newer version had readable again; `note` writes down how an update ended. `unmeasured` and `measure` are for
the engines, where `auto` chooses among them; the installer asks for them too. Run as the user of the service.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from datetime import datetime, timezone

from appliance.audit import AuditLog
from appliance.commands.analyze.command import Options, analyze
from appliance.commands.arguments import Parser
from appliance.commands.bench.engines import rank_and_keep
from appliance.composition.appliance import make_reader
from appliance.composition.engine import why_measure
from appliance.configuration.layers import Request
from appliance.configuration.load import Config, load, state_dir
from appliance.errors import ApplianceError, ModelError
from appliance.records.store.downgrade import fit, forget_trials, try_migration
from appliance.system import last_update, native
from appliance.system.resources import demo_clip
from appliance.system.terminal import escaped_output

_EVERY = 10
"""Of the demo clip's frames; a board reads them all in seconds."""


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when done, 1 with one line on standard error when not."""
    native.prepare()
    with escaped_output():
        return _main(arguments)


def _main(arguments: list[str] | None) -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        forget_trials(state_dir(None, os.environ))
        print(options.function(load(Request()), options))
        return 0
    except (ApplianceError, OSError) as error:
        print(f"interview-grader: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _try(config: Config, options: argparse.Namespace) -> str:
    return f"demo clip: {_read_demo(config)}; records: {try_migration(config.state_dir)}"


def _read_demo(config: Config) -> str:
    """Faces found and expressions read in the demo clip; raises `ModelError` when there are none."""
    out = io.StringIO()
    tally = analyze(
        [demo_clip()], make_reader(config), Options(every=_EVERY, jsonl=True), out, progress=False
    )
    frames = [json.loads(line) for line in out.getvalue().splitlines()]
    faces = [face for frame in frames for face in frame["faces"]]
    read = [face for face in faces if face["emotions"]]
    if tally.failed or not read:
        raise ModelError(
            f"{demo_clip()}: {len(frames)} frames, {len(faces)} faces, {len(read)} expressions: expected some"
        )
    return f"{len(frames)} frames, {len(faces)} faces, {len(read)} expressions"


def _fit(config: Config, options: argparse.Namespace) -> str:
    return fit(config.state_dir)


def _note(config: Config, options: argparse.Namespace) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    last = last_update.LastUpdate(options.version, options.wanted, options.outcome, now, options.reason)
    last_update.keep(config.state_dir, last)
    if not last.worked:  # another version tells its start itself, however it got there
        details = {"outcome": last.outcome, "wanted": last.wanted, "reason": last.reason}
        AuditLog(config.state_dir).append("update", "shell", **details)
    return last.words()


def _unmeasured(config: Config, options: argparse.Namespace) -> str:
    return why_measure(config)


def _measure(config: Config, options: argparse.Namespace) -> str:
    if not why_measure(config):
        return ""
    found = rank_and_keep(config, ["--data-dir", str(config.state_dir)])
    told = [f"{each.name} {each.ms:.1f} ms" for each in found.engines if each.ms is not None]
    return f"engines: {', '.join(told)}; auto takes {found.best.name if found.best else 'the CPU'}"


def _parser() -> Parser:
    parser = Parser(prog="python -m appliance.on_update")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("try").set_defaults(function=_try)
    commands.add_parser("fit").set_defaults(function=_fit)
    commands.add_parser("unmeasured").set_defaults(function=_unmeasured)
    commands.add_parser("measure").set_defaults(function=_measure)
    note = commands.add_parser("note")
    for name in ("version", "wanted"):
        note.add_argument(f"--{name}", required=True)
    note.add_argument("--outcome", choices=last_update.OUTCOMES, required=True)
    note.add_argument("--reason", default="")
    note.set_defaults(function=_note)
    return parser
