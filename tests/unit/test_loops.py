"""What the threads do, step by step: lamp before camera, growing pauses, nothing of an ended consent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import pytest

from appliance.consent.session import Session
from appliance.errors import CameraEnded, CameraLost, SlotClosed
from appliance.handoff import Slot
from appliance.health import Health
from appliance.loops import FROZEN_S, CaptureLoop, PictureLoop, SinkLoop, VisionLoop
from appliance.values import Consent, Frame, Reading
from tests.fakes.consent import make_session, make_terms
from tests.fakes.parts import (
    ScriptedCamera,
    ScriptedLamp,
    face,
    frame,
    in_threads,
    noise,
    person,
    picture,
    reading,
    scores,
)


class Impatient(Session):
    """A session whose wait returns immediately: an idle step would take a second."""

    def wait_until_open(self, timeout: float) -> bool:
        assert 0 < timeout <= 1.0, "a stop must not wait long"
        return super().wait_until_open(0.0)


class Rig:
    """A capture loop with stand-ins at both ends, and a clock that only its pauses advance."""

    def __init__(self, *, needs_consent: bool = True) -> None:
        self.diary: list[str] = []
        self.camera = ScriptedCamera(self.diary, needs_consent=needs_consent)
        self.lamp = ScriptedLamp(self.diary)
        self.session = Impatient(make_terms("1"), needs_consent=needs_consent)
        self.frames: Slot[Frame] = Slot()
        self.health = Health("usb")
        self.pauses: list[float] = []
        self.ended = 0
        self.now = 5000.0
        self.capture = CaptureLoop(
            self.camera,
            self.lamp,
            self.session,
            self.frames,
            self.health,
            ended=self._end,
            pause=self._pause,
        )

    def _end(self) -> None:
        self.ended += 1

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def agree(self) -> None:
        self.session.start("1", "operator")

    def step_until(self, reached: Callable[[], bool]) -> None:
        for _ in range(500):
            if reached():
                return
            self.capture.step()
        raise AssertionError("it never came to that")

    def attempts(self, count: int) -> float:
        """Step until the camera was opened this many more times; returns how long that took."""
        began, before = self.now, self.diary.count("open")
        self.step_until(lambda: self.diary.count("open") >= before + count)
        return self.now - began


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Avoid the half second that a consumer's step takes without a new item."""
    monkeypatch.setattr("appliance.loops.WAIT_S", 0.01)
    yield


# --- capture ---


def test_a_pause_closes_the_camera_without_forgetting_it(rig: Rig) -> None:
    rig.agree()
    rig.capture.step()
    forgotten = rig.camera.forgotten
    rig.session.pause("operator")
    rig.capture.step()
    assert rig.diary[-2:] == ["close", "lamp off"] and rig.health.camera.state == "closed"
    assert rig.frames.newest() is None
    rig.session.resume("operator")
    rig.capture.step()
    assert rig.health.camera.state == "open"
    newest = rig.frames.newest()
    assert newest is not None and newest.consent_epoch == rig.session.consent_epoch == 2
    assert rig.camera.forgotten == forgotten, "people agreed to this camera"
    rig.session.pause("operator")
    rig.capture.step()
    rig.session.stop("operator")
    rig.capture.step()
    assert rig.camera.forgotten == forgotten + 1, "the next session may use another"


def test_without_consent_the_camera_is_never_opened(rig: Rig) -> None:
    for _ in range(5):
        rig.capture.step()
    assert "open" not in rig.diary and "lamp on" not in rig.diary
    assert rig.frames.newest() is None
    assert rig.health.camera.state == "closed"


