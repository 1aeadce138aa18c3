"""The part of the composition root that chooses the engine and opens models on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from appliance import registry
from appliance.configuration.load import BackendConfig, Config, backend_settings
from appliance.errors import BackendMissing, ConfigErrors, EngineError, ModelError
from appliance.health import Health
from appliance.inference import ranking
from appliance.inference.fallback import Accelerated, Accelerator
from appliance.inference.manifest import Manifest
from appliance.ports import Engine
from appliance.system.native import quiet_native_output, self_command
from appliance.system.resources import models_dir

CPU = "tflite"
"""What runs everywhere, and behind every accelerator."""

MARKER = "accelerator.json"
"""The file of the state directory in which the daemon keeps what it learnt of an accelerator."""


@dataclass(frozen=True)
class Chosen:
    """An engine, and whether it takes the float models. `why` is said where the owner did not choose."""

    choice: BackendConfig
    float_models: bool = False
    why: str = ""


@dataclass
class Engines:
    """Opens models; those on an accelerator share what is known of it. `bare`: no CPU behind it."""

    chosen: Chosen
    marker: Path | None = None
    health: Health | None = None
    bare: bool = False
    accelerator: Accelerator | None = None

    def open(self, path: Path) -> Engine:
        """One model, ready to run; raises `BackendMissing` or `ModelError`."""
        choice = self.chosen.choice
        backend, settings = registry.load("engine", choice.backend), choice.settings
        if self.bare and hasattr(backend, "build"):
            backend.build(path, settings)
        if self.bare or not getattr(backend, "vanishes", False):
            return self._made(backend, path, settings)
        self.accelerator = self.accelerator or self._new(path, settings)
        on_cpu = registry.load("engine", CPU)
        shared = settings.model_dump(include=set(on_cpu.Settings.model_fields))
        return Accelerated(
            self.accelerator,
            lambda: self._fast(backend, path, settings),
            lambda: self._made(on_cpu, path, on_cpu.Settings(**shared)),
        )

    def _fast(self, backend: Any, path: Path, settings: BaseModel) -> Engine:
        try:
            return self._made(backend, path, settings)
        except (BackendMissing, ModelError) as error:
            if not self.chosen.why:
                raise  # the owner asked for it, and must know
            raise EngineError(str(error)) from error

    @staticmethod
    def _made(backend: Callable[[Path, BaseModel], Engine], path: Path, settings: BaseModel) -> Engine:
        with quiet_native_output():
            return backend(path, settings)

    def _new(self, path: Path, settings: Any) -> Accelerator:
        name = self.chosen.choice.backend
        return Accelerator(
            name,
            self.marker,
            self.health,
            probe=self_command(
                "appliance.commands.probe_engine", name, str(path), settings.model_dump_json()
            ),
            every_s=settings.probe_s,
        )


def make_engines(config: Config, health: Health | None = None, chosen: Chosen | None = None) -> Engines:
    """`health`: the daemon's, which watches calls; only the daemon keeps what it learnt of an accelerator."""
    marker = config.state_dir / MARKER if health else None
    return Engines(chosen or choose_engine(config), marker, health)


def models_in_use(config: Config) -> str:
    """What the models of a configuration are, as a ranking names them; raises `ModelError`."""
    manifest, vision = Manifest.load(models_dir(config.vision.models)), config.vision
    models = (manifest.detector(vision.detector), manifest.verifier(vision.verifier))
    used = [model.sha256 for model in models if model]
    return ranking.digest_of([*used, manifest.classifier(vision.classifier).sha256])


def choose_engine(config: Config) -> Chosen:
    """The engine of a configuration. `auto` takes the fastest that was measured to agree with the CPU."""
    if config.engine.backend != "auto":
        kind = registry.load("engine", config.engine.backend)
        return Chosen(config.engine, bool(getattr(kind, "float_models", False)))
    found = ranking.load(config.state_dir)
    if isinstance(found, str):
        why = f"{found}; measure with: interview-grader bench --engines"
    elif found.models != models_in_use(config):
        why = "other models were measured than those in use; measure with: interview-grader bench --engines"
    elif (best := found.best) is None:
        why = "none agreed when measured"
    else:
        said = f"auto: fastest that agrees with the CPU: {best.ms:.1f} ms a look, measured {found.date}"
        try:
            return Chosen(fitted(config, best.backend, best.settings), best.float_models, said)
        except (BackendMissing, ConfigErrors) as error:
            why = f"{best.name} was fastest but cannot be had: {error}"
    return Chosen(fitted(config, CPU, {}), why=f"auto: the CPU, since {why}")


def fitted(config: Config, backend: str, more: dict[str, str]) -> BackendConfig:
    """A backend with those settings of `[engine]` that it knows, and `more`."""
    kind = registry.load("engine", backend)
    known = config.engine.settings.model_dump(exclude_unset=True)
    table: dict[str, Any] = {key: known[key] for key in kind.Settings.model_fields if key in known}
    return BackendConfig(
        backend, backend_settings("engine", kind.Settings, {**table, **more}, config.origins)
    )
