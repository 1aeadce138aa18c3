"""Who is watching, up to the limit."""

from __future__ import annotations

import pytest

from appliance.errors import TooManyViewers
from appliance.viewers import Viewers, snap_width
from tests.fakes.parts import BARE, OVERLAY, in_threads, watching


def test_there_are_no_viewers_at_first() -> None:
    viewers = Viewers(2)
    assert viewers.count == 0 and viewers.wanted_variants() == []


def test_only_wanted_variants_are_reported() -> None:
    viewers = Viewers(8)
    with watching(viewers, OVERLAY), watching(viewers, OVERLAY):
        assert viewers.wanted_variants() == [OVERLAY]
        with watching(viewers, BARE):
            assert set(viewers.wanted_variants()) == {OVERLAY, BARE}
            assert viewers.count == 3
        assert viewers.wanted_variants() == [OVERLAY]
    assert viewers.wanted_variants() == []


def test_a_variant_that_no_viewer_takes_now_is_not_wanted() -> None:
    viewers, ready = Viewers(8), False

    def slow() -> bool:
        return ready

    viewers.join(BARE, is_ready=slow)
    assert viewers.count == 1 and viewers.wanted_variants() == []
    ready = True
    assert viewers.wanted_variants() == [BARE]
    ready = False
    with watching(viewers, BARE):
        assert viewers.wanted_variants() == [BARE]
    viewers.change(BARE, OVERLAY, slow)
    ready = True
    assert viewers.wanted_variants() == [OVERLAY]
    viewers.leave(OVERLAY, is_ready=slow)
    assert viewers.count == 0 and viewers.wanted_variants() == []


def test_a_viewer_beyond_the_limit_is_refused() -> None:
    viewers = Viewers(2)
    viewers.join(OVERLAY)
    viewers.join(BARE)
    with pytest.raises(TooManyViewers, match=r"the viewer limit \(2\) is reached"):
        viewers.join(OVERLAY)
    assert viewers.count == 2
    viewers.leave(BARE)
    viewers.join(OVERLAY)


def test_an_operator_is_never_refused_and_takes_no_seat() -> None:
    viewers = Viewers(1)
    for _ in range(3):
        viewers.join(OVERLAY, is_operator=True)
    viewers.join(OVERLAY)
    with pytest.raises(TooManyViewers):
        viewers.join(OVERLAY)
    assert viewers.count == 4
    viewers.leave(OVERLAY, is_operator=True)
    with pytest.raises(TooManyViewers):
        viewers.join(OVERLAY)


def test_a_token_leaves_one_seat_to_others() -> None:
    viewers = Viewers(3)
    for _ in range(2):
        viewers.join(OVERLAY, "wall")
    with pytest.raises(TooManyViewers, match="the token wall"):
        viewers.join(OVERLAY, "wall")
    viewers.join(OVERLAY, "kiosk")
    viewers.leave(OVERLAY, "kiosk")
    viewers.leave(OVERLAY, "wall")
    viewers.join(OVERLAY, "wall")
    viewers.join(BARE)


def test_the_limit_holds_under_threads() -> None:
    viewers = Viewers(3)
    most: list[int] = []

    def come_and_go() -> None:
        for _ in range(500):
            try:
                with watching(viewers, OVERLAY):
                    most.append(viewers.count)
            except TooManyViewers:
                pass

    in_threads(*[come_and_go] * 6)
    assert max(most) <= 3
    assert viewers.count == 0


@pytest.mark.parametrize(
    ("wanted", "width"),
    [(1, 320), (320, 320), (321, 640), (960, 960), (1280, 1280), (1281, None)],
)
def test_a_width_snaps_to_the_next_one_that_need_not_be_enlarged(wanted: int, width: int | None) -> None:
    assert snap_width(wanted) == width
