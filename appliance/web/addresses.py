"""Addresses of this device for phones of other people, as text and as QR code."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from flask import request, url_for

from appliance.system.addresses import is_loopback
from appliance.web.api.models import Link
from appliance.web.context import context


def personal_link(token: str) -> Link:
    """The personal link of a token and its QR code (SVG, as the address of an image)."""
    address = device_url(url_for("data_subject.data_subject_page", token=token))
    return Link(link=address, qr=qr_code(address))


def device_url(path: str) -> str:
    """The URL of a path of this device, as others reach it.

    An operator on the device itself may open the page by a loopback address, which others cannot use. If the
    network reaches the page, the device's own name replaces it.
    """
    name, host = urlsplit(f"//{request.host}").hostname or "", request.host
    if is_loopback(name) and context().network.reachable:
        port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        host = f"{socket.gethostname().partition('.')[0].lower()}.local" + (f":{port}" if port else "")
    return f"{request.scheme}://{host}{path}"


def qr_code(text: str) -> str:
    """The QR code of a text as an image that needs no further request; black on white in every theme."""
    import segno  # slow to load, and rarely needed

    return str(segno.make(text, error="m").svg_data_uri(scale=4, dark="#000", light="#fff", xmldecl=False))
