"""The manifest of the models: the file of each role, its inputs and outputs, and its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from appliance.errors import ConfigError, ModelError
from appliance.system.toml import read_toml
from appliance.values import EMOTIONS, TensorSpec


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tensor(_Strict):
    """One input or output of a model; a scale of 0 means not quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    def spec(self) -> TensorSpec:
        """The tensor as a `TensorSpec`, as engines describe theirs."""
        return TensorSpec(self.name, self.shape, self.dtype, self.scale, self.zero_point)


class Source(_Strict):
    """The origin of the file, or of the file it was built from."""

    package: str
    version: str
    file: str


class Preprocessing(_Strict):
    """How a picture becomes the input: channels, side in pixels, and the values of pixels 0 and 255.

    For a classifier also how a face is cropped; see `vision/expression/align.py`.
    """

    colour: Literal["rgb", "grey"]
    size: int = Field(gt=0)
    range: tuple[float, float]
    resize: Literal["letterbox", "stretch"] = "stretch"
    margin: float = Field(1.0, gt=0, le=4)
    lift: float = Field(0.0, ge=-1, le=1)


class Decoding(_Strict):
    """How a detector's raw outputs are decoded; see `vision/detection/blazeface.py`."""

    boxes: str
    scores: str
    raw_scale: float = Field(gt=0)
    score_clip: float = Field(gt=0)
    keypoints: tuple[str, ...]


class AnchorLayer(_Strict):
    """A square grid of `cells` by `cells` with `per_cell` anchors in each cell's centre."""

    cells: int = Field(gt=0)
    per_cell: int = Field(gt=0)


class Anchors(_Strict):
    """The anchor grids, in the order of the outputs."""

    layers: tuple[AnchorLayer, ...]


class _Model(_Strict):
    """Common to all models. `original`: the float model in this manifest that it was quantised from."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    quantisation: str
    source: Source
    built_by: str = ""
    original: str = ""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    preprocessing: Preprocessing

    @model_validator(mode="after")
    def _input_fits(self) -> _Model:
        size, channels = self.preprocessing.size, 1 if self.preprocessing.colour == "grey" else 3
        expected = (1, size, size, channels)
        if [tensor.shape for tensor in self.inputs] != [expected]:
            there = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in self.inputs)
            raise ValueError(
                f"inputs {there}: expected one input {list(expected)}, from preprocessing.size and colour"
            )
        return self


class DetectorModel(_Model):
    """A face detector of the BlazeFace family."""

    role: Literal["detector"]
    decoding: Decoding
    anchors: Anchors

    @model_validator(mode="after")
    def _outputs_fit(self) -> DetectorModel:
        anchors = sum(layer.cells**2 * layer.per_cell for layer in self.anchors.layers)
        values = 4 + 2 * len(self.decoding.keypoints)
        found = {tensor.name: tensor.shape for tensor in self.outputs}
        for role, shape in (("boxes", (1, anchors, values)), ("scores", (1, anchors, 1))):
            name = getattr(self.decoding, role)
            if found.get(name) != shape:
                there = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in self.outputs)
                wanted = f"decoding.{role}, {name!r}, to be {list(shape)}"
                raise ValueError(f"outputs {there}: expected {wanted}, from anchors and keypoints")
        return self


class Calibration(_Strict):
    """From logits to probabilities: softmax((weights @ logits + offsets) / temperature).

    Fitted on validation pictures. `offsets`, and the rows and columns of `weights`: in the order of the
    model's `classes`; empty means zeros, and the identity.
    """

    temperature: float = Field(1.0, gt=0)
    offsets: tuple[float, ...] = ()
    weights: tuple[tuple[float, ...], ...] = ()


class RestModel(_Strict):
    """What the baseline needs to know of a classifier; see `vision/expression/baseline.py`.

    `typical`: calibrated logits of a typical face at rest, in the order of `EMOTIONS`, with a sum of 0;
    `radius`: how far from them a resting face may be; `strong`: distance from rest of a strong expression;
    `share`, `pictures_share`: how much of a person's baseline is subtracted, in video and in pictures.
    """

    typical: tuple[float, ...] = Field(min_length=len(EMOTIONS), max_length=len(EMOTIONS))
    radius: float = Field(gt=0)
    strong: float = Field(gt=0)
    share: float = Field(ge=0, le=1)
    pictures_share: float = Field(ge=0, le=1)


class ClassifierModel(_Model):
    """A classifier of the seven expressions. `classes`: in the order of its output.

    `covered`: the name of a second output, if any, with the logit that mouth or eyes are covered.
    `baseline`: None for a model with which no one has a baseline.
    """

    role: Literal["classifier"]
    classes: tuple[str, ...]
    output: Literal["probabilities", "logits"]
    covered: str = ""
    calibration: Calibration = Calibration()
    baseline: RestModel | None = None

    @property
    def scores(self) -> str:
        """The name of the output with the seven expressions."""
        return next(tensor.name for tensor in self.outputs if tensor.name != self.covered)

    @model_validator(mode="after")
    def _classes_fit(self) -> ClassifierModel:
        if sorted(self.classes) != sorted(EMOTIONS):
            raise ValueError(f"classes {list(self.classes)}: expected {list(EMOTIONS)} in any order")
        rest = {tensor.name: tensor.shape for tensor in self.outputs}
        if self.covered and rest.pop(self.covered, None) != (1, 1):
            raise ValueError(f"covered = {self.covered!r}: expected an output of that name with shape [1, 1]")
        if list(rest.values()) != [(1, len(EMOTIONS))]:
            besides = f" besides {self.covered!r}" if self.covered else ""
            raise ValueError(f"outputs: expected one output [1, {len(EMOTIONS)}]{besides}")
        return self

    @model_validator(mode="after")
    def _calibration_fits(self) -> ClassifierModel:
        calibration = self.calibration
        if calibration.offsets and len(calibration.offsets) != len(EMOTIONS):
            raise ValueError(f"calibration.offsets: {len(calibration.offsets)} numbers, expected 7 or none")
        if calibration.weights and [len(row) for row in calibration.weights] != [len(EMOTIONS)] * len(
            EMOTIONS
        ):
            raise ValueError("calibration.weights: expected 7 rows of 7 numbers, or none")
        if self.output == "probabilities" and calibration != Calibration():
            raise ValueError("calibration: applies only to logits; expected output = 'logits'")
        return self


AnyModel = TypeVar("AnyModel", DetectorModel, ClassifierModel)

_AnyModel = Annotated[DetectorModel | ClassifierModel, Field(discriminator="role")]


class _Defaults(_Strict):
    detector: str
    verifier: str = ""
    classifier: str


class _Document(_Strict):
    # `schema` would hide a method of BaseModel, hence the alias.
    version: Literal[1] = Field(alias="schema")
    defaults: _Defaults
    models: dict[str, _AnyModel]


@dataclass(frozen=True)
class ModelSet:
    """The models in use. `verifier`: the detector that confirms each detection, or None."""

    detector: DetectorModel
    verifier: DetectorModel | None
    classifier: ClassifierModel

    @property
    def by_role(self) -> dict[str, DetectorModel | ClassifierModel]:
        """Role -> model; without a verifier if there is none."""
        found = {"detector": self.detector, "verifier": self.verifier, "classifier": self.classifier}
        return {role: model for role, model in found.items() if model is not None}

    @property
    def digest(self) -> str:
        """The start of each model's SHA-256, in one line; it identifies the set."""
        return " ".join(model.sha256[:12] for model in self.by_role.values())


