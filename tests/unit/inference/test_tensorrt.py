"""The TensorRT engine with stand-ins for NVIDIA's packages: what it builds, keeps, and how it fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import BackendMissing, EngineError, ModelError
from appliance.inference.engines.tensorrt import TensorRT, TensorRTSettings
from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.system.resources import models_dir
from tests.vendor_stubs import gpu

MANIFEST = Manifest.load(models_dir())
MODEL = MANIFEST.verified(MANIFEST.original(MANIFEST.classifier("")))
X = np.random.default_rng(2).uniform(-1, 1, (1, 48, 48, 1)).astype(np.float32)


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    return gpu.install(monkeypatch)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return gpu.exported(tmp_path, [MODEL])


@pytest.mark.parametrize(("precision", "flags"), [("fp16", ("FP16",)), ("int8", ("FP16", "INT8"))])
def test_a_plan_is_built_once_and_runs(
    nvidia: tuple[Any, Any], settings: dict[str, str], precision: str, flags: tuple[str, ...]
) -> None:
    wanted = TensorRTSettings(**settings, precision=precision)  # type: ignore[arg-type]
    for _ in range(2):
        TensorRT.build(MODEL, wanted)
    (plan,) = Path(settings["plans"]).iterdir()
    assert nvidia[0].builds == [flags]
    assert plan.name.startswith("expression") and plan.name.endswith("-trt10.3.0.plan")
    engine, cpu = TensorRT(MODEL, wanted), TFLite(MODEL)
    found = dict(zip((spec.name for spec in engine.outputs), engine.run(X), strict=True))
    for spec, answer in zip(cpu.outputs, cpu.run(X), strict=True):
        assert np.array_equal(found[spec.name], answer)
    engine.close()
    assert not nvidia[1].memory and not nvidia[1].streams, "nothing of the GPU's is held"


def test_a_release_has_its_own_models(
    nvidia: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next to its environment: an update tests the plans of its own models, not of the release in use."""
    exported = gpu.exported(tmp_path, [MODEL])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert exported["onnx"] == str(tmp_path / "onnx")
    TensorRT.build(MODEL, TensorRTSettings(plans=exported["plans"]))
    assert list(Path(exported["plans"]).iterdir())


@pytest.mark.parametrize("change", ["version", "model", "precision"])
def test_another_version_model_or_precision_needs_another_plan(
    nvidia: tuple[Any, Any], settings: dict[str, str], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TensorRT.build(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    if change == "version":
        monkeypatch.setattr(nvidia[0], "__version__", "10.4.0")
    elif change == "model":
        (plan,) = Path(settings["plans"]).iterdir()
        plan.rename(plan.with_name(plan.name.replace("fp16-", "fp16-0")))
    wanted = {**settings, **({"precision": "int8"} if change == "precision" else {})}
    with pytest.raises(EngineError, match=r"no engine has been built .*bench --engines"):
        TensorRT(MODEL, TensorRTSettings(**wanted))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "words"), [("parse", "no such operator"), ("build", "cannot build an engine")]
)
def test_a_model_that_cannot_be_built_is_an_error(
    nvidia: tuple[Any, Any], settings: dict[str, str], fault: str, words: str
) -> None:
    nvidia[0].faults.add(fault)
    with pytest.raises(ModelError, match=words):
        TensorRT.build(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    assert not Path(settings["plans"]).exists()


@pytest.mark.parametrize("fault", ["deserialise", "malloc"])
def test_what_fails_while_it_is_opened_is_an_engine_error(
    nvidia: tuple[Any, Any], settings: dict[str, str], fault: str
) -> None:
    TensorRT.build(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    for module in nvidia:
        module.faults.add(fault)
    with pytest.raises(EngineError):
        TensorRT(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    assert not nvidia[1].streams, "nothing of the GPU's is held"


@pytest.mark.parametrize(("fault", "words"), [("run", "could not run"), ("synchronise", "IllegalAddress")])
def test_what_fails_while_it_runs_is_an_engine_error(
    nvidia: tuple[Any, Any], settings: dict[str, str], fault: str, words: str
) -> None:
    TensorRT.build(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    engine = TensorRT(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    for module in nvidia:
        module.faults.add(fault)
    with pytest.raises(EngineError, match=words):
        engine.run(X)
    engine.close()


def test_a_missing_package_is_named(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendMissing, match="python3-libnvinfer") as missing:
        TensorRT(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]
    assert missing.value.value == "tensorrt"


def test_a_missing_cuda_python_is_named(
    nvidia: tuple[Any, Any], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendMissing, match=r"cuda-bindings 12 \(JetPack 6\) or 13 \(JetPack 7\)"):
        TensorRT(MODEL, TensorRTSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses other users' files")
@pytest.mark.parametrize("what", ["plan", "folder"])
def test_root_refuses_a_plan_that_another_user_could_have_written(
    nvidia: tuple[Any, Any], settings: dict[str, str], what: str
) -> None:
    wanted = TensorRTSettings(**settings)  # type: ignore[arg-type]
    TensorRT.build(MODEL, wanted)
    (plan,) = Path(settings["plans"]).iterdir()
    os.chown(plan if what == "plan" else plan.parent, 65534, -1)
    with pytest.raises(ModelError, match="belongs to another user"):
        TensorRT(MODEL, wanted)
