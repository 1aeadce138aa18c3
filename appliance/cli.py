"""The command line. Heavy parts are imported by the command that needs them."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.commands import access
from appliance.commands.arguments import PROGRAM, USER, Parser
from appliance.commands.records import add_commands as add_records_commands
from appliance.errors import ApplianceError, ConfigError, ConfigErrors, ModelError
from appliance.system import logging as journal
from appliance.system import native, terminal
from appliance.system.files import check_writable
from appliance.system.signals import stop_on_signals

if TYPE_CHECKING:
    from appliance.commands.reporting import RunCounts
    from appliance.configuration.layers import Request
    from appliance.configuration.load import Config, Keeping
    from appliance.consent.terms import Terms

_FAULT = 1

_MOST_FPS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0 when done, 1 for a fault, 2 when the user must change something."""
    native.prepare()
    has_output = native.open_streams()
    with terminal.escaped_output():
        return _main(arguments, has_output)


def _main(arguments: list[str] | None, has_output: bool) -> int:
    options = make_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        handlers=journal.handlers(os.environ),
    )
    if options.command not in ("run", "check"):
        logging.getLogger("appliance").setLevel(logging.WARNING)
    try:
        if not has_output and options.command != "run":
            raise ConfigError(
                "standard output is closed; give this command a place to write to, or /dev/null"
            )
        code = int(options.function(options))
        sys.stdout.flush()  # a full disk shows here, not after the end
        return code
    except ApplianceError as error:
        if options.debug:
            raise
        _complain(error)
        return USER if isinstance(error, (ConfigError, ModelError)) else _FAULT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _abandon_output()  # its reader has gone
        return 0
    except OSError as error:
        if options.debug:
            raise
        _abandon_output()
        fault = f"{error.filename}: cannot be read or written ({error.strerror})" if error.filename else error
        print(f"{PROGRAM}: {fault}; make room or correct the place and try again", file=sys.stderr)
        return _FAULT


def _run(options: argparse.Namespace) -> int:
    with stop_on_signals() as stop:  # before the heavy imports: a stop during the start is in good order too
        config = _load(options)
        check_writable(config.state_dir)
        from appliance.daemon import Daemon

        return Daemon(config, stop).run(
            lambda url: print(f"Interview Grader is ready: open {url}", flush=True)
        )


def _analyze(options: argparse.Namespace) -> int:
    config = _load(options)
    from appliance.commands.analyze.command import Options, analyze
    from appliance.composition.appliance import make_reader

    names = ("crops", "every", "fps", "recursive", "jsonl", "csv", "summary")
    wanted = Options(**{name: getattr(options, name) for name in names})
    paths = [_input(text) for text in options.paths]
    return _end(analyze(paths, make_reader(config), wanted, sys.stdout, sys.stderr.isatty()))


def _evaluate(options: argparse.Namespace) -> int:
    config = _load(options)
    from appliance.commands.evaluate.command import EvaluateOptions, evaluate

    names = ("path", "faces", "whole", "json", "html", "pictures")
    wanted = EvaluateOptions(**{name: getattr(options, name) for name in names})
    return _end(evaluate(config, wanted, progress=sys.stderr.isatty()))


def _end(counts: RunCounts) -> int:
    """The last line of a command that read files, and its exit code."""
    print(f"{PROGRAM}: {counts.summary()}", file=sys.stderr)
    return _FAULT if counts.failed else 0


def _check(options: argparse.Namespace) -> int:
    config = _load(options)
    from appliance.commands.check_models import model_lines
    from appliance.composition.appliance import check_lamps, choose_camera, make_camera
    from appliance.composition.session import make_terms
    from appliance.composition.web import check_certificate
    from appliance.configuration.load import check_places

    check_places(config)
    models = model_lines(config)
    check_lamps(config)
    check_certificate(config)
    terms = make_terms(config)
    camera = choose_camera(config)
    missing = make_camera(camera).missing()
    check_writable(config.state_dir)
    for line in models:
        print(line)
    print(f"{'camera':<10} {camera.backend}{f', not there now: {missing}' if missing else ''}")
    print(f"{'lamps':<10} {config.lamps.backend}")
    print(f"{'notice':<10} {terms.notice.version}")
    print(f"{'used for':<10} {_used_for(terms)}")
    if terms.refusal:
        print(f"{'analysis':<10} off on a camera that shows people: {terms.refusal}")
    print(f"{'state in':<10} {config.state_dir}")
    print("all is well")
    return 0


def _used_for(terms: Terms) -> str:
    if not terms.settled:
        return "not said yet"
    institution = f", institution: {terms.institution}" if terms.institution else ""
    return f"{terms.purpose}, {terms.region}{institution}"


def _config(options: argparse.Namespace) -> int:
    from appliance.commands.show_config import lines

    for line in lines(_load(options), changed=options.changed):
        print(line)
    return 0


def _bench(options: argparse.Namespace) -> int:
    config = _load(options)
    passed_on = [word for text in options.set for word in ("--set", text)]
    if options.config:
        passed_on += ["--config", str(options.config)]
    with_state = [*passed_on, "--data-dir", str(config.state_dir)]
    if options.one:
        from appliance.commands.bench.engines import measure_one

        print(json.dumps(measure_one(config, options.one)))
        return 0
    from appliance.commands.bench import report
    from appliance.commands.bench.daemon import bench

    if options.engines:
        return report.engines(config, with_state)
    if options.report:
        return report.report(config, seconds=options.seconds, arguments=with_state, passed_on=passed_on)
    return bench(config, seconds=options.seconds, arguments=passed_on)


