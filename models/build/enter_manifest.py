"""Updates a rebuilt model's entry in `manifest.toml`: digest, storage of its tensors, calibration, baseline.

Everything else in the manifest, including comments, stays unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomlkit
from ai_edge_litert.interpreter import Interpreter
from fetch_models import write


@dataclass(frozen=True)
class Calibration:
    """From logits to probabilities: softmax((weights @ logits + offsets) / temperature)."""

    temperature: float
    offsets: Sequence[float]
    weights: Sequence[Sequence[float]]


@dataclass(frozen=True)
class Rest:
    """What `[models.NAME.baseline]` has; see `RestModel` in `appliance/inference/manifest.py`."""

    typical: Sequence[float]
    radius: float
    strong: float
    share: float
    pictures_share: float


def enter(models: Path, name: str, calibration: Calibration | None = None, rest: Rest | None = None) -> None:
    """Update the entry `name` of a folder's manifest from its file; KeyError if there is no such entry."""
    path = models / "manifest.toml"
    document = tomlkit.parse(path.read_text("utf-8"))
    entry: Any = document["models"][name]  # type: ignore[index]
    content = (models / entry["file"]).read_bytes()
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    stored = _stored(content)
    for tensor in (*entry["inputs"], *entry["outputs"]):
        if "scale" in tensor:
            # Nine digits distinguish any two float32 numbers.
            scale, zero_point = stored[tensor["name"]]
            tensor["scale"], tensor["zero_point"] = float(f"{scale:.9g}"), zero_point
    if calibration:
        entry["calibration"]["temperature"] = float(f"{calibration.temperature:.4g}")
        entry["calibration"]["offsets"] = _rounded(calibration.offsets)
        rows = tomlkit.array()
        rows.extend([_rounded(row) for row in calibration.weights])
        entry["calibration"]["weights"] = rows.multiline(True)
    if rest:
        for key, value in asdict(rest).items():
            entry["baseline"][key] = _rounded(value) if key == "typical" else round(value, 3)
    write(path, tomlkit.dumps(document).encode())


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 3) for value in values]


def _stored(content: bytes) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each input and output, by name."""
    model = Interpreter(model_content=content, num_threads=1)
    model.allocate_tensors()
    details = (*model.get_input_details(), *model.get_output_details())
    return {detail["name"].split(":")[0]: detail["quantization"] for detail in details}
