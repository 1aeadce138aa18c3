"""The loops that the threads run, in the order of a frame's path: capture, vision, sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from appliance.consent.session import Session
from appliance.errors import CameraEnded, CameraLost, LampError, SlotClosed
from appliance.handoff import RightOfWay, Slot
from appliance.health import Health
from appliance.pipeline import Pipeline
from appliance.ports import Camera, CameraLamp, Sink
from appliance.values import Frame, Reading

log = logging.getLogger("appliance.loops")

WAIT_S = 0.5
"""Longest wait of a consumer for a new item."""

READ_S = 2.0
"""Longest wait for a frame; many cameras need more than a second for their first."""

FROZEN_S = 10.0
"""A camera that repeats one picture for this long is frozen: noise never repeats."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 15.0
_STEADY_S = 10.0  # after frames for this long the next outage starts with the first pause again
_TICK_S = 1.0


class CaptureLoop:
    """Opens the camera for a consent or the preview, publishes its frames, and reopens it when lost.

    The lamp lights before the camera opens and goes out after it closes. Without its lamp the camera stays
    closed.
    """

    def __init__(
        self,
        camera: Camera,
        lamp: CameraLamp,
        session: Session,
        frames: Slot[Frame],
        health: Health,
        *,
        ended: Callable[[], None],
        pause: Callable[[float], object],
    ) -> None:
        """`ended`: called after a clip's last frame; `pause`: waits for some seconds or until the stop."""
        self._camera, self._lamp, self._session = camera, lamp, session
        self._frames, self._health = frames, health
        self._ended, self._pause = ended, pause
        self._camera_epoch = self._first_epoch = 0
        self._open = False
        self._over = False
        self._retry_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._opened_at = 0.0
        self._outage_logged = False  # one line in the log for each outage
        self._freeze_detector = _FreezeDetector()

    def step(self) -> None:
        """Wait for consent, open the camera, or read one frame; raises `SlotClosed` after a clip's end."""
        if self._over:
            raise SlotClosed("the clip has ended")
        now = self._session.snapshot
        epoch = now.camera_epoch
        if now.first_epoch != self._first_epoch:
            self.close()
        elif epoch != self._camera_epoch:  # a pause: people agreed to this camera, so it is not forgotten
            self._close("closed")
        self._camera_epoch, self._first_epoch = epoch, now.first_epoch
        if not epoch:
            self._probe()
            self._session.wait_until_open(_TICK_S)
            return
        wait = self._retry_at - time.monotonic()
        if wait > 0:
            self._pause(min(wait, _TICK_S))
            return
        try:
            self._read(epoch)
        except (CameraLost, LampError) as lost:
            self._mark_lost(str(lost), lamp_failed=isinstance(lost, LampError))
        except CameraEnded as end:
            log.info("%s", end)
            self.close()
            self._over = True
            self._ended()

    def close(self) -> None:
        """Close the camera, then switch off its lamp; no captured frame stays visible."""
        self._close("closed")
        self._camera.forget()
        self._retry_at, self._pause_s = 0.0, _FIRST_PAUSE_S

    def _close(self, state: str, reason: str | None = None, *, lamp_failed: bool = False) -> None:
        self._camera.close()
        self._lamp.camera_off()
        self._open = False
        self._frames.clear()
        self._health.set_camera_state(state, reason, lamp_failed=lamp_failed)

    def _read(self, epoch: int) -> None:
        if not self._open:
            self._lamp.camera_on()
            self._open = True
            self._freeze_detector = _FreezeDetector()
            self._camera.open()
        frame = replace(self._camera.read(READ_S), consent_epoch=epoch)
        if self._camera.needs_consent:
            self._freeze_detector.check(frame)
        if self._health.camera.state != "open":
            self._mark_open()
        self._health.record_frame(frame)
        self._frames.put(frame)

    def _probe(self) -> None:
        """Without consent: check that the device is present, without starting it."""
        missing = self._camera.missing()
        if missing:
            self._log_outage(missing)
        self._outage_logged = bool(missing)
        self._health.set_camera_state("lost" if missing else "closed", missing)

    def _mark_open(self) -> None:
        if self._outage_logged:
            log.info("the camera is back")
        self._outage_logged, self._opened_at = False, time.monotonic()
        self._health.set_camera_state("open")

    def _mark_lost(self, reason: str, *, lamp_failed: bool) -> None:
        was_open, now = self._health.camera.state == "open", time.monotonic()
        if was_open and now - self._opened_at > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._close("lost", reason, lamp_failed=lamp_failed)
        self._log_outage(reason)
        self._retry_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _log_outage(self, reason: str) -> None:
        log.log(
            logging.DEBUG if self._outage_logged else logging.WARNING, "camera lost: %s; trying again", reason
        )
        self._outage_logged = True


