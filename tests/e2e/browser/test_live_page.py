"""The live page in a real Chromium against the real daemon; scripted readings for what no clip can show."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from appliance.values import EMOTIONS

WIDTHS = (360, 640, 768, 1024, 1280, 1920)
TOLERANCE = 0.12
WITHIN_S = 20.0

# The picture as a handful of pixels; distinct ones are collected until it has surely moved.
MOVES = """(wanted) => {
  const image = document.getElementById('picture');
  if (!document.getElementById('frame').dataset.frame) return false;
  const small = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  small.drawImage(image, 0, 0, 24, 14);
  window.samples = window.samples ?? new Set();
  window.samples.add(small.getImageData(0, 0, 24, 14).data.join());
  return window.samples.size >= wanted;
}"""

# Bars and state, read in one go; true once every bar is near what the device says at that moment.
AGREES = """async (tolerance) => {
  const state = await (await fetch('/api/state', { cache: 'no-store' })).json();
  const faces = (state.reading?.faces ?? []).filter((face) => face.emotions);
  return faces.length >= 2 && faces.every((face) => {
    const bars = [...document.querySelectorAll(`.person[data-id="${face.id}"] .bar`)];
    return bars.length === 7 && bars.every((bar) => bar.dataset.value !== ''
      && Math.abs(Number(bar.dataset.value) - face.emotions[bar.dataset.emotion]) <= tolerance);
  });
}"""

BARS_MOVE = """(wanted) => {
  window.values = window.values ?? new Set();
  window.values.add([...document.querySelectorAll('.bar')].map((bar) => bar.dataset.value).join());
  return document.querySelector('.bar') !== null && window.values.size >= wanted;
}"""

# What sticks out of the window or out of its own box.
SPILLS = """async () => {
  if (document.readyState !== 'complete')  // the style sheets may still be missing
    await new Promise((resolve) => addEventListener('load', resolve));
  return [...document.querySelectorAll('body *')].filter((element) => {
    const box = element.getBoundingClientRect();
    const hides = element.closest('.visually-hidden, .bar, .frame, svg, [hidden]');
    const inline = getComputedStyle(element).display === 'inline';
    const outside = box.right > innerWidth + 1 || box.left < -1;
    const overfull = element.scrollWidth > element.clientWidth + 1;
    return !hides && !inline && box.width > 0 && (outside || overfull);
  }).map((element) => `${element.tagName} ${element.id} ${element.className}`);
}"""

WIDTH, HEIGHT = 1280, 720
JPEG = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 120, np.uint8))[1].tobytes()

Shoot = Callable[..., None]
OpenPage = Callable[..., Page]


def picture_moves(page: Page, samples: int = 6) -> None:
    page.evaluate("window.samples = new Set()")
    page.wait_for_function(MOVES, arg=samples)


def agree_and_start(page: Page) -> None:
    expect(page.locator("#consent")).to_be_visible()
    for tick in page.locator("#ticks input").all():
        tick.check()
    page.locator("#start").click()


def shows_people(page: Page, count: int) -> None:
    expect(page.locator("#people .person:not(.leaving)")).to_have_count(count)


# --- the demo clip -------------------------------------------------------------------------------------


def test_picture_changes(demo: Any, open_page: OpenPage) -> None:
    picture_moves(open_page(demo.url))


def test_bars_move_and_agree_with_the_state(demo: Any, open_page: OpenPage) -> None:
    page = open_page(demo.url)
    page.wait_for_function(BARS_MOVE, arg=5)
    page.wait_for_function(AGREES, arg=TOLERANCE)


def test_two_people_have_two_cards_with_their_own_expressions(demo: Any, open_page: OpenPage) -> None:
    page = open_page(demo.url)
    shows_people(page, 2)
    happy = page.locator('.person[data-label="happy"]')
    neutral = page.locator('.person[data-label="neutral"]')
    expect(happy).to_have_count(1)
    expect(neutral).to_have_count(1)
    expect(happy.locator(".label")).to_have_text(re.compile("happy"))
    expect(neutral.locator(".label")).to_have_text(re.compile("neutral"))
    ids = page.locator(".person").evaluate_all("cards => cards.map((card) => Number(card.dataset.id))")
    assert ids == sorted(ids)
    assert page.locator(".person").first.locator(".bar").evaluate_all(
        "bars => bars.map((bar) => bar.dataset.emotion)"
    ) == list(EMOTIONS)


def test_no_error_and_no_other_host(demo: Any, open_page: OpenPage, record: Any) -> None:
    page = open_page(demo.url)
    shows_people(page, 2)
    picture_moves(page)
    assert record.complaints == []
    assert record.hosts == {demo.url.split("/")[2]}


def test_status_strip_shows_the_state_of_the_device(demo: Any, open_page: OpenPage) -> None:
    page = open_page(demo.url)
    expect(page.locator("#status-connection")).to_have_text("connected")
    expect(page.locator("#status-session")).to_have_text("Live")
    expect(page.locator("#status-camera")).to_have_text(re.compile("demo, 1280\\s.\\s720"))
    expect(page.locator("#status-rate")).to_have_text(re.compile("\\d+\\.\\d per second"))
    expect(page.locator("#status-age")).to_have_text(re.compile("\\d+\\.\\d+ s"))
    expect(page.locator("#status-engine")).to_contain_text("blazeface")
    expect(page.locator("#warning")).to_be_hidden()
    expect(page.get_by_text("an expression is not a feeling")).to_have_count(1)
    expect(page.locator("#no-lamp")).to_be_visible()
    expect(page.locator("#banner")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_fits_every_width(demo: Any, open_page: OpenPage, shoot: Shoot, width: int, scheme: str) -> None:
    height = {360: 740, 640: 360, 768: 1024, 1024: 768}.get(width, width * 9 // 16)
    page = open_page(demo.url, width, height, color_scheme=scheme)
    shows_people(page, 2)
    picture_moves(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SPILLS) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(ground) < 60) if scheme == "dark" else (min(ground) > 200)
    shoot(page, f"demo-{width}-{scheme}", full_page=width < 1024)


def test_speaks_to_assistive_technology(demo: Any, open_page: OpenPage) -> None:
    page = open_page(demo.url)
    shows_people(page, 2)
    for role in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    for name in ("Picture", "People", "Status"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("img", name="Live camera picture")).to_have_accessible_description(
        re.compile(r"2 faces\. Person \d+ on the left: happy\. Person \d+ on the right: neutral\.")
    )
    card = page.locator(".person").first
    expect(card.get_by_role("meter")).to_have_count(7)
    meter = card.get_by_role("meter", name="happy")
    assert meter.get_attribute("aria-valuemin") == "0"
    assert meter.get_attribute("aria-valuemax") == "1"
    assert 0 <= float(meter.get_attribute("aria-valuenow") or "nan") <= 1
    expect(page.locator("#announce")).to_have_attribute("aria-live", "polite")
    expect(page.locator("#announce")).to_contain_text("happy")


def test_reduced_motion_moves_bars_at_once(demo: Any, open_page: OpenPage) -> None:
    page = open_page(demo.url, reduced_motion="reduce")
    shows_people(page, 2)
    duration = "bar => getComputedStyle(bar).transitionDuration"
    assert page.locator(".fill").first.evaluate(duration) == "0s"
    page = open_page(demo.url)
    shows_people(page, 2)
    assert page.locator(".fill").first.evaluate(duration) != "0s"


def test_hidden_page_costs_the_device_nothing(daemon: Any, open_page: OpenPage) -> None:
    page = open_page(daemon.start().url)
    shows_people(page, 2)
    picture_moves(page, 2)
    hide = """(hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    expect(page.locator("#frame")).not_to_have_attribute("data-frame", re.compile(".*"))
    watched_by_nobody = "async () => (await (await fetch('/api/state')).json()).viewers === 0"
    page.wait_for_function(watched_by_nobody)
    page.evaluate(hide, False)
    picture_moves(page, 2)
    shows_people(page, 2)


# --- consent -------------------------------------------------------------------------------------------

LIVING = ("--set", "camera.needs_agreement=true")


def test_nothing_before_consent_and_nothing_after_stop(
    daemon: Any, open_page: OpenPage, record: Any, shoot: Shoot
) -> None:
    page = open_page(daemon.start(*LIVING).url)
    expect(page.locator("#consent")).to_be_visible()
    expect(page.get_by_role("heading", name="Before the camera starts")).to_be_visible()
    expect(page.locator("#picture")).to_be_hidden()
    expect(page.locator("#frame")).not_to_have_attribute("data-frame", re.compile(".*"))
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#status-session")).to_have_text("Camera off")
    shoot(page, "consent")

    agree_and_start(page)
    expect(page.locator("#consent")).to_be_hidden()
    picture_moves(page)
    shows_people(page, 2)
    page.wait_for_function(AGREES, arg=TOLERANCE)
    assert record.complaints == []

    page.locator("#stop").click()
    expect(page.locator("#consent")).to_be_visible()
    expect(page.locator("#frame")).not_to_have_attribute("data-frame", re.compile(".*"))
    expect(page.locator(".person")).to_have_count(0)
    assert daemon.state()["state"] == "idle"


def test_keyboard_alone_starts_and_stops(daemon: Any, open_page: OpenPage, shoot: Shoot) -> None:
    page = open_page(daemon.start(*LIVING).url)
    expect(page.locator("#start")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#notice-details summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#notice-full")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.locator("#ticks input")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    expect(page.locator("#start")).to_be_focused()
    assert page.locator("#start").evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    shoot(page, "keyboard-focus")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_focused()
    picture_moves(page, 2)
    page.keyboard.press("Space")
    expect(page.locator("#ticks input")).to_be_focused()
    expect(page.locator("#start")).to_be_disabled()
    expect(page.locator("#consent")).to_be_visible()


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(360, 740, "light"), (360, 740, "dark"), (1920, 1080, "light")]
)
def test_the_consent_panel_fits(
    daemon: Any, open_page: OpenPage, shoot: Shoot, width: int, height: int, scheme: str
) -> None:
    page = open_page(daemon.start(*LIVING).url, width, height, color_scheme=scheme)
    expect(page.locator("#start")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SPILLS) == []
    shoot(page, f"consent-{width}-{scheme}", full_page=width < 1024)


