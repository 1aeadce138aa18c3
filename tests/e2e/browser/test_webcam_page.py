"""The page /webcam in a real Chromium whose camera plays the demo clip: nothing leaves it before consent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from appliance.values import EMOTIONS
from tests.e2e.browser.test_camera_page import CAMERA, Sent, browser, phase
from tests.e2e.browser.test_live_page import SPILLS, shows_people
from tests.fakes.files import encoded
from tests.fakes.scene import Scene
from tests.machine import ROOT

__all__ = ["browser"]  # a fixture

OpenPage = Callable[..., Page]
Shoot = Callable[..., None]
DEMO = ROOT / "models" / "demo" / "demo.mp4"

VALUES = """(id) => {
  const bars = document.querySelectorAll(`.person[data-id="${id}"] .bar`);
  return Object.fromEntries(Array.from(bars, (bar) => [bar.dataset.emotion, Number(bar.dataset.value)]));
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
FAILS = "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name) } }"


def first_frame() -> np.ndarray:
    film = cv2.VideoCapture(str(DEMO))
    image = film.read()[1]
    film.release()
    return np.asarray(image, np.uint8)


@pytest.fixture
def page(daemon: Any, new_page: OpenPage) -> Page:
    """The page, and a camera that Chromium allows without a question."""
    daemon.start()
    page = new_page(1280, 800, **CAMERA)
    page.sent = Sent(page)  # type: ignore[attr-defined]
    page.goto(f"{daemon.url}webcam")
    return page


def wait_for_more(page: Page, count: int) -> None:
    """Wait until the page has sent `count` pictures."""
    deadline = time.monotonic() + 15
    while len(page.sent.sizes) < count and time.monotonic() < deadline:  # type: ignore[attr-defined]
        page.wait_for_timeout(50)
    assert len(page.sent.sizes) >= count  # type: ignore[attr-defined]


def start(page: Page) -> None:
    page.locator("#webcam-agree").check()
    page.locator("#webcam-start").click()


def test_nothing_leaves_the_page_before_consent_and_then_bars_move(page: Page, shoot: Shoot) -> None:
    sent = page.sent.sizes  # type: ignore[attr-defined]
    expect(page.locator("#webcam-start")).to_be_disabled()
    expect(page.locator("#webcam-choose")).to_be_disabled()
    page.wait_for_timeout(500)
    assert sent == [] and not page.evaluate("document.querySelector('#webcam-picture').srcObject")
    shoot(page, "webcam-off")
    start(page)
    phase(page, "reading")
    shows_people(page, 2)
    before = page.evaluate(VALUES, 1)
    page.wait_for_function(f"(before) => JSON.stringify(({VALUES})(1)) !== before", arg=json.dumps(before))
    expect(page.locator("#webcam-rate")).to_have_text(re.compile(r"^\d+ per second$"))
    expect(page.locator("#webcam-trip")).to_have_text(re.compile(r"^\d+ ms$"))
    assert sent and max(sent) < 1_000_000
    assert page.locator("#webcam-boxes").get_attribute("data-boxes") == "2"
    shoot(page, "webcam-reading")
    page.locator("#webcam-stop").click()
    phase(page, "off")
    expect(page.locator("#people .person")).to_have_count(0)
    count = len(sent)
    page.wait_for_timeout(500)
    assert len(sent) == count, "nothing is sent after Stop"


def test_a_picture_reads_as_analyze_reads_it(page: Page, tmp_path: Path) -> None:
    picture = tmp_path / "demo.jpg"
    picture.write_bytes(encoded(first_frame(), ".jpg"))
    command = [sys.executable, "-m", "appliance", "analyze", "--jsonl", str(picture)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    faces = json.loads(ran.stdout.splitlines()[0])["faces"]
    page.locator("#webcam-agree").check()
    page.locator("#webcam-file").set_input_files(picture)
    phase(page, "shown")
    shows_people(page, len(faces))
    for face in faces:
        shown = page.evaluate(VALUES, face["id"])
        for name in EMOTIONS:
            # The page encodes the picture again.
            assert shown[name] == pytest.approx(face["emotions"][name], abs=0.1), (face["id"], name)


def test_a_film_is_played_in_the_page_and_never_uploaded(page: Page) -> None:
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.method))
    page.locator("#webcam-agree").check()
    page.locator("#webcam-file").set_input_files(DEMO)
    phase(page, "reading")
    shows_people(page, 2)
    page.wait_for_function("() => document.querySelector('#webcam-progress').value > 0.05")
    assert "POST" not in posts
    assert max(page.sent.sizes) < DEMO.stat().st_size / 2  # type: ignore[attr-defined]


