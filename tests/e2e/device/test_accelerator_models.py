"""Models for accelerators: compiled by a stand-in for the Edge TPU's compiler, and exported as real ONNX."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from appliance.inference.compiled import find_compiled
from appliance.inference.engines.tflite import TFLite
from tests.machine import ROOT

BUILD = ROOT / "models/build"
MODELS = ROOT / "models"

COMPILER = """#!/bin/sh
# edgetpu_compiler --show_operations --out_dir DIR MODEL
[ "$1" = --show_operations ] && [ "$2" = --out_dir ] || exit 64
name=$(basename "$4" .tflite)
cp "$4" "$3/${name}_edgetpu.tflite"
echo "Total number of operations: 80"
[ "$LEFT" = 0 ] && exit 0
echo "Model successfully compiled but not all operations are supported by the Edge TPU."
echo "Number of operations that will run on Edge TPU: 77"
echo "Number of operations that will run on CPU: $LEFT"
"""


def compiled(folder: Path, left: str, *, with_compiler: bool = True) -> subprocess.CompletedProcess[str]:
    tools = folder / "tools"
    tools.mkdir()
    if with_compiler:
        (tools / "edgetpu_compiler").write_text(COMPILER)
        (tools / "edgetpu_compiler").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "LEFT": left}
    command = [sys.executable, str(BUILD / "compile_edgetpu.py"), "--out", str(folder / "out")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_compiled_models_are_listed_so_that_the_engine_uses_them(tmp_path: Path) -> None:
    done = compiled(tmp_path, "0")
    assert done.returncode == 0, done.stderr
    for stem in ("blazeface_full_int8", "blazeface_short_int8", "expression_int8"):
        assert find_compiled(MODELS / f"{stem}.tflite", tmp_path / "out", f"{stem}_edgetpu.tflite").exists()


def test_an_operator_left_to_the_cpu_is_reported(tmp_path: Path) -> None:
    done = compiled(tmp_path, "3")
    assert done.returncode == 1 and "operators left to the CPU: 3" in done.stdout


def test_without_the_compiler_it_says_where_to_get_it(tmp_path: Path) -> None:
    if shutil.which("edgetpu_compiler"):
        pytest.skip("the real compiler is here")
    done = compiled(tmp_path, "0", with_compiler=False)
    assert done.returncode == 2 and "docs/accelerators.md" in done.stderr


@pytest.fixture(scope="module")
def exporter() -> ModuleType:
    for package in ("onnx", "ai_edge_litert", "ai_edge_quantizer"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package.replace('_', '-')} to export with")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BUILD))
        return importlib.import_module("export_onnx")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stem", ["blazeface_short", "expression"])
def test_the_onnx_of_a_float_model_computes_what_it_computes(exporter: ModuleType, stem: str) -> None:
    from onnx import load_model_from_string
    from onnx.reference import ReferenceEvaluator

    content = exporter.build(MODELS, stem, int8=False)
    assert content == exporter.build(MODELS, stem, int8=False)
    engine = TFLite(MODELS / f"{stem}.tflite")
    value = np.random.default_rng(3).uniform(-1, 1, engine.inputs[0].shape).astype(np.float32)
    model = ReferenceEvaluator(load_model_from_string(content))
    assert tuple(model.input_names) == tuple(spec.name for spec in engine.inputs)
    found = dict(zip(model.output_names, model.run(None, {engine.inputs[0].name: value}), strict=True))
    for spec, wanted in zip(engine.outputs, engine.run(value), strict=True):
        assert found[spec.name].shape == spec.shape
        assert np.abs(found[spec.name] - wanted).max() < 1e-3
