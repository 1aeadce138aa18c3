"""The picture of the live page: one frame with its boxes and bars, on fast, slow and broken links."""

from __future__ import annotations

import itertools
import json
import re
import struct
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from appliance.colours import COLOURS, rgb_of
from appliance.values import EMOTIONS
from tests.e2e.browser.test_live_page import (
    WIDTH,
    Script,
    agree_and_start,
    face,
    picture_moves,
    script,
    shows_people,
)
from tests.e2e.daemon.driver import until
from tests.fakes.slow_link import slow_link

__all__ = ["script"]  # fixtures

OpenPage = Callable[..., Page]

# What is on the screen whenever another picture comes: its frame, the bars, and some of its pixels.
RECORD = """() => {
  window.shown = [];
  const frame = document.getElementById('frame');
  const picture = document.getElementById('picture');
  new MutationObserver(() => {
    if (!frame.dataset.frame) return;
    const bars = [...document.querySelectorAll('.bar')].map((bar) => [
      Number(bar.closest('.person').dataset.id), bar.dataset.emotion, bar.dataset.value]);
    const row = picture.getContext('2d').getImageData(0, picture.height >> 1, picture.width, 1).data;
    window.shown.push({
      frame: Number(frame.dataset.frame),
      reading: frame.dataset.readingFrame,
      age: frame.dataset.ageMs === '' ? null : Number(frame.dataset.ageMs),
      width: picture.width,
      boxes: Number(document.getElementById('boxes').dataset.boxes),
      bars,
      row: window.shown.length % 5 === 0 ? Array.from(row) : null,
    });
  }).observe(frame, { attributes: true, attributeFilter: ['data-frame', 'data-age-ms'] });
}"""

ALL_FRESH = """([count, widest]) => {
  const last = window.shown.slice(-count);
  return last.length === count
    && last.every(({ age, width }) => age !== null && age < 1000 && width <= widest);
}"""


def messages_of(page: Page) -> dict[int, tuple[dict[str, Any], bytes]]:
    """Head and JPEG of each picture that the page gets from now on, by the number of the frame."""
    found: dict[int, tuple[dict[str, Any], bytes]] = {}

    def keep(data: str | bytes) -> None:
        if isinstance(data, bytes):
            (length,) = struct.unpack(">I", data[:4])
            head = json.loads(data[4 : 4 + length])
            found[head["frame"]] = head, data[4 + length :]

    page.on("websocket", lambda socket: socket.on("framereceived", keep))
    return found


def port_of(daemon: Any) -> int:
    return urlsplit(daemon.url).port or 0


# --- one frame -------------------------------------------------------------------------------------------


