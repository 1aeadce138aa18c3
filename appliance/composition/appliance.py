"""The composition root: makes every part from the configuration. No other file sees both."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from appliance import registry
from appliance.audit import AuditLog
from appliance.auth.reset import reset_access
from appliance.cameras.rotation import RotatableSettings, RotatedCamera
from appliance.composition.engine import EngineOpener, load_models, make_engine_opener
from appliance.composition.session import make_button, make_store, make_terms
from appliance.composition.web import make_door, make_servers
from appliance.configuration.changes import note_changes
from appliance.configuration.load import Choice, Config, narrowed
from appliance.configuration.settings import AutoCamera
from appliance.configuration.settings import Vision as VisionSettings
from appliance.consent.preview import Aim
from appliance.consent.session import Session
from appliance.errors import BackendMissing
from appliance.handoff import Slot
from appliance.hardware.button import Button
from appliance.health import Health
from appliance.inference.fallback import CircuitBreaker
from appliance.inference.manifest import check_tensors
from appliance.loops import Capture, SinkLoop, Vision
from appliance.pipeline import Doubt, Pipeline
from appliance.ports import Camera, Engine, Lamps, Sink
from appliance.records import Store
from appliance.sinks.lamps import LampSink
from appliance.sinks.recorder import Recorder
from appliance.sinks.stream import Stream
from appliance.system.logging import name_camera
from appliance.system.resources import model_card, models_dir
from appliance.values import Frame, Picture, Reading
from appliance.viewers import Viewers
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.search import Search
from appliance.vision.expression.classifier import Classifier
from appliance.vision.expression.quality import Limits
from appliance.vision.tracking.tracker import Tracker
from appliance.web.app import create_app
from appliance.web.metrics import Metrics
from appliance.web.site import Site
from appliance.web.transport.server import Server
from appliance.workers import Worker

log = logging.getLogger("appliance.build")

AUTO_ORDER = ("csi", "usb", "demo")
"""Which cameras `auto` looks for, the first one there wins."""

LIMITS_S = {"capture": 15.0, "vision": 10.0, "sink-stream": 10.0, "sink-lamps": 10.0, "sink-recorder": 120.0}
"""How long one step of each worker may take; opening a camera is slow, and a worn card much slower."""


@dataclass(frozen=True)
class Reader:
    """A pipeline and what runs it, in words."""

    pipeline: Pipeline
    classifier: Classifier
    engines: dict[str, Engine]
    names: dict[str, str]
    why: str
    breaker: CircuitBreaker | None

    def described(self) -> dict[str, str]:
        """Role -> model, and what runs it now; where the owner did not choose the engine, also why."""
        found = {role: f"{name}, {self.engines[role].description}" for role, name in self.names.items()}
        return {**found, "choice": self.why} if self.why else found


@dataclass(frozen=True)
class Appliance:
    """All parts of a running appliance. Consumers are started before producers and stopped after them."""

    servers: tuple[Server, ...]
    """That of the page, and the one that sends on to it, if there is one."""
    health: Health
    frames: Slot[Frame]
    readings: Slot[Reading]
    jpegs: Slot[Picture]
    producers: tuple[Worker, ...]
    consumers: tuple[Worker, ...]
    site: Site
    lamps: Lamps
    button: Button | None
    store: Store
    breaker: CircuitBreaker | None


def make_appliance(config: Config, *, stop: threading.Event, failed: Callable[[str], None]) -> Appliance:
    """Every part, connected, nothing started.

    `stop` is set when the last frame of a clip was read; `failed` is told the reason when a worker dies.
    """
    choice = choose_camera(config)
    name_camera(choice.backend)
    camera = make_camera(choice)
    lamps: Lamps = registry.load("lamps", config.lamps.backend)(config.lamps.settings)
    health = Health(choice.backend)
    is_film = registry.load("camera", choice.backend).is_film
    reader = make_reader(config, health=health, is_film=is_film)
    audit = AuditLog(config.state_dir)
    note_changes(config.effective(), config.state_dir, audit)
    store = make_store(config, audit)
    session = Session(
        make_terms(config),
        needs_agreement=camera.needs_agreement,
        source=choice.backend,
        records=store,
        audit=audit,
        longest_s=3600 * config.session.longest_hours,
    )
    store.on_stopped = lambda id, reason: session.stop_recording("timer", id)
    frames, readings, jpegs = Slot[Frame](), Slot[Reading](), Slot[Picture]()
    viewers = Viewers(config.web.max_viewers)
    gate = make_door(config)
    site = Site(
        health=health,
        session=session,
        viewers=viewers,
        listeners=Viewers(config.web.max_viewers),
        readings=readings,
        jpegs=jpegs,
        metrics=Metrics(health, viewers),
        aim=Aim(session, frames),
        audit=audit,
        gate=gate,
        store=store,
        source=choice.backend,
        engine=reader.described,
        camera_lamp=lamps.present,
        open_to_network=config.access.open_to_network,
        on_network=config.on_network,
        allowed_hosts=config.web.allowed_hosts,
        state_dir=config.state_dir,
        card=model_card(models_dir(config.vision.models)),
    )
    capture = Capture(camera, lamps, session, frames, health, ended=stop.set, pause=stop.wait)
    vision = Vision(reader.pipeline, session, frames, readings, health)
    sinks: dict[str, Sink] = {
        "sink-stream": Stream(viewers, jpegs, session, health, quality=config.web.jpeg_quality),
        "sink-lamps": LampSink(lamps, session, health),
        "sink-recorder": Recorder(store, session, health),
    }

    def reset() -> None:
        reset_access(gate.accounts, audit, "button")

    def worker(name: str, step: Callable[[], None], finish: Callable[[], None]) -> Worker:
        return Worker(name, step, limit_s=LIMITS_S[name], health=health, failed=failed, finish=finish)

    return Appliance(
        servers=make_servers(config, create_app(site), gate),
        health=health,
        frames=frames,
        readings=readings,
        jpegs=jpegs,
        producers=(
            worker("vision", vision.step, reader.pipeline.close),
            worker("capture", capture.step, capture.close),
        ),
        consumers=tuple(
            worker(name, SinkLoop(sink, readings, session).step, sink.close) for name, sink in sinks.items()
        ),
        site=site,
        lamps=lamps,
        button=make_button(config, session, reset),
        store=store,
        breaker=reader.breaker,
    )


def choose_camera(config: Config) -> Choice:
    """The camera to use. `auto` only looks what is there, and says aloud which it took and why."""
    if config.camera.backend != "auto":
        return config.camera
    assert isinstance(config.camera.settings, AutoCamera)
    wanted = config.camera.settings.model_dump(exclude_unset=True)
    reasons = []
    for name in AUTO_ORDER:
        if name == "demo" and config.installed:
            break
        try:
            backend = registry.load("camera", name)
        except BackendMissing as error:
            reasons.append(f"no {name} ({error.reason})")
            continue
        discovery = backend.discover()
        if discovery.found:
            log.info(
                "camera: auto takes %s: %s%s", name, discovery.why, "".join(f"; {each}" for each in reasons)
            )
            fields = backend.Settings.model_fields
            known = {key: value for key, value in wanted.items() if key in fields}
            return Choice(name, narrowed(config, "camera", backend.Settings, known))
        reasons.append(f"no {name} ({discovery.why})")
    log.warning("camera: auto found none: %s; waiting for a usb camera", "; ".join(reasons))
    return Choice("usb", narrowed(config, "camera", registry.load("camera", "usb").Settings, wanted))


def make_camera(choice: Choice) -> Camera:
    """The camera of a choice; raises `ConfigError` for what can never be one, such as a text file."""
    settings = choice.settings
    camera = registry.load("camera", choice.backend)(settings)
    if isinstance(settings, RotatableSettings) and settings.rotate:
        return RotatedCamera(camera, settings.rotate)
    return camera


def check_lamps(config: Config) -> None:
    """Raises `ConfigError` when the lamps could not be had. Claims no pin: a running daemon may hold them."""
    registry.load("lamps", config.lamps.backend).check(config.lamps.settings)


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


def make_reader(
    config: Config,
    watch: Callable[[str, Engine], Engine] = lambda role, engine: engine,
    health: Health | None = None,
    opener: EngineOpener | None = None,
    *,
    is_film: bool = True,
) -> Reader:
    """Detectors, classifier and tracker on their engines; raises `ModelError` for a model that is unfit.

    `watch` may put something between each engine and its user, by role. `health` is told of calls to an
    accelerator, so that one that hangs is noticed. `is_film`: what is read may be cut, see `vision.cuts`.
    """
    cv2.setNumThreads(1)  # Frames come one at a time; more threads only cost processor time and memory.
    vision = config.vision
    manifest, models = load_models(config)
    opener = opener or make_engine_opener(config, models.digest, health)
    if opener.choice.float_models:
        models = manifest.originals(models)
    engines: dict[str, Engine] = {}
    names: dict[str, str] = {}
    for role, model in models.by_role.items():
        path = manifest.verified(model)
        opened = opener.open(path)
        check_tensors(str(path), model, opened.inputs, opened.outputs)
        engines[role] = watch(role, opened)
        names[role] = path.stem
    classifier = Classifier(engines["classifier"], models.classifier)
    detector = BlazeFace(engines["detector"], models.detector, threshold=vision.threshold)
    verifier = (
        BlazeFace(engines["verifier"], models.verifier, threshold=vision.threshold)
        if models.verifier
        else None
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
    return Reader(pipeline, classifier, engines, names, opener.choice.why, opener.breaker)
