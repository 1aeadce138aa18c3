"""Daemons for the tests of this folder: real processes, real HTTP, real signals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import DOUBLES, Daemon, running
from tests.e2e.daemon.driver_doubles import Noting, noting


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The product as a new user starts it, on the included clip."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with running(folder, "--camera", "demo") as daemon:
        yield daemon


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Noting]:
    """A daemon with a camera that shows living people, and the record of its camera, engines and lamp."""
    with running(tmp_path, *noting(tmp_path), module=DOUBLES) as daemon:
        yield daemon, lambda: (tmp_path / "record").read_text().split()
