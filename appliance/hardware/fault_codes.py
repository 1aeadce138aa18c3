"""Fault codes: what the fault lamp blinks, and what all lamps show. Depends only on `Health`.

To add a code, add a row to `FAULT_CODES` and, if needed, a field to `Condition`. A test compares the codes
with the tables in docs/lamps.md and docs/operations.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.health import Health
from appliance.values import LampState


@dataclass(frozen=True)
class Condition:
    """Everything the lamps depend on: the health status, camera, records, accelerator and board."""

    status: str
    camera: str = "closed"
    lamp_failed: bool = False
    records: str = "ok"
    accelerator_failed: bool = False
    throttled: bool = False
    running: bool = True


NOT_RUNNING = Condition("idle", running=False)
"""The service failed: `appliance.commands.blink_failed` shows this instead of the daemon."""


@dataclass(frozen=True)
class FaultCode:
    """`blinks`: how many before the pause. For the owner: `what` is wrong, and what to do (`todo`)."""

    blinks: int
    what: str
    todo: str
    holds: Callable[[Condition], bool]


FAULT_CODES = (
    FaultCode(
        1,
        "the camera is missing or gives no picture",
        "check its cable; another program may be using it; it is retried automatically",
        lambda now: not now.lamp_failed and (now.camera == "lost" or now.status == "failing"),
    ),
    FaultCode(
        2,
        "the camera lamp cannot be lit, so the camera stays closed",
        "check the lamp's cable and pin; the page and the log show the error",
        lambda now: now.lamp_failed,
    ),
    FaultCode(
        3,
        "the disk is full: nothing is recorded",
        "free some space; it is checked every minute",
        lambda now: now.records == "full",
    ),
    FaultCode(
        4,
        "the records cannot be written",
        "read the reason on the page; after a failed update, roll back or update again",
        lambda now: now.records in ("failed", "read_only"),
    ),
    FaultCode(
        5,
        "the records were damaged: the file was set aside and a new one created",
        "restore a backup; the lamp blinks until the damaged file expires and is deleted",
        lambda now: now.records == "set_aside",
    ),
    FaultCode(
        6,
        "the accelerator failed; the CPU is used instead",
        "plug it in again; it is retried automatically; the page /about shows why it is not used",
        lambda now: now.accelerator_failed,
    ),
    FaultCode(
        7,
        "the board is too hot or gets too little power, and runs slower",
        "the page and the log say which; improve the cooling, or use the board's own power supply",
        lambda now: now.throttled,
    ),
    FaultCode(
        8,
        "the service failed and does not restart automatically",
        "`journalctl -u interview-grader` shows why; fix it, then "
        "`sudo systemctl reset-failed interview-grader` and `sudo systemctl restart interview-grader`",
        lambda now: not now.running,
    ),
)
"""In order of precedence: if there are several faults, the lamp shows the first, with the fewest blinks."""


def condition(health: Health, session_state: str, live_s: float) -> Condition:
    """The condition of a running appliance, `live_s` seconds after the session began."""
    status, _ = health.status(session_state, live_s)
    camera = health.camera
    return Condition(
        status,
        camera.state,
        camera.lamp_failed,
        health.store_state,
        accelerator_failed=health.accelerator_failed,
        throttled=bool(health.throttling),
    )


def current_fault(now: Condition) -> FaultCode | None:
    """The fault that the lamp shows; None if there is no fault."""
    return next((code for code in FAULT_CODES if code.holds(now)), None)


def lamp_state(now: Condition, label: str | None) -> LampState:
    """What the lamps show; `label` is that of the largest face in view."""
    fault = current_fault(now)
    return LampState(
        running=now.running,
        fault_blinks=fault.blinks if fault else 0,
        colour=label if now.status == "ok" else None,
    )
