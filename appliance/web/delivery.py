"""How many pictures a viewer gets, and how wide: what its link carries before pictures queue and get old.

A viewer acknowledges each picture that it shows. The time from sending to acknowledgement, less the round
trip of the link, is how long a picture took to get through. From it follow how many may be under way, and the
width. No sockets and no clock in here: every time is given, in monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from appliance.viewers import WIDTHS

FIRST_WIDTH = WIDTHS[0]
"""The first picture is small, because it may be a slow link; a fast one has the full width a moment later."""

READY_S = 0.05
"""How long it may take from a frame to its picture: a viewer with a rate is ready so much earlier."""

MOST_UNDER_WAY = 12
"""A round trip of 0.4 s still carries 30 pictures a second."""

_QUEUE_S = 0.3  # a picture that takes longer than this waited behind others: fewer under way
_SLOW_S = 0.2  # one picture alone takes longer than this: fewer than five a second, so narrower ones
_WIDER_S = 0.12  # the next width is taken if it is expected to stay below this
_FIRST_HOLD_S, _MOST_HOLD_S = 2.0, 32.0  # before pictures are wider again after they had to be narrower
_SAMPLES = 3  # acknowledgements at one width before it is widened again
_GROWTH = 1.5  # the bytes of a JPEG grow with this power of its width
_NO_ROUND_TRIP_S = 2.0  # a client that never says its round trip is believed to have none after this


class RateLimit:
    """Lets at most `fps` pictures a second pass, evenly; None: all of them."""

    def __init__(self, fps: float | None) -> None:
        self._interval_s = 1 / fps if fps else 0.0
        self._due = 0.0

    def allows(self, now: float) -> bool:
        """Whether a picture may be sent now."""
        return now >= self._due

    def sent(self, now: float) -> None:
        """A picture is being sent."""
        # Pictures come at the camera's times: one that came late must not delay all later ones.
        self._due = max(self._due + self._interval_s, now)


@dataclass(frozen=True)
class _UnderWay:
    frame: int
    sent: float
    number: int
    """Of the pictures under way when it was sent, itself included."""


class Delivery:
    """The pictures under way to one viewer, and the width of the next one."""

    def __init__(self, now: float, *, max_width: int | None = None, fps: float | None = None) -> None:
        """`max_width` in pixels and `fps`: what the viewer asks for at most."""
        self._limit, self._rate = max_width, RateLimit(fps)
        self._began = now
        self._source_width = 0
        self._under_way: deque[_UnderWay] = deque()
        self._window = 1
        self._was_full = False
        self._round_trip_s: float | None = None
        self._width = min(FIRST_WIDTH, max_width or FIRST_WIDTH)
        self._widths: list[int] = []
        self._changed = now
        self._times: deque[float] = deque(maxlen=_SAMPLES)
        self._hold_s = _FIRST_HOLD_S
        self._hold_until = now
        self._widened = now
        self._needed = 1  # acknowledgements; the first alone shows whether the link is a fast one

    @property
    def max_width(self) -> int | None:
        """The width that the next picture may have, in pixels; None: as wide as the frame."""
        return None if 0 < self._source_width <= self._width else self._width

    @property
    def under_way(self) -> int:
        """How many pictures were sent and not acknowledged."""
        return len(self._under_way)

    def waits_s(self, now: float) -> float:
        """For how long the oldest picture under way has not been acknowledged, in seconds; 0 without one."""
        return now - self._under_way[0].sent if self._under_way else 0.0

    def may_send(self, now: float) -> bool:
        """Whether the newest picture should be sent now."""
        if len(self._under_way) >= self._window:
            self._was_full = True
            return False
        return self._rate.allows(now)

    def sent(self, frame: int, source_width: int, now: float) -> None:
        """The picture of this frame is being sent; at full width it has `source_width` pixels, 0: unknown."""
        if source_width and source_width != self._source_width:
            self._source_width = source_width
            self._widths = [*(width for width in WIDTHS if width < self._widest), self._widest]
            self._width = max(
                (width for width in self._widths if width <= self._width), default=self._widths[0]
            )
        self._rate.sent(now)
        self._under_way.append(_UnderWay(frame, now, len(self._under_way) + 1))

    def set_round_trip(self, seconds: float) -> None:
        """The round trip of the link as the viewer measured it without pictures in the way."""
        self._round_trip_s = max(0.0, seconds)

    def shown(self, frame: int, now: float) -> None:
        """The viewer shows the picture of this frame, and no earlier one any more."""
        last = None
        while self._under_way and self._under_way[0].frame <= frame:
            last = self._under_way.popleft()
            if last.frame == frame:
                break  # a later one may have the same number, if the camera delivers no new frame
        was_full, self._was_full = self._was_full, False
        # What was sent before the last change tells about the state before it.
        if last is None or last.frame != frame or last.sent < self._changed or not self._knows_link(now):
            return
        took_s = max(0.0, now - last.sent - (self._round_trip_s or 0.0))
        alone_s = took_s / last.number  # had no other been under way
        self._times.append(alone_s)
        if alone_s > _SLOW_S:
            self._narrow(now, alone_s)
        elif took_s > _QUEUE_S:
            self._change(now, window=max(1, int(self._window * _QUEUE_S / took_s)))
        elif len(self._times) >= self._needed:
            self._widen(now)
        if was_full and took_s < _QUEUE_S / 2 and self._window < MOST_UNDER_WAY:
            self._window += 1

    @property
    def _widest(self) -> int:
        return min(self._source_width, self._limit or self._source_width)

    def _knows_link(self, now: float) -> bool:
        return self._round_trip_s is not None or now - self._began > _NO_ROUND_TRIP_S

    def _narrow(self, now: float, alone_s: float) -> None:
        narrower = [width for width in self._widths if width < self._width]
        if not narrower:
            if self._window > 1:
                self._change(now, window=1)
            return
        fitting = [width for width in narrower if self._expected_s(alone_s, width) < _SLOW_S]
        # A width that did not last is tried again later and later.
        failed = now - self._widened < 2 * self._hold_s
        self._hold_s = min(_MOST_HOLD_S, 2 * self._hold_s) if failed else _FIRST_HOLD_S
        self._hold_until = now + self._hold_s
        self._change(now, window=1, width=fitting[-1] if fitting else narrower[0])

    def _widen(self, now: float) -> None:
        if now < self._hold_until:
            return
        alone_s = max(self._times)
        wider = (width for width in self._widths if width > self._width)
        fitting = [width for width in wider if self._expected_s(alone_s, width) < _WIDER_S]
        if fitting:
            self._widened = now
            self._change(now, width=fitting[-1])

    def _expected_s(self, alone_s: float, width: int) -> float:
        return float(alone_s * (width / self._width) ** _GROWTH)

    def _change(self, now: float, *, window: int | None = None, width: int | None = None) -> None:
        self._window, self._width = window or self._window, width or self._width
        self._changed = now
        self._needed = _SAMPLES
        self._times.clear()
