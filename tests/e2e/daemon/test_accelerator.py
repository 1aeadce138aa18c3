"""A Coral stick that vanishes, hangs, or is missing: the daemon continues with the CPU, and reports it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.daemon import TICK_S
from appliance.inference.fallback import CALL_S
from appliance.inference.manifest import Manifest
from appliance.inference.ranking import load_ranking
from appliance.system.resources import models_dir
from tests.e2e.daemon.driver import Daemon, clean_environment, command, running, until
from tests.machine import ROOT
from tests.vendor_stubs.edgetpu import Stick

MODELS = ("blazeface_full_int8", "blazeface_short_int8", "expression_int8")


@pytest.fixture
def stick(tmp_path: Path) -> Stick:
    return Stick(tmp_path, *(models_dir() / f"{name}.tflite" for name in MODELS))


def arguments(stick: Stick, *, probe_s: float = 3600) -> list[str]:
    return ["--camera", "demo", *stick.arguments, "--set", f"engine.probe_s={probe_s}"]


def engines(daemon: Daemon) -> str:
    return json.dumps(daemon.state()["engine"])


def wait_for_faces(daemon: Daemon) -> None:
    until(lambda: bool((daemon.state()["reading"] or {}).get("faces")), 15, "a face")


def test_all_models_run_on_the_stick(tmp_path: Path, stick: Stick) -> None:
    with running(tmp_path / "d", *arguments(stick), environment=stick.environment) as daemon:
        wait_for_faces(daemon)
        assert engines(daemon).count("Edge TPU through") == 3


def test_a_stick_that_vanishes_costs_nothing_and_is_used_again_after_a_probe(
    tmp_path: Path, stick: Stick
) -> None:
    with running(tmp_path / "d", *arguments(stick, probe_s=1), environment=stick.environment) as daemon:
        wait_for_faces(daemon)
        stick.is_now("vanish")
        until(lambda: engines(daemon).count("instead of coral") == 3, 10, "the CPU")
        assert "the device went away" in engines(daemon)
        number = daemon.state()["reading"]["frame"]
        until(lambda: daemon.state()["reading"]["frame"] > number + 10, 10, "more readings")
        assert len(daemon.log_lines("ERROR", "coral failed")) == 1
        assert (daemon.folder / "state/accelerator.json").exists()
        stick.is_now("well")
        until(lambda: engines(daemon).count("Edge TPU through") == 3, 30, "the stick")
        assert daemon.log_lines("coral works again")
        assert json.loads((daemon.folder / "state/accelerator.json").read_text())["fault"] == ""


def test_a_hanging_call_is_reported_and_the_next_start_uses_the_cpu(tmp_path: Path, stick: Stick) -> None:
    folder, environment = tmp_path / "d", stick.environment
    with running(folder, *arguments(stick), environment=environment, ends_with=None) as daemon:
        wait_for_faces(daemon)
        stick.is_now("hang")
        assert CALL_S + TICK_S <= 2, "reported within two seconds"
        until(
            lambda: bool(daemon.log_lines("ERROR", "coral made no progress")), 2 + 5, "the report of the hang"
        )
        assert daemon.wait(20) == 1
        assert daemon.log_lines("ERROR", "coral made no progress", "in a call")
    with running(folder, *arguments(stick), environment=environment) as daemon:
        wait_for_faces(daemon)
        assert engines(daemon).count("instead of coral: a call hung") == 3
        assert daemon.log_lines("WARNING", "coral failed before")


def test_a_hang_while_opening_ends_the_process_and_the_next_start_uses_the_cpu(
    tmp_path: Path, stick: Stick
) -> None:
    stick.is_now("stuck")
    program = "import appliance.inference.fallback as a; a.OPEN_S = 1; from appliance.cli import main; main()"
    ways = ["--port", "0", "--data-dir", str(tmp_path / "d/state")]
    done = subprocess.run(
        [sys.executable, "-c", program, "run", *ways, *arguments(stick)],
        env=clean_environment(stick.environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "Timeout" in done.stderr and "coral.py" in done.stderr, done.stderr
    with running(tmp_path / "d", *arguments(stick), environment=stick.environment) as daemon:
        wait_for_faces(daemon)
        assert engines(daemon).count("instead of coral: opening it hung") == 3


def test_a_hanging_probe_does_not_enable_the_stick(tmp_path: Path, stick: Stick) -> None:
    stick.is_now("absent")
    with running(tmp_path / "d", *arguments(stick, probe_s=1), environment=stick.environment) as daemon:
        wait_for_faces(daemon)
        stick.is_now("hang")
        until(lambda: len(daemon.session_members()) == 2, 20, "the probe")
        wait_for_faces(daemon)
        assert engines(daemon).count("instead of coral") == 3


def test_without_a_stick_it_starts_on_the_cpu(tmp_path: Path, stick: Stick) -> None:
    stick.is_now("absent")
    with running(tmp_path / "d", *arguments(stick), environment=stick.environment) as daemon:
        wait_for_faces(daemon)
        assert engines(daemon).count("instead of coral: no Edge TPU responds at usb") == 3


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("library", "libnothing.so.1", "install the Edge TPU runtime"),
        ("compiled", "/nowhere", "docs/accelerators.md"),
        ("device", "serial", "engine.device"),
    ],
)
def test_mistakes_of_the_owner_exit_with_2(stick: Stick, key: str, value: str, words: str) -> None:
    changed = ["--set", f"engine.{key}='{value}'"]
    done = command("check", *stick.arguments, *changed, environment=stick.environment)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert words in done.stderr


def test_check_shows_what_runs_the_models(stick: Stick) -> None:
    done = command("check", *stick.arguments, environment=stick.environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Edge TPU through") == 3


def test_every_model_in_use_is_tested_here() -> None:
    manifest = Manifest.load(models_dir())
    chosen = (manifest.detector(""), manifest.verifier(""), manifest.classifier(""))
    assert {manifest.verified(model).stem for model in chosen if model} == set(MODELS)


def test_engines_are_measured_and_auto_selects_the_fastest_that_agrees(tmp_path: Path, stick: Stick) -> None:
    state = tmp_path / "state"
    wanted = ["--data-dir", str(state), "--set", "engine.backend=auto"]
    for key, value in stick.settings.items():
        wanted += ["--set", f"engine.{key}={value}"]
    done = command("bench", "--engines", *wanted, environment=stick.environment, limit_s=110)
    assert done.returncode == 0, done.stderr
    ranking = json.loads((state / "engines.json").read_text())
    measured = {each["name"]: each for each in ranking["engines"]}
    assert all(measured[name]["ms"] > 0 for name in ("cpu-int8", "cpu-float", "coral"))
    assert measured["cpu-int8"]["agrees"] and measured["coral"]["agrees"], done.stdout
    found = load_ranking(state)
    assert not isinstance(found, str) and found.best
    assert f"engine.backend = auto selects {found.best.name}" in done.stdout
    measured["coral"]["ms"] = 0.001  # the stand-in is no faster than the engine that it wraps
    (state / "engines.json").write_text(json.dumps(ranking))
    done = command("check", *wanted, environment=stick.environment)
    assert done.returncode == 0, done.stderr
    assert "engine     auto: coral, fastest engine that agrees" in done.stdout
    assert "blazeface_full_int8.tflite, Edge TPU through" in done.stdout
