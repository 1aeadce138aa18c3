"""Checks the models in use: manifest, files, tensors, and a smoke test of each.

Reports all faults at once, so that the model's owner can correct them together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from appliance.commands.smoke_test import smoke_test_classifier, smoke_test_detector
from appliance.composition.engine import load_models, make_engine_opener
from appliance.configuration.load import Config
from appliance.errors import ApplianceError, ConfigError, ConfigErrors, EngineError, ModelError
from appliance.inference.manifest import ClassifierModel, DetectorModel, Tensor
from appliance.media.video import Video
from appliance.system.resources import demo_clip, models_dir
from appliance.system.toml import read_toml
from appliance.values import Face, Image, TensorSpec

_KINDS: dict[str, type[DetectorModel] | type[ClassifierModel]] = {
    "detector": DetectorModel,
    "classifier": ClassifierModel,
}
_USES = {"detector": "detector", "verifier": "detector", "classifier": "classifier"}
"""Use of a model -> its role in the manifest."""
_ROLES_INSIDE = {(2, role) for role in _KINDS}
_REMEDIES = {"extra_forbidden": "correct its spelling or remove it", "missing": "add it"}


def check_models(config: Config) -> list[str]:
    """Check each model in use; returns lines about them.

    Raises the fault if there is one, `ConfigErrors` with one line each if there are several.
    """
    check = _Check(config)
    lines = [line for use in _USES for line in check.lines(use)]
    if check.why:
        lines.append(f"{'engine':<10} {check.why}")
    faults = {str(fault): fault for fault in check.faults}  # a missing runtime is a fault of both models
    if len(faults) == 1:
        raise check.faults[0]
    if faults:
        raise ConfigErrors([ConfigError(text) for text in faults])
    return lines


class _Check:
    """One check of a folder of models; collects its `faults`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = models_dir(config.vision.models)
        self._file = self._folder / "manifest.toml"
        self._faces: list[Face] = []
        self._frame = _demo_frame()
        self.faults: list[ApplianceError] = []
        try:
            self._document = read_toml(self._file)
        except ConfigError as error:
            raise ModelError(str(error)) from error
        models = ""
        try:
            models = load_models(config)[1].digest
        except ModelError as error:
            self.faults += _one_by_one(self._file, error)
        self._engines = make_engine_opener(config, models)

    @property
    def why(self) -> str:
        """Why this engine runs; empty if the owner chose it."""
        return self._engines.choice.why

    def lines(self, use: str) -> list[str]:
        """Lines about the model for one use, as far as its faults allow."""
        role = _USES[use]
        if use == "verifier" and not self._named(use):
            return []  # the detector verifies
        try:
            name, table = self._chosen(use)
            path = self._verified(name, table)
            engine = self._engines.open(path)
        except ApplianceError as error:
            if error.args:  # without a message the manifest check has reported it
                self.faults.append(error)
            return []
        try:
            faults = list(_tensor_faults(str(path), table, engine.inputs, engine.outputs))
            self.faults += faults
            model = _valid(role, table)
            if faults or model is None:
                return []
            return [
                f"{use:<10} {name}: {path.name}, {engine.description}",
                f"  digest   sha256 {model.sha256[:12]}… as in the manifest",
                f"  tensors  {_specs(engine.inputs)} -> {_specs(engine.outputs)}, as in the manifest",
                *([f"  classes  {', '.join(model.classes)}"] if isinstance(model, ClassifierModel) else []),
                f"  trial    {self._trial(name, model, engine)}",
            ]
        except (ModelError, EngineError) as error:
            self.faults.append(ModelError(str(error)))
            return []
        finally:
            engine.close()

    def _trial(self, name: str, model: DetectorModel | ClassifierModel, engine: Any) -> str:
        if isinstance(model, DetectorModel):
            self._faces, words = smoke_test_detector(name, model, engine, self._frame)
            return words
        return smoke_test_classifier(name, model, engine, self._frame, self._faces)

    def _named(self, use: str) -> object:
        return getattr(self._config.vision, use) or _table(self._document.get("defaults")).get(use)

    def _chosen(self, use: str) -> tuple[str, dict[str, Any]]:
        models, role, name = _table(self._document.get("models")), _USES[use], self._named(use)
        if not isinstance(name, str):
            raise ModelError
        table = _table(models.get(name))
        if self._engines.choice.float_models and isinstance(table.get("original"), str):
            name = str(table["original"])
            table = _table(models.get(name))
        if table.get("role") != role:
            known = ", ".join(sorted(key for key, each in models.items() if _table(each).get("role") == role))
            raise ModelError(f"{self._file}: no {role} {name!r}; known: {known or 'none'}")
        return name, table

    def _verified(self, name: str, table: dict[str, Any]) -> Path:
        """The path of a model's file; raises `ModelError` unless it has the digest in the manifest."""
        if not (isinstance(table.get("file"), str) and isinstance(table.get("sha256"), str)):
            raise ModelError
        path: Path = self._folder / table["file"]
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(
                f"{path}: cannot be read ({error.strerror}): expected the file of {name}; restore it"
            ) from error
        if digest != table["sha256"]:
            raise ModelError(
                f"{path}: sha256 {digest}: expected {table['sha256'][:12]}… as in the manifest; restore the"
                " file if it was truncated or replaced, or write the digest of a new model into the manifest"
            )
        return path


