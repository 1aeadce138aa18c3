"""Lamps and button of an installed device on kernel GPIO lines: the service in its sandbox, the real lgpio.

Mock pins and stand-ins show what the appliance requests. They do not show whether the service's sandbox, user
and group let the real lgpio open a chip and drive its lines. Here the unit that the installer made does, on a
chip of the kernel's gpio-sim, with the pins of `provisioning/boards/raspberry-pi.toml`. The lines are read,
and the button's line is pulled, from outside the service.

Different from a board: gpiozero reads `/proc/cpuinfo` to identify the Raspberry Pi, so a drop-in of the unit
shows it such a line. lgpio is installed in the release's environment; on a Raspberry Pi it comes from the
distribution. A simulated line gives no current, and returns to its resistor's level when it is released, so
the tests cannot show that the lamps stay off after a crash.

The tests run from top to bottom; the last one switches the machine off.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.vm.guest import Guest, until
from tests.e2e.vm.image import Image
from tests.e2e.vm.installed import GAVE_UP, OWNERS, UNIT, bundle_disk, install, prepare
from tests.e2e.vm.pins import Pins, made_pins
from tests.e2e.vm.product import Daemon
from tests.machine import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

BOARD = ROOT / "provisioning/boards/raspberry-pi.toml"
LAMPS = tomllib.loads(BOARD.read_text("utf-8"))["lamps"]
RUNNING, CAMERA, FAULT = LAMPS["running"], LAMPS["camera"], LAMPS["fault"]
COLOURS = [LAMPS["red"], LAMPS["green"], LAMPS["blue"]]
BUTTON = 5

PI = "Revision : c03115\n"
"""A Raspberry Pi 4's /proc/cpuinfo, where gpiozero finds which pins exist."""
DROP_IN = "[Service]\nBindReadOnlyPaths=/etc/cpuinfo:/proc/cpuinfo\n"
VIVID = "/sys/bus/platform/drivers/vivid"
LIMIT_S = 900.0
LONG_S = 1.0
"""A pause between two codes is longer, one between two blinks shorter."""

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def guest(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("share")
    shutil.copytree(made_pins(image), folder / "pins")
    disk = bundle_disk(folder)
    with Guest(image, [disk], memory="2048") as one:
        prepare(one)
        yield one
    disk.unlink()


@pytest.fixture(scope="module")
def pins(guest: Guest) -> Pins:
    """The chip, made before the installation: on a board it exists from the start."""
    chip = Pins(guest)
    chip.watch(RUNNING, CAMERA, FAULT, *COLOURS)
    return chip


@pytest.fixture(scope="module")
def daemon(guest: Guest, pins: Pins) -> Daemon:
    """The installed service with a Raspberry Pi's lamps, and a button next to the printed notice."""
    print(install(guest))
    guest.run("/opt/interview-grader/current/venv/bin/pip install --quiet --no-index /share/pins/lgpio-*.whl")
    one = Daemon(guest, 443, tls=True)
    notice = one.get("/api/state")["notice"]["version"]
    button = f'[session]\nbutton_pin = {BUTTON}\nbutton_factory = "lgpio"\nprinted_notice = "{notice}"\n'
    lamps = "\n".join(["[lamps]", *(f"{key} = {value!r}" for key, value in LAMPS.items())])
    guest.run(f"cat >{OWNERS}/pins.toml", stdin=f"{button}{lamps}\n")
    guest.run("cat >/etc/cpuinfo", stdin=PI)
    for unit in (UNIT, GAVE_UP):
        folder = f"/etc/systemd/system/{unit}.d"
        guest.run(f"mkdir -p {folder} && cat >{folder}/pi.conf", stdin=DROP_IN)
    guest.run(
        f"systemctl daemon-reload && systemctl restart {UNIT} || (journalctl -u {UNIT} --no-pager; false)"
    )
    return Daemon(guest, 443, tls=True)


def state(daemon: Daemon) -> str:
    return str(daemon.get("/api/state")["state"])


def wait_state(daemon: Daemon, wanted: str) -> None:
    until(lambda: state(daemon) == wanted, LIMIT_S, f"it is {wanted}")


def pauses(pins: Pins, began: int) -> list[float]:
    """How many seconds the fault lamp was dark after each blink, from that change on."""
    fault = [(at, high) for at, line, high in pins.changes()[began:] if line == FAULT]
    return [after - at for (at, high), (after, _) in itertools.pairwise(fault) if not high]


def test_each_lamp_is_lit_once_at_the_start_and_the_camera_lamp_twice(daemon: Daemon, pins: Pins) -> None:
    pins.wait(RUNNING, True, LIMIT_S)
    lit = [line for _, line, high in pins.changes() if high]
    assert lit == [RUNNING, CAMERA, CAMERA, FAULT, *COLOURS, RUNNING]


def test_idle_is_the_running_lamp_alone(daemon: Daemon, pins: Pins) -> None:
    assert state(daemon) == "idle"
    assert [line for line in (RUNNING, CAMERA, FAULT, *COLOURS) if pins.high(line)] == [RUNNING]


def test_a_short_press_starts_and_the_camera_lamp_is_lit(daemon: Daemon, pins: Pins) -> None:
    pins.press(BUTTON, 0.5)
    wait_state(daemon, "live")
    daemon.wait_camera("open", LIMIT_S)
    assert pins.high(CAMERA)
    assert not pins.high(FAULT)


def test_an_unplugged_camera_is_code_1_until_it_is_back(daemon: Daemon, pins: Pins, guest: Guest) -> None:
    daemon.wait_frames(3, LIMIT_S)
    guest.run(f"echo vivid.0 >{VIVID}/unbind")
    daemon.wait_camera("lost", LIMIT_S)
    pins.wait(FAULT, True, LIMIT_S)
    began = len(pins.changes())
    until(lambda: len(pauses(pins, began)) >= 4, LIMIT_S, "it blinks four times")
    assert min(pauses(pins, began)) > LONG_S, "after each blink"

    guest.run(f"echo vivid.0 >{VIVID}/bind && udevadm settle")
    daemon.wait_camera("open", LIMIT_S)
    daemon.wait_frames(3, LIMIT_S)
    assert pins.high(CAMERA)
    count = len(pauses(pins, began))
    guest.run("sleep 4")
    assert not pins.high(FAULT)
    assert len(pauses(pins, began)) - count <= 1, "at most the end of the last blink"


def test_a_short_press_stops_and_the_camera_lamp_goes_out(daemon: Daemon, pins: Pins) -> None:
    pins.press(BUTTON, 0.5)
    wait_state(daemon, "idle")
    daemon.wait_camera("closed", LIMIT_S)
    pins.wait(CAMERA, False, LIMIT_S)


def test_held_while_live_it_withdraws_before_it_is_released(daemon: Daemon, pins: Pins, guest: Guest) -> None:
    daemon.agree()
    daemon.post("/api/session/record", {})
    [session] = [each["id"] for each in daemon.get("/api/sessions")["sessions"] if each["ended"] is None]
    pins.ground(BUTTON)
    wait_state(daemon, "idle")
    pins.free(BUTTON)
    guest.run("sleep 1")
    assert state(daemon) == "idle", "releasing it starts nothing"
    assert session not in [each["id"] for each in daemon.get("/api/sessions")["sessions"]], (
        "the session is erased"
    )


def test_a_failed_service_is_code_8_and_no_other_lamp(daemon: Daemon, pins: Pins, guest: Guest) -> None:
    began = len(pins.changes())
    guest.run(f"printf '[web]\\nprot = 1\\n' >{OWNERS}/wrong.toml; systemctl restart {UNIT}", check=False)
    until(lambda: len(pauses(pins, began)) >= 17, LIMIT_S, "it blinks the code twice and once more")
    long = [number for number, seconds in enumerate(pauses(pins, began)) if seconds > LONG_S]
    assert long[:2] == [7, 15], "eight blinks, and eight again"
    assert [line for line in (RUNNING, CAMERA, *COLOURS) if pins.high(line)] == []
    guest.run(f"rm {OWNERS}/wrong.toml && systemctl restart {UNIT}")
    pins.wait(RUNNING, True, LIMIT_S)
    assert state(daemon) == "idle"
    assert not pins.high(FAULT)


def test_held_from_idle_it_switches_the_machine_off(daemon: Daemon, pins: Pins, guest: Guest) -> None:
    pins.ground(BUTTON)
    guest.wait_off(LIMIT_S)
