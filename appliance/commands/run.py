"""The command `run`: the daemon."""

from __future__ import annotations

import argparse

from appliance.commands.arguments import Commands, config_options, load_config, pass_config_on
from appliance.system import native
from appliance.system.files import check_writable
from appliance.system.signals import stop_on_signals


def add_commands(commands: Commands) -> None:
    """Add `run`."""
    parser = commands.add_parser(
        "run", parents=[config_options()], help="analyse the camera's pictures and serve the live page"
    )
    parser.add_argument(
        "--camera",
        metavar="BACKEND[:ARG]",
        help="auto, csi, usb, jetson, stream:URL, browser, replay:PATH or demo (default: auto)",
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on, 0 for a free one (default: 8080)")
    parser.set_defaults(function=_run)


def _run(options: argparse.Namespace) -> int:
    with stop_on_signals() as stop:  # before the slow imports: a signal during the start must stop it too
        config = load_config(options)
        check_writable(config.state_dir)
        native.use_one_arena()
        from appliance.daemon import Daemon

        measure = native.self_command("appliance", "bench", "--if-due", *pass_config_on(options, config))
        return Daemon(config, stop, measure=measure).run(
            lambda url: print(f"Interview Grader is ready: open {url}", flush=True)
        )
