"""The tests of virtual machines run on demand only: here, that they still fit the rest."""

from __future__ import annotations

import importlib

import pytest

from tests.fakes.releases import Edits
from tests.machine import ROOT

MODULES = sorted(path.stem for path in (ROOT / "tests/e2e/vm").glob("*.py") if path.stem != "drive")


@pytest.mark.parametrize("name", MODULES)
def test_what_they_import_is_there(name: str) -> None:
    importlib.import_module(f"tests.e2e.vm.{name}")


def test_the_edits_of_their_releases_find_their_places() -> None:
    edits: Edits = importlib.import_module("tests.e2e.vm.test_update_power_cut").EDITS
    for name, edit in edits.items():
        text = (ROOT / "appliance" / name).read_text(encoding="utf-8")
        assert edit(text) != text, name
