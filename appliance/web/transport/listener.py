"""The listening socket, with every way in which a port or an address cannot be had in one line."""

from __future__ import annotations

import errno
import socket

from appliance.errors import ConfigError
from appliance.web.transport.tls import Tls

_PORT_FAULTS = {
    errno.EADDRINUSE: "another program listens on this port already; stop it or choose another port",
    errno.EACCES: "this port needs a privilege; choose one above 1023",
}


def network_url(url: str) -> str:
    """The address of the page for others on the network, from the one for this device itself."""
    return url.replace("//localhost:", f"//{socket.gethostname().partition('.')[0].lower()}.local:")


def listen(host: str, port: int, tls: Tls | None = None, setting: str = "web.port") -> socket.socket:
    """A socket that clients may connect to; with TLS, a certificate comes with it. Raises `ConfigError`.

    `setting`: the one that a port is to be blamed on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno in _PORT_FAULTS:
            raise ConfigError(_PORT_FAULTS[error.errno], key=setting, value=port) from error
        raise ConfigError(f"cannot listen there: {error}", key="web.host", value=host) from error
    try:
        if tls is not None:
            tls.context()
    except ConfigError:
        listener.close()
        raise
    return listener
