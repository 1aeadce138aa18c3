"""The pages in Chromium, Firefox and WebKit: one broad test each, with what all three drivers can do.

Details are tested in Chromium, in the other files of this folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.values import Image
from tests.e2e.browser.conftest import ENGINES, PATIENCE_MS
from tests.e2e.browser.test_access_pages import PASSWORD, VIEWER, Device, device
from tests.e2e.browser.test_history_pages import recorded
from tests.e2e.browser.test_live_page import AGREES, BARS_MOVE, TOLERANCE
from tests.e2e.browser.test_session_page import audit, living
from tests.e2e.daemon.driver import until
from tests.machine import ROOT, network_address

__all__ = ["device", "living", "recorded"]  # fixtures

every_engine = pytest.mark.parametrize("browser", ENGINES, indirect=True)

AnyPage = Any
"""Playwright's `Page`, or `WebKitPage`, which has some of its methods."""
OpenPage = Callable[..., AnyPage]

SHOWS = """([selector, pattern]) => {
  const element = document.querySelector(selector);
  return element !== null && element.checkVisibility() && new RegExp(pattern).test(element.innerText);
}"""
GONE = "(selector) => !document.querySelector(selector)?.checkVisibility()"
COUNTS = "([selector, count]) => document.querySelectorAll(selector).length === count"
BOX = "(selector) => document.querySelector(selector).getBoundingClientRect().toJSON()"
PICTURES = re.compile(r"/stream\.mjpg|/ws/pictures")
"""The address of the pictures: today's, and that of the page with a canvas."""
PEOPLE = ".person:not(.leaving)"


def shows(page: AnyPage, selector: str, pattern: str = "") -> None:
    page.wait_for_function(SHOWS, arg=[selector, pattern])


def gone(page: AnyPage, selector: str) -> None:
    page.wait_for_function(GONE, arg=selector)


def counts(page: AnyPage, selector: str, count: int) -> None:
    page.wait_for_function(COUNTS, arg=[selector, count])


def on_screen(page: AnyPage, selector: str) -> Image:
    """What the browser shows at an element, made small: uint8, (14, 24, 3)."""
    screen = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    box = page.evaluate(BOX, selector)
    top, left = max(0, round(box["top"])), max(0, round(box["left"]))
    part = screen[top : round(box["bottom"]), left : round(box["right"])]
    assert part.size, f"{selector} is not in the window: {box}"
    return cv2.resize(part, (24, 14), interpolation=cv2.INTER_AREA)


def picture_moves(page: AnyPage, pictures: int = 4) -> None:
    """Wait until the screen has shown this many different pictures."""
    seen: set[bytes] = set()

    def enough() -> bool:
        seen.add(on_screen(page, "#picture").tobytes())
        return len(seen) >= pictures

    shows(page, "#picture")
    until(enough, PATIENCE_MS / 1000, f"{pictures} different pictures on the screen")


def drag(page: AnyPage, selector: str, zone: tuple[float, float, float, float]) -> None:
    """Draw a zone: left, top, width and height as shares of the element."""
    page.evaluate(
        "(selector) => document.querySelector(selector).scrollIntoView({ block: 'nearest' })", selector
    )
    box = page.evaluate(BOX, selector)
    x, y, width, height = zone
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + (x + width) * box["width"], box["y"] + (y + height) * box["height"], steps=4)
    page.mouse.up()


@every_engine
def test_the_live_page(demo: Any, open_page: OpenPage, record: Any) -> None:
    page = open_page(demo.url)
    shows(page, "#status-connection", "^connected$")
    counts(page, PEOPLE, 2)
    picture_moves(page)
    page.wait_for_function(BARS_MOVE, arg=5)
    page.wait_for_function(AGREES, arg=TOLERANCE)
    shows(page, '.person[data-label="happy"] .label', "happy")
    shows(page, "#status-camera", r"demo, 1280\s.\s720")
    gone(page, "#warning")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert record.complaints == []


@pytest.mark.parametrize("browser", ("chromium", "firefox"), indirect=True)  # WebKit tells no requests
def test_the_page_opens_one_stream(demo: Any, new_page: Callable[..., AnyPage]) -> None:
    page = new_page()
    asked: list[str] = []
    for event in ("request", "websocket"):
        page.on(event, lambda each: asked.append(each.url) if PICTURES.search(each.url) else None)
    page.goto(demo.url, wait_until="commit")
    picture_moves(page)
    page.wait_for_function(
        "() => performance.now() > 12_000"
    )  # a page that finds no movement asks again after 5 s
    picture_moves(page)
    assert len(set(asked)) == len(asked) == 1


