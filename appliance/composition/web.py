"""The part of the composition root that makes what faces the network: who comes in, and the server."""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.auth.service import AuthService, make_auth_service
from appliance.configuration.load import Config, is_loopback
from appliance.web.transport.per_address import Crowd
from appliance.web.transport.redirect import Redirect
from appliance.web.transport.server import Server, WsgiApp
from appliance.web.transport.tls import Tls

log = logging.getLogger("appliance.build")

REDIRECTS = 4
"""Threads of the second port: each is needed for a moment."""


def make_auth(config: Config) -> AuthService:
    """What decides who comes in; raises `StoreError` when its secrets cannot be kept."""
    return make_auth_service(
        config.state_dir,
        login=config.needs_login,
        loopback_is_operator=config.loopback_is_operator,
        idle_minutes=config.access.idle_minutes,
        longest_days=config.access.longest_days,
        requests_per_s=config.access.requests_per_s,
    )


def make_servers(config: Config, app: WsgiApp, auth: AuthService) -> tuple[Server, ...]:
    """The web server, with TLS where the network can reach it; after it the one that only sends on to it."""
    certificate = _certificate(config)
    trusted = is_loopback if config.loopback_is_operator else _no_address
    crowd = Crowd(config.access.connections_per_address, spared=trusted)
    page = Server(
        app,
        config.web.host,
        config.web.port,
        # A picture and a WebSocket for each viewer, and room for short requests beside them.
        max_connections=2 * config.web.max_viewers + 8,
        tls=certificate,
        crowd=crowd,
    )
    if not config.web.redirect_port:
        return (page,)
    if certificate is None:
        log.warning("web.redirect_port is not used: the page is not encrypted, there is nothing to send to")
        return (page,)
    redirect = Redirect(
        lambda: page.port, config.web.allowed_hosts, auth.request_rates, network=config.on_network
    )
    second = Server(
        redirect,
        config.web.host,
        config.web.redirect_port,
        max_connections=REDIRECTS,
        crowd=crowd,
        name="redirect",
        setting="web.redirect_port",
    )
    return page, second


def check_certificate(config: Config) -> None:
    """Raises `ConfigError` when the owner's own certificate cannot be used."""
    if config.access.certificate:
        Tls(lambda: (config.access.certificate, config.access.key)).context()


def _no_address(address: str) -> bool:
    return False


def _certificate(config: Config) -> Callable[[], tuple[str, str]] | None:
    if config.access.certificate:
        return lambda: (config.access.certificate, config.access.key)
    if not config.needs_login:
        return None
    from appliance.auth.certificate import DeviceCertificate  # slow to load, and only needed here

    return DeviceCertificate(config.state_dir).current
