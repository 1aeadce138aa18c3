"""The promises of every sink; then the lamps separately."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gpiozero
import numpy as np
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from appliance import sinks
from appliance.colours import lamp_rgb_of
from appliance.consent.session import Session
from appliance.errors import BackendMissing, ConfigError, LampError
from appliance.hardware.gpio_lamps import GpioLamps, GpioSettings
from appliance.hardware.lamps import NoLamps, NoSettings
from appliance.health import Health
from appliance.ports import Lamps, Sink
from appliance.records import Store
from appliance.sinks.lamps import LampSink
from appliance.sinks.recorder import Recorder
from appliance.values import NOT_ANALYSED, ExpressionResult, Image, Person, Reading
from tests.fakes.consent import make_session
from tests.fakes.parts import face, frame, noise, person, reading, scores

HAPPY, SAD = scores(happy=1), scores(sad=1)


@dataclass(frozen=True)
class Shared:
    """The parts that sinks use."""

    health: Health
    session: Session


def make_shared(*, needs_consent: bool = False) -> Shared:
    return Shared(Health("usb"), make_session("1", needs_consent=needs_consent))


@pytest.fixture
def shared() -> Shared:
    return make_shared()


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockFactory]:
    """gpiozero's mock pins, as the default that the lamps use."""
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


def seen(number: int = 1, *, happy: float = 0.0, sad: float = 0.0, image: Image | None = None) -> Reading:
    """A reading with a happy and a sad face of these sizes."""
    people = [
        person(index, face(200.0 * index, 200, side), raw)
        for index, (side, raw) in enumerate([(happy, HAPPY), (sad, SAD)], 1)
        if side
    ]
    return reading(frame(number, time.monotonic(), noise(640, 480) if image is None else image), *people)


@pytest.fixture
def delivering(shared: Shared) -> Shared:
    """An open camera that has just delivered a frame."""
    shared.health.set_camera_state("open")
    shared.health.record_frame(frame(1, time.monotonic()))
    return shared


def lamps(shared: Shared) -> Sink:
    return make_lamp_sink(shared, GpioLamps(GpioSettings()))


def make_lamp_sink(shared: Shared, lamps: Lamps) -> LampSink:
    return LampSink(lamps, shared.session, shared.health)


def no_lamps(shared: Shared) -> Sink:
    return make_lamp_sink(shared, NoLamps(NoSettings()))


def recorder(shared: Shared) -> Sink:
    return Recorder(Store(Path(tempfile.mkdtemp())), shared.session, shared.health)


SINKS: dict[str, Callable[[Shared], Sink]] = {
    "lamps-gpiozero": lamps,
    "lamps-none": no_lamps,
    "recorder": recorder,
}


def test_every_sink_is_tested_here() -> None:
    files = {path.stem for path in Path(sinks.__file__).parent.glob("*.py")}
    # Pictures are made from frames, not from readings.
    files -= {"__init__", "drawing", "reading_matcher", "stream"}
    assert {name.partition("-")[0] for name in SINKS} == files


@pytest.mark.usefixtures("pins")
@pytest.mark.parametrize("name", SINKS)
class TestPromises:
    """Called from one thread only: take, idle, close."""

    def test_take_idle_close_and_close_again(self, name: str, shared: Shared) -> None:
        sink = SINKS[name](shared)
        for happy in (0, 100):
            sink.take(seen(happy=happy))
            sink.idle()
        sink.close()
        sink.close()

    def test_close_without_anything_before(self, name: str, shared: Shared) -> None:
        SINKS[name](shared).close()

    def test_the_frame_is_unchanged(self, name: str, shared: Shared) -> None:
        sink = SINKS[name](shared)
        given = seen(happy=100, sad=80)
        before = given.frame.image.copy()
        sink.take(given)
        assert np.array_equal(given.frame.image, before)
        sink.close()

    @pytest.mark.parametrize("state", ["closed", "open", "lost"])
    def test_idle_in_any_state(self, name: str, shared: Shared, state: str) -> None:
        sink = SINKS[name](shared)
        shared.health.set_camera_state(state, "unplugged")
        sink.idle()
        shared.session.stop("operator")
        sink.idle()
        sink.close()


# --- lamps ---

RUNNING, CAMERA, FAULT, RED, GREEN, BLUE = 17, 27, 22, 16, 20, 21


