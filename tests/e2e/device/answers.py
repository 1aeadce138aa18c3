"""The outputs of every shipped model for given inputs; also a program, to run on another processor."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.system.resources import models_dir
from appliance.values import Tensor


def answers(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`inputs` by name of the model, (n, *shape of its input); the answers as stored, by "model/output"."""
    manifest = Manifest.load(models_dir())
    given: dict[str, Tensor] = {}
    for name, model in manifest.document.models.items():
        engine = TFLite(manifest.verified(model))
        runs = [engine.run(tensor) for tensor in inputs[name]]
        for spec, outputs in zip(engine.outputs, zip(*runs, strict=True), strict=True):
            given[f"{name}/{spec.name}"] = np.stack(outputs)
        engine.close()
    return given


if __name__ == "__main__":
    with np.load(sys.argv[1]) as file:
        np.savez(sys.argv[2], **answers(dict(file)))
