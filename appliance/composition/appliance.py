"""The product on one screen: every part of the appliance, and how the parts connect.

Only this package sees both the configuration and the parts. Each part gets only its own section or values of
the configuration.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance import registry
from appliance.audit import AuditLog
from appliance.auth.reset import reset_access
from appliance.auth.service import AuthService
from appliance.composition.button import make_button
from appliance.composition.camera import choose_camera, make_camera
from appliance.composition.reader import make_reader
from appliance.composition.store import make_store
from appliance.composition.terms import make_terms
from appliance.composition.web import make_auth, make_servers
from appliance.composition.webcams import make_webcams
from appliance.configuration.changes import record_changes
from appliance.configuration.load import Config
from appliance.consent.preview import BlurredPreview
from appliance.consent.session import Session
from appliance.handoff import RightOfWay, Slot
from appliance.hardware.button import Button
from appliance.health import Health
from appliance.inference.fallback import CircuitBreaker
from appliance.inference.idle_measurement import IdleMeasurement
from appliance.loops import CaptureLoop, PictureLoop, SinkLoop, VisionLoop
from appliance.ports import Lamps, Sink
from appliance.records import Store
from appliance.sinks.lamps import LampSink
from appliance.sinks.recorder import Recorder
from appliance.sinks.stream import Stream
from appliance.system.logging import set_camera_field
from appliance.system.resources import model_card, models_dir
from appliance.values import Frame, Picture, Reading
from appliance.viewers import Viewers
from appliance.web.app import create_app
from appliance.web.context import AppContext, Device, LiveFeed, Network
from appliance.web.metrics import Metrics
from appliance.web.proxies import TrustedProxies
from appliance.web.transport.server import Server
from appliance.webcams.stills import StillReader
from appliance.workers import Worker

LIMITS_S = {
    "capture": 15.0,
    "vision": 10.0,
    "pictures": 10.0,
    "sink-lamps": 10.0,
    "sink-recorder": 120.0,
    "webcams": 10.0,
    "engines": 10.0,
}
"""Maximum duration of a worker's step, in seconds: opening a camera is slow, a worn card much slower."""


@dataclass(frozen=True)
class Appliance:
    """All parts of a running appliance. Consumers start before producers and stop after them."""

    servers: tuple[Server, ...]
    """The web server, and the server that redirects HTTP to it, if configured."""
    session: Session
    health: Health
    auth: AuthService
    frames: Slot[Frame]
    readings: Slot[Reading]
    jpegs: Slot[Picture]
    producers: tuple[Worker, ...]
    consumers: tuple[Worker, ...]
    lamps: Lamps
    button: Button | None
    store: Store
    breaker: CircuitBreaker | None
    engines: Callable[[], dict[str, str]]
    """Role -> model and engine, in words, as they are now."""


def make_appliance(
    config: Config, *, stop: threading.Event, failed: Callable[[str], None], measure: Sequence[str] = ()
) -> Appliance:
    """Build and connect every part; nothing is started.

    `stop` is set after the last frame of a clip; `failed` is called with the reason if a worker dies.
    `measure`: the command that measures the engines while idle.
    """
    chosen = choose_camera(config.camera, config.origins, installed=config.installed)
    set_camera_field(chosen.backend)
    lamps: Lamps = registry.load("lamps", config.lamps.backend)(config.lamps.settings)
    health = Health(chosen.backend)
    is_video = registry.load("camera", chosen.backend).is_video
    reader = make_reader(config, health=health, is_video=is_video, live=True)
    camera, ingest = make_camera(chosen)
    audit = AuditLog(config.state_dir)
    record_changes(config.effective(), config.state_dir, audit)
    store = make_store(config.storage, config.state_dir, audit)
    session = Session(
        make_terms(config),
        needs_consent=camera.needs_consent,
        source=chosen.backend,
        records=store,
        audit=audit,
        longest_s=3600 * config.session.longest_hours,
    )
    store.on_stopped = lambda id, reason: session.stop_recording("timer", id)
    frames, readings, jpegs = Slot[Frame](), Slot[Reading](), Slot[Picture]()
    viewers = Viewers(config.web.max_viewers)
    right_of_way = RightOfWay()
    webcams = make_webcams(config, health, right_of_way)
    auth, proxies = make_auth(config), TrustedProxies(config.web.trusted_proxies, config.web.base_path)
    context = AppContext(
        session=session,
        health=health,
        store=store,
        audit=audit,
        auth=auth,
        preview=BlurredPreview(session, frames),
        live=LiveFeed(jpegs, readings, viewers, listeners=Viewers(config.web.max_viewers)),
        device=Device(
            source=chosen.backend,
            engines=reader.described,
            has_camera_lamp=lamps.present,
            state_dir=config.state_dir,
            model_card=model_card(models_dir(config.vision.models)),
        ),
        network=Network(
            config.on_network,
            config.access.open_to_network,
            allowed_hosts=config.web.allowed_hosts,
            frame_ancestors=config.web.frame_ancestors,
        ),
        metrics=Metrics(health, viewers, webcams),
        webcams=webcams,
        stills=StillReader(webcams),
        proxies=proxies,
        ingest=ingest,
    )
    capture = CaptureLoop(camera, lamps, session, frames, health, ended=stop.set, pause=stop.wait)
    vision = VisionLoop(reader.pipeline, session, frames, readings, health, right_of_way)
    pictures = Stream(viewers, jpegs, readings, session, health, quality=config.web.jpeg_quality)
    sinks: dict[str, Sink] = {
        "sink-lamps": LampSink(lamps, session, health),
        "sink-recorder": Recorder(store, session, health),
    }

    def reset() -> None:
        reset_access(auth.accounts, audit, "button")

    def worker(name: str, step: Callable[[], None], finish: Callable[[], None] | None = None) -> Worker:
        return Worker(name, step, limit_s=LIMITS_S[name], health=health, failed=failed, finish=finish)

    producers = [
        worker("vision", vision.step, reader.pipeline.close),
        worker("webcams", webcams.step, webcams.close),
        worker("capture", capture.step, capture.close),
    ]
    # A chosen accelerator has one user at a time: then only the installer and an update measure.
    if measure and config.engine.backend == "auto" and reader.breaker is None:
        measurement = IdleMeasurement(measure, session.wait_until_open, stop.wait)
        producers.append(worker("engines", measurement.step, measurement.close))

    return Appliance(
        servers=make_servers(config, create_app(context), auth, proxies),
        session=session,
        health=health,
        auth=auth,
        frames=frames,
        readings=readings,
        jpegs=jpegs,
        producers=tuple(producers),
        consumers=(
            worker("pictures", PictureLoop(pictures, frames, session).step),
            *(
                worker(name, SinkLoop(sink, readings, session).step, sink.close)
                for name, sink in sinks.items()
            ),
        ),
        lamps=lamps,
        button=make_button(config.session, config.lamps, session, reset),
        store=store,
        breaker=reader.breaker,
        engines=reader.described,
    )
