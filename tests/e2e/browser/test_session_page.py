"""A session in a real Chromium: setting up, agreeing, reading, recording, markers, Stop and withdrawal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from appliance.consent.notice import KEEP_DAYS, read_notice
from tests.e2e.browser.test_live_page import SPILLS, agree_and_start, picture_moves, shows_people
from tests.fakes.consent import NOTICE

DOUBLES = "tests.e2e.daemon.driver_doubles"

Shoot = Callable[..., None]
OpenPage = Callable[..., Page]


@pytest.fixture
def living(daemon: Any, tmp_path: Path) -> Iterator[Any]:
    """A daemon on a camera that shows living people, two of them; its records are kept in memory."""
    record = tmp_path / "record"
    record.touch()
    yield daemon.start(camera=f"living:{record}", module=DOUBLES)


def audit(tmp_path: Path) -> list[dict[str, Any]]:
    """The audit log of the session, without the entries about viewers."""
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["event"] != "viewer"]


def test_a_session_from_agreement_to_withdrawal(
    living: Any, open_page: OpenPage, record: Any, shoot: Shoot, tmp_path: Path
) -> None:
    page = open_page(living.url)
    expect(page.locator("#start")).to_be_disabled()
    page.locator("#more").click()
    ticks = page.locator("#ticks input")
    expect(ticks).to_have_count(2)
    ticks.first.check()
    expect(page.locator("#start")).to_be_disabled()
    ticks.last.check()
    page.locator("#start").click()

    shows_people(page, 2)
    picture_moves(page, 2)
    expect(page.locator('.person[data-label="happy"] .bar').first).to_have_attribute(
        "data-value", re.compile("\\d")
    )
    expect(page.locator("#status-session")).to_have_text("Live")
    link = page.locator("#link-address").get_attribute("href")
    assert link is not None and link.startswith(f"{living.url}mine/")
    expect(page.locator("#link-here")).to_be_visible()
    shoot(page, "session-live")
    page.locator("#link-done").click()
    expect(page.locator("#link")).to_be_hidden()
    expect(page.locator("#show-link")).to_be_focused()

    page.locator("#record").click()
    page.locator("#record-label").fill("morning")
    shoot(page, "session-record-dialog")
    page.locator("#record-start").click()
    expect(page.locator("#status-session")).to_have_text("Recording")
    expect(page.locator(".toast", has_text="Recording numbers")).to_be_visible()
    expect(page.locator("#mark")).to_be_focused()
    page.keyboard.press("m")
    expect(page.locator(".toast", has_text="Marked: question 1")).to_be_visible()
    expect(page.locator("#marker-text")).to_have_value("question 2")
    page.locator("#marker-text").fill("a break")
    page.locator("#marker button").click()
    expect(page.locator(".toast", has_text="Marked: a break")).to_be_visible()
    shoot(page, "session-recording")

    page.locator("#stop").click()
    expect(page.locator("#consent")).to_be_visible()
    expect(page.locator("#start")).to_be_disabled()
    expect(page.locator("#saved-title")).to_have_text("morning")
    shoot(page, "session-saved")

    mine = open_page(link)
    expect(mine.get_by_role("heading", name="Your session")).to_be_visible()
    expect(mine.get_by_text("The session has ended")).to_be_visible()
    shoot(mine, "mine")
    mine.locator("#withdraw").click()
    expect(mine.get_by_role("heading", name="You have withdrawn")).to_be_visible()
    mine.goto(link)
    expect(mine.get_by_role("heading", name="Nothing is stored here")).to_be_visible()

    entries = audit(tmp_path)
    assert [(entry["event"], entry["who"]) for entry in entries] == [
        ("agreement", "loopback"),
        ("start", "loopback"),
        ("record", "loopback"),
        ("stop", "loopback"),
        ("withdraw", "link"),
    ]
    assert len({entry["session"] for entry in entries}) == 1
    assert (entries[0]["people"], entries[0]["version"], len(entries[0]["notice"])) == (2, NOTICE, 64)
    complaints = [said for said in record.complaints if "404" not in said]
    assert complaints == []
    assert record.hosts == {living.url.split("/")[2]}


def place(page: Page) -> list[int]:
    """Where the picture is, in whole pixels."""
    where: list[int] = page.evaluate(
        """() => {
          const { x, y, width, height } = document.getElementById("frame").getBoundingClientRect();
          return [x, y + scrollY, width, height].map(Math.round);
        }"""
    )
    return where


SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (!hadRecentInput) window.shifts.push([value, ...sources.map(({ node }) => node?.outerHTML)]);
    }
  }).observe({ type: "layout-shift" });
}"""


