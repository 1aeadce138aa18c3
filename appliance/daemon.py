"""The daemon's lifecycle: start order, one tick per second, stop order, exit code."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from appliance.auth.local_token import publish_local_access
from appliance.auth.reset import log_first_code
from appliance.composition.appliance import make_appliance
from appliance.configuration.load import Config
from appliance.errors import WorkerStuck
from appliance.hardware.throttling import ThrottlingMonitor
from appliance.system.background import BackgroundWriter
from appliance.system.scheduling import SchedulingMonitor
from appliance.system.sd_notify import Notifier
from appliance.system.self_check import MAX_FAILURES, SelfCheck, exit_unable
from appliance.web.transport.listener import network_url
from appliance.web.transport.server import Server
from appliance.workers import Worker

log = logging.getLogger("appliance.daemon")

TICK_S = 1.0
STOP_S = 5.0
"""Time limit for stopping; whatever still runs then is reported."""

_SERVERS_S, _REMIND_S = 2.0, 600.0

DISK_S = 20.0
"""Extra time for the last writes to a slow card."""


class TickClock:
    """Detects that the process was suspended. Belongs to one thread."""

    def __init__(self) -> None:
        self._seen = time.monotonic()

    def gap_s(self) -> float:
        """By how many seconds this tick is late."""
        before, self._seen = self._seen, time.monotonic()
        return max(0.0, self._seen - before - TICK_S)


class Daemon:
    """Runs one appliance until a signal, the end of its clip, or a fault."""

    def __init__(self, config: Config, stop: threading.Event, *, measure: Sequence[str] = ()) -> None:
        """`stop` is set by signals, by the end of a clip, and by a fault.

        `measure`: the command that measures the engines while idle, for `engine.backend = "auto"`.
        """
        self._config, self._stop = config, stop
        self._faults: list[str] = []
        self._notifier = Notifier()
        self._throttling = ThrottlingMonitor()
        self._writer, self._scheduling, self._selfcheck = BackgroundWriter(), SchedulingMonitor(), SelfCheck()
        self._clock = TickClock()
        self._failed_ticks = 0
        self._appliance = make_appliance(config, stop=stop, failed=self._fail, measure=measure)

    def run(self, announce: Callable[[str], None]) -> int:
        """Start, serve, stop; returns the exit code. `announce` gets the address to open."""
        appliance = self._appliance
        for server in appliance.servers:
            server.bind()
        # Only now: a second process that finds the port in use must not replace the token of the first.
        publish_local_access(self._config.state_dir, self._url, appliance.auth.local_token)
        listeners = [
            threading.Thread(target=self._serve, args=(server,), name=server.name, daemon=True)
            for server in appliance.servers
        ]
        try:
            appliance.lamps.test(self._stop.wait)  # before a worker could open the camera
            for worker in (*appliance.consumers, *appliance.producers):
                worker.start()
            for listener in listeners:
                listener.start()
            self._log_start()
            announce(self._url)
            # Updaters older than `status --json` find the address in this line: decision 78.
            self._notifier.ready(f"serving {self._url}")
            self._clock.gap_s()  # starts the clock: the start was not a tick
            self._watch()
        finally:
            self._stop_all(listeners)
        return 1 if self._faults else 0

    def _watch(self) -> None:
        """Tick until the stop: feed the watchdog only while every worker makes progress."""
        remind_at = time.monotonic() + _REMIND_S
        while not self._stop.wait(TICK_S):
            try:
                self._tick()
                if time.monotonic() >= remind_at:
                    remind_at += _REMIND_S
                    self._warn_if_open()
            except WorkerStuck as stuck:
                self._fail(str(stuck))
                if self._appliance.breaker:
                    self._writer.submit("the accelerator failure", self._appliance.breaker.mark_hung)
                return
            except (OSError, RuntimeError, MemoryError) as error:
                # Usually temporary, such as too few file descriptors: skip the watchdog and try again.
                self._failed_ticks += 1
                with suppress(MemoryError):
                    log.error("a tick failed: %s: %s", type(error).__name__, error)
            if max(self._failed_ticks, self._selfcheck.failures) >= MAX_FAILURES:
                exit_unable()

    def _tick(self) -> None:
        appliance, gap_s = self._appliance, self._clock.gap_s()
        # Time in which the process was suspended or got no CPU does not count against any worker.
        delay = self._scheduling.delay()
        appliance.health.extend_deadlines(gap_s + delay.process_s, delay.by_thread)
        appliance.health.check_heartbeats()
        for server in appliance.servers:
            server.check_moving()
        appliance.session.tick()
        if not self._selfcheck.passes():
            return
        appliance.health.throttling = self._throttling.check()
        self._notifier.alive()
        self._failed_ticks = 0

    def _stop_all(self, listeners: list[threading.Thread]) -> None:
        """Signal everything first, then join, with one deadline for all."""
        appliance, now = self._appliance, time.monotonic()
        # A hanging producer must not use up the time that the consumers need to flush.
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
            appliance.session.close,
            appliance.lamps.close,
            self._write_all,
        ]
        for step in steps:
            try:
                step()
            except Exception:
                # Any exception, as in `Worker`: the other steps must still run.
                with suppress(MemoryError):
                    log.exception("error while stopping")
        log.info("stopped")

    def _write_all(self) -> None:
        """Wait for the disk; a slow card gets more time, which is requested from systemd."""
        end = time.monotonic() + DISK_S
        left = self._flushed(self._appliance.session.flush, end)
        self._writer.submit("the last record", self._appliance.store.close)
        left += self._flushed(self._writer.flush, end)
        for what in left:
            self._fail(f"{what} was not written in time: the disk does not respond")

    def _flushed(self, flush: Callable[[float], list[str]], end: float) -> list[str]:
        while (left := flush(TICK_S)) and time.monotonic() < end:
            self._notifier.extend(TICK_S + STOP_S)
        return left

    @property
    def _url(self) -> str:
        return self._appliance.servers[0].url

    def _stop_server(self, server: Server) -> None:
        for name in server.stop(_SERVERS_S / len(self._appliance.servers)):
            self._fail(f"{name} did not stop in time")

    def _join_listener(self, listener: threading.Thread) -> None:
        if listener.ident is None:
            return  # never started, because a worker could not start
        listener.join(0.5)
        if listener.is_alive():
            self._fail(f"{listener.name} did not stop in time")

    def _join(self, worker: Worker, deadline: float) -> None:
        if not worker.join(deadline - time.monotonic()):
            self._fail(f"{worker.name} did not stop in time")

    def _serve(self, server: Server) -> None:
        try:
            server.serve()
        finally:
            if not self._stop.is_set():
                self._fail(f"{server.name} stopped unexpectedly")

    def _log_start(self) -> None:
        appliance = self._appliance
        for role, engine in appliance.engines().items():
            log.info("%s: %s", role, engine)
        if not appliance.lamps.present:
            log.warning("no camera lamp is configured: only the page shows whether the camera is open")
        self._warn_if_open()
        if appliance.auth.login:
            if self._config.on_network:
                log.info("on the network: %s", network_url(self._url))
            log_first_code(appliance.auth.accounts)

    def _warn_if_open(self) -> None:
        if self._config.access.open_to_network:
            log.warning(
                "access.open_to_network is set: anyone on the network can see the page without a login"
            )
            if not self._appliance.auth.loopback_is_operator:
                log.warning(
                    "no one can log in as operator: use a token on this device, "
                    'or set access.loopback = "operator"'
                )

    def _fail(self, reason: str) -> None:
        self._faults.append(reason)
        self._stop.set()  # before logging, which may fail without memory
        log.error("%s", reason)
