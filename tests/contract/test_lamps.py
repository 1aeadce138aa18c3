"""The promises of lamps, checked for every backend in the registry; then what is special to each.

gpiozero drives its own mock pins. Jetson.GPIO can be imported only on a Jetson: a stand-in goes through the
same import, and refuses what the real one refuses.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from appliance import registry
from appliance.colours import COLOURS, colour_of, lamp_rgb_of
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.errors import BackendMissing, ConfigError, LampError
from appliance.hardware.fault_codes import FAULT_CODES
from appliance.hardware.lamps import OFF_S, ON_S, PAUSE_S, blink_pattern
from appliance.values import LampState
from tests.fakes.parts import WITHIN_S
from tests.machine import ROOT

DOUBLE = ROOT / "tests/vendor_stubs/jetson"
ROLES = ("running", "camera", "fault", "red", "green", "blue")
RUNNING = LampState(running=True, fault_blinks=0, colour=None)


class Board:
    """A lamps backend, its pins by role, and the state of each pin."""

    def __init__(self, backend: str, level: Callable[[int], float], patch: pytest.MonkeyPatch) -> None:
        self.kind = registry.load("lamps", backend)
        self.patch, self._level = patch, level
        self.pins = {role: field.default for role, field in self.kind.Settings.model_fields.items()}

    def lamps(self, **settings: int) -> Any:
        return self.kind(self.kind.Settings(**settings))

    def lit(self) -> set[str]:
        """The roles that are lit."""
        return {role for role in ROLES if self._level(self.pins[role]) > 0}

    def reaches(self, lit: set[str]) -> bool:
        """Whether exactly these are lit within some seconds."""
        end = time.monotonic() + WITHIN_S
        while self.lit() != lit:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def stays(self, lit: set[str]) -> bool:
        """Whether exactly these are lit at every check, for longer than a blinking lamp is dark."""
        end = time.monotonic() + max(ON_S + OFF_S, PAUSE_S) + ON_S
        while self.lit() == lit:
            if time.monotonic() > end:
                return True
            time.sleep(0.005)
        return False


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The stand-in, in place of the real package."""
    monkeypatch.syspath_prepend(str(DOUBLE))
    module = importlib.import_module("Jetson.GPIO")
    module.forget()
    yield module
    for name in ("Jetson.GPIO", "Jetson"):
        sys.modules.pop(name, None)


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockFactory]:
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


