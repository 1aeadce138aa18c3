"""Takes the pictures in docs/images from a running appliance: `make screenshots`.

The appliance plays the demo clip as if it showed living people, and listens on the network, so that the
pictures have consent, login and recording. Chromium is the one of the browser tests.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.browser.conftest import ARGUMENTS, CHROMIUM, PATIENCE_MS
from tests.e2e.browser.test_access_pages import OPTIONS, PASSWORD, SERVED, VIEWER, Device
from tests.e2e.daemon.driver import running
from tests.machine import ROOT

FOLDER = ROOT / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
LIMIT_BYTES = 150_000
RECORD_MS = 45_000
"""Long enough for a chart with changes in it."""

SETTINGS = ("camera.needs_agreement=true", "lawful.region=other", "lawful.purpose=practice")


def main(arguments: Sequence[str]) -> int:
    """Write the pictures into a folder; returns the exit code."""
    folder = Path(arguments[0]) if arguments else FOLDER
    with tempfile.TemporaryDirectory() as state, sync_playwright() as playwright:
        options = [word for setting in SETTINGS for word in ("--set", setting)]
        with running(Path(state), *SERVED, *options, lawful=None) as daemon:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
            page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce", **OPTIONS)
            page.set_default_timeout(PATIENCE_MS)
            device = Device(daemon)
            page.goto(device.url)
            set_password(page, device.first_code)
            run_session(page, folder)
            show_pages(page, device.url, folder)
            browser.close()
    return 0


def set_password(page: Page, code: str) -> None:
    """Log in for the first time."""
    page.locator("input[name=code]").fill(code)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=repeat]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_have_attribute("data-view", "idle")


def run_session(page: Page, folder: Path) -> None:
    """Two people agree, are read and recorded."""
    page.locator("#more").click()
    for tick in page.locator("#ticks input").all():
        tick.check()
    page.locator("#start").scroll_into_view_if_needed()
    shoot(page, folder, "consent-form", whole=True)
    page.locator("#start").click()
    page.locator("#link-done").click()
    expect(page.locator('#people .person:not([data-label^="not_"]) .bar')).to_have_count(14)
    page.locator("#record").click()
    page.locator("#record-label").fill("Mock interview")
    page.locator("#record-start").click()
    expect(page.locator("#marker")).to_be_visible()
    page.wait_for_timeout(RECORD_MS / 2)
    page.keyboard.press("m")
    page.wait_for_timeout(RECORD_MS / 2)
    expect(page.locator('#people .person:not([data-label^="not_"]) .bar')).to_have_count(14)
    expect(page.locator("#boxes")).to_have_attribute("data-boxes", "2")
    shoot(page, folder, "live-page")
    page.locator("#stop").click()
    expect(page.locator("body")).to_have_attribute("data-view", "idle")


def show_pages(page: Page, url: str, folder: Path) -> None:
    """The recorded session, the models, and the accounts."""
    page.goto(f"{url}sessions")
    page.locator(".sessions li a").first.click()
    expect(page.locator(".chart svg")).to_have_count(14)
    shoot(page, folder, "session-page", whole=True)
    page.goto(f"{url}about")
    shoot(page, folder, "about-page")
    page.goto(f"{url}access")
    form = page.locator("form[action$='/access/add']")
    form.locator("input[name=name]").fill("coach")
    form.locator("input[name=password]").fill(VIEWER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_be_visible()
    shoot(page, folder, "access-page")


def shoot(page: Page, folder: Path, name: str, *, whole: bool = False) -> None:
    """Write a picture as `NAME.jpg`, with the best quality below the limit."""
    page.wait_for_load_state("load")
    picture = Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")
    for quality in range(90, 20, -5):
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
        if out.tell() < LIMIT_BYTES:
            break
    (folder / f"{name}.jpg").write_bytes(out.getvalue())
    print(f"{name}.jpg: {picture.width} x {picture.height}, {out.tell() // 1000} kB, quality {quality}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
