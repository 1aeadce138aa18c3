"""A lost camera is a state, not an end: it is reported everywhere, and recovers automatically."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.daemon.driver import Daemon, Part, Stream, clip_frames, running, until
from tests.e2e.daemon.driver_schema import check_state

LOST_WITHIN_S = 5.0
BACK_WITHIN_S = 20.0
"""Pauses between attempts grow: 1, 2, 4, 8 s."""


@pytest.fixture(params=["clip", "picture"])
def source(request: pytest.FixtureRequest, tmp_path: Path, demo_clip: Path) -> Path:
    """A file that may be removed while it plays."""
    if request.param == "clip":
        return Path(shutil.copy(demo_clip, tmp_path / "interview.mp4"))
    path = tmp_path / "portrait.png"
    assert cv2.imwrite(str(path), clip_frames(demo_clip, 1)[0])
    return path


@pytest.fixture
def daemon(source: Path, tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path / "run", "--camera", f"replay:{source}") as daemon:
        yield daemon


def test_lost_and_back(daemon: Daemon, source: Path) -> None:
    away = source.with_name("away")
    began = time.time()
    with daemon.stream() as stream:
        before = stream.take(3)[-1]
        assert before.live
        source.rename(away)
        removed = time.time()
        placeholders = first_placeholders(stream, 3)
        assert placeholders[0].read_at - removed < LOST_WITHIN_S
        check_placeholders(placeholders, before)

        until(lambda: daemon.request("/healthz").status == 503, LOST_WITHIN_S, "503")
        health = daemon.request("/healthz").json()
        assert health == {"status": "failing", "reason": "camera lost"}, "the full reason is not public"

        state = daemon.state()
        check_state(state, backend="replay")
        camera = state["camera"]
        assert camera["state"] == "lost"
        assert source.name in camera["reason"]
        assert began <= camera["since"] <= time.time() and camera["since"] - removed < LOST_WITHIN_S
        assert camera["age_s"] is None and camera["frame"] is None
        # A rate covers the last seconds.
        until(lambda: daemon.state()["camera"]["fps"] == 0, 5, "no frames a second")

        snapshot = daemon.request("/snapshot.jpg")
        assert (snapshot.status, snapshot.headers["X-Live"]) == (503, "0")
        assert daemon.metrics()["interview_grader_camera_open"] == 0
        placeholders += first_placeholders(stream, 2)  # by now it has tried to reopen it

        away.rename(source)
        after = next(part for part in stream if part.live)
        assert after.number > before.number
        assert after.captured > placeholders[-1].captured
    until(lambda: daemon.request("/healthz").status == 200, BACK_WITHIN_S, "200 again")
    camera = daemon.state()["camera"]
    assert (camera["state"], camera["reason"]) == ("open", None)
    assert len(daemon.log_lines("camera lost")) == 1, daemon.log
    assert source.name in daemon.log_lines("camera lost")[0]
    assert len(daemon.log_lines("the camera is back")) == 1, daemon.log


def test_reading_of_a_lost_camera_is_not_shown_as_new(daemon: Daemon, source: Path) -> None:
    until(lambda: daemon.state()["reading"], 10, "a first reading")
    source.rename(source.with_name("away"))
    until(lambda: daemon.state()["camera"]["state"] == "lost", LOST_WITHIN_S, "lost")
    with daemon.live() as client, pytest.raises(TimeoutError):
        # Readings of earlier frames may still come: the newest one, and those of the frame being read and of
        # the one waiting after it. Then nothing more.
        for _ in range(3 + 1):
            client.recv(2)


def first_placeholders(stream: Stream, count: int) -> list[Part]:
    return list(itertools.islice((part for part in stream if not part.live), count))


def check_placeholders(placeholders: list[Part], before: Part) -> None:
    for part in placeholders:
        assert part.image.shape == before.image.shape
        assert np.abs(part.image.astype(int) - before.image).mean() > 20
        # Dark, with light words on it.
        assert np.median(part.image) < 60 and part.image.max() > 200
        assert -0.1 < part.read_at - part.captured < 2
    gaps = [later.read_at - sooner.read_at for sooner, later in itertools.pairwise(placeholders)]
    assert all(0.7 < gap < 3.0 for gap in gaps), gaps
