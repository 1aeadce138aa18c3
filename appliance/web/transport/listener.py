"""The listening socket; a port or an address that is unavailable is one line of explanation."""

from __future__ import annotations

import errno
import socket

from appliance.errors import ConfigError
from appliance.system.host_names import device_label
from appliance.web.transport.tls import ReloadingTls

BACKLOG = 128
"""A longer queue lets a crowd that connects again at once get in before the owner: measured with 1,024."""

UNACKNOWLEDGED_MS = 10_000
"""After which the kernel drops a client that acknowledges nothing."""

_PORT_FAULTS = {
    errno.EADDRINUSE: "another program listens on this port already; stop it or choose another port",
    errno.EACCES: "this port needs a privilege; choose one above 1023",
}


def network_url(url: str) -> str:
    """The URL of the page for others on the network, made of its URL on this device."""
    return url.replace("//localhost:", f"//{device_label()}.local:")


def open_listener(
    host: str,
    port: int,
    tls: ReloadingTls | None = None,
    setting: str = "web.port",
    *,
    send_buffer_bytes: int,
) -> socket.socket:
    """A non-blocking socket to which clients may connect; checks the certificate of `tls`.

    Its connections inherit the size of the send buffer. `setting`: the configuration key that an error of the
    port names. Raises `ConfigError`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(
            (host, port), family=family, dualstack_ipv6=host == "::", backlog=BACKLOG
        )
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
    listener.setblocking(False)
    # A small buffer: what is in it is old when a viewer who paused reads on.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What was sent before the end also has a limit, which no program can watch after it has closed.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return listener
