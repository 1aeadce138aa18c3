"""The CPU as the fallback of an accelerator, and the circuit breaker that decides between them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import EngineError
from appliance.health import Health
from appliance.inference import fallback
from appliance.inference.engines.tflite import TFLite
from appliance.inference.fallback import CircuitBreaker, FallbackEngine
from appliance.system.resources import models_dir
from appliance.values import Tensor

MODEL = models_dir() / "expression_int8.tflite"
EVERY_S = 0.05


def new(state_file: Path, probe: str = "true") -> CircuitBreaker:
    return CircuitBreaker("coral", state_file, None, probe=[probe], pause_s=EVERY_S)


def wait_until_back(stick: CircuitBreaker) -> None:
    deadline = time.monotonic() + 10
    while not stick.allow():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_failure_after_a_successful_probe_doubles_the_pause(tmp_path: Path) -> None:
    stick = new(tmp_path / "accelerator.json")
    pauses = []
    for _ in range(4):
        stick.mark_failed("it went away")
        pauses.append(stick.pause_s / EVERY_S)
        wait_until_back(stick)
    assert pauses == [1, 2, 4, 8]


def test_a_failure_reported_twice_counts_once(tmp_path: Path) -> None:
    stick = new(tmp_path / "accelerator.json")
    stick.mark_failed("it went away")
    stick.mark_failed("it is still away")
    assert stick.pause_s == EVERY_S


def test_the_pause_survives_a_restart(tmp_path: Path) -> None:
    state_file = tmp_path / "accelerator.json"
    for number in range(3):  # each process ends in a call that hangs
        stick = new(state_file)
        assert bool(stick.fault) == (number > 0)
        wait_until_back(stick)
        with stick.guard():
            stick._calling_since = time.monotonic() - 2 * fallback.CALL_S
            stick.mark_hung()
    assert new(state_file).pause_s == 4 * EVERY_S


def test_the_pause_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "_LONGEST_PAUSE_S", 3 * EVERY_S)
    stick = new(tmp_path / "accelerator.json")
    for _ in range(4):
        stick.mark_failed("it went away")
        wait_until_back(stick)
    assert stick.pause_s == 3 * EVERY_S


def test_after_working_long_enough_past_failures_no_longer_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "_TRUSTED_S", 0.0)
    state_file = tmp_path / "accelerator.json"
    stick = new(state_file)
    for _ in range(3):
        stick.mark_failed("it went away")
        wait_until_back(stick)
        assert stick.allow()
        assert stick.pause_s == EVERY_S and not state_file.exists()


def test_successful_opening_keeps_the_count_of_failures(tmp_path: Path) -> None:
    state_file = tmp_path / "accelerator.json"
    stick = new(state_file)
    with stick.guard_opening():
        assert "opening it hung" in state_file.read_text()
    assert not state_file.exists()
    stick.mark_failed("it went away")
    wait_until_back(stick)
    with stick.guard_opening():
        assert new(state_file).pause_s == 2 * EVERY_S
    assert new(state_file).fault == "" and new(state_file).pause_s == EVERY_S


def test_a_probe_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, refused = new(tmp_path / "accelerator.json"), []

    def none_left(*words: object, **more: object) -> None:
        refused.append(words)
        raise OSError(24, "Too many open files")

    stick.mark_failed("it went away")
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", none_left)
        deadline = time.monotonic() + 10
        while not refused:
            assert not stick.allow() and time.monotonic() < deadline
            time.sleep(0.01)
    wait_until_back(stick)


# --- the engine ---


class Accelerator(TFLite):
    """The real engine in place of an accelerator; fails while a test wants it to."""

    fails = refuses = False
    runs = opened = closed = 0

    def __init__(self) -> None:
        if Accelerator.refuses:
            raise EngineError("no device answers")
        super().__init__(MODEL)
        Accelerator.opened += 1
        self.description = "accelerated"

    def run(self, tensor: Tensor) -> list[Tensor]:
        Accelerator.runs += 1
        if Accelerator.fails:
            raise EngineError("the device went away")
        return super().run(tensor)

    def close(self) -> None:
        Accelerator.closed += 1
        super().close()


@pytest.fixture(autouse=True)
def works(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"fails": False, "refuses": False, "runs": 0, "opened": 0, "closed": 0}.items():
        monkeypatch.setattr(Accelerator, name, value)


def tensor() -> Tensor:
    engine = TFLite(MODEL)
    found = np.zeros(engine.inputs[0].shape, engine.inputs[0].dtype)
    engine.close()
    return found


def with_fallback(breaker: CircuitBreaker) -> FallbackEngine:
    return FallbackEngine(breaker, Accelerator, lambda: TFLite(MODEL))


def test_the_accelerator_runs_while_it_works(tmp_path: Path) -> None:
    engine = with_fallback(new(tmp_path / "accelerator.json"))
    assert len(engine.run(tensor())) == len(engine.outputs)
    assert (Accelerator.runs, engine.description) == (1, "accelerated")
    engine.close()
    assert Accelerator.closed == 1


def test_the_cpu_answers_the_call_that_failed_and_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    health = Health("usb")
    breaker = CircuitBreaker("coral", tmp_path / "accelerator.json", health, probe=["true"], pause_s=3600)
    engine = with_fallback(breaker)
    monkeypatch.setattr(Accelerator, "fails", True)
    expected = TFLite(MODEL).run(tensor())
    for _ in range(3):
        for answer, wanted in zip(engine.run(tensor()), expected, strict=True):
            assert np.array_equal(answer, wanted)
    assert (Accelerator.runs, Accelerator.closed) == (1, 1), "a failed accelerator is released"
    assert engine.description.endswith("instead of coral: the device went away")
    assert health.accelerator_failed
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    engine.close()


def test_it_opens_the_accelerator_again_after_a_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = new(tmp_path / "accelerator.json")
    engine = with_fallback(breaker)
    monkeypatch.setattr(Accelerator, "fails", True)
    engine.run(tensor())
    monkeypatch.setattr(Accelerator, "fails", False)
    wait_until_back(breaker)
    engine.run(tensor())
    assert (Accelerator.opened, engine.description) == (2, "accelerated")
    engine.close()


def test_without_a_device_it_opens_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "refuses", True)
    engine = with_fallback(new(tmp_path / "accelerator.json"))
    assert engine.description.endswith("instead of coral: no device answers")
    assert engine.run(tensor())
    engine.close()


def test_the_cpu_refuses_a_wrong_tensor_and_the_accelerator_stays(tmp_path: Path) -> None:
    engine = with_fallback(new(tmp_path / "accelerator.json"))
    with pytest.raises(EngineError, match="expected"):
        engine.run(tensor()[:, 1:])
    assert (Accelerator.runs, engine.description) == (0, "accelerated")
    engine.close()


def test_a_breaker_with_a_failure_opens_no_accelerator(tmp_path: Path) -> None:
    (tmp_path / "accelerator.json").write_text('{"fault": "a call hung", "faults": 1}')
    breaker = CircuitBreaker("coral", tmp_path / "accelerator.json", None, probe=["true"], pause_s=3600)
    engine = with_fallback(breaker)
    assert Accelerator.opened == 0
    assert engine.description.endswith("instead of coral: a call hung")
    engine.close()
