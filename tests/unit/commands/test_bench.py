"""How `bench` compares: in alternation, so that a machine whose speed drifts changes nothing."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.commands.bench import engines
from appliance.commands.bench.cost import DaemonCost, cost_table, ratios
from appliance.commands.bench.viewers import ClientCost, client_table
from appliance.commands.bench.webcam import WebcamLatency, webcam_table


def test_a_machine_that_slows_down_changes_no_ratio() -> None:
    speed = [1.0, 1.2, 1.4, 1.6, 1.8]
    bare = [8.0 * slower for slower in speed]
    daemon = [12.0 * (one + other) / 2 for one, other in pairwise(speed)]
    assert ratios(bare, daemon) == pytest.approx([1.5] * 4)


def test_the_median_is_shown_with_its_spread() -> None:
    bare = [{"decode": 2.0, "copy": 8.0}, {"decode": 2.0, "copy": 8.0}] * 2
    daemon = [DaemonCost(150, cost, 150.0 + cost, 160.0 + cost, 0.4) for cost in (12.0, 30.0, 13.0)]
    text = "\n".join(cost_table(bare, daemon, {"detector": "of a name"}))
    assert "| **sum of the parts** (4 runs, 10.00 to 10.00) | **10.00** |" in text
    assert "| **entire daemon** (450 frames; 3 runs, 12.00 to 30.00) | **13.00** |" in text
    assert "| **ratio** (at most 1.5; 3 runs, 1.20 to 3.00) | **1.30** |" in text
    assert "180 MB (peak 190)" in text, "the largest of all runs"


def test_clients_are_shown_with_the_ratio_to_the_first_number() -> None:
    costs = [
        ClientCost("/ws/pictures", 1, (8.0, 9.0, 10.0), 30.0, 1.0),
        ClientCost("/ws/pictures", 32, (9.0, 10.0, 12.0), 29.5, 1.123),
    ]
    machine, *_, one, many = client_table(costs, tls=True)
    assert machine.endswith("; TLS")
    assert one == "| 1 | `/ws/pictures` | 9.00 (3 runs, 8.00 to 10.00) | 1.00 | 30.0 |"
    assert many == "| 32 | `/ws/pictures` | 10.00 (3 runs, 9.00 to 12.00) | 1.12 | 29.5 |"


def test_the_latency_of_a_webcam_is_compared_with_its_limit() -> None:
    for answer_95, words in ((14.0, "14.00 ms (within 14.50 ms)"), (15.0, "15.00 ms (over 14.50 ms)")):
        found = WebcamLatency(4.5, 7.0, answer_95, 110.0, 30.0, 29.7, 0.99)
        text = "\n".join(webcam_table(found))
        assert f"| from sending to the answer, 95 of 100 | {words} |" in text
        assert "| readings a second of the room | 29.7, without the client 30.0 (ratio 0.990) |" in text


@pytest.mark.parametrize("text", ["1,65", "0", "1,", "", "eight", "-1"])
def test_a_number_of_clients_that_cannot_be_measured_is_refused(text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--viewers", text])
    assert ended.value.code == 2


def test_the_sandbox_of_a_device_may_refuse_a_lower_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(increment: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", refuse)
    monkeypatch.setattr(engines, "rank_if_due", lambda config, arguments: "engines: measured")
    assert main(["bench", "--if-due", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "engines: measured\n"
