"""WebKitGTK over its own WebDriver, with the part of Playwright's interface that tests of every engine use.

Playwright drives no WebKit of a distribution. WebDriver is a small protocol of JSON over HTTP:
https://www.w3.org/TR/webdriver2/. A context is a MiniBrowser with its own cookies, as in Playwright.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

DRIVER, DISPLAY = "WebKitWebDriver", "Xvfb"
PATIENCE_S = 15.0
"""Long enough that only a page that hangs fails."""
ANSWER_S = 30.0
LOOK_S = 1.0
"""The longest look at a condition; a page that loads meanwhile forgets it."""

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {
    "Delete": "\ue017",
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "Shift": "\ue008",
    "Space": " ",
    "Tab": "\ue004",
    "ArrowDown": "\ue015",
    "ArrowLeft": "\ue012",
    "ArrowRight": "\ue014",
    "ArrowUp": "\ue013",
}

NOT_DONE = {
    "element click intercepted",
    "element not interactable",
    "no such element",
    "stale element reference",
}
"""Errors of a page that is still loading or moving; nothing was clicked or typed."""
PASSING = NOT_DONE | {"javascript error", "no such frame", "script timeout"}
"""Errors of a look at such a page."""

# The console of WebKit cannot be read by WebDriver, so the first command in each document listens to it.
# `given` is an expression or a function, as in Playwright.
EVALUATE = """
const [argument, answer] = arguments;
if (!window.consoleForTests) {
  const lines = (window.consoleForTests = []);
  for (const kind of ['error', 'warn'])
    console[kind] = (...what) => lines.push(`${kind}: ${what.join(' ')}`);
  addEventListener('error', (event) => lines.push(`exception: ${event.message}`));
  addEventListener('unhandledrejection', (event) => lines.push(`exception: ${event.reason}`));
  addEventListener('securitypolicyviolation', (event) => lines.push(`refused: ${event.blockedURI}`));
}
const send = (result, error) => answer([result, error, window.consoleForTests.splice(0)]);
(async () => {
  const given = (%s);
  return typeof given === 'function' ? given(argument) : given;
})().then((value) => send(JSON.stringify(value ?? null), ''), (error) => send('', `${error}`));
"""

WAIT = """async ([argument, limit]) => {
  const end = performance.now() + limit;
  for (;;) {
    const given = (%s);
    const value = await (typeof given === 'function' ? given(argument) : given);
    if (value) return value;
    if (performance.now() > end) return null;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}"""

READY = """(selector) => {
  const found = document.querySelectorAll(selector);
  if (found.length > 1) throw new Error(`${found.length} elements match ${selector}`);
  return found.length === 1 && found[0].checkVisibility() && !found[0].disabled;
}"""


class WebDriverError(Exception):
    """An error that the driver or the page reports; `kind` is WebDriver's name of it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


def minibrowser() -> Path | None:
    """The browser that comes with the library, in a folder with the machine's name and the version."""
    return max(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), default=None)


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """A process in a group of its own, which ends with this one, however this one ends."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class WebKitBrowser:
    """A screen on which MiniBrowsers run, one for each context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contexts: list[WebKitContext] = []
        reading, writing = os.pipe()
        command = [DISPLAY, "-displayfd", str(writing), "-screen", "0", "1920x1200x24", "-nolisten", "tcp"]
        self._screen = start(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as told:
            ready, _, _ = select.select([told], [], [], ANSWER_S)
            self._display = f":{told.readline().strip()}" if ready else ""
        if len(self._display) < 2:
            kill(self._screen)
            raise RuntimeError(f"{DISPLAY} gave no display within {ANSWER_S:g} s")

    def new_context(self, viewport: dict[str, int], *, ignore_https_errors: bool = False) -> WebKitContext:
        """A browser with its own cookies; `viewport` has width and height in pixels."""
        folder = self._folder / str(len(self._contexts))
        folder.mkdir(mode=0o700)
        context = WebKitContext(self._display, folder, viewport, ignore_https_errors)
        self._contexts.append(context)
        return context

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        kill(self._screen)


class WebKitContext:
    """A MiniBrowser with a driver of its own: a driver has one session."""

    def __init__(
        self, display: str, folder: Path, viewport: dict[str, int], ignore_https_errors: bool
    ) -> None:
        self._viewport = viewport
        self._log = folder / "log"
        self._session = ""
        self._window = ""
        homes = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        environment = os.environ | dict.fromkeys(homes, str(folder))
        environment |= {
            "DISPLAY": display,
            "GDK_BACKEND": "x11",
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1",  # OpenGL in software takes three times the processor
            "NO_AT_BRIDGE": "1",
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
            "GSETTINGS_BACKEND": "memory",
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        with self._log.open("wb") as log:
            self._driver = start(
                [DRIVER, f"--port={self._port}"], env=environment, cwd=folder, stdout=log, stderr=log
            )
        try:
            self._wait_for_driver()
            options = {"binary": str(minibrowser()), "args": ["--automation"]}
            wanted = {
                "acceptInsecureCerts": ignore_https_errors,
                "pageLoadStrategy": "eager",
                "webkitgtk:browserOptions": options,
            }
            answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self._session = f"/session/{answer['sessionId']}"
            self.call(
                "POST", "/timeouts", {"script": int(5 * LOOK_S * 1000), "pageLoad": int(3 * LOOK_S * 1000)}
            )
            self._window = self.call("GET", "/window")
            self._first: str | None = self._window
        except BaseException:
            kill(self._driver)
            raise

    def _wait_for_driver(self) -> None:
        end = time.monotonic() + ANSWER_S
        while True:
            try:
                self._send("GET", "/status")
                return
            except OSError as error:
                if self._driver.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{DRIVER} does not answer:\n{self._log.read_text()}") from error
                time.sleep(0.02)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise WebDriverError(value["error"], value["message"])
        return value

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer of one command of the session."""
        return self._send(method, self._session + path, body)

    def switch_to(self, window: str) -> None:
        if window != self._window:
            self.call("POST", "/window", {"handle": window})
            self._window = window

    def new_page(self) -> WebKitPage:
        """A window; the first exists from the start."""
        window, self._first = self._first, None
        if window is None:
            window = self.call("POST", "/window/new", {"type": "window"})["handle"]
        page = WebKitPage(self, window)
        page.set_viewport_size(self._viewport)
        return page

    def close(self) -> None:
        kill(self._driver)


class Keyboard:
    """Keys pressed in a window."""

    def __init__(self, page: WebKitPage) -> None:
        self._page = page

    def press(self, key: str) -> None:
        """A key or several joined by `+`, in Playwright's names."""
        keys = [KEYS.get(name, name) for name in key.split("+")]
        downs = [{"type": "keyDown", "value": value} for value in keys]
        ups = [{"type": "keyUp", "value": value} for value in reversed(keys)]
        self._page.act({"type": "key", "id": "keyboard", "actions": downs + ups})


class Mouse:
    """The pointer in a window; positions in pixels of the viewport."""

    def __init__(self, page: WebKitPage) -> None:
        self._page = page

    def move(self, x: float, y: float, *, steps: int = 1) -> None:
        # WebDriver moves in a straight line as well, in as many steps as the time allows.
        self._act({"type": "pointerMove", "x": round(x), "y": round(y), "duration": 20 * (steps - 1)})

    def down(self) -> None:
        self._act({"type": "pointerDown", "button": 0})

    def up(self) -> None:
        self._act({"type": "pointerUp", "button": 0})

    def _act(self, action: dict[str, Any]) -> None:
        self._page.act({"type": "pointer", "id": "mouse", "actions": [action]})


class WebKitPage:
    """A window of WebKit with the methods of Playwright's `Page` that tests of every engine use."""

    def __init__(self, context: WebKitContext, window: str) -> None:
        self.context = context
        self.keyboard = Keyboard(self)
        self.mouse = Mouse(self)
        self.complaints: list[str] = []
        """Errors and warnings of the documents, from the first command in each on."""
        self._handle = window

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        self.context.switch_to(self._handle)
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.context.call(method, path, body)
            except WebDriverError as error:
                # Before each command the driver waits for a document that is loading, and may miss its end.
                if error.kind != "timeout" or time.monotonic() > end:
                    raise

    def act(self, source: dict[str, Any]) -> None:
        """Input events of one device."""
        self._call("POST", "/actions", {"actions": [source]})

    @property
    def url(self) -> str:
        return str(self._call("GET", "/url"))

    def goto(self, url: str, *, wait_until: str = "commit") -> None:
        """Open an address, until its document is parsed: `load` may not come while a picture moves."""
        assert wait_until == "commit"
        self._call("POST", "/url", {"url": url})

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        """What an expression, or a function of `arg`, gives or promises; JSON values only."""
        command = {"script": EVALUATE % expression, "args": [arg]}
        result, error, complaints = self._call("POST", "/execute/async", command)
        self.complaints += complaints
        if error:
            raise WebDriverError("javascript error", error)
        return json.loads(result)

    def wait_for_function(
        self, expression: str, *, arg: Any = None, timeout: float = PATIENCE_S * 1000
    ) -> Any:
        """The first true value of an expression or a function of `arg`, within `timeout` milliseconds."""
        end = time.monotonic() + timeout / 1000
        last: WebDriverError | None = None
        while True:
            try:
                if found := self.evaluate(WAIT % expression, [arg, LOOK_S * 1000]):
                    return found
            except WebDriverError as error:
                if error.kind not in PASSING:
                    raise
                last = error
            if time.monotonic() > end:
                raise TimeoutError(f"not within {timeout:g} ms: {expression} (last error: {last})")

    def _element(self, selector: str) -> str:
        self.wait_for_function(READY, arg=selector)
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[ELEMENT]}"

    def click(self, selector: str) -> None:
        """Click the one element that matches as soon as it can be clicked."""
        self._insist(lambda: self._call("POST", f"{self._element(selector)}/click", {}))

    def fill(self, selector: str, value: str) -> None:
        """Replace the text of a field by typing."""

        def type_it() -> None:
            element = self._element(selector)
            self._call("POST", f"{element}/clear", {})
            self._call("POST", f"{element}/value", {"text": value})

        self._insist(type_it)

    def _insist(self, action: Any) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                action()
                return
            except WebDriverError as error:
                if error.kind not in NOT_DONE or time.monotonic() > end:
                    raise

    def screenshot(self, *, path: Path | None = None, full_page: bool = False) -> bytes:
        """The visible part as PNG, also written to `path`; `full_page` changes nothing here."""
        picture = base64.b64decode(self._call("GET", "/screenshot"))
        if path is not None:
            path.write_bytes(picture)
        return picture

    def set_viewport_size(self, viewport_size: dict[str, int]) -> None:
        """Resize the window until the page in it has this size in pixels."""
        width, height = viewport_size["width"], viewport_size["height"]
        inner = self.evaluate("[innerWidth, innerHeight]")
        outer = self._call("GET", "/window/rect")
        rect = {"width": outer["width"] + width - inner[0], "height": outer["height"] + height - inner[1]}
        self._call("POST", "/window/rect", rect)
        self.wait_for_function(
            "([width, height]) => innerWidth === width && innerHeight === height", arg=[width, height]
        )
