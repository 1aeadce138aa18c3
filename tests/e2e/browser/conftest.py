"""A real browser, the real daemon in its own process, and a record of what the page did.

The browser is Chromium, unless a test is parametrised over `browser` (`ENGINES`, indirect) or pytest gets
`--engine firefox`. Playwright drives Chromium and Firefox; `webkit.py` drives WebKitGTK and offers the
part of Playwright's `Page` that `test_every_engine.py` uses.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.browser.webkit import WebKitBrowser, WebKitPage
from tests.machine import BROWSERS, browser_lacking

ROOT = Path(__file__).resolve().parents[3]
OUTPUT = ROOT / "tests" / "output"
CHROMIUM = "/usr/bin/chromium"
FIREFOX = "/usr/bin/firefox-esr"
FAKE_CAMERA = {"media.navigator.streams.fake": True, "media.navigator.permission.disabled": True}
"""Firefox's own moving pattern, allowed without a question."""
ENGINES = tuple(BROWSERS)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OF_PLAYWRIGHT = "sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT+SmwNZWA="
"""The style `body {}`, which Playwright adds for a screenshot; in Firefox the page's policy refuses it."""
PATIENCE_MS = 15_000
"""Long enough that only a page that hangs fails."""

READY_S = 30.0
STOP_S = 10.0

expect.set_options(timeout=PATIENCE_MS)


class Daemon:
    """`run` on a free port; the same port again after a restart."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._log = data_dir / "daemon.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(
        self,
        *arguments: str,
        camera: str = "demo",
        module: str = "appliance",
        lawful: tuple[str, str] | None = ("other", "practice"),
    ) -> Daemon:
        """`module`: the product, or it with doubles; `lawful`: region and purpose, None for unset."""
        command = [sys.executable, "-m", module, "run", "--camera", camera, "--port", str(self._port)]
        if lawful:
            command += ["--set", f"lawful.region={lawful[0]}", "--set", f"lawful.purpose={lawful[1]}"]
        command += ["--data-dir", str(self._data_dir), *arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        self._port = self._wait_for_port()
        return self

    def _wait_for_port(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        said = b""
        deadline = time.monotonic() + READY_S
        while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)/", said)):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            assert more, f"no address within {READY_S:g} s: {said!r}\n{self._log.read_text()}"
            said += more
        return int(found.group(1))

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}api/state", timeout=5) as answer:
            return json.load(answer)

    def kill(self) -> None:
        """End the daemon without warning, like a power cut."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@dataclass
class Record:
    """The errors and warnings of the pages, and the hosts they contacted."""

    hosts: set[str] = field(default_factory=set)
    _said_by_playwright: list[str] = field(default_factory=list)
    _webkit: list[WebKitPage] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        return self._said_by_playwright + [line for each in self._webkit for line in each.complaints]

    def watch(self, page: Page | WebKitPage) -> None:
        """WebKit does not tell its requests: its hosts stay unknown."""
        if isinstance(page, WebKitPage):
            self._webkit.append(page)
            return
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self._said("exception", str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning", "exception") and OF_PLAYWRIGHT not in text:
            self._said_by_playwright.append(f"{kind}: {text}")


OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser | WebKitBrowser]:
    """The browser that the test asks for, else the one of `--engine`."""
    engine = getattr(request, "param", request.config.getoption("engine"))
    if lacking := browser_lacking(engine):
        pytest.skip(f"no {lacking}: ./setup.sh test installs it as root")
    if engine == "webkit":
        webkit = WebKitBrowser(tmp_path_factory.mktemp("webkit"))
        try:
            yield webkit
        finally:
            webkit.close()
        return
    with sync_playwright() as playwright:
        if engine == "firefox":
            browser = playwright.firefox.launch(
                executable_path=FIREFOX, channel="moz-firefox", firefox_user_prefs=FAKE_CAMERA
            )
        else:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def demo(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The demo clip, playing; for tests that do not change it."""
    daemon = Daemon(tmp_path_factory.mktemp("demo"))
    try:
        yield daemon.start()
    finally:
        daemon.stop()


@pytest.fixture
def daemon(browser: Browser, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon for one test, not yet started."""
    daemon = Daemon(tmp_path)
    try:
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def new_page(browser: Browser | WebKitBrowser, record: Record) -> Iterator[Callable[..., Any]]:
    """A page with nothing opened in it yet."""
    pages: list[Page | WebKitPage] = []

    def make(width: int = 1280, height: int = 720, **options: Any) -> Page | WebKitPage:
        page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
        if isinstance(page, Page):
            page.set_default_timeout(PATIENCE_MS)
        record.watch(page)
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.context.close()


@pytest.fixture
def open_page(new_page: Callable[..., Page]) -> OpenPage:
    """A page at this address. Does not wait for `load`: some browsers never fire it for a moving picture."""

    def open_it(url: str, width: int = 1280, height: int = 720, **options: Any) -> Page:
        page = new_page(width, height, **options)
        page.goto(url, wait_until="commit")
        return page

    return open_it


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a picture of the page, for people to look at."""
    OUTPUT.mkdir(parents=True, exist_ok=True)

    def take(page: Page, scenario: str, full_page: bool = False) -> None:
        page.screenshot(path=OUTPUT / f"live-{scenario}.png", full_page=full_page)

    return take
