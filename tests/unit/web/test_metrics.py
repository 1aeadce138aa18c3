"""Health in Prometheus' text format."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.errors import Busy
from appliance.health import Health
from appliance.viewers import Viewers
from appliance.web.metrics import Metrics
from appliance.webcams.service import WebcamService
from tests.fakes.parts import OVERLAY, frame


def scraped(metrics: Metrics) -> dict[str, float]:
    """Sample to value; labels in brackets."""
    samples = [
        sample
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    ]
    return {
        sample.name.removeprefix("interview_grader_")
        + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for sample in samples
    }


def made(health: Health, viewers: Viewers | None = None) -> tuple[Metrics, WebcamService]:
    webcams = WebcamService(lambda: pytest.fail("no picture came"), health, limit=2)
    return Metrics(health, viewers or Viewers(8), webcams), webcams


def test_before_the_first_frame() -> None:
    found = scraped(made(Health("demo"))[0])
    assert math.isnan(found["frame_age_seconds"])
    assert (found["camera_open"], found["camera_fps"], found["viewers"], found["frames_total"]) == (
        0,
        0,
        0,
        0,
    )
    assert found["uptime_seconds"] >= 0
    assert found["process_resident_memory_bytes"] > 0


def test_counters_and_gauges_follow_health() -> None:
    health, viewers = Health("demo"), Viewers(8)
    metrics, webcams = made(health, viewers)
    health.set_camera_state("open")
    for number in range(3):
        health.record_frame(frame(number))
    health.record_reading(4, detect=0.25, classify=0.5)
    health.record_reading(0, detect=0.25, classify=0.5)
    health.count("encoded", 7)
    viewers.join(OVERLAY)
    for _ in range(2):
        webcams.join()
    with pytest.raises(Busy):
        webcams.join()
    found = scraped(metrics)
    assert (found["frames_total"], found["readings_total"], found["skipped_total"]) == (3, 2, 4)
    assert (found["encoded_total"], found["viewers"], found["camera_open"]) == (7, 1, 1)
    assert (found["stage_seconds_total[detect]"], found["stage_seconds_total[classify]"]) == (0.5, 1.0)
    assert found["frame_age_seconds"] > 0
    assert (found["webcams"], found["webcams_refused_total"], found["webcam_readings_total"]) == (2, 1, 0)


def test_two_appliances_in_one_process_have_their_own_numbers() -> None:
    one, other = Health("demo"), Health("demo")
    metrics = [made(health)[0] for health in (one, other)]
    one.count("frames", 5)
    assert [scraped(each)["frames_total"] for each in metrics] == [5, 0]
