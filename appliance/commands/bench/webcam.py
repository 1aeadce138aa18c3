"""`bench --webcam`: how soon a picture sent to /ws/analyze is answered, and what that costs the room."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

import cv2
import numpy as np

from appliance.commands.bench.clients import send_pictures
from appliance.commands.bench.cost import ROUNDS, make_clip, open_reader
from appliance.commands.bench.daemon_process import Daemon, copied_state, run_daemon
from appliance.composition.reader import Reader
from appliance.configuration.load import Config
from appliance.hardware import board
from appliance.media.video import Video
from appliance.values import Frame, Image

WIDTH = 640
"""Of the pictures, as the page sends them."""

QUALITY = 80
LIMIT_MS = 10.0
"""How much longer than the vision step 95 of 100 answers may take."""

_SETTINGS = ("lawful.region=other", "lawful.purpose=practice", "web.max_webcams=1")
"""Analysis is allowed: the pictures show the demo clip."""

_WARM_UP_S = 1.0


@dataclass(frozen=True)
class WebcamLatency:
    """Milliseconds, and readings a second of the room without and with a client at full pace.

    `vision_ms`: median of the vision step of the same pictures. `answer_ms`, `answer_95_ms`: median and 95th
    percentile from sending a picture to its answer. `room_ratio`: median over the rounds.
    """

    vision_ms: float
    answer_ms: float
    answer_95_ms: float
    answers_per_s: float
    room_alone_per_s: float
    room_per_s: float
    room_ratio: float


def print_webcam_latency(config: Config, *, seconds: int, arguments: Sequence[str], as_json: bool) -> int:
    """Measure for `seconds` in total, and print a table or one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "one_face.mp4"
        with open_reader(config) as reader:
            make_clip(reader, clip)
            images = _small_images(clip)
            vision_ms = _vision_ms(reader, images)
        with (
            copied_state(config.state_dir) as state,
            run_daemon(clip, state, arguments, _SETTINGS) as daemon,
        ):
            found = measure_webcam(daemon, images, vision_ms, seconds)
    if as_json:
        print(json.dumps({"machine": board.board_name(), "webcam": asdict(found)}))
    else:
        for line in webcam_table(found):
            print(line)
    return 0


def measure_webcam(
    daemon: Daemon, images: Sequence[Image], vision_ms: float, seconds: float
) -> WebcamLatency:
    """The latency of one client that sends the next picture when the answer comes, and the room's rates."""
    pictures = [
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for image in images
    ]
    each_s = seconds / (2 * ROUNDS)
    answers: list[float] = []
    alone, together = [], []
    for _ in range(ROUNDS):
        time.sleep(_WARM_UP_S)
        alone.append(_room_rate(daemon, lambda: time.sleep(each_s)))
        together.append(
            _room_rate(daemon, lambda: answers.extend(send_pictures(daemon.url, pictures, each_s)))
        )
    ratios = [one / other for one, other in zip(together, alone, strict=True)]
    return WebcamLatency(
        vision_ms=round(vision_ms, 2),
        answer_ms=round(median(answers), 2),
        answer_95_ms=round(quantiles(answers, n=20)[-1], 2),
        answers_per_s=round(len(answers) / (ROUNDS * each_s), 1),
        room_alone_per_s=round(median(alone), 2),
        room_per_s=round(median(together), 2),
        room_ratio=round(median(ratios), 3),
    )


def webcam_table(found: WebcamLatency) -> Iterator[str]:
    """The figures as Markdown."""
    limit = found.vision_ms + LIMIT_MS
    verdict = "within" if found.answer_95_ms <= limit else "over"
    yield f"Machine: {board.board_name()}; {board.library_versions()}"
    yield ""
    yield "| figure | value |"
    yield "|---|---|"
    yield f"| vision step of a picture of {WIDTH} pixels, median | {found.vision_ms:.2f} ms |"
    yield f"| from sending to the answer, median | {found.answer_ms:.2f} ms |"
    within = f"{found.answer_95_ms:.2f} ms ({verdict} {limit:.2f} ms)"
    yield f"| from sending to the answer, 95 of 100 | {within} |"
    yield f"| answers a second | {found.answers_per_s:.1f} |"
    room = f"{found.room_per_s:.1f}, without the client {found.room_alone_per_s:.1f}"
    yield f"| readings a second of the room | {room} (ratio {found.room_ratio:.3f}) |"


def _room_rate(daemon: Daemon, spend: Callable[[], object]) -> float:
    """Readings a second of the room's camera while `spend` runs."""
    (_, before), began = daemon.usage("readings"), time.monotonic()
    spend()
    (_, after), lasted = daemon.usage("readings"), time.monotonic() - began
    return (after - before) / lasted


def _small_images(clip: Path) -> list[Image]:
    video = Video(clip)
    try:
        size = (WIDTH, round(WIDTH * 9 / 16))
        return [np.asarray(cv2.resize(frame.image, size), np.uint8) for frame in video]
    finally:
        video.close()


def _vision_ms(reader: Reader, images: Sequence[Image]) -> float:
    """Median of the vision step in milliseconds, without the first frames, which search the whole picture."""
    spent = []
    for number, image in enumerate(images):
        began = time.monotonic()
        reader.pipeline.read(Frame(number, number / 30, image))
        spent.append(1000 * (time.monotonic() - began))
    return median(spent[len(spent) // 5 :])