class _FreezeDetector:
    """Detects a camera that repeats one picture, by a sample of its pixels."""

    def __init__(self) -> None:
        self._sample, self._since = b"", 0.0

    def check(self, frame: Frame) -> None:
        sample = frame.image[::31, ::29].tobytes()
        if sample != self._sample:
            self._sample, self._since = sample, frame.captured
        elif frame.captured - self._since > FROZEN_S:
            raise CameraLost(
                f"the same picture for {FROZEN_S:g} s: the camera is frozen or completely covered"
            )


class VisionLoop:
    """Reads the newest frame and publishes the reading.

    Frames of an ended consent, and those for the preview, are dropped unread.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        session: Session,
        frames: Slot[Frame],
        readings: Slot[Reading],
        health: Health,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        """`right_of_way`: held while a frame is read."""
        self._pipeline, self._session = pipeline, session
        self._right_of_way = right_of_way or RightOfWay()
        self._frames, self._readings, self._health = frames, readings, health
        self._seen = self._baselines = 0
        self._consent_epoch = self._first_epoch = 0

    def step(self) -> None:
        """Read one frame, or wait half a second for one."""
        before = self._seen
        frame, self._seen = self._frames.take(before, WAIT_S)
        self._session.check_gap()  # after the wait, during which the device may have slept
        now = self._session.snapshot
        if not now.consent_epoch:
            self._readings.clear()
            if self._consent_epoch:  # nothing of the people in it stays in memory, nor the second thread
                self._pipeline.reset(keep_ids=now.info is not None)
                self._consent_epoch = 0
            return
        if frame is None and self._health.camera.state != "open":
            self._readings.clear()
        if frame is None or frame.consent_epoch != now.consent_epoch:
            return
        if frame.consent_epoch != self._consent_epoch:
            self._pipeline.reset(keep_ids=now.first_epoch == self._first_epoch)
            self._first_epoch = now.first_epoch
            self._consent_epoch, before = frame.consent_epoch, self._seen - 1
            self._baselines = 0
        self._pipeline.limit_to(now.consent)
        if now.baselines != self._baselines:
            self._pipeline.take_baselines(frame.captured)
            self._baselines = now.baselines
        began = time.monotonic()
        with self._right_of_way:
            reading = self._pipeline.read(frame, self._seen - before - 1)
        stamps = reading.stamps
        self._health.record_reading(
            reading.skipped, detect=stamps.detected - began, classify=stamps.classified - stamps.detected
        )
        if frame.consent_epoch == self._session.consent_epoch:
            self._readings.put(reading)


class PictureSink(Protocol):
    """Makes pictures for viewers. Called from one thread only."""

    def take(self, frame: Frame) -> None:
        """Use a new frame; must not take longer than the next one."""

    def idle(self) -> None:
        """React to half a second without a frame, or to a frame that no one may see."""


class PictureLoop:
    """Passes the newest frame of the consent in force to the picture sink, at the camera's rate."""

    def __init__(self, sink: PictureSink, frames: Slot[Frame], session: Session) -> None:
        self._sink, self._frames, self._session = sink, frames, session
        self._seen = 0

    def step(self) -> None:
        """Pass on one frame, or wait half a second for one."""
        frame, self._seen = self._frames.take(self._seen, WAIT_S)
        self._session.check_gap()  # after the wait, as in `VisionLoop`
        if frame is not None and frame.consent_epoch == self._session.consent_epoch:
            self._sink.take(frame)
        else:
            self._sink.idle()


class SinkLoop:
    """Passes each new reading to one sink, and notifies it when none comes."""

    def __init__(self, sink: Sink, readings: Slot[Reading], session: Session) -> None:
        self._sink, self._readings, self._session = sink, readings, session
        self._seen = 0

    def step(self) -> None:
        """Pass on one reading, or wait half a second for one."""
        reading, self._seen = self._readings.take(self._seen, WAIT_S)
        if reading is None:
            self._sink.idle()
        elif reading.frame.consent_epoch == self._session.consent_epoch:
            self._sink.take(reading)
