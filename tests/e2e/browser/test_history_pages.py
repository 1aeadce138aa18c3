"""The list of sessions, one session with its chart, and erasing, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from appliance.records import Store
from tests.e2e.browser.test_live_page import SPILLS
from tests.fakes.records import ID, OTHER, second, session_info

Shoot = Callable[..., None]
OpenPage = Callable[..., Page]

LONG = "a label without any end " * 3 + "x" * 60


@pytest.fixture
def recorded(daemon: Any, tmp_path: Path) -> Iterator[Any]:
    """A daemon with two sessions."""
    store = Store(tmp_path)
    for id, label in ((ID, LONG), (OTHER, "morning")):
        store.begin(session_info(id, label=label, note="second try"))
        rows = [
            second(n, person, happy=(n % 50) / 50)
            for n in range(120)
            for person in (1, 2)
            if n < 60 or person == 1
        ]
        store.add(id, rows)
        store.mark(id, "question 2")
        store.end(id)
    store.close()
    yield daemon.start()


def test_from_the_live_page_to_an_erased_session(
    recorded: Any, open_page: OpenPage, record: Any, shoot: Shoot
) -> None:
    page = open_page(recorded.url)
    page.get_by_role("link", name="Recorded sessions").click()
    expect(page.locator(".sessions li")).to_have_count(2)
    shoot(page, "history-list")
    page.get_by_role("link", name="morning").click()
    expect(page.get_by_role("heading", name="Person 2")).to_be_visible()
    expect(page.locator(".chart").first.locator("svg")).to_have_count(7)
    expect(page.get_by_text("An expression is not a feeling")).to_be_visible()
    expect(page.locator(".markers li")).to_have_text(["0:00 question 2"])
    shoot(page, "history-session", full_page=True)

    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == f"session-{OTHER}.csv"

    page.locator("#erase").click()
    expect(page.locator("#keep")).to_be_focused()
    page.locator("#keep").click()
    expect(page.locator("#erase")).to_be_focused()
    page.locator("#erase").click()
    page.locator("#really").click()
    expect(page).to_have_url(f"{recorded.url}sessions")
    expect(page.locator(".sessions li")).to_have_count(1)
    assert record.complaints == []
    assert record.hosts == {recorded.url.split("/")[2]}


def test_a_session_erased_in_the_meantime_is_no_error(recorded: Any, open_page: OpenPage) -> None:
    page, second_page = (open_page(f"{recorded.url}sessions/{OTHER}") for _ in range(2))
    for each in (page, second_page):
        each.locator("#erase").click()
        each.locator("#really").click()
        expect(each).to_have_url(f"{recorded.url}sessions")


def test_a_device_that_does_not_answer_is_reported(recorded: Any, open_page: OpenPage) -> None:
    page = open_page(f"{recorded.url}sessions/{OTHER}")
    page.route("**/erase", lambda route: route.abort())
    page.locator("#erase").click()
    page.locator("#really").click()
    expect(page.locator("#problem")).to_have_text("The device does not answer.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_fit_every_width(
    recorded: Any, open_page: OpenPage, shoot: Shoot, width: int, scheme: str
) -> None:
    for path in ("sessions", f"sessions/{ID}"):
        page = open_page(recorded.url + path, width, 720, color_scheme=scheme)
        page.wait_for_load_state()
        shoot(page, f"history-{path.split('/')[-1]}-{width}-{scheme}", full_page=True)
        assert page.evaluate(SPILLS) == []
