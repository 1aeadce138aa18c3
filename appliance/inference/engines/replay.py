"""Recorded answers by input digest: a fake that ships, and keeps the same contract as every engine."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from appliance.errors import EngineError, ModelError
from appliance.ports import Engine, EngineDefaults
from appliance.values import Tensor, TensorSpec


class ReplaySettings(BaseModel):
    """The replay engine has no settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Replay(EngineDefaults):
    """Replays the answers of a real engine from a `.npz` made by `record_answers`."""

    Settings = ReplaySettings

    def __init__(self, model: Path, settings: ReplaySettings | None = None) -> None:
        self.description = f"recorded answers of {model.name}"
        try:
            with zipfile.ZipFile(model):  # other files that numpy can load are not recordings
                self._stored = dict(np.load(model, allow_pickle=False))
            self.inputs = _specs(self._stored, "input")
            self.outputs = _specs(self._stored, "output")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{model}: expected a recording made by engines.replay.record_answers: {error}"
            ) from error
        self._closed = False

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The recorded outputs for exactly this input."""
        if self._closed:
            raise EngineError("the engine is closed; open the recording again")
        expected = self.inputs[0]
        if tensor.shape != expected.shape or tensor.dtype != np.dtype(expected.dtype):
            raise EngineError(
                f"input {tensor.dtype}{list(tensor.shape)}: expected {expected.dtype}{list(expected.shape)}"
            )
        digest = _digest(tensor)
        try:
            return [self._stored[f"{digest}.{index}"].copy() for index in range(len(self.outputs))]
        except KeyError:
            raise EngineError(f"input {digest[:12]}…: not in the recording; record it first") from None

    def close(self) -> None:
        """Refuse any more runs."""
        self._closed = True


def record_answers(engine: Engine, tensors: list[Tensor], path: Path) -> None:
    """Run `engine` on each tensor; write its specs and answers to `path`, a `.npz`."""
    stored: dict[str, Tensor] = {}
    for kind, specs in (("input", engine.inputs), ("output", engine.outputs)):
        for index, spec in enumerate(specs):
            stored[f"{kind}.{index}.name"] = np.array([spec.name, spec.dtype])
            stored[f"{kind}.{index}.shape"] = np.array(spec.shape)
            stored[f"{kind}.{index}.quantisation"] = np.array([spec.scale, spec.zero_point])
    for tensor in tensors:
        for index, answer in enumerate(engine.run(tensor)):
            stored[f"{_digest(tensor)}.{index}"] = answer
    with path.open("wb") as file:
        np.savez_compressed(file, **stored)  # type: ignore[arg-type]


def _digest(tensor: Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest()


def _specs(stored: dict[str, Tensor], kind: str) -> tuple[TensorSpec, ...]:
    count = sum(1 for key in stored if key.startswith(f"{kind}.") and key.endswith(".name"))
    if not count:
        raise ValueError(f"it has no {kind}s")
    specs = []
    for index in range(count):
        name, dtype = (str(part) for part in stored[f"{kind}.{index}.name"])
        shape = tuple(int(side) for side in stored[f"{kind}.{index}.shape"])
        scale, zero_point = stored[f"{kind}.{index}.quantisation"]
        specs.append(TensorSpec(name, shape, dtype, float(scale), int(zero_point)))
    return tuple(specs)
