"""Pictures and readings as they are sent: made once for all viewers."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

from appliance.reading_json import reading_json
from appliance.values import Picture, PictureVariant
from appliance.web.transport import websocket

BOUNDARY = "interview-grader-picture"
FIRST_BOUNDARY = f"--{BOUNDARY}\r\n".encode()


def frame_picture(picture: Picture, variant: PictureVariant) -> bytes:
    """A part of `multipart/x-mixed-replace`; `FIRST_BOUNDARY` goes before the first."""
    jpeg = picture.jpegs[variant]
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(jpeg)), **picture_headers(picture)}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    # The next boundary is sent with the picture: browsers show a part only when they see its end.
    return b"".join((head.encode(), b"\r\n", jpeg, b"\r\n", FIRST_BOUNDARY))


def frame_picture_message(picture: Picture, variant: PictureVariant, source: str) -> bytes:
    """A WebSocket message: length of the head (4 bytes, big-endian), the head (JSON), the JPEG.

    `source`: the camera backend.
    """
    head = json.dumps(
        {
            "frame": picture.frame,
            "captured_s": round(picture.captured, 4),
            "live": picture.live,
            "reading": reading_json(picture.reading, source) if picture.reading else None,
        },
        separators=(",", ":"),
    ).encode()
    return websocket.frame(b"".join((struct.pack(">I", len(head)), head, picture.jpegs[variant])))


def frame_reading(reading: dict[str, Any]) -> bytes:
    """A WebSocket message with a reading as JSON."""
    return websocket.frame(json.dumps(reading, separators=(",", ":")))


def picture_headers(picture: Picture) -> dict[str, str]:
    """Frame number, time of capture (Unix seconds), and whether it is live."""
    captured = time.time() - (time.monotonic() - picture.captured)
    return {
        "X-Frame-Number": str(picture.frame),
        "X-Timestamp": f"{captured:.6f}",
        "X-Live": str(int(picture.live)),
    }
