"""The product with test doubles in its registry: `python -m tests.e2e.daemon.driver_doubles run ...`.

The doubles go through the same path as the product's own backends. Calls to them are appended to a
file, one word per line, so that a test can see their order across parts.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from appliance import cli, registry
from appliance.composition import appliance
from appliance.consent import session
from appliance.errors import CameraLost
from appliance.hardware import throttling
from appliance.inference.engines.tflite import TFLite
from appliance.media.video import Video
from appliance.ports import Discovery
from appliance.system import sd_notify
from appliance.system.resources import demo_clip
from appliance.values import Frame, LampState, Tensor
from tests.e2e.daemon.driver import Daemon

LIMIT = "TEST_WORKER_LIMIT_S"
"""Environment variable: maximum seconds for one step of any worker."""

AIM = "TEST_AIM_S"
"""Environment variable: maximum seconds of the preview."""

BOARD = "TEST_BOARD"
"""Environment variable: a folder instead of /sys; it is read often."""

SYNC = "TEST_SYNC_S"
"""Environment variable: seconds that one sync of the disk takes."""

FED = "TEST_FED"
"""Environment variable: a file that gets a line for each message to the service manager: when, what."""

GAP = "TEST_GAP_S"
"""Environment variable: seconds without running after which the operator must reconfirm the people."""

STARVE = "TEST_STARVE"
"""Environment variable: a file; once it exists, vision gets no processor for the seconds written in it."""

FPS = 20.0
MARK = 64
"""Side of the square in the upper left corner whose grey shows how often the camera was opened."""
OPENING = 1000
"""Frame numbers of the n-th opening begin at n times this."""


def grey_of(opening: int) -> int:
    """The mark of the n-th opening, counted from 1."""
    return 40 * opening % 256


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    record: str = Field(description="File to which every call is appended.")


class CameraSettings(_Settings):
    hangs_after: int = -1
    dies_after: int = -1


def note(record: str, word: str) -> None:
    """Write one line atomically."""
    with Path(record).open("a", encoding="ascii") as file:
        file.write(f"{word}\n")


class Living:
    """A camera that shows living people, as far as the product knows."""

    Settings = CameraSettings
    argument = "record"
    needs_consent = True

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        video = Video(demo_clip())
        self._pictures = [frame.image for frame, _ in zip(video, range(5), strict=False)]
        video.close()
        self._openings = self._frames = 0
        self._open = False

    @staticmethod
    def discover() -> Discovery:
        return Discovery(True, "a double")

    def missing(self) -> str | None:
        return None

    def open(self) -> None:
        note(self._settings.record, "open")
        self._openings += 1
        self._frames = 0
        self._open = True

    def read(self, timeout: float) -> Frame:
        if not self._open:
            raise CameraLost("not open")
        if self._frames == self._settings.hangs_after:
            note(self._settings.record, "hang")
            time.sleep(3600)
        if self._frames == self._settings.dies_after:
            raise RuntimeError("the driver went away")
        time.sleep(1 / FPS)
        image = self._pictures[self._frames % len(self._pictures)].copy()
        image[:MARK, :MARK] = grey_of(self._openings)
        frame = Frame(OPENING * self._openings + self._frames, time.monotonic(), image, self._frames / FPS)
        self._frames += 1
        return frame

    def close(self) -> None:
        if self._open:
            note(self._settings.record, "close")
        self._open = False

    def forget(self) -> None:
        """Do nothing: there is only this camera."""


class Calm(Living):
    """The same, but of something that needs no consent."""

    needs_consent = False


class EngineSettings(_Settings):
    hangs_after: int = -1


class Counting(TFLite):
    """The real engine, which records every inference."""

    Settings = EngineSettings

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        super().__init__(model)
        self._note, self._runs = settings, 0

    def run(self, tensor: Tensor) -> list[Tensor]:
        note(self._note.record, "inference")
        if (order := Path(os.environ.get(STARVE, "none"))).exists():
            seconds = float(order.read_text())
            order.unlink()
            starve(seconds)
        if self._runs == self._note.hangs_after:
            time.sleep(3600)
        self._runs += 1
        return super().run(np.asarray(tensor))


def starve(seconds: float) -> None:
    """Compute in this thread on a processor that 40 busy loops use for `seconds`."""
    core = {max(os.sched_getaffinity(0))}
    os.sched_setaffinity(0, core)
    spin = f"import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    for _ in range(40):  # in the same session: a kernel may divide the processors by session first
        subprocess.Popen([sys.executable, "-c", spin])
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    hashlib.pbkdf2_hmac(
        "sha256", b"", b"", 500_000
    )  # without the interpreter's lock, so that only vision waits


class Lamps:
    """Lamps that record how they are set; the camera lamp only when it changes."""

    Settings = _Settings
    present = True

    def __init__(self, settings: _Settings) -> None:
        self._record = settings.record
        self._lit = False

    def camera_on(self) -> None:
        if not self._lit:
            note(self._record, "lamp-on")
        self._lit = True

    def camera_off(self) -> None:
        if self._lit:
            note(self._record, "lamp-off")
        self._lit = False

    def dark(self) -> None:
        """Only the camera lamp is recorded."""

    def test(self, pause: Callable[[float], object]) -> None:
        """Do nothing: not recorded."""

    def show(self, state: LampState) -> None:
        """Do nothing: only the camera lamp is recorded."""

    def close(self) -> None:
        self.camera_off()


Noting = tuple[Daemon, Callable[[], list[str]]]
"""A daemon whose parts record their calls, and the calls so far."""


def noting(folder: Path) -> list[str]:
    """Arguments for a camera that shows living people, an engine and lamps, which record to one file."""
    record = folder / "record"
    record.touch()
    settings = (
        *("engine.backend=counting", f"engine.record={record}"),
        *("lamps.backend=recording", f"lamps.record={record}"),
    )
    return ["--camera", f"living:{record}", *(part for text in settings for part in ("--set", text))]


def _make_slow(seconds: float) -> None:
    """A worn card: each sync of a file takes this long, and so does the end of a record."""
    from appliance.records import Store

    sync, end = os.fsync, Store.end

    def slow_sync(descriptor: int) -> None:
        time.sleep(seconds)
        sync(descriptor)

    def slow_end(store: Store, id: str, ending: str = "stopped") -> None:
        time.sleep(seconds)
        end(store, id, ending)

    os.fsync, Store.end = slow_sync, slow_end  # type: ignore[assignment,method-assign]


def main() -> int:
    here = "tests.e2e.daemon.driver_doubles"
    registry.CAMERAS.update(living=f"{here}:Living", calm=f"{here}:Calm")
    registry.ENGINES.update(counting=f"{here}:Counting")
    registry.LAMPS.update(recording=f"{here}:Lamps")
    if LIMIT in os.environ:
        appliance.LIMITS_S = dict.fromkeys(appliance.LIMITS_S, float(os.environ[LIMIT]))
    if AIM in os.environ:
        session.PREVIEW_S = float(os.environ[AIM])
    if SYNC in os.environ:
        _make_slow(float(os.environ[SYNC]))
    if FED in os.environ:
        fed = Path(os.environ[FED])

        def send(message: str) -> None:
            with fed.open("a", encoding="ascii") as file:
                file.write(f"{time.monotonic()} {message.splitlines()[0]}\n")

        sd_notify._sender = lambda: send
    if GAP in os.environ:
        session.LONGEST_GAP_S = float(os.environ[GAP])
    if BOARD in os.environ:
        throttling.SYS, throttling.EVERY_S = Path(os.environ[BOARD]), 0.5
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
