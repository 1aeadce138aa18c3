"""The life of the daemon: start order, one tick a second, stop order, exit code."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from appliance.access.reset import say_first_code
from appliance.build import make_appliance
from appliance.config import Config
from appliance.errors import WorkerStuck
from appliance.notify import Notifier
from appliance.strain import Strain
from appliance.web.listener import network_url
from appliance.web.server import Server
from appliance.workers import Worker

log = logging.getLogger("appliance.daemon")

TICK_S = 1.0
STOP_S = 5.0
"""Everything has ended within this time after the stop began, or is named as a laggard."""

_SERVERS_S, _REMIND_S = 2.0, 600.0


class Daemon:
    """Runs one appliance until a signal, the end of its clip, or a fault."""

    def __init__(self, config: Config, stop: threading.Event) -> None:
        """`stop` is set by signals, by the end of a clip, and by a fault."""
        self._stop = stop
        self._faults: list[str] = []
        self._notifier = Notifier()
        self._strain = Strain()
        self._appliance = make_appliance(config, stop=self._stop, failed=self._fail)

    def run(self, announce: Callable[[str], None]) -> int:
        """Start, serve, stop; returns the exit code. `announce` is given the address to open."""
        appliance = self._appliance
        for server in appliance.servers:
            server.bind()
        listeners = [
            threading.Thread(target=self._serve, args=(server,), name=server.name, daemon=True)
            for server in appliance.servers
        ]
        try:
            appliance.lamps.test(self._stop.wait)  # while no worker is there that could open the camera
            for worker in (*appliance.consumers, *appliance.producers):
                worker.start()
            for listener in listeners:
                listener.start()
            self._say_how()
            announce(self._url)
            self._notifier.ready(f"serving {self._url}")
            self._watch()
        finally:
            self._stop_all(listeners)
        return 1 if self._faults else 0

    def _watch(self) -> None:
        """Tick until the stop: feed the watchdog only while every worker moves."""
        appliance, remind_at = self._appliance, time.monotonic() + _REMIND_S
        while not self._stop.wait(TICK_S):
            try:
                appliance.health.check_beats()
            except WorkerStuck as stuck:
                if appliance.accelerator:
                    appliance.accelerator.blame()
                self._fail(str(stuck))
                return
            appliance.site.session.tick()
            appliance.health.strain = self._strain.look()
            self._notifier.alive()
            if time.monotonic() >= remind_at:
                self._warn_if_open()
                remind_at += _REMIND_S

    def _stop_all(self, listeners: list[threading.Thread]) -> None:
        """Events first, joins after, one deadline for all."""
        appliance, now = self._appliance, time.monotonic()
        # A producer that hangs must not eat the time in which the consumers flush.
        producers_by, all_by = now + 0.7 * STOP_S, now + 0.9 * STOP_S
        self._notifier.stopping()
        steps: list[Callable[[], object]] = [
            *((appliance.button.close,) if appliance.button else ()),
            appliance.jpegs.close,
            *(worker.stop for worker in appliance.producers),
            appliance.frames.close,
            *(partial(self._stop_server, server) for server in appliance.servers),
            *(partial(self._join, worker, producers_by) for worker in reversed(appliance.producers)),
            appliance.readings.close,
            *(partial(self._join, worker, all_by) for worker in appliance.consumers),
            *(partial(self._join_listener, listener) for listener in listeners),
            appliance.site.session.close,
            appliance.store.close,
            appliance.lamps.close,
        ]
        for step in steps:
            try:
                step()
            except Exception:
                # The second of two catch-alls of the program: one failing step must not stop the walk.
                log.exception("while stopping")
        log.info("stopped")

    @property
    def _url(self) -> str:
        return self._appliance.servers[0].url

    def _stop_server(self, server: Server) -> None:
        for name in server.stop(_SERVERS_S / len(self._appliance.servers)):
            self._fail(f"{name} did not end in time")

    def _join_listener(self, listener: threading.Thread) -> None:
        if listener.ident is None:
            return  # a worker could not be started
        listener.join(0.5)
        if listener.is_alive():
            self._fail(f"{listener.name} did not end in time")

    def _join(self, worker: Worker, deadline: float) -> None:
        if not worker.join(deadline - time.monotonic()):
            self._fail(f"{worker.name} did not end in time")

    def _serve(self, server: Server) -> None:
        try:
            server.serve()
        finally:
            if not self._stop.is_set():
                self._fail(f"{server.name} ended by itself")

    def _say_how(self) -> None:
        site = self._appliance.site
        for role, engine in site.engine().items():
            log.info("%s: %s", role, engine)
        if not site.camera_lamp:
            log.warning("no camera lamp is configured: nothing but the page shows whether the camera is open")
        self._warn_if_open()
        if site.gate.login:
            if site.on_network:
                log.info("on the network: %s", network_url(self._url))
            say_first_code(site.gate.accounts)

    def _warn_if_open(self) -> None:
        if self._appliance.site.open_to_network:
            log.warning(
                "access.open_to_network is set: everyone on the network can see the page, without login"
            )
            if not self._appliance.site.gate.loopback_is_operator:
                log.warning(
                    'no page has an operator: use a token on this device, or set access.loopback = "operator"'
                )

    def _fail(self, reason: str) -> None:
        log.error("%s", reason)
        self._faults.append(reason)
        self._stop.set()