def lit(pins: MockFactory, *numbers: int) -> tuple[float, ...]:
    return tuple(pins.pin(number).state for number in numbers)


def changes(pins: MockFactory, number: int) -> list[float]:
    """Every state of the pin, one for each write that changed it."""
    return [entry.state for entry in pins.pin(number).states]


def test_the_colour_is_that_of_the_largest_face(delivering: Shared, pins: MockFactory) -> None:
    sink = lamps(delivering)
    sink.take(seen(happy=80, sad=120))
    assert lit(pins, RED, GREEN, BLUE) == pytest.approx([channel / 255 for channel in lamp_rgb_of("sad")])
    sink.take(seen(happy=120, sad=80))
    assert lit(pins, RED, GREEN, BLUE) == pytest.approx([channel / 255 for channel in lamp_rgb_of("happy")])
    sink.take(seen())
    assert lit(pins, RED, GREEN, BLUE) == (0, 0, 0)
    assert lit(pins, RUNNING, FAULT) == (1, 0)
    sink.close()


def test_people_without_consent_never_set_the_colour(delivering: Shared, pins: MockFactory) -> None:
    other = Person(9, face(60, 60, 110), ExpressionResult(None, "not_agreed"), None, NOT_ANALYSED)
    only_one = seen(happy=40)
    sink = lamps(delivering)
    sink.take(reading(only_one.frame, *only_one.people, other))
    assert lit(pins, RED, GREEN, BLUE) == pytest.approx([channel / 255 for channel in lamp_rgb_of("happy")])
    sink.take(reading(only_one.frame, other))
    assert lit(pins, RED, GREEN, BLUE) == (0, 0, 0)
    sink.close()


