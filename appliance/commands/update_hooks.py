"""Hooks of a release that updaters of every release call: `python -m appliance.on_update COMMAND`.

`try` reads the demo clip through all engines and migrates a copy of the records; `fit` downgrades records
that a newer version migrated; `note` records the outcome of an update. `unmeasured` and `measure` concern the
engines from which `auto` chooses; the installer calls them too. All run as the service's user. Their output
is for people: programs use the exit code, and for `unmeasured` whether there is any output.
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
from appliance.commands.analyze.command import analyze
from appliance.commands.analyze.reading import Options
from appliance.commands.arguments import Parser
from appliance.commands.bench.engines import rank_if_due
from appliance.composition.engine import why_measure
from appliance.composition.reader import make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, find_state_dir, load_config
from appliance.errors import ApplianceError, ModelError
from appliance.records.store.downgrade import downgrade, remove_trials, try_migration
from appliance.system import last_update, native
from appliance.system.resources import demo_clip
from appliance.system.terminal import escaped_output

_FRAME_STEP = 10
"""Only every tenth frame of the demo clip is read, because even that takes seconds on a board."""


def main(arguments: list[str] | None = None) -> int:
    """Run one hook; returns 0, or 1 after one line on standard error."""
    native.prepare()
    with escaped_output():
        return _main(arguments)


def _main(arguments: list[str] | None) -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    options = _parser().parse_args(arguments)
    try:
        remove_trials(find_state_dir(None, os.environ))
        print(options.function(load_config(ConfigOptions()), options))
        return 0
    except (ApplianceError, OSError) as error:
        print(f"interview-grader: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _test_release(config: Config, options: argparse.Namespace) -> str:
    return f"demo clip: {_read_demo_clip(config)}; records: {try_migration(config.state_dir)}"


def _read_demo_clip(config: Config) -> str:
    """Count the faces and expressions that are read in the demo clip; raises `ModelError` without any."""
    out = io.StringIO()
    counts = analyze(
        [demo_clip()], make_reader(config), Options(every=_FRAME_STEP, jsonl=True), out, progress=False
    )
    frames = [json.loads(line) for line in out.getvalue().splitlines()]
    faces = [face for frame in frames for face in frame["faces"]]
    read = [face for face in faces if face["emotions"]]
    if counts.failed or not read:
        raise ModelError(
            f"{demo_clip()}: {len(frames)} frames, {len(faces)} faces, {len(read)} expressions:"
            " expected at least one expression"
        )
    return f"{len(frames)} frames, {len(faces)} faces, {len(read)} expressions"


def _downgrade_records(config: Config, options: argparse.Namespace) -> str:
    return downgrade(config.state_dir)


def _record_outcome(config: Config, options: argparse.Namespace) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    last = last_update.LastUpdate(options.version, options.wanted, options.outcome, now, options.reason)
    last_update.save_last_update(config.state_dir, last)
    if not last.worked:  # a version that started logs its own start
        details = {"outcome": last.outcome, "wanted": last.wanted, "reason": last.reason}
        AuditLog(config.state_dir).require("update", "shell", **details)
    return last.summary()


def _why_unmeasured(config: Config, options: argparse.Namespace) -> str:
    return why_measure(config)


def _measure_engines(config: Config, options: argparse.Namespace) -> str:
    return rank_if_due(config, ["--data-dir", str(config.state_dir)])


def _parser() -> Parser:
    parser = Parser(prog="python -m appliance.on_update")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("try").set_defaults(function=_test_release)
    commands.add_parser("fit").set_defaults(function=_downgrade_records)
    commands.add_parser("unmeasured").set_defaults(function=_why_unmeasured)
    commands.add_parser("measure").set_defaults(function=_measure_engines)
    note = commands.add_parser("note")
    for name in ("version", "wanted"):
        note.add_argument(f"--{name}", required=True)
    note.add_argument("--outcome", choices=last_update.OUTCOMES, required=True)
    note.add_argument("--reason", default="")
    note.set_defaults(function=_record_outcome)
    return parser
