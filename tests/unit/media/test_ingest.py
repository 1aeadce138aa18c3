"""What connects a browser with the camera: the newest picture only, one sender, nothing while closed."""

from __future__ import annotations

import pytest

from appliance.errors import CameraLost, StateConflict
from appliance.media.ingest import Ingest


@pytest.fixture
def ingest() -> Ingest:
    return Ingest()


def ignore() -> None:
    pass


def test_nothing_is_kept_before_open_and_after_close(ingest: Ingest) -> None:
    sender = ingest.join("phone", ignore)
    sender.put(b"early", 0)
    sender.put(b"early", 1)
    ingest.open()
    with pytest.raises(CameraLost, match="sends no pictures"):
        ingest.take(0)
    sender.put(b"waits", sender.opening)
    before = sender.opening
    ingest.close()
    sender.put(b"late", before)
    assert sender.opening == 0
    ingest.open()
    sender.put(b"of the session before", before)
    with pytest.raises(CameraLost):
        ingest.take(0)


def test_the_newest_picture_replaces_one_that_waits(ingest: Ingest) -> None:
    changes: list[int] = []
    sender = ingest.join("phone", lambda: changes.append(sender.taken))
    ingest.open()
    for picture in (b"1", b"2", b"3"):
        sender.put(picture, sender.opening)
    assert ingest.take(0).jpeg == b"3" and sender.taken == 3
    assert changes == [0, 1, 2, 3], "opened, two replaced, one taken"
    for _ in range(2):
        ingest.close()
        ingest.forget()
    assert changes[4:] == [3, 3], "closed and forgotten, each once"


def test_without_a_browser_it_is_lost_with_the_last_reason(ingest: Ingest) -> None:
    assert "no phone or laptop" in (ingest.absence() or "")
    with pytest.raises(CameraLost, match="no phone or laptop"):
        ingest.open()
    sender = ingest.join("phone", ignore)
    assert ingest.absence() is None
    ingest.open()
    sender.leave("it sleeps")
    sender.leave()
    with pytest.raises(CameraLost, match="it sleeps"):
        ingest.take(5)
    assert ingest.absence() == "it sleeps"
    ingest.join("phone", ignore).leave()
    assert "closed" in (ingest.absence() or "")


def test_a_new_connection_of_the_same_browser_replaces_the_earlier(ingest: Ingest) -> None:
    told: list[str] = []
    first = ingest.join("phone", lambda: told.append("replaced"))
    ingest.open()
    first.put(b"waits", first.opening)
    second = ingest.join("phone", ignore)
    assert told == ["replaced"] * 2 and not first.is_current and second.is_current
    assert first.opening == 0 and second.opening == 1
    first.put(b"late", 1)
    first.leave()
    assert ingest.absence() is None, "the one that was replaced cannot end the other"
    second.put(b"new", second.opening)
    assert ingest.take(0).jpeg == b"new"


def test_another_browser_is_refused_unless_it_takes_over_while_no_one_has_agreed(ingest: Ingest) -> None:
    first = ingest.join("phone", ignore)
    with pytest.raises(StateConflict, match="already"):
        ingest.join("laptop", ignore)
    second = ingest.join("laptop", ignore, take_over=True)
    assert second.is_current and not first.is_current
    ingest.open()
    for is_gone in (False, True):
        if is_gone:
            second.leave()
        with pytest.raises(StateConflict, match="people agreed"):
            ingest.join("phone", ignore, take_over=True)
    ingest.close()
    ingest.forget()
    assert ingest.join("phone", ignore).is_current
