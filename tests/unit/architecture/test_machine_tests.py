"""The tests in virtual machines run only on demand: these check that they still match the code."""

from __future__ import annotations

import importlib

import pytest

from tests.fakes.releases import Edits
from tests.machine import ROOT

MODULES = sorted(path.stem for path in (ROOT / "tests/e2e/vm").glob("*.py") if path.stem != "drive")


@pytest.mark.parametrize("name", MODULES)
def test_their_imports_exist(name: str) -> None:
    importlib.import_module(f"tests.e2e.vm.{name}")


def test_the_edits_of_their_releases_still_apply() -> None:
    edits: Edits = importlib.import_module("tests.e2e.vm.test_update_power_cut").EDITS
    for name, edit in edits.items():
        text = (ROOT / "appliance" / name).read_text(encoding="utf-8")
        assert edit(text) != text, name