@pytest.mark.parametrize("browser", ["firefox"], indirect=True)  # Chromium: test_webcam_page.py
def test_the_webcam_page_reads_a_camera_and_a_film(demo: Any, open_page: OpenPage, record: Any) -> None:
    page = open_page(f"{demo.url}webcam")
    page.locator("#webcam-agree").check()
    page.locator("#webcam-start").click()
    shows(page, "#webcam-trip", r"^\d+ ms$")  # Firefox's own camera shows no face
    shows(page, "#webcam-empty-words", "No face")
    page.locator("#webcam-stop").click()
    page.locator("#webcam-agree").check()
    page.locator("#webcam-file").set_input_files(ROOT / "models" / "demo" / "demo.mp4")
    counts(page, PEOPLE, 2)
    shows(page, '.person[data-label="happy"] .label', "happy")
    assert record.complaints == []


@every_engine
def test_seven_windows_of_one_browser_all_have_a_moving_picture(demo: Any, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    try:
        pages = [context.new_page() for _ in range(7)]
        for page in pages:
            page.goto(demo.url)
        for page in pages:
            shows(page, "#status-connection", "^connected$")
            picture_moves(page, 3)
    finally:
        context.close()


@every_engine
def test_a_session_from_agreement_to_withdrawal(
    living: Any, open_page: OpenPage, record: Any, tmp_path: Path
) -> None:
    page = open_page(living.url)
    page.wait_for_function("() => document.querySelector('#start').disabled")
    page.click("#more")
    counts(page, "#ticks input", 2)
    page.click("#ticks label:nth-of-type(1) input")
    assert page.evaluate("document.querySelector('#start').disabled")
    page.click("#ticks label:nth-of-type(2) input")
    page.click("#start")

    counts(page, PEOPLE, 2)
    picture_moves(page, 2)
    shows(page, "#status-session", "^Live$")
    shows(page, "#link-address")
    link = page.evaluate("document.querySelector('#link-address').href")
    assert link.startswith(f"{living.url}mine/")
    page.click("#link-done")
    gone(page, "#link")

    page.click("#draw-zone")
    drag(page, "#frame", (0.03, 0.03, 0.45, 0.9))
    shows(page, "#live-zone")
    counts(page, '.person[data-label="not_analysed"]', 1)

    page.click("#record")
    page.fill("#record-label", "morning")
    page.click("#record-start")
    shows(page, "#status-session", "^Recording$")
    page.keyboard.press("m")
    shows(page, "#toasts", "Marked: question 1")
    page.fill("#marker-text", "a break")
    page.click("#marker button")
    shows(page, "#toasts", "Marked: a break")
    page.click("#stop")
    shows(page, "#consent")

    mine = open_page(link)
    shows(mine, "h1", "^Your session$")
    mine.click("#withdraw")
    shows(mine, "main", "You have withdrawn")
    events = [entry["event"] for entry in audit(tmp_path)]
    assert events == ["agreement", "start", "settings", "record", "stop", "withdraw"]
    assert record.complaints == []


@every_engine
def test_login_and_logout(device: Device, open_page: OpenPage, record: Any) -> None:
    if network_address().startswith("127."):
        pytest.skip("no network: every browser is the device's own")
    page = open_page(device.url, ignore_https_errors=True)
    page.fill("[name=code]", device.first_code)
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=repeat]", PASSWORD)
    page.click("button.primary")
    picture_moves(page, 2)
    page.click("#stop")  # a POST with the page's token
    page.wait_for_function("() => document.body.dataset.view === 'idle'")
    page.click("a[href='/access']")
    page.fill("form[action='/access/add'] [name=name]", "anna")
    page.fill("form[action='/access/add'] [name=password]", VIEWER)
    page.click("#add")
    shows(page, "[role=status]", "can log in now")

    guest = open_page(device.url, ignore_https_errors=True)
    guest.fill("[name=name]", "anna")
    guest.fill("[name=password]", VIEWER)
    guest.click("button.primary")
    shows(guest, "#status-connection", "^connected$")
    counts(guest, "#stop", 0)
    page.click("button[aria-label='Remove anna']")
    guest.wait_for_function(
        "() => location.pathname === '/login'"
    )  # automatically, at the page's next request

    page.click("#log-out")
    shows(page, "h1", "^Log in$")
    assert [said for said in record.complaints if not re.search("401|ws/live|ERR_ABORTED", said)] == []


@every_engine
def test_recorded_sessions(recorded: Any, open_page: OpenPage, record: Any) -> None:
    page = open_page(recorded.url)
    page.click("a[href='/sessions']")
    counts(page, ".sessions li", 2)
    page.click(".sessions li:first-child a")
    shows(page, ".chart")
    page.wait_for_function("() => document.querySelector('.chart').querySelectorAll('svg').length === 7")
    shows(page, ".markers li", "0:00 question 2")
    page.click("#erase")
    page.click("#really")
    page.wait_for_function("() => location.pathname === '/sessions'")
    counts(page, ".sessions li", 1)
    assert record.complaints == []
