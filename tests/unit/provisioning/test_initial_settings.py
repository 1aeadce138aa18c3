"""What `install --config` writes next to a file that it refuses."""

from __future__ import annotations

from pathlib import Path

from device.install.initial_settings import InitialSettings
from device.layout import Layout


def test_the_fault_is_not_written_through_a_link(tmp_path: Path) -> None:
    given, other = tmp_path / "config.toml", tmp_path / "other"
    given.write_text("[web]\nport = 'x'\n")
    other.write_text("of root\n")
    rejected = given.with_name("config.toml.rejected")
    rejected.symlink_to(other)
    layout = Layout(tmp_path / "root")
    layout.config.mkdir(parents=True)
    settings = InitialSettings(given, layout, lambda path: f"{path}: port: a mistake")
    settings.apply()
    assert other.read_text() == "of root\n"
    assert rejected.read_text() == f"{settings.fault}\n" and f"{given}: port: a mistake" in settings.fault
    assert not list(layout.config.iterdir())
