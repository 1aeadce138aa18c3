"""Which engine runs the models, and why; whether the engines must be measured again; opening models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from appliance import registry
from appliance.configuration.load import Config, backend_settings
from appliance.errors import ApplianceError, BackendMissing, ConfigErrors, EngineError, ModelError
from appliance.hardware import board
from appliance.health import Health
from appliance.inference.fallback import BREAKER_FILE, CircuitBreaker, FallbackEngine
from appliance.inference.manifest import Manifest, ModelSet
from appliance.inference.ranking import CPU, Ranking, load_ranking
from appliance.ports import Engine, EngineBackend
from appliance.system.native import quiet_native_output, self_command
from appliance.system.resources import models_dir


@dataclass(frozen=True)
class EngineChoice:
    """An engine with its settings. `float_models`: it runs the float models, not the quantised ones.

    `why`: why `auto` chose it; "" if the owner chose.
    """

    name: str
    backend: EngineBackend
    settings: BaseModel
    float_models: bool = False
    why: str = ""


def choose_engine(config: Config, models: str) -> EngineChoice:
    """The engine of a configuration; `auto` is the fastest measured engine with parity, else the CPU.

    `models`: the digest of the models in use (`ModelSet.digest`); a ranking of other models is ignored.
    """
    wanted = config.engine
    if wanted.backend != "auto":
        backend = registry.load("engine", wanted.backend)
        return EngineChoice(wanted.backend, backend, wanted.settings, backend.float_models)
    ranking = _valid_ranking(config, models)
    if isinstance(ranking, str):
        why = f"{ranking}; measure with: interview-grader bench --engines"
    elif (best := ranking.best) is None:
        why = "no measured engine agreed with it"
    else:
        reason = (
            f"auto: {best.name}, fastest engine that agrees with the CPU, {best.ms:.1f} ms for one run of "
            f"each model, measured {ranking.date}"
        )
        found = best.candidate
        try:
            return configure_engine(
                config, found.backend, found.settings, float_models=found.float_models, why=reason
            )
        except (BackendMissing, ConfigErrors) as error:
            why = f"{best.name} was fastest but is unavailable: {error}"
    return configure_engine(config, CPU, why=f"auto: the CPU, because {why}")


def configure_engine(
    config: Config,
    name: str,
    more: dict[str, str] | None = None,
    *,
    float_models: bool = False,
    why: str = "",
) -> EngineChoice:
    """An engine with the settings of `[engine]` that apply to it, and `more` settings.

    Raises `BackendMissing`, or `ConfigErrors` for invalid settings.
    """
    backend = registry.load("engine", name)
    given = config.engine.settings.model_dump(exclude_unset=True)
    table: dict[str, Any] = {key: given[key] for key in backend.Settings.model_fields if key in given}
    settings = backend_settings("engine", backend.Settings, {**table, **(more or {})}, config.origins)
    return EngineChoice(name, backend, settings, float_models, why)


def load_models(config: Config) -> tuple[Manifest, ModelSet]:
    """The manifest of a configuration, and the models in use; raises `ModelError`."""
    vision = config.vision
    manifest = Manifest.load(models_dir(vision.models))
    return manifest, manifest.select(vision.detector, vision.verifier, vision.classifier)


def why_measure(config: Config) -> str:
    """Why `bench --engines` is due; "" if it is not, and always if the owner chose the engine."""
    if config.engine.backend != "auto":
        return ""
    _, models = load_models(config)
    ranking = _valid_ranking(config, models.digest)
    if isinstance(ranking, str):
        return ranking
    if ranking.there != (now := engine_inventory(config)):
        return f"the last measurement was of {ranking.there or 'something else'}, and this device has {now}"
    return ""


def _valid_ranking(config: Config, models: str) -> Ranking | str:
    """The ranking if it is of these models, this processor and this runtime; else why it is not used."""
    ranking = load_ranking(config.state_dir)
    if isinstance(ranking, str):
        return ranking
    if ranking.models != models:
        return "the last measurement was of other models"
    if ranking.processor != board.processor_key():
        return "the last measurement was of another processor"
    runtime, now = ranking.there.partition(", ")[0], next(_inventory(config), "")
    if runtime != now:
        return f"the last measurement was of {runtime or 'something else'}, and this device has {now}"
    return ranking


def engine_inventory(config: Config) -> str:
    """Our engines that can run here, in one line: software with versions, hardware, compiled models.

    The CPU's runtime is first.
    """
    return ", ".join(_inventory(config))


def _inventory(config: Config) -> Iterator[str]:
    for name in registry.ENGINES:
        with contextlib.suppress(ApplianceError):
            engine = configure_engine(config, name)
            if found := engine.backend.inventory(engine.settings):
                yield f"{name} {found}"


class EngineOpener:
    """Opens models on the chosen engine. Models on an accelerator share one circuit breaker."""

    def __init__(
        self,
        choice: EngineChoice,
        *,
        breaker_file: Path | None = None,
        health: Health | None = None,
        fallback: bool = True,
        quiet: bool = True,
    ) -> None:
        """`breaker_file`: where failures are saved, None to save nothing; `health`: watches calls.

        `fallback=False` opens the engine alone, to measure it, and first builds what it needs. `quiet=False`
        opens it while other threads run, see `system.native.quiet_native_output`.
        """
        self.choice = choice
        self.breaker: CircuitBreaker | None = None
        self._breaker_file, self._health, self._fallback = breaker_file, health, fallback
        self._quiet = quiet

    def open(self, path: Path) -> Engine:
        """One model, ready to run; raises `BackendMissing`, `ModelError` or `EngineError`."""
        choice = self.choice
        if not self._fallback:
            choice.backend.build(path, choice.settings)
            return _open_quietly(choice.backend, path, choice.settings)
        if not self._quiet:
            return self.open_another(path)
        if not choice.backend.needs_fallback:
            return _open_quietly(choice.backend, path, choice.settings)
        if self.breaker is None:
            self.breaker = self._new_breaker(path, choice.settings)
        return FallbackEngine(
            self.breaker, lambda: self._open_accelerated(path), lambda: self._open_cpu(path)
        )

    def open_another(self, path: Path) -> Engine:
        """One more engine for a model, for another thread, while others run; only if `parallel`.

        It is not kept quiet, which would silence all threads: the libraries have reported what they are.
        """
        return self.choice.backend(path, self.choice.settings)

    @property
    def parallel(self) -> bool:
        """Whether two engines may run at the same time. Those with a fallback share its circuit breaker."""
        return self.choice.backend.parallel and not self.choice.backend.needs_fallback

    def _open_accelerated(self, path: Path) -> Engine:
        try:
            return _open_quietly(self.choice.backend, path, self.choice.settings)
        except (BackendMissing, ModelError) as error:
            if not self.choice.why:
                raise  # the owner chose this engine, and must fix it
            raise EngineError(str(error)) from error

    def _open_cpu(self, path: Path) -> Engine:
        shared = self.choice.settings.model_dump(include=set(self._cpu.Settings.model_fields))
        return _open_quietly(self._cpu, path, self._cpu.Settings(**shared))

    @cached_property
    def _cpu(self) -> EngineBackend:
        return registry.load("engine", CPU)

    def _new_breaker(self, path: Path, settings: Any) -> CircuitBreaker:
        name = self.choice.name
        return CircuitBreaker(
            name,
            self._breaker_file,
            self._health,
            probe=self_command(
                "appliance.commands.probe_engine", name, str(path), settings.model_dump_json()
            ),
            pause_s=settings.probe_s,
        )


def make_engine_opener(config: Config, models: str, health: Health | None = None) -> EngineOpener:
    """The opener of the engine that `choose_engine` chooses.

    `health`: the daemon's, which watches calls; only the daemon saves the failures of an accelerator.
    """
    breaker_file = config.state_dir / BREAKER_FILE if health else None
    return EngineOpener(choose_engine(config, models), breaker_file=breaker_file, health=health)


def _open_quietly(open_model: Callable[[Path, BaseModel], Engine], path: Path, settings: BaseModel) -> Engine:
    with quiet_native_output():
        return open_model(path, settings)
