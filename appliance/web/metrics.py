"""Health as Prometheus metrics, through the official client library."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from appliance.health import Health
from appliance.viewers import Viewers
from appliance.webcams.service import WebcamService

_COUNTERS = {
    "frames": "Frames captured.",
    "readings": "Frames that went through detector and classifier.",
    "skipped": "Frames that were replaced by a newer one before they were analysed.",
    "encoded": "JPEG pictures encoded.",
    "webcam_readings": "Pictures of webcam clients that were read.",
    "webcams_refused": "Webcam clients, and pictures of theirs, that were refused.",
}


class HealthCollector:
    """Reads `Health` at each scrape; stores nothing itself."""

    def __init__(self, health: Health, viewers: Viewers, webcams: WebcamService) -> None:
        self._health, self._viewers, self._webcams = health, viewers, webcams
        self._began = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        health, age = self._health, self._health.frame_age()
        yield _gauge("camera_fps", "Frames a second from the camera.", health.rate("camera"))
        yield _gauge("process_fps", "Frames a second through detector and classifier.", health.rate("vision"))
        yield _gauge("frame_age_seconds", "Age of the newest frame.", float("nan") if age is None else age)
        yield _gauge("camera_open", "1 while the camera delivers.", float(health.camera.state == "open"))
        yield _gauge(
            "board_strained",
            "1 while the board is slowed down by heat or lacks power.",
            bool(health.throttling),
        )
        yield _gauge("viewers", "Pictures being streamed.", self._viewers.count)
        yield _gauge("webcams", "Clients that send their own pictures.", self._webcams.count)
        yield _gauge("uptime_seconds", "Seconds since the start.", time.monotonic() - self._began)
        counts, seconds = health.totals()
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"interview_grader_{name}", text, value=counts.get(name, 0))
        stages = CounterMetricFamily(
            "interview_grader_stage_seconds", "Seconds spent in each stage of a reading.", labels=["stage"]
        )
        for stage, spent in seconds.items():
            stages.add_metric([stage], spent)
        yield stages


class Metrics:
    """The registry of this appliance; nothing global."""

    def __init__(self, health: Health, viewers: Viewers, webcams: WebcamService) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(HealthCollector(health, viewers, webcams))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def text(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"interview_grader_{name}", text, value=value)
