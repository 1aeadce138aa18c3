"""`bench`: the cost of the entire daemon compared with the sum of its parts, and the cost of vision alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from appliance.commands.bench.daemon_process import PICTURES, copied_state, run_daemon, watching
from appliance.composition.reader import Reader, make_reader
from appliance.configuration.load import Config
from appliance.errors import ApplianceError
from appliance.hardware import board
from appliance.media.video import Video
from appliance.ports import Engine
from appliance.system.resources import demo_clip
from appliance.values import Frame, Tensor, TensorSpec

WIDTH, HEIGHT = 1280, 720
RATIO_LIMIT, MEMORY_LIMIT_MB, START_LIMIT_S = 1.5, 200.0, 3.0

ROUNDS = 4
"""How often daemon and bare parts alternate, since the speed of a shared machine varies."""

_WARM_UP_S = 2.0
_CLIP_FRAMES = 150


def parts(reader: Reader) -> tuple[str, ...]:
    """The steps that any program for this job needs for each frame, with one run of each model."""
    return ("decode", *(f"{role} invoke" for role in reader.engines), "copy", "JPEG encode")


@dataclass(frozen=True)
class DaemonCost:
    """The measured cost of the entire daemon, with one face and one viewer."""

    frames: int
    milliseconds: float
    memory_mb: float
    peak_mb: float
    start_s: float


def print_cost(config: Config, *, seconds: int, arguments: Sequence[str] = ()) -> int:
    """Measure and print Markdown tables: `seconds` of the daemon, which gets `arguments`."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "one_face.mp4"
        with open_reader(config) as reader:
            make_clip(reader, clip)
            described = reader.described()
        bare = [_measure_bare(config, clip)]
        daemon = []
        for _ in range(ROUNDS):
            daemon.append(measure_daemon(clip, seconds / ROUNDS, arguments, config.state_dir))
            bare.append(_measure_bare(config, clip))
        looking = [measure_vision(config, scene) for scene in (clip, demo_clip())]
    for line in (*cost_table(bare, daemon, described), "", *vision_table(looking)):
        print(line)
    return 0


@contextmanager
def open_reader(config: Config) -> Iterator[Reader]:
    """A reader that is closed afterwards, since an accelerator has only one user at a time."""
    reader = make_reader(config)
    try:
        yield reader
    finally:
        reader.pipeline.close()


def _measure_bare(config: Config, clip: Path) -> dict[str, float]:
    with open_reader(config) as reader:
        return measure_parts(reader, clip, config.web.jpeg_quality)


