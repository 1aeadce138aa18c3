"""A context for the tests of the web package, made of real parts."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.audit import AuditLog
from appliance.auth.passwords import Passwords
from appliance.auth.service import make_auth_service
from appliance.consent.notice import KEEP_DAYS, read_notice
from appliance.consent.preview import BlurredPreview
from appliance.consent.session import Session
from appliance.consent.terms import Terms
from appliance.errors import ModelError
from appliance.handoff import Slot
from appliance.health import Health
from appliance.media.ingest import Ingest
from appliance.records import Store
from appliance.values import Frame, Picture, Reading
from appliance.viewers import Viewers
from appliance.web.context import AppContext, Device, LiveFeed, Network
from appliance.web.metrics import Metrics
from appliance.web.proxies import TrustedProxies
from appliance.web.transport.server import Server
from appliance.webcams.service import Models, WebcamService
from appliance.webcams.stills import StillReader
from tests.fakes.consent import MemoryRecords
from tests.fakes.parts import OVERLAY


def _no_models() -> Models:
    raise ModelError("this context has no models")


def make_context(
    *,
    needs_consent: bool = True,
    open_to_network: bool = False,
    allowed_hosts: tuple[str, ...] = (),
    frame_ancestors: tuple[str, ...] = (),
    lawful: tuple[str, str] = ("other", "practice"),
    frames: Slot[Frame] | None = None,
    login: bool = False,
    loopback_is_operator: bool = True,
    idle_minutes: float = 60,
    requests_per_s: float = 1000,
    trusted_proxies: tuple[str, ...] = (),
    base_path: str = "",
    ingest: Ingest | None = None,
    open_models: Callable[[], Models] = _no_models,
) -> AppContext:
    """`lawful`: region and purpose. The records of its session are in memory."""
    health, viewers = Health("usb"), Viewers(2)
    webcams = WebcamService(open_models, health, limit=2)
    state = Path(tempfile.mkdtemp())
    audit = AuditLog(state)
    terms = Terms(read_notice(), keep_days=KEEP_DAYS, region=lawful[0], purpose=lawful[1])
    session = Session(terms, needs_consent=needs_consent, source="usb", records=MemoryRecords(), audit=audit)
    # Cheap hashes: only the tests of passwords check their cost.
    cheap = Passwords(memory_kib=8, passes=1)
    auth = make_auth_service(
        state,
        login=login,
        loopback_is_operator=loopback_is_operator,
        idle_minutes=idle_minutes,
        requests_per_s=requests_per_s,
        passwords=cheap,
    )
    return AppContext(
        session=session,
        health=health,
        store=Store(state),
        audit=audit,
        auth=auth,
        preview=BlurredPreview(session, frames or Slot[Frame]()),
        live=LiveFeed(Slot[Picture](), Slot[Reading](), viewers, listeners=Viewers(2)),
        device=Device(
            source="usb",
            engines=lambda: {"detector": "a", "classifier": "b"},
            has_camera_lamp=False,
            state_dir=state,
        ),
        network=Network(login or open_to_network, open_to_network, allowed_hosts, frame_ancestors),
        metrics=Metrics(health, viewers, webcams),
        webcams=webcams,
        stills=StillReader(webcams),
        proxies=TrustedProxies(trusted_proxies, base_path),
        ingest=ingest,
    )


@contextmanager
def served(server: Server) -> Iterator[Server]:
    """The server, running in a thread; it must stop in time at the end."""
    server.bind()
    listener = threading.Thread(target=server.serve, name="http")
    listener.start()
    try:
        yield server
    finally:
        assert server.stop(5.0) == []
        listener.join(5.0)


@contextmanager
def pictures(context: AppContext) -> Iterator[None]:
    """Enter the contexts one after the other, until the end of the block."""
    over = threading.Event()

    def feed() -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            agreement = context.session.consent_epoch
            context.live.pictures.put(
                Picture(number, time.monotonic(), agreement, True, {OVERLAY: b"jpeg" * 100})
            )

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    finally:
        over.set()
        feeder.join()
