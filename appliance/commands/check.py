"""The command `check`: validates configuration and models, and shows what would run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from appliance.commands.arguments import Commands, config_options, load_config
from appliance.system.files import check_writable

if TYPE_CHECKING:
    from appliance.consent.terms import Terms


def add_commands(commands: Commands) -> None:
    """Add `check`."""
    parser = commands.add_parser(
        "check", parents=[config_options()], help="validate configuration and models, and show what would run"
    )
    parser.set_defaults(function=_check)


def _check(options: argparse.Namespace) -> int:
    config = load_config(options)
    from appliance import registry
    from appliance.commands.check_models import check_models
    from appliance.composition.camera import choose_camera, make_camera
    from appliance.composition.certificate import check_certificate
    from appliance.composition.terms import make_terms
    from appliance.configuration.load import check_sandbox_paths

    check_sandbox_paths(config)
    models = check_models(config)
    registry.load("lamps", config.lamps.backend).check(config.lamps.settings)
    check_certificate(config)
    terms = make_terms(config)
    camera = choose_camera(config.camera, config.origins, installed=config.installed)
    opened, ingest = make_camera(camera)
    missing = None if ingest else opened.missing()  # a browser connects to the daemon, not to this command
    check_writable(config.state_dir)
    for line in models:
        print(line)
    print(f"{'camera':<10} {camera.backend}{f', missing: {missing}' if missing else ''}")
    print(f"{'lamps':<10} {config.lamps.backend}")
    print(f"{'notice':<10} {terms.notice.version}")
    print(f"{'used for':<10} {_use(terms)}")
    if terms.refusal:
        print(f"{'analysis':<10} off for cameras that show people: {terms.refusal}")
    print(f"{'state in':<10} {config.state_dir}")
    print("no problems found")
    return 0


def _use(terms: Terms) -> str:
    if not terms.is_complete:
        return "not set yet"
    institution = f", institution: {terms.institution}" if terms.institution else ""
    return f"{terms.purpose}, {terms.region}{institution}"