def _abandon_output() -> None:
    """What is still buffered can go nowhere; Python would try again at the end, and complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _load(options: argparse.Namespace) -> Config:
    from appliance.configuration.load import load

    return load(_request(options))


def _keeping(options: argparse.Namespace) -> Keeping:
    from appliance.configuration.load import load_keeping

    return load_keeping(_request(options))


def _state_dir(options: argparse.Namespace) -> Path:
    from appliance.configuration.load import state_dir

    return state_dir(options.data_dir, os.environ)


def _request(options: argparse.Namespace) -> Request:
    from appliance.configuration.layers import Request

    return Request(
        config=options.config,
        data_dir=options.data_dir,
        settings=options.set,
        camera=getattr(options, "camera", None),
        host=getattr(options, "host", None),
        port=getattr(options, "port", None),
    )


def _complain(error: ApplianceError) -> None:
    problems = error.problems if isinstance(error, ConfigErrors) else [error]
    for problem in problems:
        print(f"{PROGRAM}: {' '.join(str(problem).split())}", file=sys.stderr)


def make_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog=PROGRAM, description="Reads facial expressions on the device and shows them on a live page."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = _common()

    run = commands.add_parser("run", parents=[common], help="read the camera and serve the live page")
    run.add_argument(
        "--camera", metavar="BACKEND[:ARG]", help="auto, csi, usb, replay:PATH or demo (default: auto)"
    )
    run.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    run.add_argument("--port", help="port to listen on, 0 for a free one (default: 8080)")
    run.set_defaults(function=_run)

    _add_analyze(
        commands.add_parser("analyze", parents=[common], help="read pictures, videos, or folders of both")
    )

    _add_evaluate(
        commands.add_parser("evaluate", parents=[common], help="judge the models on your own pictures")
    )

    check = commands.add_parser(
        "check", parents=[common], help="validate configuration and models, and say what runs"
    )
    check.set_defaults(function=_check)

    show = commands.add_parser(
        "config", parents=[common], help="print the effective configuration and its origin"
    )
    show.add_argument("--changed", action="store_true", help="only what differs from the defaults")
    show.set_defaults(function=_config)

    bench = commands.add_parser("bench", parents=[common], help="measure speed and memory on this machine")
    bench.add_argument("--seconds", type=_positive, default=20, metavar="N", help="of the daemon, in all")
    bench.add_argument(
        "--engines", action="store_true", help="measure every engine that is there, for engine.backend = auto"
    )
    bench.add_argument("--report", action="store_true", help="everything, as a table that you can send in")
    bench.add_argument("--one", help=argparse.SUPPRESS)  # what a process of --engines is given
    bench.set_defaults(function=_bench)

    access.add_commands(commands, _place(), _state_dir)
    add_records_commands(commands, common, _keeping)
    return parser


def _add_analyze(analyze: argparse.ArgumentParser) -> None:
    analyze.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a picture, a video, a folder of both, or - for standard input",
    )
    analyze.add_argument("--crops", action="store_true", help="each picture is one face already cut out")
    analyze.add_argument(
        "--every", type=_positive, default=1, metavar="N", help="read every Nth frame of a video"
    )
    analyze.add_argument(
        "--fps", type=_rate, metavar="N", help="frames a second of a video without times (default: 25)"
    )
    analyze.add_argument("--recursive", action="store_true", help="read the folders in a folder too")
    form = analyze.add_mutually_exclusive_group()
    form.add_argument("--jsonl", action="store_true", help="write one JSON object for each picture or frame")
    form.add_argument("--csv", action="store_true", help="write a table with one row for each face")
    analyze.add_argument(
        "--summary",
        action="store_true",
        help="write one line for each person of a video instead of each frame",
    )
    analyze.set_defaults(function=_analyze)


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="folder with a sub-folder for each expression, CSV or JSON file",
    )
    evaluate.add_argument("--faces", action="store_true", help="judge the detector on marked faces")
    evaluate.add_argument(
        "--whole", action="store_true", help="find the largest face first; else a picture is one face"
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures, - to standard output")
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts")
    evaluate.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="no pictures of people in the page"
    )
    evaluate.set_defaults(function=_evaluate)


def _place() -> Parser:
    """The options of commands that need no settings."""
    place = Parser(add_help=False)
    place.add_argument("--data-dir", type=Path, metavar="DIR", help="where state is kept")
    place.add_argument("--debug", action="store_true", help="log more, and show tracebacks")
    return place


def _common() -> Parser:
    common = Parser(add_help=False, parents=[_place()])
    common.add_argument("--config", type=Path, metavar="FILE", help="use FILE and the config.d/ beside it")
    common.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="set one value"
    )
    return common


def _input(text: str) -> Path:
    from appliance.media.inputs import STDIN

    return STDIN if text == "-" else Path(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= _MOST_FPS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number over 0 and at most {_MOST_FPS}")
    return rate


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)