@pytest.mark.parametrize("width", [360, 1280])
def test_recording_pause_and_discard_within_a_session(
    living: Any, open_page: OpenPage, record: Any, shoot: Shoot, tmp_path: Path, width: int
) -> None:
    page = open_page(living.url, width, 740)
    page.locator("#ticks input").check()
    page.locator("#start").click()
    page.locator("#link-done").click()
    shows_people(page, 2)
    expect(page.locator("#status-elapsed")).to_have_text(re.compile(r"^\d:\d\d$"))
    expect(page).to_have_title(re.compile(r"^Live \d:\d\d · Interview Grader$"))
    chromium = page.context.browser.browser_type.name == "chromium"  # type: ignore[union-attr]
    if chromium:
        page.evaluate(SHIFTS)
    before = place(page)

    page.locator("#record").click()
    page.locator("#record-label").fill("first try")
    page.locator("#record-start").click()
    expect(page.locator("#status-session")).to_have_text("Recording")
    expect(page.locator("#record")).to_be_hidden()
    assert place(page) == before, "the picture stays where it is"
    page.locator("#pause").click()
    expect(page.locator("#status-session")).to_have_text("Paused")
    expect(page.locator("#picture-waiting")).to_have_text(re.compile(r"ends in (10:00|9:\d\d)"))
    expect(page.locator("#pause")).to_have_text("Resume")
    expect(page.locator(".person:not(.leaving)")).to_have_count(0)
    expect(page.locator("#status-camera")).to_contain_text("closed")
    assert place(page) == before
    shoot(page, f"session-paused-{width}")
    page.locator("#pause").click()
    expect(page.locator("#status-session")).to_have_text("Recording")
    expect(page.locator('.person:not([data-label^="not_"])')).to_have_count(1)  # who agreed is read again
    assert place(page) == before

    page.locator("#record-stop").click()
    expect(page.locator("#status-session")).to_have_text("Live")
    expect(page.locator("#saved-kind")).to_have_text("Saved")
    expect(page.locator("#saved-title")).to_have_text("first try")
    expect(page.locator("#saved-facts")).to_have_text(re.compile(r"^\d:\d\d · erased automatically on"))
    assert place(page) == before
    shoot(page, f"session-saved-live-{width}")
    if chromium:
        shifts = page.evaluate("window.shifts")
        assert sum(value for value, *_ in shifts) <= 0.02, shifts
    page.locator("#saved-discard").click()
    page.locator("#saved-erase").click()
    expect(page.locator("#saved")).to_be_hidden()
    expect(page.locator("#record")).to_be_focused()

    page.locator("#record").click()
    page.locator("#record-label").fill("second try")
    page.locator("#record-start").click()
    expect(page.locator("#status-session")).to_have_text("Recording")
    page.wait_for_timeout(1500)  # something is recorded
    page.locator("#stop").click()
    expect(page.locator("#saved-title")).to_have_text("second try")
    expect(page).to_have_title("Interview Grader")
    shoot(page, f"session-saved-{width}", full_page=True)
    page.locator("#saved-new").click()
    expect(page.locator("#saved")).to_be_hidden()
    events = [entry["event"] for entry in audit(tmp_path)]
    assert [event for event in events if event in ("pause", "resume", "erase")] == [
        "pause",
        "resume",
        "erase",
    ]
    assert record.complaints == []


