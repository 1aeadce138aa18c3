"""TFLite models on the CPU, with any installed TFLite runtime."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import BackendMissing, EngineError, ModelError
from appliance.ports import EngineDefaults
from appliance.values import Tensor, TensorSpec

RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
"""Package -> module, preferred first; tflite-runtime supports Python up to 3.11 and needs numpy below 2."""


class TFLiteSettings(BaseModel):
    """Settings of `engine.backend = "tflite"`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = Field(
        "auto", description="Which TFLite runtime to load; auto prefers ai-edge-litert."
    )
    threads: int = Field(
        1, ge=1, le=16, description="Threads for one model. A second did not speed up models this small."
    )


@dataclass(frozen=True)
class Runtime:
    """An installed TFLite runtime: package, version, interpreter class, loader of delegates."""

    package: str
    version: str
    interpreter: Any
    load_delegate: Callable[[str, dict[str, str]], Any]


def load_runtime(wanted: str = "auto") -> Runtime:
    """The requested runtime, or the first one installed; raises `BackendMissing` if there is none."""
    faults = []
    for package in RUNTIMES if wanted == "auto" else (wanted,):
        try:
            module = importlib.import_module(RUNTIMES[package])
        except (ImportError, SystemError) as error:  # SystemError: tflite-runtime with numpy 2
            faults.append(f"{package}: {str(error).splitlines()[0]}")
            continue
        version = importlib.metadata.version(package.replace("-", "_"))
        return Runtime(package, version, module.Interpreter, module.load_delegate)
    raise BackendMissing(
        f"no TFLite runtime can be loaded ({'; '.join(faults)}); "
        "install one: pip install 'interview-grader[litert]', or [tflite-runtime] on Python 3.11 and older",
        key="engine.runtime",
        value=wanted,
    )


class TFLite(EngineDefaults):
    """One model in one interpreter. Belongs to one thread."""

    Settings: type[TFLiteSettings] = TFLiteSettings
    parallel = True  # each interpreter has its own memory, and lets go of Python's lock while it runs

    def __init__(
        self, model: Path, settings: TFLiteSettings | None = None, delegates: Sequence[Any] = ()
    ) -> None:
        """`delegates` run the operators they support; the CPU runs the rest."""
        settings = settings or TFLiteSettings()
        runtime = load_runtime(settings.runtime)
        self.description = f"{runtime.package} {runtime.version}"
        try:
            self._interpreter = runtime.interpreter(
                model_path=str(model), num_threads=settings.threads, experimental_delegates=list(delegates)
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{model}: {runtime.package} cannot load it: {_one_line(error)}") from error
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self.inputs = tuple(_spec(detail) for detail in self._inputs)
        self.outputs = tuple(_spec(detail) for detail in self._outputs)

    @staticmethod
    def inventory(settings: Any) -> str:
        """The runtime with its version; raises `BackendMissing`."""
        runtime = load_runtime(settings.runtime)
        return f"{runtime.package} {runtime.version}"

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The outputs for one input of exactly the shape and type in `inputs`."""
        if self._interpreter is None:
            raise EngineError("the engine is closed; open the model again")
        expected = self.inputs[0]
        if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            raise EngineError(
                f"input {tensor.dtype}{list(tensor.shape)}: expected {expected.dtype}{list(expected.shape)}"
            )
        try:
            self._interpreter.set_tensor(self._inputs[0]["index"], tensor)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(detail["index"]) for detail in self._outputs]
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"the TFLite runtime failed: {_one_line(error)}") from error

    def close(self) -> None:
        """Release the interpreter."""
        self._interpreter = None


def _spec(detail: dict[str, Any]) -> TensorSpec:
    import numpy as np  # not at the top: `config` and `status` need only the settings above

    scale, zero_point = detail["quantization"]
    return TensorSpec(
        name=str(detail["name"]),
        shape=tuple(int(side) for side in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
