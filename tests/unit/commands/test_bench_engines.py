"""How `bench --engines` treats a measuring process that hangs, dies or complains."""

from __future__ import annotations

import sys

import pytest

from appliance.commands.bench import engines
from appliance.commands.bench.engines import CANDIDATES, Candidate

MEASURING_S, BUILDING_S = 0.5, 1.0


def measured(
    patch: pytest.MonkeyPatch, candidate: Candidate, program: str, measuring_s: float = 60.0
) -> object:
    """The result of a candidate whose process runs `program`."""
    patch.setattr(engines, "self_command", lambda *words: [sys.executable, "-I", "-c", program])
    patch.setattr(engines, "_LIMIT_S", measuring_s)
    patch.setattr(engines, "_BUILD_LIMIT_S", BUILDING_S)
    same, result = engines._measure(candidate, [])
    assert same is candidate
    return result


def test_building_an_engine_may_take_longer_than_measuring_one() -> None:
    assert engines._BUILD_LIMIT_S > 2 * engines._LIMIT_S


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda each: each.name)
def test_only_an_engine_that_needs_a_build_has_the_long_limit(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_s = BUILDING_S if candidate.backend == "tensorrt" else MEASURING_S
    hangs = "import time; time.sleep(60)"
    assert measured(monkeypatch, candidate, hangs, MEASURING_S) == f"hung: no result within {limit_s:g} s"


@pytest.mark.parametrize(
    ("program", "result"),
    [
        ("print('{\"ms\": {}}')", {"ms": {}}),
        ("import sys; sys.exit('first\\ninterview-grader: no GPU')", "no GPU"),
        ("import sys; sys.exit(3)", "exited with 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ],
)
def test_the_result_is_the_output_or_the_exit_of_the_measuring_process(
    program: str, result: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured(monkeypatch, CANDIDATES[0], program) == result