def test_picture_boxes_and_bars_are_of_one_frame_on_a_slow_link(
    demo: Any, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    messages = messages_of(page)
    with slow_link(port_of(demo), delay_s=0.02) as link:
        page.goto(f"http://127.0.0.1:{link.port}/", wait_until="commit")
        shows_people(page, 2)
        link.bits_per_s = 1e6
        page.evaluate(RECORD)
        page.wait_for_function("() => window.shown.filter(({ row }) => row).length >= 5", timeout=60_000)
        shown = page.evaluate("window.shown")
    checked = 0
    for each in shown:
        head, jpeg = messages[each["frame"]]
        reading = head["reading"]
        assert each["reading"] == ("" if reading is None else str(reading["frame"]))
        assert each["boxes"] == (0 if reading is None else len(reading["faces"]))
        if each["row"]:
            image = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1), cv2.COLOR_BGR2RGB)
            row = np.array(each["row"], int).reshape(-1, 4)[:, :3]
            # The browser's JPEG decoder differs a little from ours.
            assert np.abs(row - image[image.shape[0] // 2]).mean() < 3
        for found in reading["faces"] if reading else []:
            for person, emotion, value in each["bars"]:
                if person == found["id"] and found["emotions"]:
                    assert float(value) == pytest.approx(found["emotions"][emotion], abs=0.0006)
                    checked += 1
    assert checked >= 7


def test_the_page_says_how_old_the_picture_is_though_its_own_clock_is_wrong(
    demo: Any, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.add_init_script("const real = Date.now; Date.now = () => real() - 86_400_000;")
    page.goto(demo.url, wait_until="commit")
    expect(page.locator("#frame")).to_have_attribute("data-age-ms", re.compile(r"^\d{1,3}$"))
    expect(page.locator("#status-age")).to_have_text(re.compile(r"^\d\.\d+ s$"))


def test_the_age_has_the_delay_of_the_link_in_it(demo: Any, open_page: OpenPage) -> None:
    with slow_link(port_of(demo)) as link:
        page = open_page(f"http://127.0.0.1:{link.port}/")
        picture_moves(page, 2)
        link.delay_s = 0.7
        expect(page.locator("#frame")).to_have_attribute("data-age-ms", re.compile(r"^([7-9]\d\d|\d{4})$"))


# --- slow and far links ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits_per_s", "widest"), [(1e6, 960), (400e3, 640)])
def test_a_slow_link_gets_fresh_pictures_and_recovers(
    demo: Any, open_page: OpenPage, bits_per_s: float, widest: int
) -> None:
    with slow_link(port_of(demo), delay_s=0.02) as link:
        page = open_page(f"http://127.0.0.1:{link.port}/")
        picture_moves(page, 2)
        page.evaluate(RECORD)
        page.wait_for_function("() => window.shown.some(({ width }) => width > 320)", timeout=60_000)
        link.bits_per_s = bits_per_s
        page.wait_for_function(ALL_FRESH, arg=[10, widest], timeout=60_000)
        expect(page.locator("#warning")).to_be_hidden()
        narrow = page.evaluate("window.shown.at(-1).width")
        link.bits_per_s = 1e9
        page.wait_for_function("(narrow) => window.shown.at(-1).width > narrow", arg=narrow, timeout=90_000)


def test_an_answer_that_takes_seconds_is_waited_for(demo: Any, open_page: OpenPage, record: Any) -> None:
    with slow_link(port_of(demo)) as link:
        page = open_page(f"http://127.0.0.1:{link.port}/")
        picture_moves(page, 2)
        page.evaluate("""() => {
          window.words = new Set();
          const status = document.getElementById('status-connection');
          new MutationObserver(() => window.words.add(status.textContent))
            .observe(status, { childList: true, characterData: true, subtree: true });
          window.polls = 0;
          new PerformanceObserver((list) => {
            window.polls += list.getEntries().filter(({ name, duration, responseStatus }) =>
              name.endsWith('/api/state') && duration > 2000 && responseStatus === 200).length;
          }).observe({ type: 'resource' });
        }""")
        link.delay_s = 1.1
        page.wait_for_function("() => window.polls >= 3", timeout=60_000)
        assert page.evaluate("[...window.words].filter((words) => words !== 'connected')") == []
        picture_moves(page, 2)
    assert not [said for said in record.complaints if "timed out" in said.lower()]


def test_seven_windows_of_one_browser_all_have_a_picture(demo: Any, browser: Browser) -> None:
    with browser.new_context() as context:
        pages = [context.new_page() for _ in range(7)]
        for page in pages:
            page.goto(demo.url, wait_until="commit")
        for page in pages:
            page.bring_to_front()
            picture_moves(page, 2)
            expect(page.locator("#status-connection")).to_have_text("connected")
            page.wait_for_load_state("load")


# --- broken links ------------------------------------------------------------------------------------------


def test_a_connection_that_went_silent_is_opened_again(demo: Any, new_page: Callable[..., Page]) -> None:
    page, opened = new_page(), []

    def fall_silent(socket: WebSocketRoute) -> None:
        opened.append(time.monotonic())
        server = socket.connect_to_server()
        if len(opened) == 1:
            passed = itertools.count()
            server.on_message(lambda data: socket.send(data) if next(passed) < 20 else None)

    page.route_web_socket("**/ws/pictures", fall_silent)
    page.goto(demo.url, wait_until="commit")
    picture_moves(page, 2)
    page.wait_for_function("() => document.getElementById('frame').classList.contains('stale')")
    page.wait_for_function("() => !document.getElementById('frame').classList.contains('stale')")
    picture_moves(page)
    assert len(opened) == 2


def test_tries_to_reconnect_become_rarer_and_the_last_picture_stays_with_its_age(
    daemon: Any, new_page: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = new_page()
    page.add_init_script("""
      window.tries = [];
      window.WebSocket = class extends WebSocket {
        constructor(...what) { super(...what); window.tries.push(performance.now()); }
      };
    """)
    page.goto(daemon.start().url, wait_until="commit")
    picture_moves(page, 2)
    last = page.locator("#frame").get_attribute("data-frame")
    page.evaluate("window.tries = []")
    daemon.kill()
    expect(page.locator("#frame")).to_contain_class("stale")
    expect(page.locator("#warning-count")).to_have_text(re.compile(r"\(picture \d+\ss old\)"))
    assert int(page.locator("#frame").get_attribute("data-frame") or 0) >= int(last or 0)
    shoot(page, "last-picture")
    page.wait_for_function("() => window.tries.length >= 4")
    tries = page.evaluate("window.tries")
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[2] > pauses[0] * 1.5
    daemon.start()
    # The pauses have grown by now.
    expect(page.locator("#frame")).not_to_contain_class("stale", timeout=60_000)
    picture_moves(page)


def test_a_picture_that_the_browser_cannot_decode_does_not_hold_up_the_next(script: Script) -> None:
    damaged = script.show(jpeg=b"\xff\xd8 no picture")
    while not any(said.get("shown") == damaged for said in script.said):
        script.page.wait_for_timeout(20)
    following = script.show()
    expect(script.page.locator("#frame")).to_have_attribute("data-frame", str(following))


def test_too_many_viewers_wait_their_turn(
    demo: Any, new_page: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = new_page()
    refused: list[WebSocketRoute] = []
    tries: list[float] = []

    def take(socket: WebSocketRoute) -> None:
        tries.append(time.monotonic())
        if len(tries) > 2:
            socket.connect_to_server()
        else:
            refused.append(socket)

    page.route_web_socket("**/ws/pictures", take)
    page.goto(demo.url, wait_until="commit")
    for count in (1, 2):
        while len(refused) < count:
            page.wait_for_timeout(20)
        refused[-1].close(code=1013, reason="the viewer limit (1) is reached")
        expect(page.locator("#warning")).to_contain_text(
            re.compile(r"Too many viewers,\s+trying again in \d+\ss")
        )
    expect(page.locator("#frame")).not_to_have_attribute("data-frame", re.compile(".*"))
    expect(page.locator("#status-connection")).to_have_text("connected")
    shoot(page, "too-many-viewers")
    picture_moves(page, 2)
    expect(page.locator("#warning")).to_be_hidden()
    assert all(after - before > 2.5 for before, after in itertools.pairwise(tries))


# --- boxes -------------------------------------------------------------------------------------------------

# The colour at a place, given in pixels of the source picture.
PIXEL = """([x, y, width]) => {
  const boxes = document.getElementById('boxes');
  const [left, top] = [x, y].map((place) => Math.round(place * boxes.width / width));
  return Array.from(boxes.getContext('2d').getImageData(left, top, 1, 1).data);
}"""


def pixel(page: Page, x: float, y: float) -> list[int]:
    colour: list[int] = page.evaluate(PIXEL, [x, y, WIDTH])
    return colour


def edge_colour(page: Page, box: list[float], *, mirrored: bool = False) -> list[int]:
    x = WIDTH - box[0] if mirrored else box[0]
    return pixel(page, x, box[1] + box[3] / 2)


@pytest.mark.parametrize("scale", [1, 2, 1.5])
def test_boxes_have_the_screens_pixels_and_the_colours_of_the_labels(
    demo: Any, new_page: Callable[..., Page], scale: float
) -> None:
    page = new_page(device_scale_factor=scale)
    script = Script(page)
    page.goto(demo.url, wait_until="commit")
    faces = [face(index, name, **{name: 1.0}) for index, name in enumerate(EMOTIONS, start=1)]
    frame = script.say(*faces)
    expect(page.locator("#frame")).to_have_attribute("data-frame", str(frame))
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "7")
    width, css_width = page.evaluate("[boxes.width, boxes.getBoundingClientRect().width]")
    assert abs(width - css_width * scale) <= 1
    for each in faces:
        assert edge_colour(page, each["box"]) == [*rgb_of(each["label"]), 255]


def test_faces_that_are_not_read_have_broken_lines_and_the_colour_of_unsure(
    script: Script, shoot: Callable[..., None]
) -> None:
    page = script.page
    faces = [
        face(1, "unsure", happy=0.4, sad=0.3, neutral=0.3),
        face(4, "not_readable", "turned"),
        face(7, "not_analysed", "not_agreed"),
        face(10, "fear", fear=0.9, sad=0.1),
    ]
    script.say(*faces)
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "4")
    shoot(page, "boxes")
    for each in faces[:3]:
        x, y, _, height = each["box"]
        column = [pixel(page, x, y + height * share / 40) for share in range(8, 33)]
        unsure = [*rgb_of("unsure"), 255]
        assert unsure in column
        assert any(colour[3] == 0 for colour in column), "broken"
    assert set(COLOURS) >= {"unsure"}


def test_boxes_can_be_switched_off_and_the_choice_stays(script: Script) -> None:
    page = script.page
    script.say(face(3, happy=1.0))
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "1")
    place = "frame => [frame.offsetLeft, frame.offsetTop, frame.offsetWidth, frame.offsetHeight]"
    before = page.locator("#frame").evaluate(place)
    page.get_by_role("button", name="Boxes").click()
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "0")
    assert page.locator("#frame").evaluate(place) == before
    script.reload()
    expect(page.get_by_role("button", name="Boxes")).to_have_attribute("aria-pressed", "false")
    frame = script.say(face(3, happy=1.0))
    expect(page.locator("#frame")).to_have_attribute("data-frame", str(frame))
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "0")
    page.get_by_role("button", name="Boxes").click()
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "1")


