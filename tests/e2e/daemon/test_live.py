"""The live page: pictures, readings and state, as a browser or a script sees them."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.colours import COLOURS, bgr_of
from appliance.values import Image
from tests.e2e.daemon.driver import Daemon, Part, clip_frames
from tests.e2e.daemon.driver_schema import NAMES, check_reading, check_state

SIZE = 1280, 720


def test_start_prints_the_address_on_standard_output_and_nothing_else(demo: Daemon) -> None:
    assert demo.out == f"Interview Grader is ready: open http://127.0.0.1:{demo.port}/\n"


def test_log_is_quiet(demo: Daemon) -> None:
    with demo.stream() as stream, demo.live() as client:
        stream.take(3)
        client.recv(10)
    assert [line for line in demo.log.splitlines() if not line.startswith(("INFO", "WARNING"))] == []
    assert len(demo.log.splitlines()) <= 6


def test_stream_parts_carry_number_and_time_of_capture(demo: Daemon) -> None:
    with demo.stream() as stream:
        assert stream.status == 200
        assert stream.response.headers.get_content_type() == "multipart/x-mixed-replace"
        assert stream.response.headers.get_param("boundary")
        parts = stream.take(10)
    for part in parts:
        assert part.headers["Content-Type"] == "image/jpeg"
        assert int(part.headers["Content-Length"]) == len(part.jpeg)
        assert re.fullmatch(r"\d+\.\d{6}", part.headers["X-Timestamp"])
        assert -0.1 < part.read_at - part.captured < 2.0
        assert part.live
        assert part.jpeg.startswith(b"\xff\xd8") and part.jpeg.endswith(b"\xff\xd9")
    numbers, stamps = [part.number for part in parts], [part.captured for part in parts]
    assert numbers == sorted(set(numbers))
    assert stamps == sorted(set(stamps))


def test_stream_shows_a_moving_picture_of_the_camera_size(demo: Daemon) -> None:
    with demo.stream("/stream.mjpg?overlay=0") as stream:
        images = [part.image for part in stream.take(5)]
    assert all(image.shape == (SIZE[1], SIZE[0], 3) for image in images)
    for one, next_one in itertools.pairwise(images):
        assert not np.array_equal(one, next_one)


def test_overlay_draws_boxes_in_the_colour_of_the_expression(demo: Daemon) -> None:
    drawn, bare, readings = same_frames(demo, 1)[0]
    assert readings["faces"]
    for face in readings["faces"]:
        colour = edge_colour(drawn, face["box"], face["label"])
        assert nearest_name(colour) == face["label"], (face["label"], colour)
        assert distance(edge_colour(bare, face["box"], face["label"]), face["label"]) > distance(
            colour, face["label"]
        )


def test_picture_without_overlay_is_the_unchanged_frame(demo: Daemon, demo_clip: Path) -> None:
    capture = cv2.VideoCapture(str(demo_clip))
    length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    for part in frames_without_overlay(demo, 3):
        (source,) = clip_frames(demo_clip, 1, part.number % length)
        assert np.abs(part.image.astype(int) - source).mean() < 4, part.number


def test_snapshot(demo: Daemon) -> None:
    first, second = demo.request("/snapshot.jpg"), demo.request("/snapshot.jpg?overlay=0")
    for answer in (first, second):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "image/jpeg"
        part = Part(dict(answer.headers), answer.body, time.time())
        assert part.image.shape == (SIZE[1], SIZE[0], 3)
        assert -0.1 < part.read_at - part.captured < 2.0
        assert part.live
    assert int(second.headers["X-Frame-Number"]) > int(first.headers["X-Frame-Number"])


def test_page_names_the_seven_expressions_and_loads_nothing_from_elsewhere(demo: Daemon) -> None:
    answer = demo.request("/")
    page = answer.body.decode()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r'data-emotion="(\w+)"', page) == NAMES
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert links and all(re.match(r"/(?!/)|#|data:", link) for link in links), links
    for link in links:
        if link.startswith("/static/"):
            assert demo.request(link).status == 200, link


@pytest.mark.parametrize(
    "path", ["/", "/stream.mjpg", "/api/state", "/healthz", "/static/live.js", "/nothing"]
)
def test_every_answer_has_the_security_headers(demo: Daemon, path: str) -> None:
    with demo.stream(path) as answer:
        headers = answer.response.headers
    policy = dict(item.strip().partition(" ")[::2] for item in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["object-src"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["frame-ancestors"] in ("'self'", "'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] in ("SAMEORIGIN", "DENY")
    assert headers["Referrer-Policy"] in ("no-referrer", "same-origin")
    assert "Access-Control-Allow-Origin" not in headers
    if not path.startswith("/static/"):
        assert headers["Cache-Control"] == "no-store"


def test_websocket_sends_one_reading_per_message(demo: Daemon) -> None:
    with demo.live() as client:
        messages = [json.loads(client.recv(10)) for _ in range(15)]
    for message in messages:
        check_reading(message, source="demo", size=SIZE)
    numbers = [message["frame"] for message in messages]
    assert numbers == sorted(set(numbers))
    assert len({json.dumps(message["faces"]) for message in messages}) > 1


def test_plain_request_to_the_websocket_is_426(demo: Daemon) -> None:
    assert demo.request("/ws/live").status == 426


def test_state(demo: Daemon) -> None:
    first, second = demo.state(), demo.state()
    check_state(first, backend="demo")
    assert first["state"] == "live"
    camera = first["camera"]
    assert (camera["state"], camera["reason"]) == ("open", None)
    assert (camera["width"], camera["height"]) == SIZE
    assert 0 <= camera["age_s"] < 2
    assert 5 < camera["fps"] < 40
    assert time.time() - 600 < camera["since"] <= time.time()
    assert first["reading"] is not None
    assert second["reading"]["frame"] >= first["reading"]["frame"]


def test_health_is_ok_and_contains_nothing_personal(demo: Daemon) -> None:
    answer = demo.request("/healthz")
    assert answer.status == 200
    assert answer.json() == {"status": "ok", "reason": None}


def test_metrics_are_prometheus_text(demo: Daemon) -> None:
    answer = demo.request("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = demo.metrics()
    assert 5 < found["interview_grader_camera_fps"] < 40
    assert 0 < found["interview_grader_process_fps"] < 40
    assert 0 <= found["interview_grader_frame_age_seconds"] < 2
    assert found["interview_grader_camera_open"] == 1
    assert found["interview_grader_viewers"] == 0
    assert found["interview_grader_frames_total"] > 0
    frames, read, skipped = (
        found[f"interview_grader_{name}_total"] for name in ("frames", "readings", "skipped")
    )
    assert skipped >= 0
    assert frames - 5 <= read + skipped <= frames + 5
    assert found["process_resident_memory_bytes"] < 250e6


def test_metrics_count_viewers(demo: Daemon) -> None:
    with demo.stream() as stream:
        stream.take(1)
        assert demo.metrics()["interview_grader_viewers"] == 1


def frames_without_overlay(daemon: Daemon, count: int) -> list[Part]:
    with daemon.stream("/stream.mjpg?overlay=0") as stream:
        return stream.take(count)


def same_frames(daemon: Daemon, count: int) -> list[tuple[Image, Image, Any]]:
    """Drawn picture, bare picture and reading of the same frames."""
    found: dict[str, dict[int, Any]] = {"drawn": {}, "bare": {}, "reading": {}}
    enough = threading.Event()

    def watch(kind: str, query: str) -> None:
        with daemon.stream(f"/stream.mjpg{query}") as stream:
            for part in stream:
                found[kind][part.number] = part
                if enough.is_set():
                    return

    viewers = [
        threading.Thread(target=watch, args=arguments)
        for arguments in (("drawn", ""), ("bare", "?overlay=0"))
    ]
    for viewer in viewers:
        viewer.start()
    try:
        end = time.monotonic() + 20
        with daemon.live() as client:
            common: set[int] = set()
            while len(common) < count and time.monotonic() < end:
                message = json.loads(client.recv(10))
                found["reading"][message["frame"]] = message
                common = set(found["drawn"]) & set(found["bare"]) & set(found["reading"])
    finally:
        enough.set()
        for viewer in viewers:
            viewer.join(15)
    assert len(common) >= count, "no frame appeared as drawn picture, bare picture and reading"
    return [
        (found["drawn"][number].image, found["bare"][number].image, found["reading"][number])
        for number in sorted(common)[:count]
    ]


def edge_colour(image: Image, box: list[float], label: str) -> tuple[int, ...]:
    """The colour of the box's sides, as close to the label's as their few pixels allow."""
    x, y, width, height = box
    # Away from the corners: the label above and the bars below begin there.
    rows = slice(max(0, round(y + 0.2 * height)), min(image.shape[0], round(y + 0.8 * height)))
    columns = [
        column
        for side in (round(x), round(x + width))
        for column in range(side - 1, side + 2)
        if 0 <= column < image.shape[1]
    ]
    medians = [tuple(int(v) for v in np.median(image[rows, column], axis=0)) for column in columns]
    return min(medians, key=lambda colour: distance(colour, label))


def distance(colour: tuple[int, ...], name: str) -> float:
    return float(np.linalg.norm(np.subtract(colour, bgr_of(name))))


def nearest_name(colour: tuple[int, ...]) -> str:
    return min(COLOURS, key=lambda name: distance(colour, name))
