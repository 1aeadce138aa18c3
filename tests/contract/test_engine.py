"""The promises of every engine, checked for every backend in the registry with both models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from appliance import registry
from appliance.errors import BackendMissing, EngineError, ModelError
from appliance.inference.engines.coral import Coral, CoralSettings
from appliance.inference.engines.replay import record_answers
from appliance.inference.engines.tflite import TFLite, TFLiteSettings, load_runtime
from appliance.inference.manifest import Manifest, check_tensors
from appliance.ports import Engine
from appliance.system.resources import models_dir
from appliance.values import Tensor, TensorSpec
from appliance.vision.tensors import quantise
from tests.fakes.parts import in_threads
from tests.vendor_stubs import edgetpu, gpu

load_runtime()  # before a camera test loads GStreamer: after that, an exception in LiteRT aborts

MANIFEST = Manifest.load(models_dir())
MODELS = [MANIFEST.detector(""), MANIFEST.classifier("")]


@dataclass
class Bench:
    """One model, how to open it, and inputs that it can run."""

    model: object
    open: Callable[[], Engine]
    inputs: list[Tensor]


def inputs_of(model: object) -> list[Tensor]:
    random = np.random.default_rng(5)
    (tensor,) = model.inputs  # type: ignore[attr-defined]
    spec = tensor if isinstance(tensor, TensorSpec) else tensor.spec()
    reals = [random.uniform(-1, 1, spec.shape).astype(np.float32) for _ in range(3)]
    return [quantise(real, spec) for real in reals]


def tflite(model: object, folder: Path) -> Bench:
    path = MANIFEST.verified(model)  # type: ignore[arg-type]
    return Bench(model, lambda: registry.load("engine", "tflite")(path), inputs_of(model))


def replay(model: object, folder: Path) -> Bench:
    path = folder / "recording.npz"
    source = TFLite(MANIFEST.verified(model))  # type: ignore[arg-type]
    inputs = inputs_of(model)
    record_answers(source, inputs, path)
    source.close()
    return Bench(model, lambda: registry.load("engine", "replay")(path), inputs)


def coral(model: object, folder: Path) -> Bench:
    path = MANIFEST.verified(model)  # type: ignore[arg-type]
    stick = edgetpu.Stick(folder, path)
    backend = registry.load("engine", "coral")
    return Bench(model, lambda: backend(path, backend.Settings(**stick.settings)), inputs_of(model))


def tensorrt(model: object, folder: Path) -> Bench:
    original = MANIFEST.original(model)  # type: ignore[type-var]
    path, kind = MANIFEST.verified(original), registry.load("engine", "tensorrt")  # type: ignore[arg-type]
    settings = kind.Settings(**gpu.exported(folder, [path]))
    kind.build(path, settings)
    return Bench(original, lambda: kind(path, settings), inputs_of(original))


BENCHES = {"tflite": tflite, "replay": replay, "coral": coral, "tensorrt": tensorrt}


@pytest.fixture(params=MODELS, ids=lambda model: model.role)
def model(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(params=BENCHES)
def bench(
    request: pytest.FixtureRequest, model: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    gpu.install(monkeypatch)
    return BENCHES[request.param](model, tmp_path)


@pytest.fixture
def engine(bench: Bench) -> Iterator[Engine]:
    opened = bench.open()
    yield opened
    opened.close()


def test_every_engine_in_the_registry_has_a_bench() -> None:
    assert set(BENCHES) == set(registry.ENGINES)


def test_specs_match_the_manifest(bench: Bench, engine: Engine) -> None:
    check_tensors("it", bench.model, engine.inputs, engine.outputs)  # type: ignore[arg-type]
    assert engine.description  # type: ignore[attr-defined]


def test_outputs_match_their_specs(bench: Bench, engine: Engine) -> None:
    outputs = engine.run(bench.inputs[0])
    assert [(output.shape, output.dtype.name) for output in outputs] == [
        (spec.shape, spec.dtype) for spec in engine.outputs
    ]


def test_the_same_input_gives_the_same_output(bench: Bench, engine: Engine) -> None:
    first = engine.run(bench.inputs[0])
    other = engine.run(bench.inputs[1])
    again = engine.run(bench.inputs[0].copy())
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_outputs_are_copies(bench: Bench, engine: Engine) -> None:
    first = engine.run(bench.inputs[0])
    kept = [output.copy() for output in first]
    engine.run(bench.inputs[1])
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True)), "a view into the runtime"
    for output in first:
        output[:] = 0
    again = engine.run(bench.inputs[0])
    assert all(np.array_equal(a, b) for a, b in zip(again, kept, strict=True)), "a write into the runtime"


def test_the_input_is_not_changed_and_may_be_read_only(bench: Bench, engine: Engine) -> None:
    tensor = bench.inputs[0].copy()
    tensor.flags.writeable = False
    engine.run(tensor)
    assert np.array_equal(tensor, bench.inputs[0])


def test_an_input_that_is_not_contiguous_is_the_same_input(bench: Bench, engine: Engine) -> None:
    expected = engine.run(bench.inputs[0])
    scattered = np.asfortranarray(bench.inputs[0])
    assert not scattered.flags.c_contiguous or scattered.ndim < 2
    found = engine.run(scattered)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("wrong", ["shape", "flat", "type"])
def test_another_shape_or_type_is_refused_and_both_are_named(
    bench: Bench, engine: Engine, wrong: str
) -> None:
    good = bench.inputs[0]
    bad = {"shape": good[:, 1:], "flat": good.ravel(), "type": good.astype(np.float64)}[wrong]
    with pytest.raises(EngineError) as refused:
        engine.run(bad)
    for tensor in (bad, good):
        assert f"{tensor.dtype}{list(tensor.shape)}" in str(refused.value)
    engine.run(good)


def test_close_may_be_called_twice_and_then_nothing_runs(bench: Bench) -> None:
    opened = bench.open()
    opened.close()
    opened.close()
    with pytest.raises(EngineError, match="closed"):
        opened.run(bench.inputs[0])


def test_two_instances_work_side_by_side_in_two_threads(bench: Bench, engine: Engine) -> None:
    expected = [engine.run(tensor) for tensor in bench.inputs]

    def work() -> None:
        own = bench.open()
        for _ in range(5):
            for tensor, wanted in zip(bench.inputs, expected, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(own.run(tensor), wanted, strict=True))
        own.close()

    in_threads(work, work)


@pytest.mark.parametrize("backend", sorted(registry.ENGINES))
@pytest.mark.parametrize("content", [None, b"", b"no model at all", b"PK\x03\x04 cut short"])
def test_a_file_that_is_not_a_model_is_a_model_error_with_its_name(
    tmp_path: Path, backend: str, content: bytes | None
) -> None:
    path = tmp_path / "model.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.bin"):
        registry.load("engine", backend)(path)


# --- replay ---


def test_a_truncated_recording(tmp_path: Path) -> None:
    replay(MODELS[1], tmp_path)
    path = tmp_path / "recording.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"recording\.npz"):
        registry.load("engine", "replay")(path)


def test_a_file_of_one_array_is_not_a_recording(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ModelError, match=r"array\.npy"):
        registry.load("engine", "replay")(tmp_path / "array.npy")


def test_an_unknown_input_of_a_recording_is_an_error(tmp_path: Path) -> None:
    bench = replay(MODELS[1], tmp_path)
    with pytest.raises(EngineError, match="not in the recording"):
        bench.open().run(bench.inputs[0] ^ np.int8(1))


# --- tflite ---


def test_the_description_names_the_runtime() -> None:
    runtime = load_runtime()
    assert runtime.package in ("ai-edge-litert", "tflite-runtime") and runtime.version[0].isdigit()


def test_the_error_for_a_missing_runtime_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, module, None)
    for wanted in ("auto", "tflite-runtime"):
        with pytest.raises(BackendMissing, match="pip install") as missing:
            load_runtime(wanted)
        assert (missing.value.key, missing.value.value) == ("engine.runtime", wanted)


@pytest.mark.parametrize("path", sorted(models_dir().glob("*.tflite")), ids=lambda path: path.stem)
def test_litert_compiled_model_gives_the_same_bytes(path: Path) -> None:
    """LiteRT keeps the Interpreter, which `TFLite` uses, for compatibility; this would replace it.

    It gives names, shapes and types of the tensors, in the same order, but no scales and zero points: an
    engine made of it would take those of the manifest.
    """
    api = pytest.importorskip("ai_edge_litert.compiled_model", reason="no CompiledModel in this runtime")
    engine = TFLite(path, TFLiteSettings(runtime="ai-edge-litert"))
    with api.CompiledModel.from_file(str(path)) as model:
        assert model.get_num_signatures() == 1
        ((key, _),) = model.get_signature_list().items()
        listed = [
            *model.get_input_tensor_details(key).values(),
            *model.get_output_tensor_details(key).values(),
        ]
        assert [(each["name"], tuple(each["shape"]), each["dtype"]) for each in listed] == [
            (spec.name, spec.shape, spec.dtype) for spec in (*engine.inputs, *engine.outputs)
        ]
        given, found = model.create_input_buffers(0), model.create_output_buffers(0)
        for tensor in inputs_of(engine):
            given[0].write(tensor)
            model.run_by_index(0, given, found)
            for spec, buffer, expected in zip(engine.outputs, found, engine.run(tensor), strict=True):
                output = buffer.read(expected.size, np.dtype(spec.dtype))
                assert output.tobytes() == expected.tobytes(), spec.name


def test_a_wrong_library_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "compiled").mkdir()
    model = MANIFEST.verified(MANIFEST.original(MANIFEST.classifier("")))
    (tmp_path / "compiled" / f"{model.stem}_edgetpu.tflite").touch()
    with pytest.raises(BackendMissing, match=r"undefined symbol: tflite_plugin_create_delegate; install"):
        Coral(model, CoralSettings(library="libc.so.6", compiled=str(tmp_path / "compiled")))
