"""One viewer of `/ws/pictures`, without a socket, and the message that it gets."""

from __future__ import annotations

import json
import struct

import pytest
from websockets.frames import Close, CloseCode
from websockets.protocol import Protocol, Side, State

from appliance.reading_json import reading_json
from appliance.values import Picture, PictureVariant
from appliance.web.framing import frame_picture_message
from appliance.web.picture_viewer import SILENT_S, PictureViewer
from tests.fakes.clock import Clock
from tests.fakes.parts import face, frame, person, reading, scores

SMALL, FULL = PictureVariant(overlay=False, max_width=320), PictureVariant(overlay=False)


def picture(frame: int, *variants: PictureVariant) -> Picture:
    return Picture(frame, 99.5, 1, True, dict.fromkeys(variants, b"jpeg"), None, 1280)


def test_a_viewer_gets_the_next_picture_once_it_shows_the_last() -> None:
    clock = Clock()
    viewer = PictureViewer(width=None, fps=None, clock=clock)
    assert viewer.variant == SMALL
    assert not viewer.accepts(picture(1, FULL)), "not encoded in its width yet"
    assert viewer.accepts(picture(1, SMALL))
    viewer.sent(picture(1, SMALL))
    assert not viewer.accepts(picture(2, SMALL))
    clock.now += 0.01
    assert viewer.hear('{"shown": 1, "round_trip_ms": 2}') is None
    assert viewer.variant == FULL
    assert viewer.accepts(picture(2, FULL))


def test_a_viewer_who_acknowledges_nothing_is_silent_after_a_while() -> None:
    clock = Clock()
    viewer = PictureViewer(width=None, fps=None, clock=clock)
    clock.now += 100
    assert not viewer.is_silent, "it has had no picture"
    viewer.sent(picture(1, SMALL))
    clock.now += SILENT_S - 1
    viewer.hear('{"clock_ms": 1}')
    assert not viewer.is_silent
    clock.now += 2
    assert viewer.is_silent
    viewer.hear('{"shown": 1}')
    assert not viewer.is_silent


def test_no_viewer_needs_boxes_drawn_in() -> None:
    for width in (None, 100, 640, 5000):
        viewer = PictureViewer(width=width, fps=None)
        assert not viewer.variant.overlay
        viewer.sent(picture(1, viewer.variant))
        viewer.hear('{"shown": 1, "round_trip_ms": 0}')
        assert not viewer.variant.overlay


def test_a_question_for_the_clock_gets_it() -> None:
    viewer = PictureViewer(width=None, fps=None, clock=Clock())
    answer = viewer.hear('{"clock_ms": 12.25}')
    assert answer is not None
    assert json.loads(answer) == {"clock_ms": 12.25, "now_s": 1000.0}


@pytest.mark.parametrize("message", ["", b"\xff\x00", "\U0001f600" * 100, '{"shown": 1.5}', "{" * 4000])
def test_a_message_that_is_not_understood_has_a_reason_that_fits_a_close(message: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"/api/openapi\.json") as refused:
        PictureViewer(width=None, fps=None).hear(message)
    assert len(Close(CloseCode.POLICY_VIOLATION, str(refused.value)).serialize()) <= 125


def test_a_message_has_head_and_jpeg_and_the_reading_of_the_picture() -> None:
    found = reading(frame(7), person(3, face(2, 3, 10), scores(happy=1.0)))
    shown = Picture(found.frame.number, 12.34567, 1, True, {SMALL: b"\xff\xd8jpeg"}, found, 1280)
    client = Protocol(Side.CLIENT, state=State.OPEN)
    client.receive_data(frame_picture_message(shown, SMALL, "usb"))
    (event,) = client.events_received()
    data = bytes(event.data)
    (length,) = struct.unpack(">I", data[:4])
    assert data[4 + length :] == b"\xff\xd8jpeg"
    head = json.loads(data[4 : 4 + length])
    assert head == {
        "frame": found.frame.number,
        "captured_s": 12.3457,
        "live": True,
        "reading": reading_json(found, "usb"),
    }
