"""No limit of a connection follows the wall clock, which may jump: only the `Date` header shows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.machine import ROOT

MODULES = sorted((ROOT / "appliance/web/transport").glob("*.py"))
WALL_CLOCKS = ("time", "datetime", "calendar", "email.utils")
ALLOWED = {("connection.py", "email.utils.formatdate")}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_the_transport_has_monotonic_time_only(module: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{name.name}" for name in node.names}
    clocks = {name for name in imported if name in WALL_CLOCKS or name.rpartition(".")[0] in WALL_CLOCKS}
    assert {(module.name, name) for name in clocks} <= ALLOWED | {(module.name, "time.monotonic")}
