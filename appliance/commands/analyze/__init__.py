"""The command `analyze`: files in, readings out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.commands.arguments import (
    FAULT,
    PROGRAM,
    Commands,
    add_jobs,
    config_options,
    load_config,
    positive,
)

_MOST_FPS = 10_000


def add_commands(commands: Commands) -> None:
    """Add `analyze`."""
    parser = commands.add_parser(
        "analyze", parents=[config_options()], help="analyse pictures, videos, or folders of both"
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a picture, a video, a folder of both, or - for standard input",
    )
    parser.add_argument("--crops", action="store_true", help="each picture is one cropped face")
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N", help="read every Nth frame of a video"
    )
    parser.add_argument(
        "--fps", type=_rate, metavar="N", help="frame rate of a video without timestamps (default: 25)"
    )
    parser.add_argument(
        "--same-person",
        action="store_true",
        help="all pictures show one person; what they have in common is no expression. Written last",
    )
    parser.add_argument("--recursive", action="store_true", help="include sub-folders")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--jsonl", action="store_true", help="write one JSON object for each picture or frame")
    form.add_argument("--csv", action="store_true", help="write a table with one row for each face")
    parser.add_argument(
        "--summary",
        action="store_true",
        help="write one line for each person in a video instead of each frame",
    )
    add_jobs(parser)
    parser.set_defaults(function=_analyze)


def _analyze(options: argparse.Namespace) -> int:
    config = load_config(options)
    from appliance.commands.analyze.command import analyze
    from appliance.commands.analyze.reading import Options
    from appliance.commands.jobs import choose_jobs
    from appliance.composition.reader import make_reader

    names = ("crops", "every", "fps", "recursive", "jsonl", "csv", "summary", "same_person")
    wanted = Options(**{name: getattr(options, name) for name in names})
    paths = [_input(text) for text in options.paths]
    reader = make_reader(config)
    jobs = choose_jobs(options.jobs, config, reader)
    counts = analyze(paths, reader, wanted, sys.stdout, sys.stderr.isatty(), jobs)
    print(f"{PROGRAM}: {counts.summary()}", file=sys.stderr)
    return FAULT if counts.failed else 0


def _input(text: str) -> Path:
    from appliance.media.inputs import STDIN

    return STDIN if text == "-" else Path(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= _MOST_FPS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0, at most {_MOST_FPS}")
    return rate
