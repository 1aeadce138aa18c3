"""The part of the composition root that makes what faces the network: who comes in, and the server."""

from __future__ import annotations

from collections.abc import Callable

from appliance.access.gate import Gate, make_gate
from appliance.config import Config, is_loopback
from appliance.web.crowd import Crowd
from appliance.web.server import Server, WsgiApp


def make_door(config: Config) -> Gate:
    """What decides who comes in; raises `StoreError` when its secrets cannot be kept."""
    return make_gate(
        config.state_dir,
        login=config.needs_login,
        idle_minutes=config.access.idle_minutes,
        requests_per_s=config.access.requests_per_s,
    )


def make_server(config: Config, app: WsgiApp) -> Server:
    """The web server, with TLS where the network can reach it."""
    return Server(
        app,
        config.web.host,
        config.web.port,
        # A picture and a WebSocket for each viewer, and room for short requests beside them.
        max_connections=2 * config.web.max_viewers + 8,
        tls=_certificate(config),
        crowd=Crowd(config.access.connections_per_address, spared=is_loopback),
    )


def _certificate(config: Config) -> Callable[[], tuple[str, str]] | None:
    if config.access.certificate:
        return lambda: (config.access.certificate, config.access.key)
    if not config.needs_login:
        return None
    from appliance.access.certificate import DeviceCertificate  # slow to load, and only needed here

    return DeviceCertificate(config.state_dir).current