# The pixels of the label of the only box, whose left edge is at x.
LABEL = """([x, width]) => {
  const boxes = document.getElementById('boxes');
  const scale = boxes.width / width;
  const [left, height] = [Math.round(x * scale) - 3, Math.round(94 * scale)];
  return Array.from(boxes.getContext('2d').getImageData(left, 0, 90, height).data).join();
}"""


def test_the_picture_can_be_mirrored_and_the_text_stays_readable(script: Script) -> None:
    page = script.page
    one = face(3, happy=1.0) | {"box": [320.0, 100.0, 320.0, 320.0]}
    script.say(one)
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "1")
    label = page.evaluate(LABEL, [320, WIDTH])
    expect(page.get_by_role("img", name="Live camera picture")).to_have_accessible_description(
        re.compile("on the left")
    )
    page.get_by_role("button", name="Mirror").click()
    assert edge_colour(page, one["box"], mirrored=True) == [*rgb_of("happy"), 255]
    assert page.evaluate(LABEL, [WIDTH - 640, WIDTH]) == label
    assert page.locator("#picture").evaluate("picture => getComputedStyle(picture).transform") == (
        "matrix(-1, 0, 0, 1, 0, 0)"
    )
    script.say(one)
    expect(page.get_by_role("img", name="Live camera picture")).to_have_accessible_description(
        re.compile("on the right")
    )
    page.get_by_role("button", name="Mirror").click()
    assert edge_colour(page, one["box"]) == [*rgb_of("happy"), 255]


