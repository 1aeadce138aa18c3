"""The command `bench`: measures the appliance's speed and memory here, and which engine is the fastest."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress

from appliance.commands.arguments import Commands, config_options, load_config, pass_config_on, positive
from appliance.errors import ConfigError

MOST_CLIENTS = 64


def add_commands(commands: Commands) -> None:
    """Add `bench`."""
    parser = commands.add_parser(
        "bench", parents=[config_options()], help="measure speed and memory on this machine"
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=20,
        metavar="N",
        help="how long to measure the daemon in total (default: 20)",
    )
    parser.add_argument(
        "--engines", action="store_true", help="measure every available engine, for engine.backend = auto"
    )
    for option, what in (("--viewers", "viewers of the page"), ("--websockets", "clients of /ws/live")):
        parser.add_argument(
            option,
            type=_numbers,
            default=(),
            metavar="N,N,…",
            help=f"measure the daemon with these numbers of {what}, such as 1,8,32",
        )
    parser.add_argument(
        "--webcam", action="store_true", help="measure how soon a picture of a webcam is answered"
    )
    parser.add_argument("--tls", action="store_true", help="encrypt, for --viewers and --websockets")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object, for --viewers, --websockets and --webcam"
    )
    parser.add_argument("--report", action="store_true", help="print a full report that you can share")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # used by --engines for its processes
    parser.add_argument("--if-due", action="store_true", help=argparse.SUPPRESS)  # used by the idle daemon
    parser.set_defaults(function=_bench)


def _numbers(text: str) -> tuple[int, ...]:
    """Numbers of clients, for `type`."""
    found = tuple(positive(each) for each in text.split(","))
    if max(found) > MOST_CLIENTS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected at most {MOST_CLIENTS}, as web.max_viewers")
    return found


def _bench(options: argparse.Namespace) -> int:
    config = load_config(options)
    passed_on = pass_config_on(options, config, state=False)
    with_state = pass_config_on(options, config)
    if options.one:
        from appliance.commands.bench.engines import measure_one

        print(json.dumps(measure_one(config, options.one)))
        return 0
    if options.if_due:
        from appliance.commands.bench.engines import rank_if_due

        with suppress(PermissionError):  # the sandbox of an installed device refuses it
            os.nice(19)  # whatever else the machine does comes first
        print(rank_if_due(config, with_state))
        return 0
    if options.viewers or options.websockets:
        from appliance.commands.bench.viewers import print_client_costs

        return print_client_costs(
            config,
            viewers=options.viewers,
            websockets=options.websockets,
            tls=options.tls,
            seconds=options.seconds,
            arguments=passed_on,
            as_json=options.json,
        )
    if options.webcam:
        from appliance.commands.bench.webcam import print_webcam_latency

        return print_webcam_latency(
            config, seconds=options.seconds, arguments=passed_on, as_json=options.json
        )
    if options.tls or options.json:
        raise ConfigError(
            "needs --viewers or --websockets", key=f"bench {'--tls' if options.tls else '--json'}"
        )
    from appliance.commands.bench import cost, report

    if options.engines:
        return report.print_ranking(config, with_state)
    if options.report:
        return report.print_report(config, seconds=options.seconds, arguments=with_state, passed_on=passed_on)
    return cost.print_cost(config, seconds=options.seconds, arguments=passed_on)
