"""The blurred preview: made of few blocks, and shown only while aiming."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from appliance.consent.preview import PIXELS, BlurredPreview, pixelate
from appliance.consent.session import Session
from appliance.errors import StateConflict
from appliance.handoff import Slot
from appliance.values import Frame, Image
from tests.fakes.consent import make_session
from tests.fakes.parts import frame, noise, picture


@pytest.fixture
def frames() -> Slot[Frame]:
    return Slot()


@pytest.fixture
def session() -> Session:
    return make_session("1")


def test_the_preview_is_refused_in_other_states(session: Session, frames: Slot[Frame]) -> None:
    frames.put(frame(1, consent_epoch=0))
    with pytest.raises(StateConflict, match="idle"):
        BlurredPreview(session, frames).picture()
    session.start("1", "operator")
    frames.put(frame(2, consent_epoch=1))
    with pytest.raises(StateConflict, match="live"):
        BlurredPreview(session, frames).picture()


def test_a_frame_of_an_older_preview_is_not_shown(
    session: Session, frames: Slot[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.consent.preview._WAIT_S", 0.01)
    session.start("1", "operator")
    session.stop("operator")
    session.start_preview("operator")
    assert BlurredPreview(session, frames).picture() is None
    frames.put(frame(1, consent_epoch=1))
    assert BlurredPreview(session, frames).picture() is None
    frames.put(frame(2, consent_epoch=2, image=noise(64, 48)))
    jpeg = BlurredPreview(session, frames).picture()
    assert jpeg is not None and jpeg.startswith(b"\xff\xd8")


@pytest.mark.parametrize("size", [(1280, 720), (480, 640), (1, 1), (2000, 1)])
def test_every_size_becomes_few_blocks(size: tuple[int, int]) -> None:
    made = pixelate(picture(*size, value=90))
    assert made.shape[1] == 640 and made.shape[0] >= 1


def test_fine_detail_is_removed() -> None:
    stripes: Image = np.zeros((720, 1280, 3), np.uint8)
    stripes[:, ::8] = 255  # a face at some distance has no coarser detail than this
    grey = cv2.cvtColor(pixelate(stripes), cv2.COLOR_BGR2GRAY)
    assert float(grey.std()) < 0.03 * float(stripes.std())
    assert PIXELS == 64