@pytest.fixture(params=["gpiozero", "jetson"])
def board(
    request: pytest.FixtureRequest, pins: MockFactory, jetson: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Board:
    if request.param == "jetson":
        return Board("jetson", lambda pin: jetson.levels.get(pin, 0), monkeypatch)
    return Board("gpiozero", lambda pin: pins.pin(pin).state, monkeypatch)


def broken(board: Board, jetson: ModuleType, error: Exception) -> None:
    """From now on no pin can be driven."""

    def refuse(*_: object) -> None:
        raise error

    board.patch.setattr(jetson, "output", refuse)
    board.patch.setattr(MockPWMPin, "state", property(MockPWMPin._get_state, refuse))


def test_every_lamps_backend_in_the_registry_has_a_board() -> None:
    assert set(registry.LAMPS) == {"none", "gpiozero", "jetson"}


def test_without_lamps_nothing_fails() -> None:
    kind = registry.load("lamps", "none")
    lamps = kind(kind.Settings())
    lamps.camera_on()
    lamps.show(RUNNING)
    lamps.test(lambda _: pytest.fail("nothing to wait for"))
    lamps.dark()
    lamps.camera_off()
    lamps.close()
    assert not lamps.present


class TestPromises:
    def test_all_are_dark_when_they_are_claimed(self, board: Board) -> None:
        lamps = board.lamps()
        assert board.lit() == set() and lamps.present
        lamps.close()

    def test_only_the_camera_switches_the_camera_lamp(self, board: Board) -> None:
        lamps = board.lamps()
        lamps.camera_on()
        assert board.lit() == {"camera"}
        lamps.show(RUNNING)
        lamps.dark()
        assert board.lit() == {"camera"}
        lamps.camera_off()
        assert board.lit() == set()
        lamps.close()

    def test_what_is_shown(self, board: Board) -> None:
        lamps = board.lamps()
        lamps.show(RUNNING)
        assert board.lit() == {"running"}
        lamps.show(LampState(True, 0, "sad"))
        assert {"running", "blue"} <= board.lit() <= {"running", "blue", "red", "green"}
        lamps.show(RUNNING)
        assert board.lit() == {"running"}
        lamps.close()

    @pytest.mark.slow
    @pytest.mark.parametrize("code", [1, 3])
    def test_a_fault_blinks_and_ends_at_once(self, board: Board, code: int) -> None:
        lamps = board.lamps()
        lamps.show(LampState(True, code, None))
        assert board.reaches({"running", "fault"})
        assert board.reaches({"running"}) and board.reaches({"running", "fault"})
        lamps.show(LampState(True, code, None))
        lamps.show(RUNNING)
        assert board.lit() == {"running"}
        assert board.stays({"running"}), "nothing blinks any more"
        lamps.close()

    def test_the_test_lights_each_once_and_the_cameras_twice(self, board: Board) -> None:
        lamps, seen = board.lamps(), []
        lamps.test(lambda _: seen.append(board.lit()))
        order = ["running", "camera", "camera", "fault", "red", "green", "blue"]
        assert seen == [lit for role in order for lit in ({role}, set())], (
            "one at a time, all dark in between"
        )
        assert board.lit() == set()
        lamps.close()

    def test_a_lamp_that_is_left_out(self, board: Board) -> None:
        lamps, seen = board.lamps(running=-1, fault=-1, green=-1), []
        lamps.test(lambda _: seen.append(board.lit()))
        lamps.show(LampState(True, 2, "happy"))
        assert board.lit() == set() and [lit for lit in seen if lit] == [{"camera"}] * 2
        lamps.close()

    # lgpio's own error is a plain Exception.
    @pytest.mark.parametrize("error", [OSError("no chip"), Exception("GPIO busy")])
    def test_a_lamp_that_cannot_be_driven(
        self, board: Board, jetson: ModuleType, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        lamps = board.lamps()
        with board.patch.context() as spoilt:
            outer, board.patch = board.patch, spoilt
            broken(board, jetson, error)
            with pytest.raises(LampError, match=f"the camera lamp cannot be driven: {error}"):
                lamps.camera_on()
            lamps.test(lambda _: None)
            assert f"the fault lamp cannot be driven: {error}" in caplog.text
            board.patch = outer
        lamps.camera_on()
        assert board.lit() == {"camera"}
        lamps.close()

    def test_everything_is_off_after_close_and_the_camera_lamp_cannot_be_lit(self, board: Board) -> None:
        lamps = board.lamps()
        lamps.camera_on()
        lamps.show(LampState(True, 2, "happy"))
        lamps.close()
        lamps.close()
        assert board.lit() == set()
        with pytest.raises(LampError):
            lamps.camera_on()
        assert board.stays(set()), "nothing blinks any more"

    @pytest.mark.parametrize("settings", [{"running": "camera"}, {"red": "fault"}])
    def test_one_pin_for_two_lamps_is_refused(self, board: Board, settings: dict[str, str]) -> None:
        same = {role: board.pins[other] for role, other in settings.items()}
        with pytest.raises(ConfigError, match=str(next(iter(same.values())))):
            board.lamps(**same)

    def test_check_claims_nothing(self, board: Board, jetson: ModuleType) -> None:
        board.kind.check(board.kind.Settings())
        assert jetson.claimed == [] and board.lit() == set()


def test_a_code_is_its_number_of_blinks_followed_by_a_pause() -> None:
    assert list(blink_pattern(2)) == [(True, ON_S), (False, OFF_S), (True, ON_S), (False, PAUSE_S)]
    assert PAUSE_S > 3 * OFF_S, "the end of a code is visible"
    for fault in FAULT_CODES:
        assert sum(lit for lit, _ in blink_pattern(fault.blinks)) == fault.blinks


# --- Jetson ---


def test_a_lamp_without_shades_has_a_colour_for_every_expression() -> None:
    labels = [label for label in COLOURS if label not in ("neutral", "unsure")]
    assert len({colour_of(label).plain for label in labels}) == len(labels)
    assert colour_of("neutral").plain == colour_of("unsure").plain == (1, 1, 1)
    assert all(max(lamp_rgb_of(label)) > 0 for label in labels)


def test_pins_outside_the_header_of_a_jetson(jetson: ModuleType) -> None:
    kind = registry.load("lamps", "jetson")
    with pytest.raises(ConfigError, match=r"Channel 1 is invalid; check the pins"):
        kind(kind.Settings(running=1))


def test_on_another_computer_the_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Jetson/GPIO").mkdir(parents=True)
    (tmp_path / "Jetson/__init__.py").touch()
    (tmp_path / "Jetson/GPIO/__init__.py").write_text("raise Exception('Could not determine Jetson model')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("Jetson.GPIO", "Jetson"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    kind = registry.load("lamps", "jetson")
    with pytest.raises(ConfigError, match=r"Could not determine Jetson model; check.* that this is a Jetson"):
        kind.check(kind.Settings())
    for name in ("Jetson.GPIO", "Jetson"):
        sys.modules.pop(name, None)


def test_the_error_for_a_missing_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Jetson", None)
    kind = registry.load("lamps", "jetson")
    with pytest.raises(BackendMissing, match=r"Jetson\.GPIO cannot be loaded"):
        kind(kind.Settings())


def test_the_pins_of_the_boards_file_exist(jetson: ModuleType) -> None:
    lamps = load_config(ConfigOptions(config=ROOT / "provisioning/boards/jetson.toml"), {}).lamps
    assert lamps.backend == "jetson"
    registry.load("lamps", lamps.backend)(lamps.settings).close()
    assert len(jetson.claimed) == 6