def test_changed_notice_must_be_read_again(daemon: Any, open_page: OpenPage) -> None:
    page = open_page(daemon.start(*LIVING).url)
    expect(page.locator("#start")).to_be_visible()
    page.evaluate("document.body.dataset.noticeVersion = 'an older one'")
    agree_and_start(page)
    expect(page.locator("#consent-problem")).to_contain_text("notice has changed")
    expect(page.locator("#reload")).to_be_focused()
    assert daemon.state()["state"] == "idle"
    page.locator("#reload").click()
    agree_and_start(page)
    picture_moves(page, 2)


def test_an_open_network_is_always_shown(daemon: Any, open_page: OpenPage, shoot: Shoot) -> None:
    page = open_page(daemon.start(*LIVING, "--set", "access.open_to_network=true").url)
    expect(page.locator("#banner")).to_contain_text(
        "Anyone on this network can see this page. There is no login."
    )
    agree_and_start(page)
    picture_moves(page, 2)
    expect(page.locator("#banner")).to_be_visible()
    shoot(page, "open-network")


# --- things that go wrong ------------------------------------------------------------------------------


def test_the_page_reconnects_after_the_server_was_killed(
    daemon: Any, open_page: OpenPage, shoot: Shoot
) -> None:
    page = open_page(daemon.start().url)
    shows_people(page, 2)
    picture_moves(page, 2)
    daemon.kill()
    expect(page.locator("#status-connection")).to_contain_text("reconnecting")
    expect(page.locator("#warning")).to_contain_text("No connection to the device")
    expect(page.locator("#people")).to_contain_class("stale")
    shoot(page, "reconnecting")
    daemon.start()
    expect(page.locator("#status-connection")).to_have_text("connected")
    picture_moves(page)
    shows_people(page, 2)
    page.wait_for_function(AGREES, arg=TOLERANCE)
    expect(page.locator("#warning")).to_be_hidden()


