"""Looking for a newer release: in a folder, at an address, and what is no place."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from device import looking
from device.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A device on which release 1.2.0 runs."""
    places = Places(tmp_path)
    (places.opt / "releases/1.2.0").mkdir(parents=True)
    (places.opt / "releases/1.2.0/release.json").write_text("{}")
    places.current.symlink_to("releases/1.2.0")
    places.config.mkdir(parents=True)
    return places


def look_at(places: Places, place: str) -> None:
    (places.config / "update-from").write_text(f"{place}\n")


def bundle(version: str) -> str:
    return f"interview-grader-{version}-aarch64-py3.13.bundle"


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        (["1.1.0", "1.2.0"], "1.2.0 is the newest release at"),
        (["1.3.0", "1.10.0", "1.2.0"], "release 1.10.0 is at"),
        ([], "no bundle is named at"),
    ],
)
def test_the_newest_in_a_folder_is_named(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str], versions: list[str], words: str
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "holiday.jpg").touch()
    for version in versions:
        (stick / bundle(version)).touch()
    look_at(places, str(stick))
    assert looking.main(places) == 0
    assert words in capsys.readouterr().out


@pytest.fixture
def answer() -> Iterator[tuple[str, list[bytes]]]:
    """An address, and what it answers."""
    said = [b""]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said[0])

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/newest", said
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (bundle("2.0.0").encode() + b"\n", "release 2.0.0 is at"),
        (b"interview-grader-2.0.0;reboot-aarch64-py3.13.bundle", "no bundle is named at"),
        (b"\xff" * 5000, "no bundle is named at"),
    ],
)
def test_an_address_names_it_and_is_believed_no_further(
    places: Places, answer: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch, said: bytes, words: str
) -> None:
    address, answers = answer
    answers[0] = said
    monkeypatch.setattr(looking, "_place", lambda path: address)  # it takes https only, see below
    assert words in looking.look(places)


@pytest.mark.parametrize("place", ["http://example.org/newest", "relative", ""])
def test_what_is_no_place_is_refused(places: Places, capsys: pytest.CaptureFixture[str], place: str) -> None:
    look_at(places, place)
    assert looking.main(places) == 2
    assert "expected a folder or an https address" in capsys.readouterr().err


def test_a_place_that_is_gone_is_a_fault(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    look_at(places, "/nowhere/at/all")
    assert looking.main(places) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("place", ["home/pi/releases", "tmp/releases"])
def test_a_place_that_is_hidden_from_it_is_named(
    places: Places, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (places.root / place).mkdir(parents=True)
    (places.root / place / bundle("9.0.0")).touch()
    look_at(places, str(places.root / place))
    assert looking.main(places) == 2
    assert "hidden from the service that looks" in capsys.readouterr().err