def test_a_recording_that_was_cut_is_reported_once(
    living: Any, daemon: Any, open_page: OpenPage, shoot: Shoot
) -> None:
    page = open_page(living.url)
    agree_and_record(page, "cut off")
    page.wait_for_timeout(2500)  # at least a second is on the disk
    context = page.context
    page.close()  # an open page would report it as soon as the device is back
    living.kill()
    daemon.start()
    page = context.new_page()
    page.goto(daemon.url, wait_until="commit")
    expect(page.locator("#saved-kind")).to_have_text("Cut short by a power failure or a crash")
    expect(page.locator("#saved-title")).to_have_text("cut off")
    shoot(page, "session-cut")
    page.reload(wait_until="commit")
    expect(page.locator("#status-session")).to_have_text("Live")
    expect(page.locator("#saved")).to_be_hidden()


def agree_and_record(page: Page, label: str) -> None:
    page.locator("#ticks input").check()
    page.locator("#start").click()
    page.locator("#link-done").click()
    page.locator("#record").click()
    page.locator("#record-label").fill(label)
    page.locator("#record-start").click()
    expect(page.locator("#status-session")).to_have_text("Recording")


def test_the_short_notice_above_the_ticks_unfolds_into_the_full_text(
    living: Any, open_page: OpenPage, shoot: Shoot
) -> None:
    page = open_page(living.url)
    notice = read_notice().fill(KEEP_DAYS)
    expect(page.locator("#notice-summary")).to_have_text(notice.summary)
    expect(page.locator("#notice-summary")).to_be_visible()
    expect(page.locator("#notice-full")).to_be_hidden()
    above = """() => {
      const [summary, ticks] = ['notice-summary', 'ticks'].map((id) => document.getElementById(id));
      return summary.getBoundingClientRect().bottom <= ticks.getBoundingClientRect().top;
    }"""
    assert page.evaluate(above)
    page.locator("#notice-details summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#notice-full")).to_be_visible()
    for paragraph in notice.paragraphs:
        expect(page.locator("#notice-full")).to_contain_text(paragraph.text)
    assert page.evaluate(SPILLS) == []
    shoot(page, "session-notice-unfolded", full_page=True)


def test_a_notice_of_the_owner_without_a_summary_is_shown_in_full(
    daemon: Any, open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "record").touch()
    own = tmp_path / "own.toml"
    own.write_text('version = "A"\ntitle = "Ours"\n[[paragraph]]\nheading = "H"\ntext = "All of it."\n')
    camera = f"living:{tmp_path / 'record'}"
    daemon.start("--set", f"session.notice={own}", camera=camera, module=DOUBLES)
    page = open_page(daemon.url)
    expect(page.locator("#notice-full")).to_be_visible()
    expect(page.locator("#notice-full")).to_contain_text("All of it.")
    expect(page.locator("#notice-summary")).to_have_count(0)
    expect(page.locator("#notice-details")).to_have_count(0)


def test_withdraw_on_the_page_asks_for_confirmation_and_ends_the_session(
    living: Any, open_page: OpenPage, shoot: Shoot
) -> None:
    page = open_page(living.url)
    agree_and_start(page)
    picture_moves(page, 2)
    page.locator("#withdraw").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()  # the harmless one
    page.keyboard.press("Enter")
    page.locator("#withdraw").click()
    page.keyboard.press("Escape")
    expect(page.locator("#withdraw")).to_be_focused()
    assert living.state()["state"] == "live"
    page.locator("#withdraw").click()
    shoot(page, "session-withdraw-dialog")
    page.get_by_role("button", name="Cancel").click()
    assert living.state()["state"] == "live"
    page.locator("#withdraw").click()
    page.locator("#withdraw-sure").click()
    expect(page.locator("#consent")).to_be_visible()
    expect(page.locator(".toast", has_text="Withdrawn")).to_be_visible()
    assert living.state()["state"] == "idle"


def test_of_two_people_only_the_one_who_agreed_is_analysed(
    living: Any, open_page: OpenPage, shoot: Shoot
) -> None:
    page = open_page(living.url)
    agree_and_start(page)
    shows_people(page, 2)
    expect(page.locator('.person[data-label="not_analysed"]')).to_have_count(1)
    other = page.locator('.person[data-label="not_analysed"]')
    expect(other.locator(".reason")).to_have_text("consent not confirmed")
    expect(other.locator(".bars")).to_be_hidden()
    expect(page.locator('.person:not([data-label="not_analysed"]) .bar')).to_have_count(7)
    shoot(page, "session-one-agreed")


