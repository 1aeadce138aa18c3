"""Makes the reader: the models on their engines, and the pipeline that analyses frames with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2

from appliance.composition.engine import Engines, make_engines
from appliance.configuration.load import Config
from appliance.configuration.settings import VisionSettings
from appliance.health import Health
from appliance.inference.fallback import Accelerator
from appliance.inference.manifest import Manifest, check_tensors
from appliance.pipeline import Doubt, Pipeline
from appliance.ports import Engine
from appliance.system.resources import models_dir
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.search import Search
from appliance.vision.expression.classifier import Classifier
from appliance.vision.expression.quality import Limits
from appliance.vision.tracking.tracker import Tracker


@dataclass(frozen=True)
class Reader:
    """A pipeline and what runs it, in words."""

    pipeline: Pipeline
    classifier: Classifier
    engines: dict[str, Engine]
    names: dict[str, str]
    why: str
    accelerator: Accelerator | None

    def described(self) -> dict[str, str]:
        """Role -> model, and what runs it now; where the owner did not choose the engine, also why."""
        found = {role: f"{name}, {self.engines[role].description}" for role, name in self.names.items()}
        return {**found, "choice": self.why} if self.why else found


def make_reader(
    config: Config,
    watch: Callable[[str, Engine], Engine] = lambda role, engine: engine,
    health: Health | None = None,
    opener: Engines | None = None,
    *,
    is_film: bool = True,
) -> Reader:
    """Detectors, classifier and tracker on their engines; raises `ModelError` for a model that is unfit.

    `watch` may put something between each engine and its user, by role. `health` is told of calls to an
    accelerator, so that one that hangs is noticed. `is_film`: what is read may be cut, see `vision.cuts`.
    """
    cv2.setNumThreads(1)  # Frames come one at a time; more threads only cost processor time and memory.
    vision = config.vision
    manifest = Manifest.load(models_dir(vision.models))
    detector_model = manifest.detector(vision.detector)
    verifier_model = manifest.verifier(vision.verifier)
    classifier_model = manifest.classifier(vision.classifier)
    opener = opener or make_engines(config, health)
    if opener.chosen.float_models:
        detector_model = manifest.original(detector_model)
        verifier_model = verifier_model and manifest.original(verifier_model)
        classifier_model = manifest.original(classifier_model)
    engines: dict[str, Engine] = {}
    names: dict[str, str] = {}
    wanted = {"detector": detector_model, "verifier": verifier_model, "classifier": classifier_model}
    for role, model in wanted.items():
        if model is None:
            continue
        path = manifest.verified(model)
        opened = opener.open(path)
        check_tensors(str(path), model, opened.inputs, opened.outputs)
        engines[role] = watch(role, opened)
        names[role] = path.stem
    classifier = Classifier(engines["classifier"], classifier_model)
    detector = BlazeFace(engines["detector"], detector_model, threshold=vision.threshold)
    verifier = (
        BlazeFace(engines["verifier"], verifier_model, threshold=vision.threshold) if verifier_model else None
    )
    search = Search(detector, verifier, limit=vision.max_people)
    pipeline = Pipeline(
        search,
        classifier,
        Tracker(expiry_s=vision.expiry_s),
        Doubt(vision.smoothing_s, vision.unsure_below, _limits(vision)),
        max_people=vision.max_people,
        is_film=is_film,
    )
    return Reader(pipeline, classifier, engines, names, opener.chosen.why, opener.accelerator)


def _limits(vision: VisionSettings) -> Limits:
    return Limits(
        min_face_px=vision.min_face_px,
        max_yaw=vision.max_yaw,
        max_pitch=vision.max_pitch,
        min_sharpness=vision.min_sharpness,
        dark_below=vision.dark_below,
        bright_above=vision.bright_above,
        min_contrast=vision.min_contrast,
        covered_above=vision.covered_above,
    )