def test_while_idle_a_missing_camera_is_logged_once_and_not_opened(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.camera.absent = "no capture device"
    with caplog.at_level(logging.INFO, "appliance.loops"):
        for _ in range(5):
            rig.capture.step()
        assert (rig.health.camera.state, rig.health.camera.reason) == ("lost", "no capture device")
        rig.camera.absent = None
        rig.capture.step()
    assert (rig.health.camera.state, rig.health.camera.reason) == ("closed", None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "open" not in rig.diary and "lamp on" not in rig.diary


def test_the_lamp_is_on_from_before_opening_until_after_closing(rig: Rig) -> None:
    rig.agree()
    rig.capture.step()
    assert rig.health.camera.state == "open"
    rig.session.stop("operator")
    rig.capture.step()
    assert [word for word in rig.diary if word != "close"] == ["lamp off", "lamp on", "open", "lamp off"]
    assert rig.diary[-2:] == ["close", "lamp off"], "the camera closes first"


@pytest.mark.parametrize("already_open", [True, False])
def test_a_stop_closes_the_camera_within_one_step_and_clears_the_frames(rig: Rig, already_open: bool) -> None:
    rig.agree()
    if already_open:
        rig.capture.step()
        assert rig.frames.newest() is not None
    rig.session.stop("operator")
    rig.capture.step()
    assert rig.frames.newest() is None
    assert rig.health.camera.state == "closed" and rig.health.camera.reason is None
    assert not rig.lamp.lit


def test_frames_carry_their_consent_epoch(rig: Rig) -> None:
    numbers = []
    for _ in range(2):
        rig.agree()
        rig.capture.step()
        newest = rig.frames.newest()
        assert newest is not None
        numbers.append(newest.consent_epoch)
        rig.session.stop("operator")
        rig.capture.step()
    assert numbers == [1, 2]


def test_a_new_consent_between_two_steps_reopens_the_camera(rig: Rig) -> None:
    rig.agree()
    rig.capture.step()
    rig.session.stop("operator")
    rig.agree()
    rig.capture.step()
    assert rig.diary.count("open") == 2
    newest = rig.frames.newest()
    assert newest is not None and newest.consent_epoch == 2


def test_a_failed_lamp_keeps_the_camera_closed(rig: Rig) -> None:
    rig.lamp.broken = True
    rig.agree()
    rig.capture.step()
    assert "open" not in rig.diary
    assert rig.health.camera.state == "lost"
    assert "lamp cannot be driven" in (rig.health.camera.reason or "")
    assert rig.health.camera.lamp_failed
    rig.lamp.broken = False
    rig.attempts(1)
    assert (rig.health.camera.state, rig.health.camera.lamp_failed) == ("open", False)


@pytest.mark.parametrize("where", ["open", "read"])
def test_a_lost_camera_is_closed_with_its_lamp_off_and_a_reason(rig: Rig, where: str) -> None:
    rig.agree()
    rig.capture.step()
    lost = CameraLost("/dev/video0 is gone")
    rig.camera.fault = lost
    rig.camera.open_fault = lost if where == "open" else None
    rig.capture.step()
    assert rig.diary[-2:] == ["close", "lamp off"]
    assert (rig.health.camera.state, rig.health.camera.reason) == ("lost", "/dev/video0 is gone")
    assert rig.frames.newest() is None, "no frozen face"


@pytest.mark.parametrize(("steady_s", "pause_s"), [(11.0, 1.0), (1.0, 15.0)], ids=["steady", "flapping"])
def test_pauses_grow_until_the_camera_is_steady(rig: Rig, steady_s: float, pause_s: float) -> None:
    rig.agree()
    rig.camera.open_fault = CameraLost("not there")
    assert [rig.attempts(1) for _ in range(7)] == pytest.approx([0, 1, 2, 4, 8, 15, 15])
    rig.camera.open_fault = None
    assert rig.attempts(1) == pytest.approx(15)
    assert rig.health.camera.state == "open"
    rig.now += steady_s
    rig.camera.fault = CameraLost("gone again")
    rig.capture.step()
    assert rig.attempts(1) == pytest.approx(pause_s)


def test_no_single_pause_is_long(rig: Rig) -> None:
    rig.agree()
    rig.camera.open_fault = CameraLost("not there")
    rig.attempts(6)
    assert max(rig.pauses) <= 1.0, "a stop must not wait for the end of a long pause"


def test_withdrawing_while_the_camera_is_lost_closes_it(rig: Rig) -> None:
    rig.agree()
    rig.camera.open_fault = CameraLost("not there")
    rig.capture.step()
    rig.session.stop("operator")
    rig.capture.step()
    assert rig.health.camera.state == "closed"
    rig.camera.open_fault = None
    rig.agree()
    rig.capture.step()
    assert rig.health.camera.state == "open", "a new consent does not wait for the old pause"


def test_an_outage_is_logged_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.agree()
    rig.camera.open_fault = CameraLost("not there")
    with caplog.at_level(logging.INFO, "appliance.loops"):
        for _ in range(2):
            rig.camera.open_fault = CameraLost("not there")
            rig.camera.fault = rig.camera.open_fault
            rig.attempts(5)
            rig.camera.open_fault = rig.camera.fault = None
            rig.step_until(lambda: rig.health.camera.state == "open")
    told = [record.getMessage().split(";")[0] for record in caplog.records]
    assert told == ["camera lost: not there", "the camera is back"] * 2


def test_the_state_shows_the_latest_reason(rig: Rig) -> None:
    rig.agree()
    for reason in ("not there", "in use"):
        rig.camera.open_fault = CameraLost(reason)
        rig.attempts(1)
        assert rig.health.camera.reason == reason


def test_the_end_of_a_clip_is_reported_after_closing(rig: Rig) -> None:
    rig.agree()
    rig.camera.fault = CameraEnded("the clip is over")
    rig.capture.step()
    assert rig.ended == 1
    assert rig.diary[-2:] == ["close", "lamp off"]
    assert rig.health.camera.state == "closed"


def test_after_the_end_of_a_clip_the_camera_stays_closed(rig: Rig) -> None:
    rig.agree()
    rig.camera.fault = CameraEnded("the clip is over")
    rig.capture.step()
    for _ in range(3):
        with pytest.raises(SlotClosed):
            rig.capture.step()
    assert (rig.ended, rig.diary.count("open"), rig.diary.count("lamp on")) == (1, 1, 1)


def test_the_device_is_forgotten_when_consent_ends_but_not_when_it_is_lost(rig: Rig) -> None:
    rig.agree()
    rig.capture.step()
    before = rig.camera.forgotten
    rig.camera.fault = rig.camera.open_fault = CameraLost("gone")
    rig.attempts(3)
    assert rig.camera.forgotten == before, "people agreed to this one"
    rig.session.stop("operator")
    rig.capture.step()
    assert rig.camera.forgotten == before + 1


def frozen(rig: Rig, seconds: float, *, noisy: bool = False) -> None:
    for index in range(int(seconds * 2)):
        rig.now += 0.5
        image = noise(64, 48, index if noisy else 0)
        rig.camera.next = lambda number, image=image: frame(number, rig.now, image)  # type: ignore[misc]
        rig.capture.step()


def test_a_camera_that_repeats_one_picture_counts_as_lost(rig: Rig) -> None:
    rig.agree()
    frozen(rig, FROZEN_S)
    assert rig.health.camera.state == "open", "not yet"
    frozen(rig, 1.0)
    assert rig.health.camera.state == "lost"
    assert "same picture" in (rig.health.camera.reason or "")
    assert rig.frames.newest() is None


def test_noise_shows_that_a_camera_works(rig: Rig) -> None:
    rig.agree()
    frozen(rig, 3 * FROZEN_S, noisy=True)
    assert rig.health.camera.state == "open" and rig.diary.count("open") == 1


def test_a_still_picture_as_a_camera_is_not_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(needs_consent=False)
    monkeypatch.setattr(time, "monotonic", lambda: rig.now)
    frozen(rig, 3 * FROZEN_S)
    assert rig.health.camera.state == "open" and rig.diary.count("open") == 1


def test_frames_are_counted_and_published(rig: Rig) -> None:
    rig.agree()
    for _ in range(3):
        rig.capture.step()
    assert rig.frames.number == 3
    assert rig.health.counts["frames"] == 3


def test_any_other_exception_is_raised(rig: Rig) -> None:
    rig.agree()
    rig.camera.fault = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        rig.capture.step()


# --- vision ---


class PipelineDouble:
    """Reads no one, and records its calls."""

    def __init__(self) -> None:
        self.agreed: Consent | None = None
        self.bounds: list[Consent | None] = []
        self.read_frames: list[int] = []
        self.skipped: list[int] = []
        self.resets = 0
        self.taken: list[float] = []
        self.keeps_ids = False
        self.during: object = None

    def read(self, of: Frame, skipped: int = 0) -> Reading:
        self.read_frames.append(of.number)
        self.bounds.append(self.agreed)
        self.skipped.append(skipped)
        if callable(self.during):
            self.during()
        return reading(of, skipped=skipped)

    def reset(self, *, keep_ids: bool = False) -> None:
        self.resets += 1
        self.keeps_ids = keep_ids

    def limit_to(self, agreed: Consent | None) -> None:
        self.agreed = agreed

    def take_baselines(self, now: float) -> None:
        self.taken.append(now)

    def close(self) -> None:
        """Do nothing: nothing is open."""


class Eye:
    """A vision loop between two slots."""

    def __init__(self) -> None:
        self.pipeline = PipelineDouble()
        self.slept_s = 0.0
        self.session = make_session("1", clock=lambda: time.monotonic() + self.slept_s)
        self.frames: Slot[Frame] = Slot()
        self.readings: Slot[Reading] = Slot()
        self.health = Health("usb")
        self.vision = VisionLoop(self.pipeline, self.session, self.frames, self.readings, self.health)  # type: ignore[arg-type]

    def see(self, number: int, epoch: int) -> None:
        self.frames.put(frame(number, consent_epoch=epoch))
        self.vision.step()


@pytest.fixture
def eye() -> Eye:
    return Eye()


def test_each_frame_is_read_once(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    eye.vision.step()
    eye.see(2, 1)
    assert eye.pipeline.read_frames == [1, 2]
    assert eye.readings.number == 2


def test_skipped_frames_are_counted(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    for number in (2, 3, 4):
        eye.frames.put(frame(number, consent_epoch=1))
    eye.vision.step()
    newest = eye.readings.newest()
    assert newest is not None and (newest.frame.number, newest.skipped) == (4, 2)
    assert eye.health.counts["skipped"] == 2 and eye.health.counts["readings"] == 2


def test_without_consent_nothing_is_read(eye: Eye) -> None:
    eye.see(1, 0)
    eye.see(2, 1)
    assert eye.pipeline.read_frames == []
    assert eye.readings.newest() is None


def test_frames_of_an_older_consent_are_dropped_unread(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.session.stop("operator")
    eye.session.start("1", "operator")
    eye.see(1, 1)
    assert eye.pipeline.read_frames == []
    eye.see(2, 2)
    assert eye.pipeline.read_frames == [2]


def test_each_request_takes_the_baselines_once_from_the_next_frame_on(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    eye.session.take_baselines()
    assert eye.pipeline.taken == []
    for number in (2, 3):
        eye.see(number, 1)
    eye.session.take_baselines()
    eye.see(4, 1)
    assert len(eye.pipeline.taken) == 2
    eye.session.stop("operator")
    eye.session.start("1", "operator")
    eye.see(5, 2)
    assert len(eye.pipeline.taken) == 2, "a request ends with its consent"


def test_a_new_consent_resets_the_pipeline(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    eye.see(2, 1)
    resets = eye.pipeline.resets
    eye.session.stop("operator")
    for number in (3, 4, 5):
        eye.frames.put(frame(number, consent_epoch=1))
    eye.session.start("1", "operator")
    eye.see(6, 2)
    assert eye.pipeline.resets == resets + 1
    assert eye.pipeline.skipped[-1] == 0, "dropped frames belong to the other consent"


@pytest.mark.parametrize("asleep", ["before the next frame", "while one is read", "while one is awaited"])
def test_after_a_long_sleep_no_frame_is_analysed_without_confirmation(
    eye: Eye, monkeypatch: pytest.MonkeyPatch, asleep: str
) -> None:
    def sleep() -> None:
        eye.slept_s += 61.0
        eye.pipeline.during = None

    eye.session.start("1", "operator")
    eye.see(1, 1)
    if asleep == "before the next frame":
        sleep()
    elif asleep == "while one is read":
        eye.pipeline.during = sleep
    else:
        take = eye.frames.take

        def awaited(seen: int, timeout: float) -> tuple[Frame | None, int]:
            monkeypatch.setattr(eye.frames, "take", take)
            sleep()
            eye.frames.put(frame(2, consent_epoch=1))
            return take(seen, timeout)

        monkeypatch.setattr(eye.frames, "take", awaited)
    eye.see(2, 1)
    eye.see(3, 1)
    assert eye.pipeline.read_frames[-1] == 3
    unconfirmed = {
        number: bool(agreed and agreed.unconfirmed)
        for number, agreed in zip(eye.pipeline.read_frames, eye.pipeline.bounds, strict=True)
    }
    assert unconfirmed == {1: False, 2: asleep != "while one is read", 3: True}
    eye.session.reconfirm("operator")
    eye.see(4, 1)
    assert eye.pipeline.bounds[-1] == Consent(1, confirmations=1)


def test_readings_are_cleared_when_the_consent_ends(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    eye.session.stop("operator")
    eye.vision.step()
    assert eye.readings.newest() is None


def test_the_end_of_a_consent_frees_what_the_pipeline_keeps(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    resets = eye.pipeline.resets
    eye.session.stop("operator")
    for number in (2, 3):
        eye.see(number, 1)
    assert eye.pipeline.resets == resets + 1, "at once, and once only"


def test_a_pause_frees_what_the_pipeline_keeps_and_uses_no_id_again(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.see(1, 1)
    resets = eye.pipeline.resets
    eye.session.pause("operator")
    eye.see(2, 1)
    assert eye.readings.newest() is None
    assert (eye.pipeline.resets, eye.pipeline.keeps_ids) == (resets + 1, True)
    eye.session.resume("operator")
    eye.see(3, 2)
    assert eye.pipeline.read_frames[-1] == 3 and eye.pipeline.keeps_ids
    eye.session.stop("operator")
    eye.session.start("1", "operator")
    eye.see(4, 3)
    assert not eye.pipeline.keeps_ids


@pytest.mark.parametrize(("state", "kept"), [("lost", False), ("open", True)])
def test_readings_are_cleared_when_the_camera_is_lost(eye: Eye, state: str, kept: bool) -> None:
    eye.session.start("1", "operator")
    eye.health.set_camera_state("open")
    eye.see(1, 1)
    eye.frames.clear()
    eye.health.set_camera_state(state)
    eye.vision.step()
    assert (eye.readings.newest() is not None) is kept


def test_a_consent_that_ends_during_a_reading_publishes_nothing(eye: Eye) -> None:
    eye.session.start("1", "operator")
    eye.pipeline.during = lambda: eye.session.stop("operator")
    eye.see(1, 1)
    assert eye.readings.newest() is None


def test_vision_ends_with_its_slot(eye: Eye) -> None:
    eye.frames.close()
    with pytest.raises(SlotClosed):
        eye.vision.step()


# --- pictures ---


class PictureSinkDouble:
    """Records the frames that it was given."""

    def __init__(self) -> None:
        self.diary: list[object] = []

    def take(self, of: Frame) -> None:
        self.diary.append(of.number)

    def idle(self) -> None:
        self.diary.append("idle")


def test_the_picture_sink_gets_the_newest_frame_without_waiting_for_vision() -> None:
    session, frames, sink = make_session("1", needs_consent=False), Slot[Frame](), PictureSinkDouble()
    loop = PictureLoop(sink, frames, session)
    frames.put(frame(1))
    loop.step()
    loop.step()
    frames.put(frame(2))
    frames.put(frame(3))
    loop.step()
    assert sink.diary == [1, "idle", 3]


def test_no_picture_is_made_of_a_preview_or_an_ended_consent() -> None:
    session, frames, sink = make_session("1"), Slot[Frame](), PictureSinkDouble()
    loop = PictureLoop(sink, frames, session)
    session.start_preview("operator")
    frames.put(frame(1, consent_epoch=session.camera_epoch))
    loop.step()
    session.start("1", "operator")
    frames.put(frame(2, consent_epoch=session.camera_epoch))
    loop.step()
    session.stop("operator")
    frames.put(frame(3, consent_epoch=2))
    loop.step()
    assert sink.diary == ["idle", 2, "idle"]


def test_a_picture_after_a_long_sleep_finds_the_consent_unconfirmed() -> None:
    slept_s = [0.0]
    session = make_session("1", clock=lambda: time.monotonic() + slept_s[0])
    frames, sink = Slot[Frame](), PictureSinkDouble()
    loop = PictureLoop(sink, frames, session)
    session.start("1", "operator")
    slept_s[0] = 61.0
    frames.put(frame(1))
    loop.step()
    consent = session.snapshot.consent
    assert consent is not None and consent.unconfirmed


# --- sinks ---


class SinkDouble:
    """Records what it was given."""

    def __init__(self) -> None:
        self.diary: list[object] = []

    def take(self, of: Reading) -> None:
        self.diary.append(of.frame.number)

    def idle(self) -> None:
        self.diary.append("idle")

    def close(self) -> None:
        """Do nothing: there is nothing to flush."""


def test_a_sink_gets_each_reading_once_and_a_call_when_idle() -> None:
    session, readings, sink = make_session("1", needs_consent=False), Slot[Reading](), SinkDouble()
    loop = SinkLoop(sink, readings, session)
    loop.step()
    readings.put(reading(frame(1)))
    loop.step()
    loop.step()
    readings.put(reading(frame(2)))
    readings.put(reading(frame(3)))
    loop.step()
    assert sink.diary == ["idle", 1, "idle", 3]


def test_a_sink_gets_nothing_of_an_ended_consent() -> None:
    session, readings, sink = make_session("1", needs_consent=True), Slot[Reading](), SinkDouble()
    loop = SinkLoop(sink, readings, session)
    session.start("1", "operator")
    session.stop("operator")
    readings.put(reading(frame(1, consent_epoch=1), person(1, face(9, 9, 9), scores())))
    loop.step()
    assert 1 not in sink.diary


def test_a_loop_ends_while_it_waits_when_its_slot_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.loops.WAIT_S", 60.0)
    readings: Slot[Reading] = Slot()
    loop = SinkLoop(SinkDouble(), readings, make_session("1", needs_consent=False))

    def wait() -> None:
        with pytest.raises(SlotClosed):
            loop.step()

    in_threads(wait, readings.close)


def test_a_frame_is_read_only_when_it_is_published(rig: Rig) -> None:
    rig.agree()
    rig.camera.next = lambda number: frame(number, image=picture())
    rig.capture.step()
    newest = rig.frames.newest()
    assert newest is not None and not newest.image.flags.writeable