def test_when_someone_left_the_operator_confirms_who_is_in_view(
    living: Any, open_page: OpenPage, shoot: Shoot, tmp_path: Path
) -> None:
    page = open_page(living.url)
    page.locator("#more").click()
    agree_and_start(page)
    shows_people(page, 2)
    expect(page.locator('.person[data-label="not_analysed"]')).to_have_count(0)
    expect(page.locator("#away")).to_be_hidden()
    page.locator("#draw-zone").click()
    drag(page, "#frame", (0.03, 0.03, 0.45, 0.9))  # one of the two sits outside the zone now
    expect(page.locator("#away")).to_be_visible()
    shoot(page, "session-away")
    page.locator("#again").click()
    expect(page.locator("#away")).to_be_hidden()
    expect(page.locator(".toast", has_text="analysed again")).to_be_visible()
    assert [entry.get("again") for entry in audit(tmp_path) if entry["event"] == "agreement"] == [None, 1]


def drag(page: Page, frame: str, zone: tuple[float, float, float, float]) -> None:
    page.locator(frame).scroll_into_view_if_needed()
    box = page.locator(frame).bounding_box()
    assert box is not None
    x, y, width, height = zone
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + (x + width) * box["width"], box["y"] + (y + height) * box["height"], steps=4)
    page.mouse.up()


def test_aiming_shows_a_blurred_picture_and_the_zone_drawn_there_limits_the_analysis(
    living: Any, open_page: OpenPage, shoot: Shoot, tmp_path: Path
) -> None:
    page = open_page(living.url, 1280, 1000)
    page.locator("#aim").click()
    expect(page.locator("#status-session")).to_have_text("Aiming")
    expect(page.locator("#aim-left")).to_have_text(re.compile("^[45]\\d\\ss left|60\\ss left"))
    page.wait_for_function("() => document.getElementById('aim-picture').naturalWidth > 0")
    expect(page.locator("#stage")).to_be_hidden()
    drag(page, "#aim-frame", (0.5, 0.02, 0.48, 0.96))
    expect(page.locator("#aim-zone")).to_be_visible()
    shoot(page, "session-aiming", full_page=True)
    agree_and_start(page)
    shows_people(page, 2)
    expect(page.locator("#live-zone")).to_be_visible()
    expect(page.locator('.person[data-label="neutral"]')).to_have_count(1)  # the person on the right
    expect(page.locator('.person[data-label="not_analysed"]')).to_have_count(1)
    shoot(page, "session-zone")
    for name in ("#view-options", "#warning"):  # the shade around the zone does not cover them
        assert page.locator(name).evaluate("it => Number(getComputedStyle(it).zIndex)") > 0

    page.locator("#draw-zone").click()
    drag(page, "#frame", (0.03, 0.03, 0.45, 0.9))
    expect(page.locator('.person[data-label="happy"]')).to_have_count(1)
    expect(page.locator('.person[data-label="not_analysed"]')).to_have_count(1)
    assert [entry["event"] for entry in audit(tmp_path)] == ["aiming", "agreement", "start", "settings"]


def test_the_zone_can_be_drawn_without_a_mouse(
    living: Any, open_page: OpenPage, shoot: Shoot, tmp_path: Path
) -> None:
    page = open_page(living.url)
    page.locator("#more").click()
    agree_and_start(page)
    shows_people(page, 2)
    page.locator("#draw-zone").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#frame")).to_be_focused()
    for key in ["ArrowLeft"] * 9 + ["Shift+ArrowLeft"]:
        page.keyboard.press(key)
    shoot(page, "session-zone-by-keyboard")
    page.keyboard.press("Enter")
    expect(page.locator("#draw-zone")).to_be_focused()
    expect(page.locator("#draw-zone")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".toast", has_text="Only faces in the zone")).to_be_visible()
    assert living.state()["session"]["seat"] == [0.0, 0.1, 0.45, 0.8]
    expect(page.locator('.person[data-label="not_analysed"]')).to_have_count(1)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Escape")
    expect(page.locator("#draw-zone")).to_be_focused()
    assert page.locator("#live-zone").evaluate("zone => zone.style.getPropertyValue('--x')") == "0"
    assert living.state()["session"]["seat"] == [0.0, 0.1, 0.45, 0.8]
    page.keyboard.press("Enter")
    page.keyboard.press("Delete")
    expect(page.locator(".toast", has_text="No zone")).to_be_visible()
    expect(page.locator(".toast", has_text="Drag over the picture")).to_have_count(1)
    expect(page.locator("#live-zone")).to_be_hidden()
    assert living.state()["session"]["seat"] is None


