"""Float models on an NVIDIA GPU through TensorRT (8.6 and 10), on a Jetson.

An engine ("plan") fits one version of TensorRT and one model, and takes minutes to build: `build` does so in
advance, for `interview-grader bench --engines`; opening only reads the plan. Written from NVIDIA's documents:
docs.nvidia.com/deeplearning/tensorrt (Python API, migration from 8 to 10) and cuda-python's runtime module.
So far it has run only with stand-ins for both packages: docs/accelerators.md.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import BackendMissing, EngineError, ModelError
from appliance.inference.compiled import LISTING, find_compiled, refuse_foreign_owner
from appliance.inference.manifest import file_digest
from appliance.ports import EngineDefaults
from appliance.system.files import write_private
from appliance.values import Tensor, TensorSpec


class TensorRTSettings(BaseModel):
    """Settings of `engine.backend = "tensorrt"`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["fp16", "int8"] = Field("fp16", description="Arithmetic on the GPU.")
    onnx: str = Field(
        "",
        description="Folder with ONNX models and compiled.json; empty: the release's folder.",
    )
    plans: str = Field(
        "/var/lib/interview-grader/tensorrt",
        description="Folder of the engines that TensorRT built.",
    )
    workspace_mb: int = Field(
        256, ge=16, le=8192, description="Maximum memory for building an engine, in MB."
    )
    probe_s: float = Field(60.0, ge=0.1, le=86400, description="Seconds before a failed GPU is tried again.")


@dataclass
class _Buffer:
    """A tensor in host memory and in GPU memory (`device`: its address)."""

    spec: TensorSpec
    host: Tensor
    device: int


