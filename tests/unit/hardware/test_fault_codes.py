"""Which fault is shown, what the lamps show for it, and that the documents match."""

from __future__ import annotations

import re
import time

import pytest

from appliance.hardware.fault_codes import (
    FAULT_CODES,
    NOT_RUNNING,
    Condition,
    condition,
    current_fault,
    lamp_state,
)
from appliance.health import Health
from appliance.values import LampState
from tests.fakes.parts import frame
from tests.machine import ROOT

CAMERA, LAMP, FULL, WRITING, DAMAGED, ACCELERATOR, THROTTLED = 1, 2, 3, 4, 5, 6, 7


@pytest.mark.parametrize(
    ("now", "blinks"),
    [
        (Condition("ok", "open"), 0),
        (Condition("idle"), 0),
        (Condition("starting"), 0),
        (Condition("failing", "open"), CAMERA),
        (Condition("failing", "lost"), CAMERA),
        (Condition("idle", "lost"), CAMERA),
        (Condition("failing", "lost", lamp_failed=True), LAMP),
        (Condition("ok", "open", records="full"), FULL),
        (Condition("idle", records="full"), FULL),
        (Condition("ok", "open", records="failed"), WRITING),
        (Condition("ok", "open", records="read_only"), WRITING),
        (Condition("ok", "open", records="set_aside"), DAMAGED),
        (Condition("ok", "open", accelerator_failed=True), ACCELERATOR),
        (Condition("ok", "open", records="full", accelerator_failed=True), FULL),
        (Condition("idle", throttled=True), THROTTLED),
        (Condition("ok", "open", accelerator_failed=True, throttled=True), ACCELERATOR),
        (Condition("failing", "lost", records="full"), CAMERA),
        (Condition("failing", "lost", lamp_failed=True, records="set_aside"), LAMP),
    ],
)
def test_the_first_fault_is_shown(now: Condition, blinks: int) -> None:
    fault = current_fault(now)
    assert (fault.blinks if fault else 0) == blinks
    assert lamp_state(now, None) == LampState(running=True, fault_blinks=blinks, colour=None)


@pytest.mark.parametrize(
    ("status", "colour"), [("ok", "happy"), ("idle", None), ("failing", None), ("starting", None)]
)
def test_a_colour_is_shown_only_while_faces_are_read(status: str, colour: str | None) -> None:
    assert lamp_state(Condition(status), "happy").colour == colour


def test_a_failed_service_has_its_own_code() -> None:
    assert lamp_state(NOT_RUNNING, None) == LampState(running=False, fault_blinks=8, colour=None)


def test_the_condition_depends_only_on_the_health() -> None:
    health = Health("usb")
    assert condition(health, "idle", 0.0) == Condition("idle")
    health.set_camera_state("open")
    health.record_frame(frame(1, time.monotonic()))
    assert condition(health, "live", 1.0) == Condition("ok", "open")
    health.accelerator_failed = True
    assert condition(health, "live", 1.0) == Condition("ok", "open", accelerator_failed=True)
    health.accelerator_failed, health.throttling = False, "too hot"
    assert condition(health, "live", 1.0) == Condition("ok", "open", throttled=True)
    health.throttling = ""
    health.set_store_state("full")
    health.set_camera_state("lost", "no such pin", lamp_failed=True)
    assert condition(health, "live", 1.0) == Condition("failing", "lost", True, "full")
    health.set_camera_state("closed")
    assert condition(health, "idle", 1.0) == Condition("idle", records="full"), (
        "the fault ends with the session"
    )


def test_the_tables_of_the_documentation_match_the_code() -> None:
    text = (ROOT / "docs/lamps.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert rows == [(str(fault.blinks), fault.what, fault.todo) for fault in FAULT_CODES]
    assert [fault.blinks for fault in FAULT_CODES] == list(range(1, len(FAULT_CODES) + 1))
    short = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert "lamps.md" in short
    listed = re.findall(r"^\| (\d+) \| (.+?) \|$", short, re.MULTILINE)
    assert listed == [(str(fault.blinks), fault.what) for fault in FAULT_CODES]
