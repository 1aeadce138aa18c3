"""A browser as the room's camera, in a real Chromium whose own camera plays the demo clip."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.browser.conftest import ARGUMENTS, CHROMIUM
from tests.e2e.browser.test_live_page import SPILLS, picture_moves, shows_people
from tests.fakes.videos import frames_as_mjpeg
from tests.machine import browser_lacking

OpenPage = Callable[..., Page]
Shoot = Callable[..., None]
CAMERA: Any = {"permissions": ["camera"]}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, demo_clip: Path) -> Iterator[Browser]:
    """A Chromium with a camera that plays the demo clip."""
    if lacking := browser_lacking("chromium"):
        pytest.skip(f"no {lacking}: ./setup.sh test installs it as root")
    film = frames_as_mjpeg(demo_clip, tmp_path_factory.mktemp("film") / "room.mjpeg")
    fake = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *fake])
        yield browser
        browser.close()


WATCH_SOCKETS = """() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (message) {
    window.noteSent(typeof message === "string" ? message : message.size);
    return send.call(this, message);
  };
}"""


class Sent:
    """What a page sends over its WebSockets. Not Playwright's own events: they leave out blobs."""

    def __init__(self, page: Page) -> None:
        self.sizes: list[int] = []
        self.words: list[dict[str, Any]] = []
        page.expose_function("noteSent", self._note)
        page.add_init_script(f"({WATCH_SOCKETS})()")

    def _note(self, message: str | int) -> None:
        if isinstance(message, int):
            self.sizes.append(message)
        else:
            self.words.append(json.loads(message))


def phase(page: Page, name: str) -> None:
    expect(page.locator("body")).to_have_attribute("data-phase", name)


def agree(page: Page, people: int) -> None:
    expect(page.locator("#consent")).to_be_visible()
    for _ in range(people - 1):
        page.locator("#more").click()
    for tick in page.locator("#ticks input").all():
        tick.check()
    page.locator("#start").click()


def test_a_phone_becomes_the_camera_and_is_lost_and_back(
    daemon: Any, new_page: OpenPage, open_page: OpenPage, shoot: Shoot, tmp_path: Path
) -> None:
    daemon.start(camera="browser")
    operator = open_page(daemon.url)
    card = operator.locator("#link-camera")
    expect(card).to_contain_text("No phone or laptop is connected")
    card.get_by_role("button", name="Show QR code").click()
    expect(card.get_by_alt_text("QR code of the one-time link")).to_be_visible()
    link = card.locator(".address a").get_attribute("href")
    assert link is not None and re.fullmatch(r"http://127\.0\.0\.1:\d+/link/[\w-]{22}", link)
    shoot(operator, "camera-link")

    phone = new_page(390, 844, **CAMERA)
    sent = Sent(phone)
    phone.goto(link)
    phone.get_by_role("button", name="Continue").click()
    expect(phone).to_have_url(f"{daemon.url}camera")
    shoot(phone, "camera-off", full_page=True)
    phone.locator("#camera-send").click()
    phase(phone, "waiting")
    expect(phone.locator("#camera-words")).to_contain_text("The room has not agreed yet.")
    shoot(phone, "camera-waiting", full_page=True)
    expect(card).to_be_hidden()
    assert sent.sizes == [] and daemon.state()["camera"]["state"] == "closed"

    agree(operator, 2)
    shows_people(operator, 2)
    picture_moves(operator, 2)
    expect(operator.locator('.person[data-label="happy"] .bar').first).to_have_attribute(
        "data-value", re.compile(r"\d")
    )
    phase(phone, "sending")
    expect(phone.locator("#camera-count")).to_have_text(re.compile(r"^\d+ pictures a second$"))
    shoot(phone, "camera-sending", full_page=True)
    assert sent.sizes and 1000 < max(sent.sizes) <= 1_000_000
    assert sent.words == [{"waiting": True}], "it confirmed that it waits, once"

    phone.locator("#camera-size").select_option("640x360")
    expect(operator.locator("#status-camera")).to_contain_text("640")
    shows_people(operator, 2)

    operator.locator("#record").click()
    operator.locator("#record-start").click()
    expect(operator.locator("#status-session")).to_have_text("Recording")

    phone.goto("about:blank")
    expect(operator.locator("#warning-text")).to_contain_text(re.compile(r"page .*was closed"))
    expect(card).to_be_visible()
    expect(operator.locator("#people .person")).to_have_count(0)
    shoot(operator, "camera-lost")
    phone.goto(f"{daemon.url}camera")
    phone.locator("#camera-send").click()
    expect(operator.locator("#status-session")).to_have_text("Recording", timeout=30_000)
    shows_people(operator, 2)

    operator.locator("#stop").click()
    phase(phone, "waiting")
    before = len(sent.sizes)
    operator.goto(f"{daemon.url}sessions")
    operator.locator("main a").first.click()
    expect(operator.locator("main")).to_contain_text("browser")
    assert len(sent.sizes) == before, "nothing is sent after Stop"
    events = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [entry["who"] for entry in events if entry["event"] == "camera"] == ["loopback"]


