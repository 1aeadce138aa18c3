"""Shared by all tests: the skip list, the leak detector, the order, and the paths of models and clips."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from appliance.auth import passwords
from appliance.system import resources
from tests import machine

pytest_plugins = ["pytester", "tests.skipcheck"]

GRACE_S = 5.0

# The suite draws the same examples each time; `make explore` draws others.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("suite")

# The product syncs what it writes, thousands of times in the suite, and a busy disk takes 30 ms for each.
if (folder := machine.folder_in_memory()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))

ORDER = (
    "tests/unit/",
    "tests/contract/",
    # The files that take minutes, the longest first, so that no process is left with one of them at the end.
    *(
        f"tests/e2e/device/test_{name}.py"
        for name in ("updating", "install", "first_boot", "update", "arm64", "python313")
    ),
    "tests/e2e/device/",
    "tests/e2e/browser/",
    "tests/e2e/daemon/test_staying_up.py",
    "tests/e2e/",
)
"""The order of the suite: first the tests that fail soonest, then those that take longest."""

# Threads that live as long as the process: by the module of their class, or by name.
KEPT_CLASSES = ("tqdm.", "playwright.", "pytest_timeout")
KEPT_NAMES = ("asyncio_", "waitpid-", passwords.THREAD)


def threads_of_ours() -> set[threading.Thread]:
    """All live threads that a test must not leave behind."""
    return {
        thread
        for thread in threading.enumerate()
        if not type(thread).__module__.startswith(KEPT_CLASSES) and not thread.name.startswith(KEPT_NAMES)
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    """The browser of the tests in `tests/e2e/browser` that do not name one."""
    parser.addoption("--engine", choices=tuple(machine.BROWSERS), default="chromium", help="browser engine")


@pytest.fixture(autouse=True)
def no_thread_survives() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    before = threads_of_ours()
    yield
    deadline = time.monotonic() + GRACE_S
    # Not joined: a pool of a module's server may just be starting one, and such a thread cannot be.
    while threads_of_ours() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    if survivors := threads_of_ours() - before:
        names = ", ".join(sorted(thread.name for thread in survivors))
        pytest.fail(f"threads alive {GRACE_S:g} s after the test: {names}", pytrace=False)


@pytest.fixture(autouse=True)
def scheduling_is_unchanged() -> Iterator[None]:
    """Fails a test that changes the scheduling policy of this process, which all its programs inherit."""
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    if (after := os.sched_getscheduler(0)) != before:
        os.sched_setscheduler(0, before, parameters)
        pytest.fail(f"the scheduling policy was changed from {before} to {after}", pytrace=False)


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Restore the log level of the product, which each command sets."""
    logger = logging.getLogger("appliance")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put temporary files of tests and their programs where pytest removes them."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of the model files and their manifest."""
    return resources.models_dir()


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The demo clip: two faces, one smiling and one neutral."""
    return resources.demo_clip()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Pictures and clips that we cannot distribute; a test that needs them skips if they are missing."""
    folder = machine.shared_data()
    if folder is None:
        pytest.skip("no ../shared/data next to the checkout")
    return folder


def place_in_order(nodeid: str) -> int:
    """The index in `ORDER` of a test."""
    return next((index for index, start in enumerate(ORDER) if nodeid.startswith(start)), len(ORDER))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes take the files in this order."""
    items.sort(key=lambda item: place_in_order(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run file by file, and within a file suite by suite, so that each suite's device boots only once."""
    from xdist.scheduler import LoadFileScheduling

    class BySuite(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            suite = next((each for each in ("bookworm", "trixie") if nodeid.endswith(f"{each}]")), "")
            return f"{super()._split_scope(nodeid)} {suite}"

    return BySuite(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report a failure of the earlier checks again, so that it does not scroll away."""
    if os.environ.get("CHECKS") == "failed":
        terminalreporter.write_line("The checks before the tests failed: see the first lines.", red=True)
