"""Which engine `auto` selects: the fastest measured with parity, else the CPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import registry
from appliance.composition.engine import (
    EngineChoice,
    choose_engine,
    engine_inventory,
    load_models,
    why_measure,
)
from appliance.composition.reader import make_reader
from appliance.configuration import layers
from appliance.configuration import load as config
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, load_config
from appliance.configuration.settings import AutoEngine
from appliance.errors import ConfigErrors
from appliance.hardware.board import processor_key
from appliance.inference.engines import coral
from appliance.inference.engines.coral import Coral
from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.inference.ranking import RANKING_FILE, EngineMeasurement, Ranking, load_ranking

CPU = EngineMeasurement("cpu-int8", 5.0, True)
FLOAT = EngineMeasurement("cpu-float", 4.0, True)
CORAL = EngineMeasurement("coral", 3.0, True)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (layers, config):
        monkeypatch.setattr(module, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "etc" / "config.toml")


def configured(folder: Path, *settings: str, backend: str = "auto") -> Config:
    return load_config(ConfigOptions(settings=[f"engine.backend={backend}", *settings], data_dir=folder), {})


def digest(config: Config) -> str:
    """The digest of the models in use."""
    return load_models(config)[1].digest


def choose(config: Config) -> EngineChoice:
    return choose_engine(config, digest(config))


def ranked(folder: Path, *engines: EngineMeasurement, models: str = "", processor: str = "") -> Ranking:
    config = configured(folder)
    ranking = Ranking(
        "a board",
        "2026-11-25",
        models or digest(config),
        engines,
        engine_inventory(config),
        processor or processor_key(),
    )
    ranking.save(folder)
    return ranking


def measured_as(**changes: object) -> str:
    """The file with one measurement that was changed by hand."""
    entry = {"name": "cpu-float", "ms": 1.0, "agrees": True, "note": "", **changes}
    return json.dumps({"machine": "", "date": "", "models": "", "engines": [entry]})


def test_a_saved_ranking_is_read_back(tmp_path: Path) -> None:
    slow = replace(CORAL, ms=None, agrees=False, note="no stick")
    assert load_ranking(tmp_path) == "no engine has been measured yet"
    written = ranked(tmp_path, CPU, slow)
    assert load_ranking(tmp_path) == written


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"engines": 3}',
        '{"machine":"","date":"","models":""}',
        '{"machine":"","date":"","models":"","engines":[3]}',
        measured_as(name="gone"),
        measured_as(name=["cpu-int8"]),
        measured_as(ms="1"),
        measured_as(ms=float("nan")),
        measured_as(ms=-1),
        measured_as(ms=True),
        measured_as(agrees="yes"),
        measured_as(note=None, name={}),
    ],
    ids=range(15),
)
def test_a_damaged_ranking_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / RANKING_FILE).write_text(content)
    found = load_ranking(tmp_path)
    assert isinstance(found, str) and RANKING_FILE in found and "\n" not in found
    assert choose(configured(tmp_path)).name == "tflite"


@pytest.mark.parametrize(
    ("engines", "best"),
    [
        ([CPU], CPU),
        ([CPU, FLOAT, CORAL], CORAL),
        ([CPU, FLOAT, replace(CORAL, agrees=False)], FLOAT),
        ([CPU, replace(CORAL, ms=None)], CPU),
        ([replace(CPU, agrees=False)], None),
        ([], None),
        ([CPU, replace(FLOAT, ms=4.6)], CPU),  # hardly faster
        ([replace(CPU, agrees=False), replace(FLOAT, ms=6.0)], replace(FLOAT, ms=6.0)),
    ],
)
def test_the_best_is_the_fastest_with_parity(
    engines: Sequence[EngineMeasurement], best: EngineMeasurement | None
) -> None:
    assert Ranking("", "", "", tuple(engines)).best == best


def test_auto_selects_the_best_and_gives_the_reason(tmp_path: Path) -> None:
    ranked(tmp_path, CPU, CORAL)
    chosen = choose(configured(tmp_path, "engine.library=libmine.so", "engine.threads=2"))
    assert chosen.name == "coral" and not chosen.float_models
    assert chosen.settings.library == "libmine.so" and chosen.settings.threads == 2  # type: ignore[attr-defined]
    assert chosen.why == (
        "auto: coral, fastest engine that agrees with the CPU, 3.0 ms for one run of each model, "
        "measured 2026-11-25"
    )


def test_without_a_ranking_it_is_the_cpu(tmp_path: Path) -> None:
    chosen = choose(configured(tmp_path))
    assert (chosen.name, chosen.float_models) == ("tflite", False)
    assert chosen.why.startswith("auto: the CPU, because no engine has been measured yet; measure with")


def test_a_ranking_of_other_models_does_not_count(tmp_path: Path) -> None:
    ranked(tmp_path, CPU, CORAL, models="others")
    chosen = choose(configured(tmp_path))
    assert chosen.name == "tflite" and "the last measurement was of other models" in chosen.why


def test_a_ranking_of_another_processor_does_not_count(tmp_path: Path) -> None:
    """A card that moves to another board, or a virtual machine to another host, is measured again."""
    ranked(tmp_path, CPU, FLOAT, processor="another")
    config = configured(tmp_path)
    chosen = choose(config)
    assert not chosen.float_models and "the last measurement was of another processor" in chosen.why
    assert why_measure(config) == "the last measurement was of another processor"


def test_a_ranking_of_another_runtime_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked(tmp_path, CPU, FLOAT)
    config = configured(tmp_path)
    monkeypatch.setattr(TFLite, "inventory", staticmethod(lambda settings: "a newer runtime"))
    chosen = choose(config)
    assert not chosen.float_models and "this device has tflite a newer runtime" in chosen.why


def test_the_settings_of_an_engine_are_not_those_of_the_file(tmp_path: Path) -> None:
    """Else who can write the file could have any library loaded."""
    ranked(tmp_path, CPU, CORAL)
    path = tmp_path / RANKING_FILE
    path.write_text(
        path.read_text().replace('"name": "coral"', '"settings": {"library": "x"}, "name": "coral"')
    )
    assert choose(configured(tmp_path)).settings.library == "libedgetpu.so.1"  # type: ignore[attr-defined]


def test_float_models_are_used_where_they_were_faster(tmp_path: Path) -> None:
    ranked(tmp_path, CPU, FLOAT)
    reader = make_reader(configured(tmp_path))
    assert set(reader.names.values()) == {"blazeface_full", "blazeface_short", "expression"}
    assert "auto: cpu-float, fastest" in reader.described()["choice"]
    reader.pipeline.close()


def test_a_start_reads_the_manifest_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked(tmp_path, CPU, FLOAT)
    folders, read = [], Manifest.load
    monkeypatch.setattr(Manifest, "load", lambda folder: (folders.append(folder), read(folder))[1])
    make_reader(configured(tmp_path)).pipeline.close()
    assert len(folders) == 1


def test_auto_starts_even_if_the_best_engine_no_longer_runs(tmp_path: Path) -> None:
    ranked(tmp_path, CPU, CORAL)  # with neither a library nor a compiled model
    reader = make_reader(configured(tmp_path))
    assert "instead of coral" in reader.described()["detector"]
    reader.pipeline.close()


def test_a_configured_engine_is_used_whatever_was_measured(tmp_path: Path) -> None:
    ranked(tmp_path, CPU, CORAL)
    chosen = choose(configured(tmp_path, backend="tflite"))
    assert (chosen.name, chosen.why) == ("tflite", "")


def test_a_key_that_no_engine_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"engine\.treads.*threads"):
        configured(tmp_path, "engine.treads=2")


def test_auto_has_the_defaults_of_every_engine() -> None:
    ours, taken = AutoEngine.model_fields, set()
    for backend in ("tflite", "coral", "tensorrt"):
        theirs = registry.load("engine", backend).Settings.model_fields
        for key in ours.keys() & theirs.keys():
            assert ours[key].default == theirs[key].default, f"{backend}: {key}"
            taken.add(key)
    assert taken == ours.keys(), "settings that no engine has"


def test_measuring_is_due_when_the_inventory_changes(tmp_path: Path) -> None:
    config = configured(tmp_path)
    assert why_measure(config) == "no engine has been measured yet"
    now = engine_inventory(config)
    for there, models, due in (
        (now, digest(config), ""),
        (now, "others", "the last measurement was of other models"),
        (
            "an older runtime",
            digest(config),
            f"the last measurement was of an older runtime, and this device has {now}",
        ),
    ):
        Ranking("a board", "2026-11-25", models, (CPU,), there, processor_key()).save(tmp_path)
        assert why_measure(config) == due


def test_measuring_is_never_due_if_the_owner_chose(tmp_path: Path) -> None:
    assert why_measure(configured(tmp_path, backend="tflite")) == ""


def test_the_inventory_names_accelerators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path)
    runtime = engine_inventory(config)
    assert "coral" not in runtime and "tensorrt" not in runtime
    monkeypatch.setattr(Coral, "inventory", staticmethod(lambda settings: "abc"))
    assert engine_inventory(config) == f"{runtime}, coral abc"


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "not plugged in"),
        ({"usb/devices/1-1/idVendor": "18d1", "usb/devices/1-1/idProduct": "9302"}, "plugged in"),
        ({"usb/devices/1-1/idVendor": "1a6e", "usb/devices/1-1/idProduct": "089a"}, "plugged in"),
        ({"usb/devices/1-1/idVendor": "18d1", "usb/devices/1-1/idProduct": "4ee7"}, "not plugged in"),
        ({"usb/devices/1-1/idVendor": "18d1"}, "not plugged in"),
        ({"pci/devices/0/vendor": "0x1ac1", "pci/devices/0/device": "0x089a"}, "plugged in"),
    ],
)
def test_plugging_in_a_stick_changes_the_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], state: str
) -> None:
    monkeypatch.setattr(coral, "SYS", tmp_path)
    monkeypatch.setattr(coral, "_check_library", lambda library: None)  # installed
    for name, text in files.items():
        path = tmp_path / "bus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (tmp_path / "compiled.json").write_text("{}")
    settings = coral.CoralSettings(compiled=str(tmp_path))
    assert Coral.inventory(settings).partition(" ")[2] == state
