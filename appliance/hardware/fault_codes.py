"""What is wrong, in blinks of the fault lamp, and what all lamps show: functions of the health alone.

The table in docs/lamps.md is the same; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.health import Health
from appliance.values import LampState


@dataclass(frozen=True)
class Condition:
    """All that the lamps depend on: the status of `Health`, the camera, records, accelerator and board."""

    status: str
    camera: str = "closed"
    lamp_failed: bool = False
    records: str = "ok"
    accelerator_failed: bool = False
    strained: bool = False


@dataclass(frozen=True)
class Fault:
    """`blinks` in a row, then a pause. `what` is wrong and what to do (`todo`), in words for the owner."""

    blinks: int
    what: str
    todo: str
    holds: Callable[[Condition], bool]


FAULTS = (
    Fault(
        1,
        "the camera is not there, or gives no picture",
        "look at its cable; another program may have it; it is tried again by itself",
        lambda now: not now.lamp_failed and (now.camera == "lost" or now.status == "failing"),
    ),
    Fault(
        2,
        "the camera lamp cannot be lit, so the camera stays closed",
        "look at the lamp's cable and pin; the page and the log name the error",
        lambda now: now.lamp_failed,
    ),
    Fault(
        3,
        "the disk is full: nothing is recorded",
        "make room; it is looked at again every minute",
        lambda now: now.records == "full",
    ),
    Fault(
        4,
        "the records cannot be written",
        "read the reason on the page; after an update gone wrong, go back or update again",
        lambda now: now.records in ("failed", "read_only"),
    ),
    Fault(
        5,
        "the records were damaged: they were set aside and new ones begun",
        "restore a backup; it blinks until the file set aside is too old and removed",
        lambda now: now.records == "set_aside",
    ),
    Fault(
        6,
        "the accelerator failed: the CPU reads instead",
        "plug it in again; it is tried again by itself, the page /about says why it is not used",
        lambda now: now.accelerator_failed,
    ),
    Fault(
        7,
        "the board is too hot or gets too little power, and works slower",
        "the page and the log say which; give it air or a fan, or the board's own power supply",
        lambda now: now.strained,
    ),
)
"""The fewest blinks first: of several faults the first is shown."""

GAVE_UP = Fault(
    8,
    "it does not run, and is not started again by itself",
    "`journalctl -u interview-grader` says why; correct it, then "
    "`sudo systemctl reset-failed interview-grader` and `sudo systemctl restart interview-grader`",
    lambda now: (
        False
    ),  # whoever runs has not given up: `appliance.commands.blink_failed` shows it in its place
)


def condition(health: Health, session_state: str, live_s: float) -> Condition:
    """How the appliance is now, `live_s` seconds after the session began."""
    status, _ = health.status(session_state, live_s)
    camera = health.camera
    return Condition(
        status,
        camera.state,
        camera.lamp_failed,
        health.store_state,
        accelerator_failed=health.accelerator_failed,
        strained=bool(health.strain),
    )


def fault_of(now: Condition) -> Fault | None:
    """The fault that is shown, None when all is well."""
    return next((fault for fault in FAULTS if fault.holds(now)), None)


def lamp_state(now: Condition, label: str | None) -> LampState:
    """The lamps, with the label of the largest face in view."""
    fault = fault_of(now)
    return LampState(
        running=True,
        fault_blinks=fault.blinks if fault else 0,
        colour=label if now.status == "ok" else None,
    )
