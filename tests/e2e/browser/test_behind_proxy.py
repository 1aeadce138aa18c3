"""The page below a path and behind a proxy, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.daemon.driver import READY_S, running, until
from tests.fakes.proxies import BARE, proxy_running

OpenPage = Callable[..., Page]


def test_below_a_path_the_page_has_picture_readings_and_buttons(tmp_path: Path, open_page: OpenPage) -> None:
    with running(tmp_path, "--camera", "demo", "--set", "web.base_path=/grader") as daemon:
        page = open_page(f"http://127.0.0.1:{daemon.port}/grader/")
        paths: set[str] = set()
        page.on("request", lambda request: paths.add(request.url.partition(str(daemon.port))[2]))
        page.on("websocket", lambda opened: paths.add(opened.url.partition(str(daemon.port))[2]))
        page.reload()
        expect(page.locator(".person .bar").first).to_be_visible()
        expect(page.locator("#proxy-banner")).to_be_hidden()
        page.locator("#stop").click()
        expect(page.locator("body")).to_have_attribute("data-view", "idle")
        page.locator("#start").click()
        expect(page.locator("body")).to_have_attribute("data-view", "live")
        page.get_by_role("link", name="Recorded sessions").click()
        expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
        assert any("ws/pictures" in path for path in paths)
        assert {path for path in paths if not path.startswith("/grader/")} == set()


def test_a_proxy_that_is_not_trusted_is_named_on_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    """A proxy that the device cannot recognise, because it sends no header."""
    lines = BARE.replace("SCHEME", "http")
    with (
        running(tmp_path / "device", "--camera", "demo") as daemon,
        proxy_running("nginx", lines, daemon, tmp_path / "proxy") as client,
    ):
        page = open_page(f"https://127.0.0.1:{client.port}/", ignore_https_errors=True)
        expect(page.locator("#proxy-banner")).to_be_visible()
        expect(page.locator("#proxy-banner")).to_contain_text("web.trusted_proxies")
        page.locator("#stop").click()
        until(lambda: daemon.log_lines("WARNING", "web.trusted_proxies"), READY_S, "the same in the log")
