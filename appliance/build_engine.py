"""The part of the composition root that opens models on the engine that is configured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from appliance import registry
from appliance.accelerator import Accelerated, Accelerator
from appliance.config import Choice, Config
from appliance.environment import hushed
from appliance.health import Health
from appliance.ports import Engine


@dataclass
class Engines:
    """Opens models; those on an accelerator share what is known of it."""

    choice: Choice
    marker: Path | None = None
    health: Health | None = None
    accelerator: Accelerator | None = None

    def open(self, path: Path) -> Engine:
        """One model, ready to run; raises `BackendMissing` or `ModelError`."""
        backend, settings = registry.load("engine", self.choice.backend), self.choice.settings
        if not getattr(backend, "vanishes", False):
            return self._made(backend, path, settings)
        self.accelerator = self.accelerator or self._new(path, settings)
        on_cpu = registry.load("engine", "tflite")
        shared = settings.model_dump(include=set(on_cpu.Settings.model_fields))
        return Accelerated(
            self.accelerator,
            lambda: self._made(backend, path, settings),
            lambda: self._made(on_cpu, path, on_cpu.Settings(**shared)),
        )

    @staticmethod
    def _made(backend: Callable[[Path, BaseModel], Engine], path: Path, settings: BaseModel) -> Engine:
        with hushed():
            return backend(path, settings)

    def _new(self, path: Path, settings: Any) -> Accelerator:
        name = self.choice.backend
        return Accelerator(
            name,
            self.marker,
            self.health,
            probe=[sys.executable, "-m", "appliance.probe", name, str(path), settings.model_dump_json()],
            every_s=settings.probe_s,
        )


def make_engines(config: Config, health: Health | None = None) -> Engines:
    """`health`: the daemon's, which watches calls; only the daemon keeps what it learnt of an accelerator."""
    return Engines(config.engine, config.state_dir / "accelerator.json" if health else None, health)