def test_a_file_that_is_no_picture_and_a_file_before_consent_are_explained(
    page: Page, tmp_path: Path
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("no picture")
    drop = """(name) => {
      const files = new DataTransfer();
      files.items.add(new File(["no picture"], name));
      dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
    }"""
    page.evaluate(drop, "a.txt")
    expect(page.locator("#webcam-problem")).to_contain_text("Tick that everyone")
    page.locator("#webcam-agree").check()
    page.evaluate(drop, "a.txt")
    expect(page.locator("#webcam-problem")).to_have_text(
        "a.txt is not a picture that this browser knows; choose a JPEG, PNG or WebP file."
    )


def test_two_tabs_read_and_a_third_waits_with_the_reason(page: Page, daemon: Any, new_page: OpenPage) -> None:
    pages = [page]
    for _ in range(2):
        another = new_page(800, 600, **CAMERA)
        another.goto(f"{daemon.url}webcam")
        pages.append(another)
    for each in pages[:2]:
        start(each)
        phase(each, "reading")
    start(pages[2])
    phase(pages[2], "waiting")
    expect(pages[2].locator("#webcam-words")).to_contain_text("the limit of webcams (2) is reached")
    pages[0].locator("#webcam-stop").click()
    phase(pages[2], "reading")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_connection_that_is_lost_comes_back(page: Page, daemon: Any, end: str) -> None:
    start(page)
    phase(page, "reading")
    getattr(daemon, end)()
    phase(page, "waiting")
    expect(page.locator("#webcam-words")).to_contain_text("trying again in")
    daemon.start()
    phase(page, "reading")
    shows_people(page, 2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("NotAllowedError", "The camera was refused"),
        ("NotReadableError", "Another app uses the camera"),
        ("NotFoundError", "No camera was found"),
    ],
)
def test_a_camera_that_does_not_open_is_explained(page: Page, error: str, words: str) -> None:
    page.evaluate(FAILS, error)
    start(page)
    expect(page.locator("#webcam-problem")).to_contain_text(words)
    phase(page, "off")
    assert page.sent.sizes == []  # type: ignore[attr-defined]


def test_a_new_device_asks_where_it_is_and_then_shows_the_tick(daemon: Any, new_page: OpenPage) -> None:
    daemon.start(lawful=None)
    page = new_page(390, 844, **CAMERA)
    page.goto(f"{daemon.url}webcam")
    expect(page.locator("#webcam-agree")).to_have_count(0)
    page.locator("#lawful input[name=region][value=other]").check()
    page.locator("#lawful input[name=purpose][value=practice]").check()
    page.locator("#lawful button").click()
    expect(page.locator("#webcam-agree")).to_be_visible()


def test_a_width_that_changes_while_it_reads_keeps_it_reading(page: Page) -> None:
    start(page)
    shows_people(page, 2)
    for number in range(20):
        page.locator("#webcam-width").select_option(("320", "1280", "640")[number % 3])
    count = len(page.sent.sizes)  # type: ignore[attr-defined]
    wait_for_more(page, count + 5)


def test_a_hidden_page_sends_nothing_and_reads_again_when_it_is_shown(page: Page) -> None:
    start(page)
    shows_people(page, 2)
    page.evaluate(HIDE, True)
    phase(page, "paused")
    count = len(page.sent.sizes)  # type: ignore[attr-defined]
    page.wait_for_timeout(500)
    assert len(page.sent.sizes) == count  # type: ignore[attr-defined]
    page.evaluate(HIDE, False)
    phase(page, "reading")
    wait_for_more(page, count + 5)


def test_stop_while_it_opens_leaves_nothing_on(page: Page, daemon: Any) -> None:
    for _ in range(3):
        start(page)
        page.locator("#webcam-stop").click()
        phase(page, "off")
        expect(page.locator("#webcam-agree")).not_to_be_checked()
    assert not page.evaluate("document.querySelector('#webcam-picture').srcObject")
    start(page)
    phase(page, "reading")
    count = len(page.sent.sizes)  # type: ignore[attr-defined]
    wait_for_more(page, count + 5)


def test_a_notice_that_changes_ends_the_reading(page: Page, daemon: Any) -> None:
    page.evaluate("document.body.dataset.noticeVersion = 'old'")
    start(page)
    expect(page.locator("#webcam-problem")).to_contain_text("reload the page and read the notice in force")
    phase(page, "off")
    assert page.sent.sizes == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_every_width(daemon: Any, new_page: OpenPage, shoot: Shoot, scheme: str) -> None:
    daemon.start()
    page = new_page(360, 740, color_scheme=scheme, **CAMERA)
    page.goto(f"{daemon.url}webcam")
    picture = encoded(Scene().picture(0), ".png")
    for begun in (False, True):
        if begun:
            page.locator("#webcam-agree").check()
            page.locator("#webcam-file").set_input_files(
                {"name": "a.png", "mimeType": "image/png", "buffer": picture}
            )
            phase(page, "shown")
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate(SPILLS) == [], width
            shoot(page, f"webcam-{begun}-{width}-{scheme}", full_page=True)


def test_the_keyboard_is_enough(page: Page) -> None:
    page.locator("#webcam-agree").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    expect(page.locator("#webcam-start")).to_be_focused()
    page.keyboard.press("Enter")
    phase(page, "reading")
    expect(page.locator("#webcam-stop")).to_be_focused()
    page.keyboard.press("Enter")
    phase(page, "off")
    expect(page.locator("#webcam-agree")).to_be_focused()
