"""A stand-in for the package tensorrt: the functions that our engine calls, and their documented failures.

An "ONNX model" here is a .tflite file, which the stand-in runs with the TFLite runtime. `faults` lists the
calls that fail next: parse, build, deserialise, run.
"""

from __future__ import annotations

import tempfile
from enum import IntEnum
from pathlib import Path

import numpy as np
from cuda.bindings import runtime

from appliance.inference.engines.tflite import TFLite

__version__ = "10.3.0"

faults: set[str] = set()
builds: list[tuple[str, ...]] = []
_PREFIX = b"PLAN"


class TensorIOMode(IntEnum):
    NONE, INPUT, OUTPUT = 0, 1, 2


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class BuilderFlag(IntEnum):
    FP16, INT8 = 0, 1


def nptype(dtype: str) -> type:
    return {"float32": np.float32}[dtype]


class Logger:
    ERROR = 1

    def __init__(self, severity: int) -> None:
        self.severity = severity


class _Network:
    content = b""


class _Fault:
    def desc(self) -> str:
        return "no such operator"


class OnnxParser:
    def __init__(self, network: _Network, logger: Logger) -> None:
        self._network, self.num_errors = network, 0

    def parse(self, content: bytes) -> bool:
        self._network.content = content
        self.num_errors = int("parse" in faults)
        return not self.num_errors

    def get_error(self, number: int) -> _Fault:
        return _Fault()


class _Config:
    def __init__(self) -> None:
        self.flags: list[str] = []

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        assert size >= 1 << 24

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.append(flag.name)


class Builder:
    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def create_network(self, flags: int) -> _Network:
        assert flags == 1
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytearray | None:
        builds.append(tuple(config.flags))
        return None if "build" in faults else bytearray(_PREFIX + network.content)


class _Engine:
    def __init__(self, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(content)
            file.flush()
            self.model = TFLite(Path(file.name))
        self.specs = {spec.name: spec for spec in (*self.model.outputs[::-1], *self.model.inputs)}
        self.num_io_tensors = len(self.specs)

    def get_tensor_name(self, number: int) -> str:
        return list(self.specs)[number]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.specs[name].shape

    def get_tensor_dtype(self, name: str) -> str:
        return self.specs[name].dtype

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        reads = name == self.model.inputs[0].name
        return TensorIOMode.INPUT if reads else TensorIOMode.OUTPUT

    def create_execution_context(self) -> _Context:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert type(address) is int and name in self._engine.specs
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if "run" in faults:
            return False
        runtime.use_stream(stream_handle, self._run)
        return True

    def _run(self) -> None:
        (source,) = self._engine.model.inputs
        given = runtime.memory[self._addresses[source.name]].view(source.dtype).reshape(source.shape)
        answers = self._engine.model.run(given.copy())
        for spec, answer in zip(self._engine.model.outputs, answers, strict=True):
            runtime.memory[self._addresses[spec.name]][:] = answer.reshape(-1).view(np.uint8)


class Runtime:
    def __init__(self, logger: Logger) -> None:
        assert isinstance(logger, Logger)

    def deserialize_cuda_engine(self, content: bytes) -> _Engine | None:
        if "deserialise" in faults or not content.startswith(_PREFIX):
            return None
        return _Engine(content[len(_PREFIX) :])