RECORD_WARNINGS = """() => {
  const warning = document.getElementById('warning-text');
  window.warnings = [];
  new MutationObserver(() => window.warnings.push(warning.textContent))
    .observe(warning, { childList: true, characterData: true, subtree: true });
}"""


def test_a_lost_camera_is_shown_and_recovers(
    daemon: Any, open_page: OpenPage, shoot: Shoot, demo_clip: Path, tmp_path: Path
) -> None:
    clip, away = tmp_path / "clip.mp4", tmp_path / "away.mp4"
    shutil.copy(demo_clip, clip)
    page = open_page(daemon.start(camera=f"replay:{clip}").url)
    shows_people(page, 2)
    page.get_by_role("button", name="Mirror").click()
    picture_moves(page, 1)  # keeps one frame of the video
    clip.rename(away)
    expect(page.locator("#warning-text")).to_contain_text("Camera lost since", timeout=30_000)
    expect(page.locator("#status-session")).to_have_text("Camera lost")
    expect(page.locator("#status-camera")).to_contain_text("lost")
    expect(page.locator(".person")).to_have_count(0)
    page.wait_for_function(MOVES, arg=2)  # the placeholder is another picture
    expect(page.locator("#status-age")).to_have_text("\u2013")
    transform = "picture => getComputedStyle(picture).transform"
    assert page.locator("#picture").evaluate(transform) == "none", "its text is not mirrored"
    shoot(page, "camera-lost")
    page.wait_for_timeout(3000)  # longer than a running camera may be without readings
    page.evaluate(RECORD_WARNINGS)
    away.rename(clip)
    expect(page.locator("#warning")).to_be_hidden(timeout=30_000)
    assert not [words for words in page.evaluate("window.warnings") if "No new readings" in words]
    picture_moves(page)
    shows_people(page, 2)