def test_the_words_for_the_picture_change_seldom(script: Script) -> None:
    page = script.page
    page.wait_for_selector("#picture-words", state="attached")
    page.evaluate("""() => {
      const words = document.getElementById('picture-words');
      window.said = [];
      new MutationObserver(() => window.said.push([performance.now(), words.textContent]))
        .observe(words, { childList: true, characterData: true, subtree: true });
    }""")
    turns = [[face(1, label, **{label: 1.0})] for label in ("happy", "sad", "angry")]
    script.repeat(*turns, until="window.said.length >= 3", limit_s=60)
    said = page.evaluate("window.said")
    assert all(later[0] - earlier[0] >= 4900 for earlier, later in itertools.pairwise(said))
    assert re.fullmatch(r"One face\. Person 1 on the left: \w+\.", said[0][1])
    assert page.locator("#picture-words").evaluate("it => it.closest('[aria-live], [role=status]')") is None


def test_a_picture_without_a_reading_has_no_boxes(script: Script) -> None:
    page = script.page
    script.say(face(1, happy=1.0))
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "1")
    frame = script.show()
    expect(page.locator("#frame")).to_have_attribute("data-frame", str(frame))
    expect(page.locator("#frame")).to_have_attribute("data-reading-frame", "")
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "0")


def test_each_picture_is_acknowledged_once_it_is_shown(script: Script) -> None:
    page = script.page
    frame = script.say(face(1, happy=1.0))
    expect(page.locator("#frame")).to_have_attribute("data-frame", str(frame))
    page.wait_for_timeout(50)
    assert [said["shown"] for said in script.said if "shown" in said] == [frame]


