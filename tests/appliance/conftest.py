"""Daemons for the tests of this folder: real processes, real HTTP, real signals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.driver import Daemon, running


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The product as a newcomer starts it, on the clip that ships with it."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with running(folder, "--camera", "demo") as daemon:
        yield daemon