def test_the_picture_disappears_after_a_long_loss_of_connection(
    daemon: Any, open_page: OpenPage, shoot: Shoot
) -> None:
    page = open_page(daemon.start().url)
    shows_people(page, 2)
    picture_moves(page, 2)
    daemon.kill()
    expect(page.locator("#warning")).to_contain_text("No connection to the device")
    shows_people(page, 2)
    expect(page.locator(".person")).to_have_count(0, timeout=20_000)
    expect(page.locator("#frame")).not_to_have_attribute("data-frame", re.compile(".*"))
    expect(page.locator("#warning")).to_contain_text("No connection to the device")
    shoot(page, "not-heard-for-long")
    daemon.start()
    picture_moves(page)
    shows_people(page, 2)


# --- scripted readings ---------------------------------------------------------------------------------


class Script:
    """Replaces the daemon's `/ws/pictures`, so that a test decides what is shown."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[dict[str, Any]] = []
        """What the page sent."""
        self._socket: WebSocketRoute | None = None
        self._frame = 0
        page.route_web_socket("**/ws/pictures", self._opened)

    def _opened(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(lambda text: self.said.append(json.loads(text)))

    def reload(self) -> None:
        """Load the page again; the next `say` waits for its connection."""
        self._socket = None
        self.page.reload(wait_until="commit")

    def say(self, *faces: dict[str, Any]) -> int:
        """Send a picture and the reading of its frame; returns the frame's number."""
        self._frame += 1
        reading = {"schema": 1, "source": "script", "frame": self._frame, "time_s": 0.0}
        reading |= {"width": WIDTH, "height": HEIGHT, "faces": list(faces)}
        return self._send(reading)

    def show(self, jpeg: bytes = JPEG) -> int:
        """Send a picture without a reading."""
        self._frame += 1
        return self._send(None, jpeg)

    def _send(self, reading: dict[str, Any] | None, jpeg: bytes = JPEG) -> int:
        while self._socket is None:
            self.page.wait_for_timeout(10)
        head = {"frame": self._frame, "captured_s": 0.0, "live": True, "reading": reading}
        coded = json.dumps(head).encode()
        self._socket.send(struct.pack(">I", len(coded)) + coded + jpeg)
        return self._frame

    def repeat(self, *turns: list[dict[str, Any]], until: str, limit_s: float = WITHIN_S) -> None:
        """Repeat these readings, twenty a second, until the condition `until` holds on the page."""
        deadline = time.monotonic() + limit_s
        for faces in itertools.cycle(turns):
            if self.page.evaluate(until):
                return
            assert time.monotonic() < deadline, f"not within {limit_s:g} s: {until}"
            self.say(*faces)
            self.page.wait_for_timeout(50)


