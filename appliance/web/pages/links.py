"""Addresses of this device for other people's telephones: as text and as QR code."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import segno
from flask import request, url_for

from appliance.system.addresses import is_loopback
from appliance.web.site import site


def link_of(token: str) -> dict[str, str]:
    """The one-time link of a token and its QR code (SVG, as the address of an image)."""
    address = address_of(url_for("mine.page", token=token))
    return {"link": address, "qr": qr(address)}


def address_of(path: str) -> str:
    """A path of this device as others reach it.

    An operator on the device itself calls it by loopback, which is another device for everybody else: where
    others can reach it at all, the device's own name takes its place.
    """
    name, host = urlsplit(f"//{request.host}").hostname or "", request.host
    if is_loopback(name) and site().on_network:
        port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        host = f"{socket.gethostname().partition('.')[0].lower()}.local" + (f":{port}" if port else "")
    return f"{request.scheme}://{host}{path}"


def qr(text: str) -> str:
    """The QR code of a text as an image that needs no request of its own; black on white in any theme."""
    return str(segno.make(text, error="m").svg_data_uri(scale=4, dark="#000", light="#fff", xmldecl=False))