def test_it_stops_while_its_page_is_hidden_and_sends_again_on_its_own(
    daemon: Any, new_page: OpenPage, open_page: OpenPage
) -> None:
    daemon.start(camera="browser")
    phone = new_page(390, 844, **CAMERA)
    phone.goto(f"{daemon.url}camera")
    phone.locator("#camera-send").press("Enter")
    phase(phone, "waiting")
    expect(phone.locator("#camera-stop")).to_be_focused()
    operator = open_page(daemon.url)
    agree(operator, 1)
    phase(phone, "sending")
    expect(operator.locator("#status-session")).to_have_text("Live")
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')) }"
    phone.evaluate(hide, True)
    expect(operator.locator("#warning-text")).to_contain_text("was closed or hidden, or its screen is off")
    phone.evaluate(hide, False)
    expect(operator.locator("#status-session")).to_have_text("Live", timeout=40_000)
    phase(phone, "sending")
    phone.locator("#camera-stop").press("Enter")
    phase(phone, "off")
    expect(operator.locator("#warning-text")).to_contain_text("sending was stopped on the phone or laptop")
    expect(phone.locator("#camera-picture")).to_be_hidden()
    expect(phone.locator("#camera-send")).to_be_focused()


def test_a_refused_camera_is_explained_and_connects_nothing(daemon: Any, new_page: OpenPage) -> None:
    daemon.start(camera="browser")
    phone = new_page(390, 844)
    phone.context.clear_permissions()
    phone.add_init_script(
        "navigator.mediaDevices.getUserMedia ="
        " async () => { throw new DOMException('no', 'NotAllowedError') }"
    )
    sockets: list[str] = []
    phone.on("websocket", lambda socket: sockets.append(socket.url))
    phone.goto(f"{daemon.url}camera")
    phone.locator("#camera-send").click()
    expect(phone.locator("#camera-words")).to_contain_text("The camera was refused")
    phase(phone, "off")
    assert sockets == [] and daemon.state()["camera"]["state"] == "lost"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_every_width(daemon: Any, new_page: OpenPage, shoot: Shoot, scheme: str) -> None:
    daemon.start(camera="browser")
    live = new_page(360, 800, color_scheme=scheme)
    live.goto(daemon.url)
    card = live.locator("#link-camera")
    card.get_by_role("button").press("Enter")
    expect(card.locator(".qr")).to_be_visible()
    link = card.locator(".address a").get_attribute("href")
    assert link is not None
    page = new_page(360, 800, color_scheme=scheme, **CAMERA)
    page.goto(link)
    shoot(page, f"camera-continue-{scheme}")
    page.goto(f"{daemon.url}camera")
    page.get_by_text("What the phone needs").click()
    for width in (360, 768, 1440):
        for name, shown in (("live", live), ("page", page)):
            shown.set_viewport_size({"width": width, "height": 800})
            assert shown.evaluate(SPILLS) == [], (name, width)
            shoot(shown, f"camera-{name}-{width}-{scheme}", full_page=name == "page")
