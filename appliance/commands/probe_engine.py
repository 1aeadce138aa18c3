"""Tests whether an engine works: exit code 0 if it does.

Usage: `python -m appliance.commands.probe_engine BACKEND MODEL SETTINGS`, the settings as JSON.
Runs in a separate process, so that a hanging accelerator blocks nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from appliance import registry
from appliance.errors import ApplianceError
from appliance.system.terminal import escaped_output


def main(arguments: Sequence[str]) -> int:
    """Open the model and run it once; returns the exit code."""
    backend, model, settings = arguments
    try:
        engine_class = registry.load("engine", backend)
        engine = engine_class(Path(model), engine_class.Settings.model_validate_json(settings))
        spec = engine.inputs[0]
        engine.run(np.zeros(spec.shape, spec.dtype))
        engine.close()
    except ApplianceError as error:
        print(f"interview-grader: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with escaped_output():
        sys.exit(main(sys.argv[1:]))
