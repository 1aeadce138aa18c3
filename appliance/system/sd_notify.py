"""Status messages to systemd (sd_notify). Does nothing without a service manager."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Callable
from typing import cast

log = logging.getLogger("appliance.notify")


class Notifier:
    """Sends the state of the process to the service manager; without one every call does nothing.

    Uses systemd-python if that is installed, else the standard library.
    """

    def __init__(self) -> None:
        self._notify = _sender()

    def ready(self, status: str) -> None:
        """Report that start-up is finished; `status` is one line for `systemctl status`."""
        self._send(f"READY=1\nSTATUS={' '.join(status.splitlines())}")

    def alive(self) -> None:
        """Feed the watchdog: every worker has made progress."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the stop has begun."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for `seconds` more to stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def _send(self, message: str) -> None:
        try:
            self._notify(message)
        except OSError as error:  # a missing socket is no reason to stop
            log.debug("cannot notify the service manager: %s", error)


def _sender() -> Callable[[str], object]:
    try:
        return cast("Callable[[str], object]", importlib.import_module("systemd.daemon").notify)
    except ImportError:
        return _notify


def _notify(message: str) -> None:
    """Send one datagram to $NOTIFY_SOCKET, a path, or an abstract name after an @. Raises `OSError`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), address)
