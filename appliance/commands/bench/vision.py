"""What looking costs: runs of each model and milliseconds a frame of search, classifier and all of vision."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.composition.appliance import make_reader
from appliance.configuration.load import Config
from appliance.media.video import Video
from appliance.ports import Engine
from appliance.values import Frame, Tensor, TensorSpec


@dataclass(frozen=True)
class VisionCost:
    """Means over the frames of a clip but the first: processor time in ms, and runs of each model by role."""

    people: float
    runs: dict[str, float]
    search_ms: float
    rest_ms: float
    first_ms: float


class _Counted:
    """An engine that counts its runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.runs = 0

    @property
    def description(self) -> str:
        """Of the engine watched."""
        return self._engine.description

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Of the engine watched."""
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Of the engine watched."""
        return self._engine.outputs

    def run(self, tensor: Tensor) -> list[Tensor]:
        """One run more."""
        self.runs += 1
        return self._engine.run(tensor)

    def close(self) -> None:
        """Let the engine go."""
        self._engine.close()


def measure_vision(config: Config, path: Path) -> VisionCost:
    """One pass through a clip at its own pace, so that caches are as cold as in a live view."""
    counted: dict[str, _Counted] = {}

    def count(role: str, engine: Engine) -> Engine:
        return counted.setdefault(role, _Counted(engine))

    pipeline = make_reader(config, count).pipeline
    video = Video(path)
    times, people, due = [], 0, time.monotonic()
    for number, shown in enumerate(video):
        started, began = time.monotonic(), time.process_time()
        reading = pipeline.read(Frame(number, started, shown.image, shown.time_s))
        spent = 1000 * (time.process_time() - began)
        # The clock tells how the frame's time was shared out, the processor's time how much it was.
        searching = (reading.stamps.detected - started) / max(reading.stamps.classified - started, 1e-9)
        times.append((spent * searching, spent * (1 - searching)))
        if number == 0:
            for engine in counted.values():
                engine.runs = 0
        people += len(reading.people)
        due += 1 / video.rate
        time.sleep(max(0.0, due - time.monotonic()))
    video.close()
    pipeline.close()
    later = max(1, len(times) - 1)
    search, rest = (sum(column) / later for column in zip(*times[1:], strict=True))
    runs = {role: engine.runs / later for role, engine in counted.items()}
    return VisionCost(people / len(times), runs, search, rest, sum(times[0]))


def vision_table(costs: Sequence[VisionCost]) -> Iterator[str]:
    """The figures as Markdown, a column for each scene."""
    rows = {f"runs of the {role}": [cost.runs[role] for cost in costs] for role in costs[0].runs}
    rows["search and tracker, ms"] = [cost.search_ms for cost in costs]
    rows["classifier and the rest, ms"] = [cost.rest_ms for cost in costs]
    rows["**whole vision step, ms**"] = [cost.search_ms + cost.rest_ms for cost in costs]
    rows["the first frame, searched all over, ms"] = [cost.first_ms for cost in costs]
    yield (
        "| vision, a frame of 1280x720 | " + " | ".join(f"{cost.people:.1f} people" for cost in costs) + " |"
    )
    yield "|---" * (1 + len(costs)) + "|"
    for name, values in rows.items():
        yield f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
