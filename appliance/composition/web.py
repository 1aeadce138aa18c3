"""Builds what faces the network: authentication and the web servers."""

from __future__ import annotations

import logging

from appliance.auth.service import AuthService, make_auth_service
from appliance.composition.certificate import choose_certificate
from appliance.configuration.load import Config
from appliance.system.addresses import is_loopback
from appliance.web.pages.pictures import MAX_REQUEST_BYTES
from appliance.web.proxies import TrustedProxies
from appliance.web.redirect import HttpsRedirect
from appliance.web.transport.server import Server
from appliance.web.transport.wsgi import WsgiApp

log = logging.getLogger("appliance.build")

CONNECTIONS, REDIRECT_CONNECTIONS = 128, 32
"""At a time, in addition to two for each viewer; and to the redirect port."""


def make_auth(config: Config) -> AuthService:
    """Authentication; raises `StoreError` if its secrets cannot be written."""
    return make_auth_service(
        config.state_dir,
        login=config.needs_login,
        loopback_is_operator=config.loopback_is_operator,
        idle_minutes=config.access.idle_minutes,
        longest_days=config.access.longest_days,
        requests_per_s=config.access.requests_per_s,
    )


def make_servers(
    config: Config, app: WsgiApp, auth: AuthService, proxies: TrustedProxies
) -> tuple[Server, ...]:
    """The web server, with TLS if the network can reach it, then the server that redirects HTTP to it."""
    certificate = choose_certificate(config)

    def exempt(address: str) -> bool:
        # Everyone behind a proxy shares its address.
        return proxies.is_trusted(address) or (config.loopback_is_operator and is_loopback(address))

    page = Server(
        app,
        config.web.host,
        config.web.port,
        # A picture and a WebSocket for each viewer, and room for short requests.
        max_connections=2 * config.web.max_viewers + CONNECTIONS,
        per_address=config.access.connections_per_address,
        exempt=exempt,
        tls=certificate,
        max_large_body_bytes=MAX_REQUEST_BYTES,
    )
    if not config.web.redirect_port:
        return (page,)
    if certificate is None:
        log.warning("web.redirect_port is ignored: the page does not use HTTPS")
        return (page,)
    redirect = HttpsRedirect(
        lambda: page.port, config.web.allowed_hosts, auth.request_rates, network=config.on_network
    )
    redirector = Server(
        redirect,
        config.web.host,
        config.web.redirect_port,
        max_connections=REDIRECT_CONNECTIONS,
        threads=1,
        per_address=config.access.connections_per_address,
        exempt=exempt,
        name="redirect",
        setting="web.redirect_port",
    )
    return page, redirector