class TensorRT(EngineDefaults):
    """One float model on the GPU; takes the path of its .tflite file. Belongs to one thread."""

    Settings = TensorRTSettings
    needs_fallback = True
    float_models = True
    needs_build = True

    def __init__(self, model: Path, settings: TensorRTSettings | None = None) -> None:
        settings = settings or TensorRTSettings()
        onnx = _find_onnx(model, settings)
        library, self._cuda = load_tensorrt(), _Cuda()
        plan = plan_path(onnx, settings, library.__version__)
        try:
            content = plan.read_bytes()
            refuse_foreign_owner(plan)
        except OSError as error:
            raise EngineError(
                f"{plan}: no engine has been built for TensorRT {library.__version__} and this model"
                f" ({error.strerror}); build it: interview-grader bench --engines"
            ) from error
        self._runtime = library.Runtime(library.Logger(library.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        self._context: Any = self._engine.create_execution_context() if self._engine else None
        if self._context is None:
            raise EngineError(f"{plan}: TensorRT refuses it; delete it and build it again")
        self._stream = self._cuda.call("cudaStreamCreate")
        self._inputs: list[_Buffer] = []
        self._outputs: list[_Buffer] = []
        try:
            for number in range(self._engine.num_io_tensors):
                self._allocate(library, self._engine.get_tensor_name(number))
        except EngineError:
            self.close()
            raise
        self.inputs = tuple(buffer.spec for buffer in self._inputs)
        self.outputs = tuple(buffer.spec for buffer in self._outputs)
        self.description = f"tensorrt {library.__version__}, {settings.precision}"

    @staticmethod
    def build(model: Path, settings: TensorRTSettings) -> None:
        """Build the plan of a model unless it exists; takes minutes.

        Raises `BackendMissing` without TensorRT, `ModelError` for a model that TensorRT cannot read.
        """
        onnx = _find_onnx(model, settings)
        library = load_tensorrt()
        plan = plan_path(onnx, settings, library.__version__)
        if not plan.exists():
            write_private(plan, _build_plan(library, onnx, settings))

    @staticmethod
    def inventory(settings: TensorRTSettings) -> str:
        """The version of TensorRT, and the digest of the list of ONNX models.

        Raises `BackendMissing` without TensorRT, `ModelError` without the models.
        """
        return f"{load_tensorrt().__version__} {file_digest(_folder(settings) / LISTING)[:12]}"

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The outputs for one input of exactly the shape and type in `inputs`."""
        if self._context is None:
            raise EngineError("the engine is closed; open the model again")
        source = self._inputs[0]
        if tensor.shape != source.spec.shape or tensor.dtype != source.host.dtype:
            wanted = f"{source.spec.dtype}{list(source.spec.shape)}"
            raise EngineError(f"input {tensor.dtype}{list(tensor.shape)}: expected {wanted}")
        np.copyto(source.host, tensor)
        kinds = self._cuda.kinds
        self._copy(source.device, source.host.ctypes.data, source.host, kinds.cudaMemcpyHostToDevice)
        if not self._context.execute_async_v3(stream_handle=int(self._stream)):
            raise EngineError("TensorRT could not run the model")
        for each in self._outputs:
            self._copy(each.host.ctypes.data, each.device, each.host, kinds.cudaMemcpyDeviceToHost)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        return [each.host.copy() for each in self._outputs]

    def close(self) -> None:
        """Release the engine and the GPU's memory."""
        if self._context is None:
            return
        self._context = self._engine = self._runtime = None
        for each in (*self._inputs, *self._outputs):
            self._release("cudaFree", each.device)
        self._release("cudaStreamDestroy", self._stream)

    def _release(self, function: str, what: Any) -> None:
        with contextlib.suppress(EngineError):  # a failed GPU cannot release anything
            self._cuda.call(function, what)

    def _allocate(self, library: Any, name: str) -> None:
        shape = tuple(int(side) for side in self._engine.get_tensor_shape(name))
        kind = np.dtype(library.nptype(self._engine.get_tensor_dtype(name)))
        host = np.zeros(shape, kind)
        buffer = _Buffer(TensorSpec(name, shape, kind.name), host, self._cuda.call("cudaMalloc", host.nbytes))
        self._context.set_tensor_address(name, int(buffer.device))
        reads = self._engine.get_tensor_mode(name) == library.TensorIOMode.INPUT
        (self._inputs if reads else self._outputs).append(buffer)

    def _copy(self, to: int, source: int, host: Tensor, kind: Any) -> None:
        self._cuda.call("cudaMemcpyAsync", to, source, host.nbytes, kind, self._stream)


class _Cuda:
    """The runtime functions of cuda-python; each returns an error, then its results."""

    def __init__(self) -> None:
        self._library = _load_cuda()
        self.kinds = self._library.cudaMemcpyKind

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function; returns its only result, if any. Raises `EngineError`."""
        error, *results = getattr(self._library, function)(*arguments)
        if error != self._library.cudaError_t.cudaSuccess:
            raise EngineError(f"{function} failed: {getattr(error, 'name', error)}")
        return results[0] if results else None


def plan_path(onnx: Path, settings: TensorRTSettings, version: str) -> Path:
    """The file of the plan for this model, precision and version of TensorRT."""
    return (
        Path(settings.plans) / f"{onnx.stem}-{settings.precision}-{file_digest(onnx)[:16]}-trt{version}.plan"
    )


def _folder(settings: TensorRTSettings) -> Path:
    """The folder of ONNX models; by default the release's, since each release has its own models."""
    return Path(settings.onnx) if settings.onnx else Path(sys.prefix).parent / "onnx"


def _find_onnx(model: Path, settings: TensorRTSettings) -> Path:
    suffix = "_int8" if settings.precision == "int8" else ""
    return find_compiled(model, _folder(settings), f"{model.stem}{suffix}.onnx")


def _build_plan(library: Any, onnx: Path, settings: TensorRTSettings) -> bytes:
    logger = library.Logger(library.Logger.ERROR)
    builder = library.Builder(logger)
    explicit = 1 << int(library.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    network = builder.create_network(explicit)
    parser = library.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        faults = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise ModelError(f"{onnx}: TensorRT cannot read it: {faults or 'no reason given'}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    config.set_flag(library.BuilderFlag.FP16)
    if settings.precision == "int8":  # the model contains the ranges
        config.set_flag(library.BuilderFlag.INT8)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ModelError(f"{onnx}: TensorRT {library.__version__} cannot build an engine from it")
    return bytes(plan)


def load_tensorrt() -> Any:
    """The tensorrt package; `BackendMissing` names what to install."""
    return _imported("tensorrt", "on a Jetson: sudo apt install python3-libnvinfer")


def _load_cuda() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")  # cuda-bindings 12.8 and later
    except ImportError:
        return _imported("cuda.cudart", "install cuda-bindings 12 (JetPack 6) or 13 (JetPack 7)")


def _imported(module: str, remedy: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # not only ImportError: a package built for another numpy raises ValueError
        raise BackendMissing(
            f"{module} cannot be loaded ({error}); {remedy}, and let the environment use system packages",
            key="engine.backend",
            value="tensorrt",
        ) from error
