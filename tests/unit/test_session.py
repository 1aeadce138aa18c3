"""Idle or live: nobody is looked at without having agreed."""

from __future__ import annotations

import threading

import pytest

from appliance.errors import StateConflict
from appliance.session import Session
from tests.doubles.parts import WITHIN_S, in_threads


def test_living_people_are_asked_first() -> None:
    session = make_session("3", needs_agreement=True)
    assert (session.state, session.agreement) == ("idle", 0)


def test_a_film_shows_nobody_living() -> None:
    session = make_session("3", needs_agreement=False)
    assert (session.state, session.agreement) == ("live", 1)


@pytest.mark.parametrize("version", ["2", "", "3 "])
def test_another_version_of_the_notice_is_no_agreement(version: str) -> None:
    session = make_session("3", needs_agreement=True)
    with pytest.raises(StateConflict) as caught:
        session.start(version)
    assert repr(version) in str(caught.value) and "'3'" in str(caught.value)
    assert session.state == "idle"


def test_every_agreement_has_a_number_of_its_own() -> None:
    session = make_session("3", needs_agreement=True)
    numbers = []
    for _ in range(3):
        session.start("3", "operator")
        session.start("3", "operator")  # once more while live: the same agreement goes on
        numbers.append(session.agreement)
        session.stop("operator")
        session.stop("operator")
        assert (session.state, session.agreement) == ("idle", 0)
    assert numbers == [1, 2, 3]


def test_a_film_that_was_stopped_begins_a_new_agreement() -> None:
    session = make_session("3", needs_agreement=False)
    session.stop("operator")
    session.start("3", "operator")
    assert session.agreement == 2


def test_an_agreement_wakes_who_waits_for_it() -> None:
    session = make_session("3", needs_agreement=True)
    waiting = threading.Barrier(2)
    woken: list[bool] = []

    def wait() -> None:
        waiting.wait(WITHIN_S)
        woken.append(session.wait_live(60))

    def agree() -> None:
        waiting.wait(WITHIN_S)
        session.start("3", "operator")

    in_threads(wait, agree)
    assert woken == [True]


def test_waiting_ends_without_an_agreement() -> None:
    assert not make_session("3", needs_agreement=True).wait_live(0.01)