def _demo_frame() -> Image:
    video = Video(demo_clip())
    try:
        return next(iter(video)).image
    finally:
        video.close()


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _valid(role: str, table: dict[str, Any]) -> DetectorModel | ClassifierModel | None:
    try:
        return _KINDS[role].model_validate(table)
    except ValidationError:
        return None  # the manifest check has reported it


def _one_by_one(file: Path, error: ModelError) -> Iterator[ApplianceError]:
    """The faults of a manifest, each as a separate error."""
    if not isinstance(error.__cause__, ValidationError):
        yield error
        return
    for fault in error.__cause__.errors():
        # After the name of a model pydantic repeats its role, which is not in the file.
        place = [str(part) for index, part in enumerate(fault["loc"]) if (index, part) not in _ROLES_INSIDE]
        value, message = fault["input"], fault["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(value, (dict, list, tuple)) else f" = {value!r}"
        remedy = _REMEDIES.get(fault["type"], "correct it")
        yield ModelError(f"{file}: {'.'.join(place) or 'manifest'}{shown}: {message}; {remedy}")


def _tensor_faults(
    file: str, table: dict[str, Any], inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]
) -> Iterator[ModelError]:
    """Differences between the tensors of a file and its manifest entry, which may be invalid."""
    for key, found in (("inputs", inputs), ("outputs", outputs)):
        try:
            listed = TypeAdapter(tuple[Tensor, ...]).validate_python(table.get(key))
        except ValidationError:
            continue  # the manifest check has reported it
        wanted = [tensor.spec() for tensor in listed]
        given, kind = {spec.name: spec for spec in found}, key[:-1]
        for spec in wanted:
            if spec.name not in given:
                yield ModelError(
                    f"{file}: no {kind} {spec.name!r}: expected one of {', '.join(given)};"
                    " correct the name in the manifest"
                )
            elif _comparable(spec) != _comparable(given[spec.name]):
                yield ModelError(
                    f"{file}: {kind} {_specs([given[spec.name]])}: expected {_specs([spec])} as in the"
                    " manifest; correct the manifest or use the model that it describes"
                )
        for name in given.keys() - {spec.name for spec in wanted}:
            yield ModelError(
                f"{file}: {kind} {_specs([given[name]])} is not in the manifest: expected"
                f" {_specs(wanted) or 'none'}; add it or use the model that the manifest describes"
            )


def _comparable(spec: TensorSpec) -> tuple[object, ...]:
    # Scales are float32 in the file: compare them as such, not digit by digit.
    return spec.shape, spec.dtype, f"{spec.scale:.6g}", spec.zero_point


def _specs(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(
        f"{spec.name} {spec.dtype}{list(spec.shape)}"
        + (f" scale {spec.scale:.6g} zero point {spec.zero_point}" if spec.scale else "")
        for spec in specs
    )
