"""The command `evaluate`: measures the models on the owner's pictures, in comparable figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.commands.arguments import FAULT, PROGRAM, Commands, add_jobs, config_options, load_config


def add_commands(commands: Commands) -> None:
    """Add `evaluate`."""
    parser = commands.add_parser(
        "evaluate", parents=[config_options()], help="measure the models on your own labelled pictures"
    )
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="folder with a sub-folder for each expression, or a CSV or JSON file",
    )
    parser.add_argument("--faces", action="store_true", help="measure the detector on annotated faces")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="find the largest face in each picture (default: each picture is one cropped face)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures as JSON; - is standard output"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts")
    parser.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="omit pictures of people from the page"
    )
    add_jobs(parser)
    parser.set_defaults(function=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    config = load_config(options)
    from appliance.commands.evaluate.command import EvaluateOptions, evaluate

    names = ("path", "faces", "whole", "json", "html", "pictures", "jobs")
    wanted = EvaluateOptions(**{name: getattr(options, name) for name in names})
    counts = evaluate(config, wanted, progress=sys.stderr.isatty())
    print(f"{PROGRAM}: {counts.summary()}", file=sys.stderr)
    return FAULT if counts.failed else 0
