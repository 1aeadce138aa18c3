"""Inputs from a folder or a pipe: by content, in natural order, nothing skipped silently."""

from __future__ import annotations

import contextlib
import io
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import PictureError
from appliance.media import inputs
from appliance.media.inputs import (
    HIDDEN,
    LINK,
    OTHER,
    SPECIAL,
    SUBFOLDER,
    list_folder,
    list_inputs,
    natural_key,
    open_input,
)
from tests.fakes.files import encoded
from tests.fakes.parts import picture

PNG = encoded(picture(8, 8), ".png")


def made(folder: Path, *names: str, content: bytes = PNG) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names(folder: Path, *, recursive: bool = False) -> list[str]:
    return [str(path.relative_to(folder)) for path in list_folder(folder, recursive=recursive).files]


# --- folders ---


def test_natural_order() -> None:
    wanted = ["a", "A1", "a1.1", "a2", "a10", "a10b", "b", "frame2.jpg", "frame10.jpg", "Frame11.jpg", "é"]
    mixed = random.Random(3).sample(wanted, len(wanted))
    assert sorted(mixed, key=natural_key) == wanted


def test_files_are_chosen_by_content_and_the_rest_is_counted(tmp_path: Path, demo_clip: Path) -> None:
    made(tmp_path, "10.png", "9.dat", "noname")
    made(tmp_path, "clip", content=demo_clip.read_bytes()[:5000])
    made(tmp_path, "notes.txt", "paper.pdf", "empty", content=b"")
    made(tmp_path, "broken.jpg", content=b"no picture, but it should be one")
    made(tmp_path, ".hidden.png", "below/a.png", "other/b.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = list_folder(tmp_path)
    assert [path.name for path in found.files] == ["9.dat", "10.png", "broken.jpg", "clip", "noname"]
    assert found.skipped == Counter({HIDDEN: 1, OTHER: 3, SPECIAL: 1, SUBFOLDER: 2})
    assert found.failed == []


def test_subfolders_are_read_on_request(tmp_path: Path) -> None:
    made(tmp_path, "a/2.png", "a/10.png", "a/b/c.png", "a.png", "z.png", ".git/x.png")
    assert names(tmp_path, recursive=True) == ["a/2.png", "a/10.png", "a/b/c.png", "a.png", "z.png"]
    assert names(tmp_path) == ["a.png", "z.png"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    made(tmp_path, "set/a/1.png", "other/2.png")
    outside, tmp_path = tmp_path / "other", tmp_path / "set"
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "out").symlink_to(outside)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "again.png").symlink_to(tmp_path / "a" / "1.png")
    found = list_folder(tmp_path, recursive=True)
    assert [str(path.relative_to(tmp_path)) for path in found.files] == ["a/1.png", "again.png", "self"]
    assert found.skipped == Counter({LINK: 2})
    assert list_inputs([tmp_path / "out"]).files == [tmp_path / "out" / "2.png"], "but a given one is"
    with pytest.raises(PictureError, match="self: cannot be read"), open_input(tmp_path / "self"):
        pass


def test_a_folder_without_inputs_fails(tmp_path: Path) -> None:
    made(tmp_path, "in/a.png", "notes.txt", content=b"x")
    found = list_inputs([tmp_path])
    (error,) = found.failed
    assert str(tmp_path) in str(error) and "--recursive" in str(error) and "1 neither" in str(error)
    assert found.files == []


def test_names_that_the_system_refuses_fail() -> None:
    long = Path("x" * 300 + ".jpg")
    assert list_inputs([long]).files == [long]
    with pytest.raises(PictureError, match="File name too long"), open_input(long):
        pass


def test_a_folder_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "a/1.png", "b/2.png")
    listed = Path.iterdir

    def refused(path: Path) -> Iterator[Path]:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refused)  # root may read everything
    found = list_inputs([tmp_path], recursive=True)
    assert [path.name for path in found.files] == ["2.png"]
    assert "Permission denied" in str(found.failed[0])


# --- files and pipes ---


def test_a_regular_file_is_opened_directly(tmp_path: Path) -> None:
    made(tmp_path, "2024-11-30T10:30:00.png")
    with open_input(tmp_path / "2024-11-30T10:30:00.png") as file:
        assert file.read() == PNG


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "missing"])
def test_an_empty_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        made(tmp_path, "a.png", content=content)
    with pytest.raises(PictureError, match=r"a\.png: .*expected"), open_input(tmp_path / "a.png"):
        pass


class Piped:
    """A named pipe that is written to in the background."""

    def __init__(self, folder: Path, content: bytes) -> None:
        self.path = folder / "pipe"
        os.mkfifo(self.path)
        self._thread = threading.Thread(target=self._write, args=(content,))
        self._thread.start()

    def _write(self, content: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.path.write_bytes(content)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("more", [0, 3 << 20], ids=["small", "larger than the memory for it"])
def test_a_pipe_is_buffered_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    monkeypatch.setattr(inputs, "_IN_MEMORY_BYTES", 1 << 20)
    pipe = Piped(tmp_path, PNG + bytes(more))
    with open_input(pipe.path) as file:
        assert isinstance(file, io.BytesIO) == (more == 0)
        assert file.seekable() and file.read() == PNG + bytes(more)
        if more:
            assert os.readlink(f"/proc/self/fd/{file.fileno()}").endswith("(deleted)"), "it has no name"
    pipe.join()


def test_a_pipe_of_neither_format_is_refused_immediately(tmp_path: Path) -> None:
    pipe = Piped(tmp_path, b"words " * 100_000)
    with pytest.raises(PictureError, match="neither a picture nor a video"), open_input(pipe.path):
        pass
    pipe.join()


def test_a_device_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("a camera would be switched on"))
    with pytest.raises(PictureError, match="/dev/zero: is a device; expected"), open_input(Path("/dev/zero")):
        pass


def test_an_endless_pipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_MOST_BYTES", 2 << 20)
    pipe = Piped(tmp_path, PNG + bytes(5 << 20))
    with pytest.raises(PictureError, match="save it as a file"), open_input(pipe.path):
        pass
    pipe.join()
