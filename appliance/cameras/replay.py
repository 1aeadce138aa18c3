"""Plays a video, a folder of pictures or a single picture as a camera."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from appliance.cameras.rotation import RotatableSettings
from appliance.errors import CameraEnded, CameraLost, ConfigError, PictureError
from appliance.media.inputs import (
    empty_folder_error,
    is_picture,
    list_folder,
    open_input,
    open_video,
    read_still_of,
)
from appliance.media.shrink import frame_of, shrunk_frame
from appliance.ports import CameraDefaults, Discovery
from appliance.system.resources import demo_clip
from appliance.values import Frame

if TYPE_CHECKING:
    from appliance.media.animation import Animation
    from appliance.media.video import Video

log = logging.getLogger("appliance.camera")

_PICTURES_FPS = 10.0
_LONGEST_S = 1.0  # between frames; a slower clip would count as a lost camera

_Timed = tuple[Frame, float]
"""A frame without number, and its time in seconds since the first one of this round."""


class _PlaybackSettings(RotatableSettings):
    loop: bool = Field(True, description="Start over at the end; false: end the run there.")
    realtime: bool = Field(True, description="Play in real time; false: as fast as frames are read.")
    fps: float = Field(
        0.0,
        ge=0,
        le=240,
        description="Frames per second, at least 2; 0: the clip's own times, 10 for pictures.",
    )
    needs_agreement: bool = Field(
        False, description="Treat the clip like a camera that shows people: closed until they agree."
    )

    @field_validator("fps")
    @classmethod
    def _not_too_slow(cls, fps: float) -> float:
        if 0 < fps < 2:
            raise ValueError("expected 0 or at least 2; a slower camera would count as lost")
        return fps


class ReplaySettings(_PlaybackSettings):
    """Settings of `camera.backend = "replay"`."""

    path: str = Field(description="Video, picture, or folder of pictures to play.")


class DemoSettings(_PlaybackSettings):
    """Settings of `camera.backend = "demo"`, the clip that ships with the project."""


class Replay(CameraDefaults):
    """Plays files. A file removed while it plays counts as a lost camera; once restored, it plays again."""

    Settings: type[_PlaybackSettings] = ReplaySettings
    argument = "path"
    is_video = True

    def __init__(self, settings: ReplaySettings) -> None:
        self.path = Path(settings.path)
        self.needs_consent = settings.needs_agreement
        self._settings = settings
        self._source: Iterator[_Timed] | None = None
        self._close_source: Callable[[], None] = _nothing
        self._number = 0
        self._step_s = 0.0
        self._began, self._time_s = 0.0, 0.0
        self._last_s: float | None = None
        self._damaged: set[Path] = set()
        try:
            self._start()
            self.close()
        except CameraLost as error:
            raise ConfigError(str(error), key="camera.path", value=settings.path) from error

    @staticmethod
    def discover() -> Discovery:
        """Find none: a file is never chosen automatically."""
        return Discovery(False, "plays a given file")

    def missing(self) -> str | None:
        """Why the file is missing: a removed file counts as an unplugged camera."""
        try:
            return None if self.path.exists() else f"{self.path} is missing; restore the file"
        except OSError as error:
            return _unreadable(self.path, error)

    def open(self) -> None:
        """Start at the first frame."""
        self._restart()
        self._began, self._time_s = -math.inf, -self._step_s  # the clock starts with the first frame

    def read(self, timeout: float) -> Frame:
        """The next frame; in real time, waits until it is due."""
        if self._source is None:
            raise CameraLost(f"{self.path} is not open")
        if gone := self.missing():
            raise CameraLost(gone)
        made, time_s = self._next_frame()
        # The first frame of each round follows the last one at the clip's rate.
        step = self._step_s if self._last_s is None else time_s - self._last_s
        self._last_s = time_s
        self._time_s += min(step, _LONGEST_S)
        if self._settings.realtime:
            self._wait_turn(timeout)
        frame = replace(made, number=self._number, captured=time.monotonic(), time_s=self._time_s)
        self._number += 1
        return frame

    def forget(self) -> None:
        """Do nothing: it always plays the same file."""

    def close(self) -> None:
        """Close the file."""
        self._close_source()
        self._source, self._close_source = None, _nothing

    def _restart(self) -> None:
        self.close()
        if gone := self.missing():
            raise CameraLost(gone)
        self._start()

    def _start(self) -> None:
        """Open the source; raises `CameraLost`."""
        with _as_camera_lost(self.path):
            self._source, rate, self._close_source = self._open()
        if self._settings.fps:
            rate = self._settings.fps
            self._source = _at_rate((frame for frame, _ in self._source), rate)
        self._step_s = min(1 / rate, _LONGEST_S)
        self._last_s = None

    def _next_frame(self) -> _Timed:
        shown = self._take()
        if shown is not None:
            return shown
        if not self._settings.loop:
            raise CameraEnded(f"{self.path} has ended")
        self._restart()
        shown = self._take()
        if shown is None:
            raise CameraLost(f"{self.path} has no more frames; restore the file")
        return shown

    def _take(self) -> _Timed | None:
        assert self._source is not None
        with _as_camera_lost(self.path):
            return next(self._source, None)

    def _open(self) -> tuple[Iterator[_Timed], float, Callable[[], None]]:
        """The frames of the file or folder, their rate, and a function that closes it."""
        path = self.path
        if path.is_dir():
            listing = list_folder(path)
            if not listing.files:
                raise empty_folder_error(path, listing)
            return _at_rate(self._pictures(listing.files), _PICTURES_FPS), _PICTURES_FPS, _nothing
        if path.is_file() and is_picture(path):
            return _at_rate([_still_frame(path)], _PICTURES_FPS), _PICTURES_FPS, _nothing
        with ExitStack() as stack:
            video = open_video(stack.enter_context(open_input(path)), str(path), live=True)
            stack.callback(video.close)
            return self._frames(video), video.rate, stack.pop_all().close

    def _frames(self, video: Video | Animation) -> Iterator[_Timed]:
        """The frames of a video; a damaged one still plays, with one warning."""
        for frame in video:
            if frame.size and frame.full_size:
                yield shrunk_frame(frame.image, frame.size, frame.full_size), frame.time_s
            else:
                yield frame_of(frame.image, frame.jpeg), frame.time_s
        if video.defects:
            self._warn_once(self.path, f"{video.name}: {video.defects}")

    def _pictures(self, paths: list[Path]) -> Iterator[Frame]:
        """The pictures of a folder; skips a damaged one with one warning."""
        for path in paths:
            try:
                yield _still_frame(path)
            except PictureError as error:
                self._warn_once(path, f"{error}; the picture is skipped")

    def _warn_once(self, path: Path, words: str) -> None:
        log.log(logging.DEBUG if path in self._damaged else logging.WARNING, "%s", words)
        self._damaged.add(path)

    def _wait_turn(self, timeout: float) -> None:
        wait = self._began + self._time_s - time.monotonic()
        if wait < -1.0:  # far behind: continue from now instead of rushing
            self._began = time.monotonic() - self._time_s
        if wait > 0:
            time.sleep(min(wait, timeout))


class Demo(Replay):
    """The clip that ships with the project: two public-domain portraits, not people in the room."""

    Settings = DemoSettings
    argument = ""

    def __init__(self, settings: DemoSettings) -> None:
        super().__init__(ReplaySettings(path=str(demo_clip()), **settings.model_dump()))

    @staticmethod
    def discover() -> Discovery:
        """Always found, because it ships with the project."""
        return Discovery(True, "the included clip")


@contextmanager
def _as_camera_lost(path: Path) -> Iterator[None]:
    """Turn file errors into `CameraLost`."""
    try:
        yield
    except PictureError as error:
        raise CameraLost(str(error)) from error
    except OSError as error:
        raise CameraLost(_unreadable(path, error)) from error


def _unreadable(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be read ({error.strerror or error}); expected a video, a picture or a folder of them"
    )


def _still_frame(path: Path) -> Frame:
    return frame_of(read_still_of(path).image)


def _at_rate(frames: Iterable[Frame], fps: float) -> Iterator[_Timed]:
    return ((frame, number / fps) for number, frame in enumerate(frames))


def _nothing() -> None:
    """Do nothing: no source is open."""