def test_region_and_purpose_are_set_once(
    daemon: Any, open_page: OpenPage, shoot: Shoot, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    record.touch()
    living = {"camera": f"living:{record}", "module": DOUBLES, "lawful": None}
    page = open_page(daemon.start(**living).url)
    expect(page.get_by_role("heading", name="Where is this device, and what is it for?")).to_be_visible()
    expect(page.locator("#start")).to_have_count(0)
    shoot(page, "session-lawful")
    page.locator('#lawful [value="US"]').check()
    expect(page.locator('#lawful [value="school"]')).to_be_hidden()  # shown only where the law depends on it
    page.locator('#lawful [value="EU"]').check()
    page.locator('#lawful [value="hiring"]').check()
    page.locator('#lawful [value="none"]').check()
    page.locator("#lawful button").click()
    expect(page.locator("#refusal")).to_be_visible()
    expect(page.locator("#refusal")).to_contain_text("Article 5(1)(f) of the AI Act")
    expect(page.locator("#start")).to_have_count(0)
    shoot(page, "session-refused")
    page.locator('#lawful [value="practice"]').check()
    page.locator('#lawful [value="school"]').check()
    page.locator("#lawful button").click()
    expect(page.locator("#refusal")).to_contain_text("career centre")
    shoot(page, "session-school")
    page.locator('#lawful [value="none"]').check()
    page.locator("#lawful button").click()
    expect(page.locator("#ticks")).to_be_visible()
    expect(page.locator("#notice-summary")).to_contain_text("The results belong to you")
    expect(page.locator("#notice-full")).to_contain_text("The results belong to you")
    agree_and_start(page)
    shows_people(page, 2)

    daemon.stop()
    page = open_page(daemon.start(**living).url)
    expect(page.locator("#ticks")).to_be_visible()
    assert 'region = "EU"' in (tmp_path / "page.toml").read_text()
    assert 'institution = "none"' in (tmp_path / "page.toml").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_every_step_fits(living: Any, open_page: OpenPage, shoot: Shoot, width: int, scheme: str) -> None:
    page = open_page(living.url, width, {360: 740, 768: 1024}.get(width, 720), color_scheme=scheme)

    def fits(step: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SPILLS) == [], step
        shoot(page, f"session-{step}-{width}-{scheme}", full_page=True)

    expect(page.locator("#start")).to_be_visible()
    fits("consent")
    page.locator("#aim").click()
    page.wait_for_function("() => document.getElementById('aim-picture').naturalWidth > 0")
    fits("aim")
    agree_and_start(page)
    shows_people(page, 2)
    expect(page.locator("#link")).to_be_visible()
    fits("started")
    page.locator("#link-done").click()
    page.locator("#record").click()
    page.locator("#record-start").click()
    expect(page.locator("#marker")).to_be_visible()
    fits("recording")


def test_the_notice_to_print_has_its_full_text_its_version_and_the_code_of_the_device(
    living: Any, open_page: OpenPage, record: Any, shoot: Shoot
) -> None:
    page = open_page(f"{living.url}notice")
    expect(page.locator("#notice-version")).to_have_text(NOTICE)
    expect(page.get_by_role("heading", name="Before the camera starts")).to_be_visible()
    for paragraph in read_notice().fill(KEEP_DAYS).paragraphs:
        expect(page.get_by_role("heading", name=paragraph.heading)).to_be_visible()
        expect(page.get_by_text(paragraph.text)).to_be_visible()
    expect(page.locator("details")).to_have_count(0)
    page.wait_for_function("() => document.querySelector('.qr').naturalWidth > 0")
    shoot(page, "notice", full_page=True)
    assert record.complaints == []