def face(number: int, label: str = "happy", reason: str | None = None, **scores: float) -> dict[str, Any]:
    readable = label not in ("not_readable", "not_analysed")
    emotions = dict.fromkeys(EMOTIONS, 0.0) | scores if readable else None
    return {
        "id": number,
        "box": [100.0 * number, 100.0, 90.0, 90.0],
        "score": 0.9,
        "analysed": label != "not_analysed",
        "readable": readable,
        "reason": reason,
        "emotions": emotions,
        "emotions_raw": emotions,
        "dominant": max(scores, key=scores.__getitem__) if readable else None,
        "label": label,
        "pose": None,
        "movement": None,
    }


@pytest.fixture
def script(demo: Any, new_page: Callable[..., Page]) -> Script:
    page = new_page()
    script = Script(page)
    page.goto(demo.url, wait_until="commit")
    return script


def test_cards_show_labels_and_reasons_in_words(script: Script, shoot: Shoot) -> None:
    page = script.page
    script.say(
        face(7, "happy", happy=0.62, sad=0.38),
        face(2, "unsure", happy=0.35, sad=0.33, neutral=0.32),
        face(4, "not_readable", "turned"),
        face(3, "not_analysed", "not_agreed"),
        face(9, "fear", fear=0.71, surprised=0.29),
        face(10, "unsure", fear=0.36, surprised=0.34, neutral=0.3),
    )
    shows_people(page, 6)
    ids = page.locator(".person").evaluate_all("cards => cards.map((card) => card.dataset.id)")
    assert ids == ["2", "3", "4", "7", "9", "10"]

    def text(number: int, what: str) -> str:
        return page.locator(f'.person[data-id="{number}"] {what}').inner_text().strip()

    assert text(7, ".name") == "Person 7"
    assert text(7, ".label") == "happy 0.62"
    assert (text(2, ".label"), text(2, ".reason")) == ("unsure", "closest to happy 0.35")
    assert (text(4, ".label"), text(4, ".reason")) == ("not readable", "face turned away")
    assert (text(3, ".label"), text(3, ".reason")) == ("not analysed", "consent not confirmed")
    assert text(9, ".label") == "fearful 0.71"
    assert (text(10, ".label"), text(10, ".reason")) == ("unsure", "closest to fearful 0.36")
    expect(page.locator('.person[data-id="9"] .bar[data-emotion="fear"]')).to_have_attribute(
        "aria-label", "fearful"
    )
    bar = page.locator('.person[data-id="7"] .bar[data-emotion="happy"]')
    expect(bar).to_have_attribute("data-value", "0.620")
    expect(page.locator('.person[data-id="4"] .bar').first).to_have_attribute("data-value", "")
    expect(page.locator('.person[data-id="3"] .bars')).to_be_hidden()
    shoot(page, "labels")


