"""Which connections make room when there are too many."""

from __future__ import annotations

import logging

import pytest

from appliance.web.transport import admission
from appliance.web.transport.admission import OVERFLOW, Admission, Peer
from appliance.web.transport.wsgi import Connection


class Door:
    """Lets connections in and notes which are closed."""

    def __init__(self, *arguments: object, **more: object) -> None:
        self.admission = Admission(*arguments, **more)  # type: ignore[arg-type]
        self.aborted: list[Peer] = []

    def enter(self, address: str, *, role: str = "", busy: bool = False) -> Peer:
        peer = Peer(
            address, Connection(role=role), abort=lambda: self.aborted.append(peer), is_waiting=not busy
        )
        assert self.admission.enter(peer)
        return peer


def test_the_oldest_of_the_address_that_holds_the_most_makes_room() -> None:
    door = Door(4)
    alone = door.enter("192.0.2.1")
    first, second, third = (door.enter("192.0.2.2") for _ in range(3))
    newest = door.enter("192.0.2.3")
    assert door.aborted == [first] and not newest.connection.is_over_limit
    door.enter("192.0.2.4")
    assert door.aborted == [first, second]
    door.enter("192.0.2.5")
    assert door.aborted == [first, second, alone], "of addresses with one each, the oldest"
    assert third not in door.aborted


def test_an_address_makes_room_for_itself_at_its_own_limit() -> None:
    door = Door(8, 2)
    other = door.enter("192.0.2.1")
    first, _ = door.enter("192.0.2.2"), door.enter("192.0.2.2")
    door.enter("192.0.2.2")
    assert door.aborted == [first] and other not in door.aborted


def test_a_remote_ipv6_network_is_one_address() -> None:
    door = Door(8, 2)
    first, _ = door.enter("2001:db8::1"), door.enter("2001:db8::2")
    door.enter("2001:db8::3")
    door.enter("2001:db8:0:1::1")
    assert door.aborted == [first]


def test_an_exempt_address_has_only_the_limit_of_all_and_makes_room_last() -> None:
    door = Door(4, 1, lambda address: address == "192.0.2.9")
    for _ in range(3):
        door.enter("192.0.2.9")
    stranger = door.enter("192.0.2.1")
    assert door.aborted == []
    door.enter("192.0.2.2")
    assert door.aborted == [stranger]


def test_an_operator_and_who_makes_a_request_do_not_make_room() -> None:
    door = Door(2)
    busy, operator = door.enter("192.0.2.1", busy=True), door.enter("192.0.2.2", role="operator")
    newest = door.enter("192.0.2.3")
    assert newest.connection.is_over_limit and door.aborted == []
    door.admission.leave(busy)
    door.admission.leave(newest)
    assert not door.enter("192.0.2.3").connection.is_over_limit
    assert operator not in door.aborted


def test_a_viewer_between_two_requests_makes_room() -> None:
    door = Door(8, 4)
    viewers = [door.enter(f"192.0.2.{number // 4}", role="viewer") for number in range(8)]
    for each in viewers:
        door.admission.remember(each)
    operator = door.enter("192.0.2.200")
    assert door.aborted == viewers[:1] and not operator.connection.is_over_limit
    for number in range(4):
        door.enter(f"192.0.2.{number // 4}", role="viewer")
    assert operator not in door.aborted, "it has fewer connections than the viewers' addresses"


def test_who_does_not_take_an_answer_makes_room() -> None:
    door = Door(1)
    slow = door.enter("192.0.2.1", busy=True)
    slow.is_sending = True
    assert not door.enter("192.0.2.2").connection.is_over_limit and door.aborted == [slow]


def test_operators_over_the_limit_never_shut_out_the_next_one() -> None:
    door = Door(1)
    door.enter("192.0.2.1", busy=True)
    streams = []
    for _ in range(2 * OVERFLOW):
        streams.append(door.enter("192.0.2.2", role="operator", busy=True))
        door.admission.remember(streams[-1])
    assert door.aborted == streams[:OVERFLOW], "the oldest, so that their number has a limit"
    stranger = door.enter("192.0.2.3")
    assert stranger.connection.is_over_limit and stranger not in door.aborted


def test_the_address_of_an_operator_makes_room_last() -> None:
    door = Door(3)
    known = door.enter("192.0.2.1", role="operator")
    door.admission.remember(known)
    door.admission.leave(known)
    own = [door.enter("192.0.2.1") for _ in range(2)]
    assert door.admission.is_known(own[0])
    stranger = door.enter("192.0.2.2")
    door.enter("192.0.2.3")
    assert door.aborted == [stranger]


def test_those_over_the_limit_are_few() -> None:
    door = Door(1)
    door.enter("192.0.2.1", busy=True)
    crowded = [door.enter(f"192.0.2.{2 + number}") for number in range(OVERFLOW)]
    assert all(each.connection.is_over_limit for each in crowded) and door.aborted == []
    door.enter("192.0.2.200")
    assert door.aborted == crowded[:1]


def test_refusals_are_one_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(admission, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    door = Door(1)
    for _ in range(20):
        door.enter("192.0.2.1")
    now += 61
    door.enter("192.0.2.1")
    lines = [each.getMessage() for each in caplog.records]
    assert len(lines) == 2
    assert "19 refused" in lines[1] and "192.0.2.1" in lines[1]
