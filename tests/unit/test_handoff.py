"""The slot: newest wins, readers keep their own cursors, no reader misses an item."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import SlotClosed
from appliance.handoff import RightOfWay, Slot
from tests.fakes.parts import WITHIN_S, in_threads

STEPS = st.lists(st.sampled_from(["put", "clear", "take a", "take b"]), max_size=40)


@settings(deadline=None)
@given(STEPS)
def test_each_reader_gets_the_newest_once_and_knows_what_it_skipped(steps: list[str]) -> None:
    slot: Slot[int] = Slot()
    last, held = 0, False
    cursor = {"a": 0, "b": 0}
    seen = {"a": 0, "b": 0}
    for step in steps:
        if step == "put":
            last, held = last + 1, True
            slot.put(last)
        elif step == "clear":
            held = False
            slot.clear()
        else:
            reader = step[-1]
            before = cursor[reader]
            item, cursor[reader] = slot.take(before, timeout=0)
            assert item == (last if held and last > before else None)
            if item is None:
                assert cursor[reader] == before
            else:
                seen[reader] += 1 + cursor[reader] - before - 1
                assert seen[reader] == item == cursor[reader], "taken and skipped items add up to all items"
    assert slot.number == last
    assert slot.newest() == (last if held else None)


@pytest.mark.parametrize("readers", [1, 3])
def test_under_threads_items_rise_none_repeats_and_the_last_arrives(readers: int) -> None:
    slot: Slot[int] = Slot()
    count = 3000

    def write() -> None:
        for item in range(1, count + 1):
            slot.put(item)

    def read() -> None:
        after = taken = skipped = 0
        while after < count:
            item, number = slot.take(after, WITHIN_S)
            assert item is not None and item == number > after
            taken, skipped, after = taken + 1, skipped + number - after - 1, number
        assert taken + skipped == count

    in_threads(*[read] * readers, write)


def test_no_wake_up_is_lost() -> None:
    there, back = Slot[int](), Slot[int]()
    rounds = 2000

    def ping() -> None:
        for turn in range(1, rounds + 1):
            there.put(turn)
            assert back.take(turn - 1, WITHIN_S) == (turn, turn)

    def pong() -> None:
        for turn in range(1, rounds + 1):
            assert there.take(turn - 1, WITHIN_S) == (turn, turn)
            back.put(turn)

    in_threads(ping, pong)


@pytest.mark.parametrize("event", ["put", "close"])
def test_every_waiting_reader_wakes(event: str) -> None:
    # The scheduler decides whether all three already wait; within this many rounds they do.
    slots = [Slot[str]() for _ in range(300)]
    together = threading.Barrier(4)

    def wait() -> None:
        for slot in slots:
            together.wait(WITHIN_S)
            if event == "put":
                assert slot.take(0, timeout=60) == ("item", 1)
            else:
                with pytest.raises(SlotClosed):
                    slot.take(0, timeout=60)

    def wake() -> None:
        for slot in slots:
            together.wait(WITHIN_S)
            slot.put("item") if event == "put" else slot.close()

    in_threads(wait, wait, wait, wake)


def test_close_may_be_called_twice_and_is_final() -> None:
    slot: Slot[int] = Slot()
    slot.close()
    slot.close()
    with pytest.raises(SlotClosed):
        slot.take(0, timeout=60)


def test_a_closed_slot_is_empty_and_accepts_nothing() -> None:
    slot: Slot[str] = Slot()
    slot.put("kept")
    slot.close()
    slot.put("late")
    assert slot.newest() is None
    with pytest.raises(SlotClosed):
        slot.take(0, timeout=0)


def test_a_timeout_returns_none_and_keeps_the_cursor() -> None:
    slot: Slot[str] = Slot()
    slot.put("old")
    began = time.monotonic()
    assert slot.take(after=1, timeout=0.05) == (None, 1)
    assert time.monotonic() - began >= 0.05


def test_a_reader_that_starts_now_gets_only_later_items() -> None:
    slot: Slot[str] = Slot()
    slot.put("before")
    start = slot.number
    assert slot.take(start, timeout=0) == (None, start)
    slot.put("after")
    assert slot.take(start, timeout=0) == ("after", start + 1)


def test_a_subscriber_is_called_at_each_change_until_it_leaves() -> None:
    slot: Slot[int] = Slot()
    changes: list[int] = []
    leave = slot.subscribe(lambda: changes.append(1))
    slot.put(1)
    assert slot.newest_numbered() == (1, 1)
    slot.clear()
    assert slot.newest_numbered() == (None, 1) and not slot.is_closed
    slot.close()
    assert slot.is_closed and len(changes) == 3
    leave()
    slot.close()
    assert len(changes) == 3


def test_another_thread_begins_only_while_the_first_is_not_at_work() -> None:
    way = RightOfWay()
    assert way.wait(0)
    with way:
        assert not way.wait(0)
    assert way.wait(0)
    with pytest.raises(ValueError), way:
        raise ValueError
    assert way.wait(0), "a fault ends the work too"