@dataclass(frozen=True)
class Manifest:
    """A manifest and the folder of its files."""

    folder: Path
    document: _Document

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the `manifest.toml` of a folder; raises `ModelError` that names every mistake."""
        path = folder / "manifest.toml"
        try:
            document = TypeAdapter(_Document).validate_python(read_toml(path))
        except ConfigError as error:
            raise ModelError(str(error)) from error
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ModelError(f"{path}: {faults}; correct the manifest") from error
        return cls(folder, document)

    def detector(self, name: str) -> DetectorModel:
        """The detector of this name; an empty name is the manifest's default."""
        model = self._find(name or self.document.defaults.detector, "detector")
        assert isinstance(model, DetectorModel)
        return model

    def verifier(self, name: str) -> DetectorModel | None:
        """The detector that confirms each detection, or None; an empty name is the manifest's default."""
        wanted = name or self.document.defaults.verifier
        return self.detector(wanted) if wanted else None

    def classifier(self, name: str) -> ClassifierModel:
        """The classifier of this name; an empty name is the manifest's default."""
        model = self._find(name or self.document.defaults.classifier, "classifier")
        assert isinstance(model, ClassifierModel)
        return model

    def select(self, detector: str, verifier: str, classifier: str) -> ModelSet:
        """The models of these names; an empty name is the manifest's default. Raises `ModelError`."""
        return ModelSet(self.detector(detector), self.verifier(verifier), self.classifier(classifier))

    def originals(self, models: ModelSet) -> ModelSet:
        """The float models that these were quantised from."""
        verifier = self.original(models.verifier) if models.verifier else None
        return ModelSet(self.original(models.detector), verifier, self.original(models.classifier))

    def original(self, model: AnyModel) -> AnyModel:
        """The float model that a model was quantised from; the model itself if it has none."""
        return cast(AnyModel, self._find(model.original, model.role)) if model.original else model

    def verified(self, model: _Model) -> Path:
        """The path of the model's file; raises `ModelError` if its digest differs from the manifest."""
        path = self.folder / model.file
        digest = file_digest(path)
        if digest != model.sha256:
            raise ModelError(
                f"{path}: sha256 {digest[:12]}…: expected {model.sha256[:12]}… as in the manifest; "
                "the file was truncated or replaced: restore it"
            )
        return path

    def _find(self, name: str, role: str) -> DetectorModel | ClassifierModel:
        model = self.document.models.get(name)
        if model is None or model.role != role:
            known = ", ".join(sorted(n for n, m in self.document.models.items() if m.role == role))
            raise ModelError(f"{self.folder}/manifest.toml: no {role} {name!r}; known: {known or 'none'}")
        return model


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hex; raises `ModelError` if it is unreadable."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); restore the file") from error


def check_tensors(
    file: str, model: _Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Raises `ModelError` unless a loaded model has the tensors in the manifest, in any order."""
    for kind, expected, found in (("input", model.inputs, inputs), ("output", model.outputs, outputs)):
        wanted = {tensor.name: tensor.spec() for tensor in expected}
        given = {spec.name: spec for spec in found}
        if _comparable(wanted) != _comparable(given):
            raise ModelError(
                f"{file}: {kind}s {_shown(given)}: expected {_shown(wanted)} as in the manifest; "
                "correct the manifest or use the model that it describes"
            )


def _comparable(specs: dict[str, TensorSpec]) -> dict[str, object]:
    # Scales are float32 in the file: compare them as such, not digit by digit.
    return {n: (s.shape, s.dtype, f"{s.scale:.6g}", s.zero_point) for n, s in specs.items()}


def _shown(specs: dict[str, TensorSpec]) -> str:
    return ", ".join(f"{s.name} {s.dtype}{list(s.shape)}" for s in specs.values()) or "none"