def test_lamps_are_written_only_on_change(
    delivering: Shared, pins: MockFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = lamps(delivering)
    sink.take(seen(happy=100))
    writes: list[int] = []
    original = MockPWMPin._set_state
    monkeypatch.setattr(
        MockPWMPin, "_set_state", lambda pin, value: (writes.append(pin.info.name), original(pin, value))[1]
    )
    monkeypatch.setattr(MockPWMPin, "state", property(MockPWMPin._get_state, MockPWMPin._set_state))
    for _ in range(5):
        sink.take(seen(happy=100))
    assert writes == []
    sink.take(seen(sad=100))
    assert writes, "a change is written"
    assert changes(pins, RUNNING) == [0, 1]
    assert changes(pins, FAULT) == [0]
    sink.close()


@pytest.mark.parametrize(("state", "running", "fault"), [("lost", 1, 1), ("open", 1, 1), ("closed", 1, 1)])
def test_without_a_fresh_frame_the_fault_lamp_blinks_and_no_colour_is_shown(
    shared: Shared,
    pins: MockFactory,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    running: int,
    fault: int,
) -> None:
    sink = lamps(shared)
    shared.health.set_camera_state(state, "unplugged" if state == "lost" else None)
    monkeypatch.setattr("appliance.health.STARTING_S", 0.0)
    sink.take(seen(happy=100))
    assert lit(pins, RUNNING, FAULT) == (running, fault)
    assert lit(pins, RED, GREEN, BLUE) == (0, 0, 0)
    sink.close()


def test_the_first_seconds_after_a_start_show_no_fault(shared: Shared, pins: MockFactory) -> None:
    sink = lamps(shared)
    sink.idle()
    assert lit(pins, RUNNING, FAULT) == (1, 0)
    shared.health.set_camera_state("lost", "unplugged")
    sink.idle()
    assert lit(pins, RUNNING, FAULT) == (1, 1)
    sink.close()


def test_idle_on_purpose_shows_no_fault(pins: MockFactory) -> None:
    shared = make_shared(needs_consent=True)
    sink = lamps(shared)
    sink.idle()
    assert lit(pins, RUNNING, FAULT, RED, GREEN, BLUE) == (1, 0, 0, 0, 0)
    sink.close()


def test_the_sink_never_touches_the_camera_lamp(delivering: Shared, pins: MockFactory) -> None:
    panel = GpioLamps(GpioSettings())
    sink = make_lamp_sink(delivering, panel)
    sink.take(seen(happy=100))
    sink.idle()
    assert changes(pins, CAMERA) == [0]
    panel.camera_on()
    delivering.health.set_camera_state("lost", "unplugged")
    sink.idle()
    delivering.session.stop("operator")
    sink.idle()
    assert changes(pins, CAMERA) == [0, 1]
    panel.camera_off()
    assert changes(pins, CAMERA) == [0, 1, 0]
    sink.close()


def test_a_sink_that_ends_while_the_camera_is_open_leaves_the_camera_lamp_on(
    delivering: Shared, pins: MockFactory
) -> None:
    # It ends first if it dies; the camera closes only after that, and its lamp must stay on until then.
    panel = GpioLamps(GpioSettings())
    sink = make_lamp_sink(delivering, panel)
    panel.camera_on()
    sink.take(seen(happy=100))
    sink.close()
    assert lit(pins, RUNNING, FAULT, RED, GREEN, BLUE) == (0, 0, 0, 0, 0)
    assert lit(pins, CAMERA) == (1,)
    panel.camera_off()
    assert lit(pins, CAMERA) == (0,)


def test_a_released_camera_lamp_cannot_be_lit(pins: MockFactory) -> None:
    panel = GpioLamps(GpioSettings())
    panel.close()
    panel.close()
    panel.camera_off()
    with pytest.raises(LampError):
        panel.camera_on()


def test_a_camera_lamp_that_fails_is_an_error(pins: MockFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = GpioLamps(GpioSettings())

    def broken(*_: object) -> None:
        raise OSError("no such chip")

    with monkeypatch.context() as spoilt:
        spoilt.setattr(MockPWMPin, "state", property(MockPWMPin._get_state, broken))
        with pytest.raises(LampError, match="camera lamp cannot be driven: no such chip"):
            panel.camera_on()
    panel.camera_on()
    assert lit(pins, CAMERA) == (1,), "it was never lit, so it must be written again"
    panel.close()


def test_a_broken_lamp_is_logged_once_and_stops_nothing(
    delivering: Shared, pins: MockFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink = lamps(delivering)

    def broken(*_: object) -> None:
        raise OSError("no such chip")

    with monkeypatch.context() as spoilt:
        spoilt.setattr(MockPWMPin, "state", property(MockPWMPin._get_state, broken))
        for _ in range(3):
            sink.take(seen(happy=100))
        sink.close()
    assert caplog.messages == ["the running lamp cannot be driven: no such chip"]
    sink.take(seen(happy=100))
    assert lit(pins, RUNNING) == (1,)
    sink.close()


def test_all_other_lamps_are_off_after_the_sink_closed(pins: MockFactory, delivering: Shared) -> None:
    sink = lamps(delivering)
    sink.take(seen(happy=100))
    sink.close()
    assert lit(pins, RUNNING, FAULT, RED, GREEN, BLUE) == (0, 0, 0, 0, 0)


@pytest.mark.usefixtures("pins")
def test_pins_are_released() -> None:
    for _ in range(2):
        GpioLamps(GpioSettings()).close()


def test_missing_lamps_are_skipped(delivering: Shared, pins: MockFactory) -> None:
    sink = make_lamp_sink(delivering, GpioLamps(GpioSettings(running=-1, fault=-1, red=-1)))
    sink.take(seen(happy=100))
    assert set(pins.pins) == {pins.pin(CAMERA).info}
    sink.close()


@pytest.mark.usefixtures("pins")
@pytest.mark.parametrize(
    "settings",
    [{"running": 27}, {"red": 17}, {"running": 64}],
    ids=["twice", "twice in the colour", "no such pin"],
)
def test_unavailable_pins(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"check lamps\.factory and the pins"):
        GpioLamps(GpioSettings(**settings))
    GpioLamps(GpioSettings()).close()  # no pin is held


def test_the_mock_factory_can_be_chosen() -> None:
    panel = GpioLamps(GpioSettings(factory="mock"))
    panel.camera_on()
    assert panel.present
    panel.close()


def test_a_factory_whose_package_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"lamps\.factory"):
        GpioLamps(GpioSettings(factory="rpigpio"))


@pytest.mark.parametrize("call", [GpioLamps, GpioLamps.check], ids=["start", "check"])
def test_without_gpiozero_the_error_names_the_package(call: Callable[[GpioSettings], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gpiozero", None)
        with pytest.raises(BackendMissing, match="gpiozero") as caught:
            call(GpioSettings())
    assert caught.value.key == "lamps.backend"