def test_a_zone_drawn_in_the_mirrored_picture_is_one_of_the_camera(daemon: Any, open_page: OpenPage) -> None:
    page = open_page(daemon.start("--set", "camera.needs_agreement=true").url)
    agree_and_start(page)
    page.locator("#link-done").click()
    picture_moves(page, 2)
    page.get_by_role("button", name="Mirror").click()
    page.locator("#draw-zone").click()
    box = page.locator("#frame").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.8 * box["height"], steps=3)
    page.mouse.up()
    expect(page.locator("#live-zone")).to_be_visible()
    until(lambda: daemon.state()["session"]["seat"], 10, "the zone")
    assert daemon.state()["session"]["seat"] == pytest.approx([0.6, 0.2, 0.3, 0.6], abs=0.01)
    shown = page.locator("#live-zone").bounding_box()
    assert shown is not None
    assert (shown["x"] - box["x"]) / box["width"] == pytest.approx(0.1, abs=0.01)


def test_nothing_moves_when_the_picture_comes(demo: Any, new_page: Callable[..., Page]) -> None:
    page = new_page()
    page.add_init_script("""
      window.shifts = [];
      new PerformanceObserver((list) => window.shifts.push(...list.getEntries().flatMap((entry) =>
        entry.sources.map(({ node }) => node?.id || node?.className || node?.nodeName))))
        .observe({ type: 'layout-shift', buffered: true });
    """)
    page.goto(demo.url, wait_until="commit")
    picture_moves(page)
    shifted = set(page.evaluate("window.shifts"))
    assert not shifted & {"picture", "boxes", "frame", "stage", "view-options", "show-boxes", "mirror"}


# --- without JavaScript ----------------------------------------------------------------------------------


def test_without_javascript_the_picture_has_its_boxes_drawn_in(
    daemon: Any, open_page: OpenPage, shoot: Callable[..., None]
) -> None:
    daemon.start()
    page = open_page(daemon.url, java_script_enabled=False)
    image = page.locator("noscript img, #frame img")
    expect(image).to_be_visible()
    expect(page.locator("#people-title")).to_be_hidden()
    expect(page.locator("#show-boxes")).to_be_hidden()

    def colours() -> int:
        shot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        return int((np.abs(shot.astype(int) - rgb_of("happy")[::-1]).max(axis=2) < 16).sum())

    deadline = time.monotonic() + 20
    while colours() < 200:
        assert time.monotonic() < deadline, "no box of a happy face"
        page.wait_for_timeout(100)
    shoot(page, "no-javascript")


def test_without_javascript_the_page_says_that_the_camera_is_off(daemon: Any, open_page: OpenPage) -> None:
    page = open_page(daemon.start("--set", "camera.needs_agreement=true").url, java_script_enabled=False)
    words = page.locator("#frame noscript .waiting")
    expect(words).to_be_visible()
    expect(words).to_have_text("The camera is off. This page looks again every 10 seconds.")
