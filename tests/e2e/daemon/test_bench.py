"""The daemon that `bench` measures works like the appliance, and uses none of its resources."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from appliance.commands.bench.cost import measure_daemon
from appliance.errors import ApplianceError
from appliance.system.native import self_command
from appliance.system.resources import demo_clip
from tests.e2e.daemon.driver import command


def test_an_installed_device_is_measured_while_its_daemon_runs(tmp_path: Path) -> None:
    """Its ports are in use, its page is encrypted, and its pins are those of the lamps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "config.toml"
        config.write_text(
            f'[web]\nhost = "0.0.0.0"\nport = {port}\nredirect_port = {port}\n'
            '[access]\ncertificate = "/dev/null"\nkey = "/dev/null"\n'
            '[lamps]\nbackend = "gpiozero"\nfactory = "native"\n'
            '[session]\nbutton_pin = 5\nbutton_factory = "native"\nprinted_notice = "2"\n'
        )
        (tmp_path / "state").mkdir()
        cost = measure_daemon(demo_clip(), 1, ["--config", str(config)], tmp_path / "state")
    assert cost.frames > 0
    assert list((tmp_path / "state").iterdir()) == [], "it leaves nothing behind"


def test_it_runs_no_module_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "appliance").mkdir()
    (tmp_path / "appliance" / "__init__.py").write_text("raise SystemExit('another one')\n")
    for name in ("importlib", "contextlib", "types"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another one')\n")
    monkeypatch.chdir(tmp_path)
    assert measure_daemon(demo_clip(), 1, [], tmp_path).frames > 0
    done = subprocess.run(self_command("appliance", "--version"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("interview-grader ")


def test_it_uses_the_page_settings(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match=r"did not start: .*/nowhere"):
        measure_daemon(demo_clip(), 1, ["--set", "vision.models=/nowhere"], tmp_path)
    (tmp_path / "page.toml").write_text("[lawful")
    assert measure_daemon(demo_clip(), 1, [], tmp_path).frames > 0, "problems in the file prevent nothing"


def test_an_idle_daemon_has_the_engines_measured_only_if_it_is_due(tmp_path: Path) -> None:
    """The command that `inference/idle_measurement.py` runs."""
    here = ("--data-dir", tmp_path)
    done = command("bench", "--if-due", *here, limit_s=110)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"engines: cpu-int8 \S+ ms, cpu-float \S+ ms; auto selects cpu-\w+\n", done.stdout)
    again = command("bench", "--if-due", *here)
    assert (again.returncode, again.stdout.strip()) == (0, ""), again.stderr
    (tmp_path / "engines.json").unlink()
    chosen = command("bench", "--if-due", *here, "--set", "engine.backend=tflite")
    assert (chosen.returncode, chosen.stdout.strip()) == (0, ""), chosen.stderr
