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
from appliance.inference.manifest import ModelSet, check_tensors
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


@dataclass(frozen=True)
class OpenModels:
    """Detectors and classifier on their engines. Belongs to one thread."""

    detector: BlazeFace
    verifier: BlazeFace | None
    classifier: ExpressionClassifier
    engines: dict[str, Engine]
    paths: dict[str, Path]
    opener: EngineOpener
    models: ModelSet

    def close(self) -> None:
        """Release the engines."""
        for engine in self.engines.values():
            engine.close()


def open_models(
    config: Config,
    opener: EngineOpener | None = None,
    *,
    watch: Callable[[str, Engine], Engine] = lambda role, engine: engine,
    health: Health | None = None,
) -> OpenModels:
    """The models of a configuration; raises `ModelError`. The arguments are those of `make_reader`."""
    threshold = config.vision.threshold
    manifest, models = load_models(config)
    opener = opener or make_engine_opener(config, models.digest, health)
    if opener.choice.float_models:
        models = manifest.originals(models)
    engines: dict[str, Engine] = {}
    paths: dict[str, Path] = {}
    for role, model in models.by_role.items():
        path = paths[role] = manifest.verified(model)
        opened = opener.open(path)
        check_tensors(str(path), model, opened.inputs, opened.outputs)
        engines[role] = watch(role, opened)
    return OpenModels(
        BlazeFace(engines["detector"], models.detector, threshold=threshold),
        BlazeFace(engines["verifier"], models.verifier, threshold=threshold) if models.verifier else None,
        ExpressionClassifier(engines["classifier"], models.classifier),
        engines,
        paths,
        opener,
        models,
    )


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
    vision = config.vision
    opened = open_models(config, opener, watch=watch, health=health)
    opener, models = opened.opener, opened.models
    workers = None
    if live and opener.parallel and len(os.sched_getaffinity(0)) > 1:

        def open_second() -> FaceModels:
            role, model = ("verifier", models.verifier) if models.verifier else ("detector", models.detector)
            close, expression = (
                watch(f"second {name}", opener.open_another(opened.paths[name]))
                for name in (role, "classifier")
            )
            return FaceModels(
                BlazeFace(close, model, threshold=vision.threshold),
                ExpressionClassifier(expression, models.classifier),
            )

        workers = TwoWorkers(
            "vision-2",
            FaceModels(opened.verifier or opened.detector, opened.classifier),
            open_second,
            from_people=SECOND_FROM_PEOPLE,
            limit_s=SECOND_LIMIT_S,
            health=health,
        )
    pipeline = make_pipeline(vision, opened, is_video=is_video, every_frame=not live, workers=workers)
    names = {role: path.stem for role, path in opened.paths.items()}
    return Reader(pipeline, opened.classifier, opened.engines, names, opener.choice.why, opener.breaker)


def make_pipeline(
    vision: VisionSettings,
    opened: OpenModels,
    *,
    is_video: bool = True,
    every_frame: bool = True,
    workers: TwoWorkers[FaceModels] | None = None,
) -> Pipeline:
    """A pipeline with these models, which other pipelines of the same thread may share."""
    cv2.setNumThreads(1)  # Frames come one at a time; more threads would only cost processor time and memory.
    return Pipeline(
        FaceSearch(opened.detector, opened.verifier, limit=vision.max_people, workers=workers),
        opened.classifier,
        Tracker(expiry_s=vision.expiry_s),
        ReadingPolicy(vision.smoothing_s, vision.unsure_below, _limits(vision)),
        max_people=vision.max_people,
        is_video=is_video,
        every_frame=every_frame,
        workers=workers,
    )


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
