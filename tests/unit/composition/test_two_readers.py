"""When a second thread may read: a live camera, two cores, and an engine that may run twice at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance import registry
from appliance.composition import reader as composition
from appliance.composition.reader import make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, load_config
from appliance.values import Frame

WAIT_S = 20.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(ConfigOptions(data_dir=tmp_path))


def starts_second(config: Config, demo_clip: Path, monkeypatch: pytest.MonkeyPatch, *, live: bool) -> bool:
    """Whether a second thread runs while two people are read, if two are enough for it."""
    monkeypatch.setattr(composition, "SECOND_FROM_PEOPLE", 2)
    capture = cv2.VideoCapture(str(demo_clip))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    reader = make_reader(config, live=live)
    assert len(reader.pipeline.read(Frame(0, 0.0, image)).people) == 2
    found = any(thread.name == "vision-2" for thread in threading.enumerate())
    reader.pipeline.close()
    for thread in threading.enumerate():
        if thread.name == "vision-2":
            thread.join(WAIT_S)
            assert not thread.is_alive(), "it ends with the pipeline"
    return found


@pytest.mark.parametrize(("cores", "live", "second"), [(2, True, True), (1, True, False), (2, False, False)])
def test_a_second_thread_needs_a_live_camera_and_two_cores(
    config: Config, demo_clip: Path, monkeypatch: pytest.MonkeyPatch, cores: int, live: bool, second: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert starts_second(config, demo_clip, monkeypatch, live=live) is second


def test_an_engine_that_may_not_run_twice_has_one_thread(
    config: Config, demo_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(registry.load("engine", "tflite"), "parallel", False)
    assert starts_second(config, demo_clip, monkeypatch, live=True) is False


def test_only_the_processor_may_run_two_engines_at_once() -> None:
    assert {name for name in registry.ENGINES if registry.load("engine", name).parallel} == {"tflite"}
