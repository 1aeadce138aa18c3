"""What `config` prints: TOML with the same meaning as its source, each line with its origin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.commands.show_config import config_lines
from appliance.configuration import layers
from appliance.configuration import load as config
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, load_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ignore the files of this machine."""
    for module in (layers, config):
        monkeypatch.setattr(module, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "config.toml")
    return tmp_path


def made(root: Path, *chosen: str, environment: dict[str, str] | None = None) -> Config:
    return load_config(ConfigOptions(data_dir=root, settings=chosen), environment or {})


def test_every_key_of_every_section_is_shown_with_its_origin(nowhere: Path) -> None:
    found = made(nowhere, "web.port=9001", environment={"INTERVIEW_GRADER__VISION__MAX_PEOPLE": "3"})
    text = list(config_lines(found, changed=False))
    assert tomllib.loads("\n".join(text)) == {
        section: {key: list(value) if isinstance(value, tuple) else value for key, value in table.items()}
        for section, table in found.effective().items()
    }
    origins = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in text if " = " in line}
    assert origins["port"] == "command line"
    assert origins["max_people"] == "environment"
    assert origins["host"] == "default"


def test_changed_shows_only_what_was_set(nowhere: Path) -> None:
    text = "\n".join(config_lines(made(nowhere, "web.port=9001", "camera.backend=usb"), changed=True))
    assert tomllib.loads(text) == {"camera": {"backend": "usb"}, "web": {"port": 9001}}


def test_changed_shows_nothing_if_nothing_was_set(nowhere: Path) -> None:
    assert list(config_lines(made(nowhere), changed=True)) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20))
def test_any_text_survives_a_round_trip(nowhere: Path, text: str) -> None:
    nowhere.joinpath("page.toml").write_bytes(b"")
    value = "".join(f"\\U{ord(letter):08x}" for letter in text)
    found = made(nowhere, f'vision.models="{value}"')
    assert found.vision.models == text
    assert tomllib.loads("\n".join(config_lines(found, changed=True))) == {"vision": {"models": text}}