def test_cards_show_direction_and_movement_of_the_head_in_numbers(script: Script, shoot: Shoot) -> None:
    page = script.page
    moves = {"head": 0.13, "body": 0.21, "nods": 1, "shakes": 0}
    script.say(
        face(1, happy=1.0) | {"pose": {"yaw": -12.2, "pitch": 3.0, "roll": 1.0}, "movement": moves},
        face(2, happy=1.0) | {"pose": {"yaw": 6.0, "pitch": -8.0, "roll": 0.0}, "movement": None},
        face(3, happy=1.0)
        | {
            "pose": {"yaw": 0.0, "pitch": 0.0, "roll": 0.0},
            "movement": {"head": 0.0, "body": None, "nods": 0, "shakes": 2},
        },
        face(4, happy=1.0),
        face(5, happy=1.0) | {"strength": 0.42, "baseline": "taken"},
        face(6, happy=1.0) | {"strength": None, "baseline": "taking"},
    )
    shows_people(page, 6)

    def line(number: int) -> Any:
        return page.locator(f'.person[data-id="{number}"] .motion')

    expect(line(1)).to_have_text("turned 12° left · head 0.1/s · body 0.2 · nods 1")
    expect(line(2)).to_have_text("turned 6° right, 8° down")
    expect(line(3)).to_have_text("straight · head 0.0/s · head shakes 2")
    expect(line(4)).to_be_hidden()
    expect(line(5)).to_have_text("strength 0.4")
    expect(line(6)).to_have_text("taking the resting face")
    assert line(1).evaluate("line => getComputedStyle(line).fontVariantNumeric") == "tabular-nums"
    assert line(1).evaluate("line => line.closest('[aria-live], [role=status], [role=alert]')") is None
    assert page.evaluate(SPILLS) == []
    shoot(page, "movement")


def test_people_who_leave_fade_and_an_empty_view_is_shown_as_such(script: Script) -> None:
    page = script.page
    script.say(face(1, happy=1.0), face(2, "sad", sad=1.0))
    shows_people(page, 2)
    keep = page.evaluate_handle("document.querySelector('.person[data-id=\"1\"]')")
    script.repeat([face(1, happy=1.0)], until="document.querySelectorAll('.person').length === 1")
    assert keep.evaluate("card => card.isConnected")
    script.repeat([], until="document.querySelectorAll('.person').length === 0")
    expect(page.get_by_text("No one in view")).to_be_visible()


def test_missing_readings_are_shown(script: Script, shoot: Shoot) -> None:
    page = script.page
    script.say(face(1, happy=1.0))
    shows_people(page, 1)
    script.show()
    expect(page.locator("#warning")).to_contain_text("No new readings")
    expect(page.locator("#people")).to_contain_class("stale")
    shows_people(page, 1)
    shoot(page, "no-new-readings")
    script.say(face(1, happy=1.0))
    expect(page.locator("#warning")).to_be_hidden()


def test_announces_changed_labels_only_and_not_too_often(script: Script) -> None:
    page = script.page
    page.wait_for_selector("#announce", state="attached")  # the page was only begun
    page.evaluate("""() => {
      const announcer = document.getElementById('announce');
      window.said = [];
      new MutationObserver(() => window.said.push([performance.now(), announcer.textContent]))
        .observe(announcer, { childList: true, characterData: true, subtree: true });
    }""")
    flickering = ("happy", "sad", "angry")
    turns = [[face(1, label, **{label: 1.0}), face(2, "neutral", neutral=1.0)] for label in flickering]
    script.repeat(*turns, until="window.said.length >= 3")
    said = page.evaluate("window.said")
    assert all(later[0] - earlier[0] >= 2900 for earlier, later in itertools.pairwise(said))
    assert "Person 2: neutral." in said[0][1]
    assert not any("Person 2" in text for _, text in said[1:])
