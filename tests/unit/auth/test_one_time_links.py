"""One-time links and their guests: used once, ended by time, by the maker, and by too many others."""

from __future__ import annotations

import pytest

from appliance.auth import one_time_links
from appliance.auth.one_time_links import GUEST_S, LINK_S, OneTimeLinks


class Clock:
    """A clock that a test moves, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def links(clock: Clock) -> OneTimeLinks:
    return OneTimeLinks(clock)


def yes() -> bool:
    return True


@pytest.mark.parametrize(("page", "role"), [("camera", "camera"), ("webcam", "analyze")])
def test_a_link_works_once_and_makes_a_guest_of_its_page(links: OneTimeLinks, page: str, role: str) -> None:
    token = links.create(page, yes)
    assert links.find_page(token) == links.find_page(token) == page, "looking uses nothing up"
    used = links.redeem(token)
    assert used is not None and used[0] == page
    guest = links.find(used[1])
    assert guest is not None and (guest.page, guest.role) == (page, role)
    assert links.find_by_digest(guest.digest) == guest
    assert links.find_page(token) is None and links.redeem(token) is None
    assert links.find(token) is None, "the link is not the guest's secret"


def test_only_a_known_page_has_links(links: OneTimeLinks) -> None:
    token = links.create("camera", yes)
    assert links.find_page(token[:-1]) is None and links.redeem("") is None and links.find("x") is None
    assert links.find_page(token) == "camera"


def test_a_link_and_a_guest_end_with_time(links: OneTimeLinks, clock: Clock) -> None:
    late, token = links.create("camera", yes), links.create("camera", yes)
    clock.now += LINK_S - 1
    used = links.redeem(token)
    assert used is not None
    clock.now += 1
    assert links.find_page(late) is None and links.redeem(late) is None
    clock.now += GUEST_S - 2
    assert links.find(used[1]) is not None
    clock.now += 1
    assert links.find(used[1]) is None


def test_both_end_with_the_right_of_their_maker(links: OneTimeLinks) -> None:
    rights = [True]
    token, other = (links.create("camera", lambda: rights[0]) for _ in range(2))
    used = links.redeem(token)
    assert used is not None and links.find(used[1]) is not None
    rights[0] = False
    assert links.find(used[1]) is None and links.find_page(other) is None and links.redeem(other) is None


def test_many_links_end_the_oldest(links: OneTimeLinks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_time_links, "MOST", 3)
    tokens = [links.create("camera", yes) for _ in range(4)]
    assert [links.find_page(token) for token in tokens] == [None, "camera", "camera", "camera"]