def make_clip(reader: Reader, path: Path) -> None:
    """Write a clip of one face at 1280x720, cut from the demo clip: 150 frames at 30 per second."""
    video = Video(demo_clip())
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (WIDTH, HEIGHT))
    try:
        for number, frame in zip(range(_CLIP_FRAMES), video, strict=False):
            half = frame.image[:, : frame.image.shape[1] // 2]
            canvas = np.concatenate([half, np.full_like(half, 90)], axis=1)
            if number == 0 and len(reader.pipeline.read(Frame(0, 0.0, canvas)).people) != 1:
                raise ApplianceError(
                    f"{demo_clip()}: expected one face in its left half; restore the demo clip"
                )
            writer.write(canvas)
    finally:
        writer.release()
        video.close()


def measure_parts(reader: Reader, path: Path, quality: int) -> dict[str, float]:
    """Milliseconds of processor time for each step of a frame, in a minimal program for the job.

    Each frame: decode, one run of each model, one copy, one JPEG. It keeps the clip's pace, so that its
    caches are as cold as the daemon's.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    spent = dict.fromkeys(parts(reader), 0.0)
    video = Video(path)
    frames, count, due = iter(video), 0, time.monotonic()
    while True:
        began = time.process_time()
        frame = next(frames, None)
        if frame is None:
            break
        image = frame.image
        marks = [began, time.process_time()]
        work: list[Callable[[], object]] = [partial(_invoke, engine) for engine in reader.engines.values()]
        work += [image.copy, partial(cv2.imencode, ".jpg", image, options)]
        for step in work:
            step()
            marks.append(time.process_time())
        for name, start, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += end - start
        count, due = count + 1, due + 1 / video.rate
        time.sleep(max(0.0, due - time.monotonic()))
    video.close()
    return {name: 1000 * seconds / count for name, seconds in spent.items()}


def measure_daemon(clip: Path, seconds: float, arguments: Sequence[str], state: Path) -> DaemonCost:
    """Run the real daemon on the clip with one viewer for `seconds`, and measure its cost.

    `state`: the state directory; the daemon gets copies of the files that affect how it reads.
    """
    with copied_state(state) as own, run_daemon(clip, own, arguments) as daemon:
        with watching(daemon, PICTURES, 1):  # as the page does
            time.sleep(_WARM_UP_S)
            before = daemon.usage("readings")
            time.sleep(seconds)
            after = daemon.usage("readings")
        used, frames = (last - first for first, last in zip(before, after, strict=True))
        if not frames:
            raise ApplianceError(
                f"the daemon read no frame within {seconds:g} s; see the log of: interview-grader run"
            )
        memory, peak = _memory_mb(daemon.pid)
    return DaemonCost(round(frames), 1000 * used / frames, memory, peak, daemon.start_s)


def ratios(bare: Sequence[float], daemon: Sequence[float]) -> list[float]:
    """Each run of the daemon divided by the mean of the bare runs right before and after it."""
    return [2 * cost / (before + after) for cost, before, after in zip(daemon, bare, bare[1:], strict=False)]


def cost_table(
    bare: Sequence[dict[str, float]], daemon: Sequence[DaemonCost], engines: dict[str, str]
) -> Iterator[str]:
    """The medians of the rounds as Markdown, with the machine; `bare` has one more run."""
    totals, costs = [sum(each.values()) for each in bare], [each.milliseconds for each in daemon]
    found = ratios(totals, costs)
    yield f"Machine: {board.board_name()}; {board.library_versions()}"
    for role, engine in engines.items():
        yield f"- {role}: {engine}"
    yield ""
    yield "| processor time per frame, 1280x720, one face, one viewer | ms |"
    yield "|---|---|"
    for name in bare[0]:
        yield f"| {name} | {median(each[name] for each in bare):.2f} |"
    yield f"| **sum of the parts** ({_spread(totals)}) | **{median(totals):.2f}** |"
    frames = sum(each.frames for each in daemon)
    yield f"| **entire daemon** ({frames} frames; {_spread(costs)}) | **{median(costs):.2f}** |"
    yield f"| **ratio** (at most {RATIO_LIMIT}; {_spread(found)}) | **{median(found):.2f}** |"
    yield ""
    yield "| | measured | at most |"
    yield "|---|---|---|"
    largest = max(daemon, key=lambda each: each.peak_mb)
    memory = f"{largest.memory_mb:.0f} MB (peak {largest.peak_mb:.0f})"
    yield f"| resident memory | {memory} | {MEMORY_LIMIT_MB:.0f} MB |"
    yield f"| start to ready | {median(each.start_s for each in daemon):.2f} s | {START_LIMIT_S:.0f} s |"


def _spread(values: Sequence[float]) -> str:
    return f"{len(values)} runs, {min(values):.2f} to {max(values):.2f}"


def _invoke(engine: Engine) -> None:
    engine.run(np.zeros(engine.inputs[0].shape, engine.inputs[0].dtype))


def _memory_mb(pid: int) -> tuple[float, float]:
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    found = {line[0]: int(line[1]) / 1024 for line in lines if line[0] in ("VmRSS:", "VmHWM:")}
    return found["VmRSS:"], found["VmHWM:"]


@dataclass(frozen=True)
class VisionCost:
    """Means over all frames of a clip except the first: processor time in ms, runs of each model by role."""

    people: float
    runs: dict[str, float]
    search_ms: float
    rest_ms: float
    first_ms: float


class _CountingEngine:
    """An engine that counts its runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.runs = 0

    @property
    def description(self) -> str:
        """As of the engine."""
        return self._engine.description

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """As of the engine."""
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """As of the engine."""
        return self._engine.outputs

    def run(self, tensor: Tensor) -> list[Tensor]:
        """Count and run."""
        self.runs += 1
        return self._engine.run(tensor)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def measure_vision(config: Config, path: Path) -> VisionCost:
    """One pass through a clip at its own pace, so that caches are as cold as in live use."""
    counted: dict[str, _CountingEngine] = {}

    def count(role: str, engine: Engine) -> Engine:
        return counted.setdefault(role, _CountingEngine(engine))

    pipeline = make_reader(config, count, live=True).pipeline
    video = Video(path)
    times, people, due = [], 0, time.monotonic()
    for number, shown in enumerate(video):
        started, began = time.monotonic(), time.process_time()
        reading = pipeline.read(Frame(number, started, shown.image, shown.time_s))
        spent = 1000 * (time.process_time() - began)
        # Processor time of the frame, divided between the stages by the clock.
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
    """The costs as Markdown, one column for each scene."""
    rows = {f"runs of the {role}": [cost.runs[role] for cost in costs] for role in costs[0].runs}
    rows["search and tracker, ms"] = [cost.search_ms for cost in costs]
    rows["classifier and the rest, ms"] = [cost.rest_ms for cost in costs]
    rows["**whole vision step, ms**"] = [cost.search_ms + cost.rest_ms for cost in costs]
    rows["first frame, full search, ms"] = [cost.first_ms for cost in costs]
    yield "| vision, per 1280x720 frame | " + " | ".join(f"{cost.people:.1f} people" for cost in costs) + " |"
    yield "|---" * (1 + len(costs)) + "|"
    for name, values in rows.items():
        yield f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
