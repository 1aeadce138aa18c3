"""The kernel's virtual camera, read by the `usb` backend: frames, pulled, and plugged in again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.vm.guest import Guest, until
from tests.e2e.vm.image import Image
from tests.e2e.vm.product import BARE, start_daemon

DRIVER = "/sys/bus/platform/drivers/vivid"
LIMIT_S = 600.0

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def guest(image: Image, product_disk: Path) -> Iterator[Guest]:
    with Guest(image, [product_disk], start=BARE) as one:
        one.power_on()
        one.run("modprobe vivid n_devs=1")
        yield one


def test_frames_arrive_after_consent_and_again_after_it_is_replugged(guest: Guest) -> None:
    daemon = start_daemon(guest, "--camera usb --set camera.width=640 --set camera.height=360")
    assert daemon.get("/api/state")["state"] == "idle"
    assert daemon.get("/api/state")["camera"]["state"] == "closed"
    opened = guest.run("ls -l /proc/[0-9]*/fd 2>/dev/null | grep /dev/video || true")
    assert opened == "", "without consent no process may have the camera open"
    daemon.agree()
    daemon.wait_camera("open", LIMIT_S)
    daemon.wait_frames(5, LIMIT_S)
    # The first one is drawn on request, and may take longer than the request waits.
    until(lambda: daemon.request("/snapshot.jpg")[0] == 200, LIMIT_S, "a picture")
    assert daemon.request("/snapshot.jpg")[1][:2] == b"\xff\xd8"

    guest.run(f"echo vivid.0 >{DRIVER}/unbind")
    daemon.wait_camera("lost", LIMIT_S)
    assert daemon.request("/healthz")[0] == 503

    guest.run(f"echo vivid.0 >{DRIVER}/bind")
    daemon.wait_camera("open", LIMIT_S)
    daemon.wait_frames(5, LIMIT_S)
    until(lambda: daemon.request("/healthz")[0] == 200, LIMIT_S, "healthy again")
    daemon.post("/api/session/stop")
    daemon.wait_camera("closed", LIMIT_S)
