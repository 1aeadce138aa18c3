"""Builds the reader: the models on their engines, and the pipeline that analyses frames with them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from appliance.composition.engine import EngineOpener, load_models, make_engine_opener
from appliance.configuration.load import Config
from appliance.configuration.settings import VisionSettings
from appliance.health import Health
from appliance.inference.fallback import CircuitBreaker
from appliance.inference.manifest import check_tensors
from appliance.pipeline import Pipeline, ReadingPolicy
from appliance.ports import Engine
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.face_models import FaceModels
from appliance.vision.detection.search import FaceSearch
from appliance.vision.expression.classifier import ExpressionClassifier
from appliance.vision.expression.quality import QualityLimits
from appliance.vision.tracking.tracker import Tracker
from appliance.workers import TwoWorkers

SECOND_FROM_PEOPLE = 3
"""People in view from which a second thread reads, for as long as the session lasts."""

SECOND_LIMIT_S = 8.0
"""Most that its share of a frame may take: less than the vision worker's limit, so that a hang is named."""


@dataclass(frozen=True)
class Reader:
    """A pipeline, and what runs it."""

    pipeline: Pipeline
    classifier: ExpressionClassifier
    engines: dict[str, Engine]
    names: dict[str, str]
    why: str
    breaker: CircuitBreaker | None

    def described(self) -> dict[str, str]:
        """Role -> model and what runs it now; also why, if the owner did not choose the engine."""
        found = {role: f"{name}, {self.engines[role].description}" for role, name in self.names.items()}
        return {**found, "choice": self.why} if self.why else found


def make_reader(
    config: Config,
    watch: Callable[[str, Engine], Engine] = lambda role, engine: engine,
    health: Health | None = None,
    opener: EngineOpener | None = None,
    *,
    is_video: bool = True,
    live: bool = False,
) -> Reader:
    """Detectors, classifier and tracker on their engines; raises `ModelError` for an invalid model.

    `watch` may wrap each engine, by role. `health` watches calls to an accelerator, so that a hang is
    detected. `is_video`: the frames may have cuts (`motion.scene_cuts`). `live`: steady faces are read less
    often (`tracking.cadence`), and several people by two threads if the engine and the processor allow it.
    """
    cv2.setNumThreads(1)  # Frames come one at a time; more threads would only cost processor time and memory.
    vision = config.vision
    manifest, models = load_models(config)
    opener = opener or make_engine_opener(config, models.digest, health)
    if opener.choice.float_models:
        models = manifest.originals(models)
    engines: dict[str, Engine] = {}
    names: dict[str, str] = {}
    paths: dict[str, Path] = {}
    for role, model in models.by_role.items():
        path = paths[role] = manifest.verified(model)
        opened = opener.open(path)
        check_tensors(str(path), model, opened.inputs, opened.outputs)
        engines[role] = watch(role, opened)
        names[role] = path.stem
    classifier = ExpressionClassifier(engines["classifier"], models.classifier)
    detector = BlazeFace(engines["detector"], models.detector, threshold=vision.threshold)
    verifier = None
    if models.verifier:
        verifier = BlazeFace(engines["verifier"], models.verifier, threshold=vision.threshold)
    workers = None
    if live and opener.parallel and len(os.sched_getaffinity(0)) > 1:

        def open_second() -> FaceModels:
            role, model = ("verifier", models.verifier) if models.verifier else ("detector", models.detector)
            close, expression = (
                watch(f"second {name}", opener.open_another(paths[name])) for name in (role, "classifier")
            )
            return FaceModels(
                BlazeFace(close, model, threshold=vision.threshold),
                ExpressionClassifier(expression, models.classifier),
            )

        workers = TwoWorkers(
            "vision-2",
            FaceModels(verifier or detector, classifier),
            open_second,
            from_people=SECOND_FROM_PEOPLE,
            limit_s=SECOND_LIMIT_S,
            health=health,
        )
    search = FaceSearch(detector, verifier, limit=vision.max_people, workers=workers)
    pipeline = Pipeline(
        search,
        classifier,
        Tracker(expiry_s=vision.expiry_s),
        ReadingPolicy(vision.smoothing_s, vision.unsure_below, _limits(vision)),
        max_people=vision.max_people,
        is_video=is_video,
        every_frame=not live,
        workers=workers,
    )
    return Reader(pipeline, classifier, engines, names, opener.choice.why, opener.breaker)


def _limits(vision: VisionSettings) -> QualityLimits:
    return QualityLimits(
        min_face_px=vision.min_face_px,
        max_yaw=vision.max_yaw,
        max_pitch=vision.max_pitch,
        min_sharpness=vision.min_sharpness,
        dark_below=vision.dark_below,
        bright_above=vision.bright_above,
        min_contrast=vision.min_contrast,
        covered_above=vision.covered_above,
    )
