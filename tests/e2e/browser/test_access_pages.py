"""Login, accounts and logout in a real Chromium, against the daemon as the network sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.daemon.driver import Daemon, running
from tests.machine import network_address

PASSWORD, VIEWER = "a long enough password", "another good password"
WIDTHS = (360, 768, 1280)
OPTIONS = {"ignore_https_errors": True, "extra_http_headers": {"X-Forwarded-For": "192.0.2.7"}}
"""The certificate is self-signed; the header makes the browser a client of the network if there is none."""

SERVED = ("--camera", "demo", "--host", "0.0.0.0", "--set", 'web.trusted_proxies=["127.0.0.1"]')

SPILLS = """async () => {
  if (document.readyState !== 'complete')  // the style sheets may still be missing
    await new Promise((resolve) => addEventListener('load', resolve));
  return [...document.querySelectorAll('body *')].filter((element) => {
    const box = element.getBoundingClientRect();
    const hides = element.closest('.visually-hidden, [hidden]');
    return !hides && box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
  }).map((element) => `${element.tagName} ${element.className}`);
}"""

OpenPage = Callable[..., Page]
Shoot = Callable[..., None]


class Device:
    """A daemon on the network."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.url = f"https://{network_address()}:{daemon.port}/"

    @property
    def first_code(self) -> str:
        (line,) = self.daemon.log_lines("FIRST CODE")
        return re.findall(r"\w{4}-\w{4}-\w{4}", line)[0]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """Before anyone has a password."""
    with running(tmp_path, *SERVED) as daemon:
        yield Device(daemon)


def set_first_password(page: Page, code: str) -> None:
    page.get_by_label("First code").fill(code)
    page.get_by_label("New password for the operator").fill(PASSWORD)
    page.get_by_label("Repeat the password").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()


def log_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def add_viewer(page: Page, name: str) -> None:
    page.get_by_role("link", name="Users").click()
    form = page.get_by_role("region", name="Add a viewer")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Password").fill(VIEWER)
    form.get_by_role("button", name="Add").click()


def test_from_the_first_code_to_the_logout(
    device: Device, open_page: OpenPage, shoot: Shoot, record: Any
) -> None:
    page = open_page(device.url, **OPTIONS)
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    shoot(page, "access-first")
    set_first_password(page, device.first_code)

    expect(page.locator("body")).to_have_attribute("data-view", "live")
    page.wait_for_function("() => document.getElementById('frame').dataset.frame !== undefined")
    expect(page.locator(".person .bar").first).to_be_visible()
    page.locator("#stop").click()  # a POST with the page's token
    expect(page.locator("body")).to_have_attribute("data-view", "idle")
    page.locator("#start").click()
    expect(page.locator("body")).to_have_attribute("data-view", "live")

    add_viewer(page, "anna")
    expect(page.get_by_role("status")).to_contain_text("can log in now")
    shoot(page, "access-accounts", full_page=True)

    guest = open_page(device.url, **OPTIONS)
    log_in(guest, "anna", "not her password")
    expect(guest.get_by_role("alert")).to_have_text("Name or password is wrong.")
    log_in(guest, "anna", VIEWER)
    expect(guest.locator("body")).to_have_attribute("data-view", "live")
    expect(guest.locator(".person .bar").first).to_be_visible()
    expect(guest.locator("#stop")).to_have_count(0)
    expect(guest.get_by_role("link", name="Users")).to_have_count(0)

    page.get_by_role("button", name="Remove anna").click()
    expect(page.get_by_role("status")).to_contain_text("removed")
    expect(guest).to_have_url(re.compile(r"/login\?next=%2F"))  # automatically, at the page's next request

    page.get_by_role("link", name="Interview Grader").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto(f"{device.url}access")
    expect(page).to_have_url(re.compile(r"/login\?next=%2Faccess"))
    log_in(page, "operator", PASSWORD)
    expect(page).to_have_url(f"{device.url}access")
    refused = (
        "401",
        "ERR_ABORTED",
        "ws/live",
    )  # answers to the removed guest's page, and to the wrong password
    assert [said for said in record.complaints if not any(word in said for word in refused)] == []
    assert record.hosts == {device.url.removeprefix("https://").rstrip("/")}


def test_a_link_from_elsewhere_does_not_ask_again(device: Device, open_page: OpenPage) -> None:
    page = open_page(device.url, **OPTIONS)
    set_first_password(page, device.first_code)
    expect(page.locator("body")).to_have_attribute("data-view", "live")
    page.route(
        "https://elsewhere.example/",
        lambda route: route.fulfill(content_type="text/html", body=f'<a href="{device.url}about">there</a>'),
    )
    page.goto("https://elsewhere.example/")
    page.get_by_role("link", name="there").click()
    expect(page).to_have_url(f"{device.url}about")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_every_width(device: Device, open_page: OpenPage, shoot: Shoot, scheme: str) -> None:
    page = open_page(device.url, color_scheme=scheme, **OPTIONS)
    expect(page.get_by_label("First code")).to_be_focused()
    for width in WIDTHS:
        look(page, shoot, "first", width, scheme)
    set_first_password(page, device.first_code)
    expect(page.locator("body")).to_have_attribute("data-view", "live")
    look(page, shoot, "live", 1280, scheme)
    add_viewer(page, "anna")
    page.get_by_text("New password", exact=True).first.click()
    for width in WIDTHS:
        look(page, shoot, "accounts", width, scheme)
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    log_in(page, "anna", "not her password")
    expect(page.get_by_role("alert")).to_be_visible()
    for width in WIDTHS:
        look(page, shoot, "login", width, scheme)


def look(page: Page, shoot: Shoot, name: str, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate(SPILLS) == []
    shoot(page, f"access-{name}-{width}-{scheme}", full_page=True)


def test_everything_works_without_a_mouse_and_without_script(device: Device, open_page: OpenPage) -> None:
    page = open_page(f"{device.url}login", java_script_enabled=False, **OPTIONS)
    expect(page.get_by_label("First code")).to_be_focused()
    page.keyboard.type(device.first_code)
    for _ in range(2):
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(device.url)
    page.goto(f"{device.url}access")
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
