"""Pytest plugin: a skip that is not listed for this kind of machine fails.

A skipped test is easily taken for a passed one. So every skip and every expected failure has an entry in
``skips.toml`` with the condition under which it is allowed; any other is reported as a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.machine import CONDITIONS

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


@dataclass(frozen=True)
class Entry:
    """An entry of the list: a skip, and where it is allowed."""

    match: str
    reason: str
    where: tuple[str, ...]

    @classmethod
    def read(cls, raw: dict[str, Any]) -> Entry:
        if set(raw) != {"match", "reason", "where"} or not raw["where"]:
            raise ValueError(f"an entry has exactly match, reason and where, found {raw}")
        where = raw["where"]
        conditions = (where,) if isinstance(where, str) else tuple(where)
        if unknown := sorted(set(conditions) - set(CONDITIONS)):
            raise ValueError(f"unknown condition {', '.join(unknown)}: known are {', '.join(CONDITIONS)}")
        return cls(raw["match"], raw["reason"], conditions)

    def covers(self, nodeid: str, reason: str) -> bool:
        # Also compare exactly: in a glob, the brackets of a parametrised test would be a character class.
        named = nodeid == self.match or fnmatchcase(nodeid, self.match)
        return named and re.search(self.reason, reason) is not None

    def missing_conditions(self) -> list[str]:
        return [name for name in self.where if not CONDITIONS[name]()]


class SkipCheck:
    """Turns each skip that is not listed into a failure."""

    def __init__(self, entries: list[Entry], listing: Path) -> None:
        self._entries = entries
        self._listing = listing.name

    def objection(self, nodeid: str, reason: str) -> str | None:
        """Why this skip is not allowed here; None if it is."""
        entries = [entry for entry in self._entries if entry.covers(nodeid, reason)]
        if not entries:
            return f"{nodeid}: skipped ({reason}), which is not listed in {self._listing}"
        refused = [entry.missing_conditions() for entry in entries]
        if all(refused):
            absent = " or ".join(" and ".join(names) for names in refused)
            return f"{nodeid}: skipped ({reason}), which {self._listing} allows only where {absent}"
        return None

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.outcome != "skipped":
            return
        if (objection := self.objection(report.nodeid, _reason(report))) is not None:
            report.outcome = "failed"
            report.longrepr = objection
            vars(report).pop("wasxfail", None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        self._judge(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Iterator[None]:
        report = yield
        self._judge(report)
        return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail.removeprefix('reason: ')}"
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("skips", "the file that lists the skips that are allowed (none: they are not checked)")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getini("skips"):
        return
    listing = config.rootpath / config.getini("skips")
    try:
        entries = [Entry.read(raw) for raw in tomllib.loads(listing.read_text(encoding="utf-8"))["skip"]]
    except (OSError, KeyError, ValueError) as error:
        raise pytest.UsageError(f"{listing}: {error!r}") from error
    config.pluginmanager.register(SkipCheck(entries, listing), "allowed-skips")
