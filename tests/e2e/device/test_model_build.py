"""The scripts that make models: they give the same bytes again, and equivalent float graphs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from appliance.inference.manifest import Manifest
from tests.machine import ROOT

BUILD = ROOT / "models/build"
FLOAT = ["blazeface-short", "blazeface-full"]
INT8 = ["blazeface-short-int8", "blazeface-full-int8"]
ALIGNMENT = 16


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that rewrites graphs, imported as the scripts import it."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("ai-edge-litert is not installed")
    monkeypatch.syspath_prepend(str(BUILD))
    return importlib.import_module("tflite_graph")


@pytest.fixture
def quantiser() -> None:
    """Skip if models cannot be quantised."""
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        pytest.skip("ai-edge-quantizer is not installed")


def original(models_dir: Path, name: str) -> bytes:
    manifest = Manifest.load(models_dir)
    return manifest.verified(manifest.detector(name)).read_bytes()


def answers(content: bytes, value: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs by name for one input without its batch axis."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=content, num_threads=1)
    model.allocate_tensors()
    model.set_tensor(model.get_input_details()[0]["index"], value[None])
    model.invoke()
    return {detail["name"]: model.get_tensor(detail["index"]) for detail in model.get_output_details()}


def inputs(content: bytes) -> list[np.ndarray]:
    """Noise, black, and black next to noise, which gives the largest values inside the model."""
    side = {229032: 128, 1083984: 192}[len(content)]
    noise = np.random.default_rng(1).uniform(-1, 1, (side, side, 3)).astype(np.float32)
    black = np.full_like(noise, -1)
    half = np.where(np.arange(side)[:, None, None] < side // 3, black, noise)
    return [noise, black, half]


@pytest.mark.parametrize("name", FLOAT)
def test_a_prepared_model_computes_bit_for_bit_the_same(
    models_dir: Path, graph: ModuleType, name: str
) -> None:
    content = original(models_dir, name)
    prepared = graph.prepare(content)
    for value in inputs(content):
        before, after = answers(content, value), answers(prepared, value)
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", FLOAT)
def test_a_prepared_model_has_what_the_quantiser_needs(
    models_dir: Path, graph: ModuleType, name: str
) -> None:
    content = original(models_dir, name)
    prepared = graph.prepare(content)
    assert prepared == graph.prepare(content), "the same bytes each time"
    assert graph.prepare(prepared) == prepared, "nothing is left to do"
    model = graph.read(prepared)
    assert graph.operator_names(model).isdisjoint({"RELU", "DEQUANTIZE"})
    (signature,) = model.signatureDefs
    assert [entry.name for entry in signature.inputs] == [b"input"]
    used = {int(i) for op in graph.graph(model).operators for i in [*op.inputs, *op.outputs]}
    assert used == set(range(len(graph.graph(model).tensors)))


@pytest.mark.parametrize("name", [*FLOAT, *INT8])
def test_constants_are_aligned_to_sixteen_bytes(models_dir: Path, graph: ModuleType, name: str) -> None:
    content = original(models_dir, name)
    written = graph.write(graph.read(content)) if name in FLOAT else content
    whole = np.frombuffer(written, np.uint8)
    parsed = graph.schema.Model.GetRootAsModel(written, 0)
    values = [parsed.Buffers(i).DataAsNumpy() for i in range(parsed.BuffersLength())]
    places = [_address(value) - _address(whole) for value in values if not isinstance(value, int)]
    assert len(places) > 50 and all(place % ALIGNMENT == 0 for place in places)


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_an_activation_is_fused_only_where_nothing_else_reads_between(
    models_dir: Path, graph: ModuleType
) -> None:
    model = graph.read(original(models_dir, "blazeface-short"))
    graph.fold_half_constants(model)
    part = graph.graph(model)
    relu = next(op for op in part.operators if graph.code(model, op) == graph.OPERATOR.RELU)
    part.outputs = np.array([*part.outputs, relu.inputs[0]], np.int32)  # now it is read twice
    before = sum(graph.code(model, op) == graph.OPERATOR.RELU for op in part.operators)
    graph.fuse_activations(model)
    left = [op for op in graph.graph(model).operators if graph.code(model, op) == graph.OPERATOR.RELU]
    assert before > 1 and left == [relu]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("quantiser")
def test_the_int8_detectors_are_made_again_byte_for_byte(models_dir: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(models_dir)
    for name in FLOAT:
        shutil.copy(models_dir / manifest.detector(name).file, tmp_path)
    shutil.copy(models_dir / "manifest.toml", tmp_path)
    command = [sys.executable, str(BUILD / "build_detectors.py"), "--models", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in INT8:
        file = manifest.detector(name).file
        assert (tmp_path / file).read_bytes() == (models_dir / file).read_bytes()


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("quantiser")
def test_the_int8_expression_model_is_made_again_byte_for_byte(models_dir: Path, tmp_path: Path) -> None:
    shutil.copy(models_dir / "expression.tflite", tmp_path)
    command = [sys.executable, str(BUILD / "export_expression.py"), "--models", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made, shipped = tmp_path / "expression_int8.tflite", models_dir / "expression_int8.tflite"
    assert made.read_bytes() == shipped.read_bytes()


def test_every_model_that_ships_has_the_digest_of_the_manifest() -> None:
    command = [sys.executable, str(BUILD / "fetch_models.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_rebuilt_model_is_entered_into_the_manifest(
    models_dir: Path, graph: ModuleType, quantiser: None, tmp_path: Path
) -> None:
    entries = importlib.import_module("enter_manifest")
    true = (models_dir / "manifest.toml").read_text("utf-8")
    name, file = "expression-int8", "expression_int8.tflite"
    shutil.copy(models_dir / file, tmp_path)
    spoilt = true
    for told in (
        Manifest.load(models_dir).document.models[name].sha256,
        "scale = 0.0464631766\nzero_point = 7\n",
        "temperature = 0.6579",
        "radius = 6.24",
    ):
        assert told in spoilt
        spoilt = spoilt.replace(told, "".join("1" if each in "023456789" else each for each in told))
    (tmp_path / "manifest.toml").write_text(spoilt, "utf-8")
    model = Manifest.load(models_dir).document.models[name]
    calibration, rest = model.calibration, model.baseline
    entries.enter(
        tmp_path,
        name,
        entries.Calibration(0.65791, calibration.offsets, calibration.weights),
        entries.Rest(rest.typical, rest.radius, rest.strong, rest.share, rest.pictures_share),
    )
    entered = (tmp_path / "manifest.toml").read_text("utf-8")
    # The float model's entry has the same calibration, and must stay as it is.
    head, _, tail = entered.partition("[models.expression]\n")
    assert head == true.partition("[models.expression]\n")[0]
    assert "temperature = 1.1111" in tail and "radius = 1.11" in tail


@pytest.fixture
def calibrating(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that fits calibration and baseline, imported as it imports its neighbours."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("ai-edge-litert is not installed")
    monkeypatch.syspath_prepend(str(BUILD))
    return importlib.import_module("calibrate_expression")


def test_the_fit_finds_the_calibration_that_the_labels_have(calibrating: ModuleType) -> None:
    random = np.random.default_rng(1)
    weights, offsets = 1.5 * np.eye(7) + random.normal(0, 0.2, (7, 7)), random.normal(0, 1, 7)
    offsets -= offsets.mean()
    sets, rows = {}, {}
    for name in calibrating.WEIGHTS:
        logits = random.normal(0, 2, (20_000, 7))
        shares = calibrating.softmax(logits @ weights.T + offsets)
        truth = np.array([random.choice(7, p=each) for each in shares])
        sets[name] = calibrating.Judged(logits, truth, np.arange(len(truth)), np.ones(len(truth), bool))
        rows[name] = sets[name].good
    found = calibrating.fit(sets, rows)
    test = random.normal(0, 2, (500, 7))
    expected = calibrating.softmax(test @ weights.T + offsets)
    assert np.abs(calibrating.softmax(found(test)) - expected).mean() < 0.02


def test_no_person_is_in_two_folds(calibrating: ModuleType) -> None:
    people = np.repeat([7, 3, 12, 5, 40, 41, 42], 5)
    folds = calibrating._folds(people)
    assert all(len(set(folds[people == person])) == 1 for person in people)
    assert set(folds) == set(range(calibrating.FOLDS))


@pytest.mark.timeout(300)
def test_calibration_and_baseline_of_the_manifest_are_fitted_again(
    calibrating: ModuleType, models_dir: Path, shared_data: Path
) -> None:
    calibration, rest = calibrating.calibrate(models_dir, shared_data)
    shipped = Manifest.load(models_dir).classifier("expression-int8")
    assert calibration.temperature == pytest.approx(shipped.calibration.temperature, abs=0.001)
    assert np.array(calibration.weights) == pytest.approx(np.array(shipped.calibration.weights), abs=0.002)
    assert list(calibration.offsets) == pytest.approx(shipped.calibration.offsets, abs=0.002)
    assert shipped.baseline is not None
    assert list(rest.typical) == pytest.approx(shipped.baseline.typical, abs=0.002)
    assert (rest.share, rest.pictures_share) == (shipped.baseline.share, shipped.baseline.pictures_share)
