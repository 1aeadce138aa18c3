"""The promises of every camera, checked for every backend in the registry; then what is special to each."""

from __future__ import annotations

import errno
import importlib
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import ValidationError

from appliance import registry
from appliance.cameras import usb
from appliance.cameras.browser import Browser
from appliance.errors import BackendMissing, CameraEnded, CameraLost, ConfigError
from appliance.media.jpeg import ALWAYS_DAMAGED
from appliance.ports import Camera
from appliance.values import Frame, Image
from appliance.web.app import create_app
from appliance.web.transport.server import Server
from tests import machine
from tests.fakes.browser_camera import browser_camera
from tests.fakes.files import encoded
from tests.fakes.network_cameras import Mjpeg, mjpeg_sender, rtsp_sender
from tests.fakes.scene import Scene
from tests.fakes.videos import moving, video
from tests.fakes.web import make_context, served
from tests.vendor_stubs import gstreamer
from tests.vendor_stubs.capture import Sockets, VideoCaptures, wants

TIMEOUT_S = 0.3
SLACK_S = 2.0
DOUBLES = Path(__file__).resolve().parents[1] / "vendor_stubs"


@dataclass
class Bench:
    """A camera, and the means to unplug it."""

    camera: Camera
    lives: bool = False
    first: Callable[[], Image] | None = None
    pull: Callable[[], None] | None = None
    put_back: Callable[[], None] | None = None
    scene: Scene | None = None

    def read(self, count: int) -> list[Frame]:
        return [self.camera.read(5.0) for _ in range(count)]


Maker = Callable[["Workshop"], Bench]


@dataclass
class Workshop:
    """What a bench is built from."""

    folder: Path
    clip: Path
    patch: pytest.MonkeyPatch
    after: ExitStack


def made(backend: str, **settings: Any) -> Camera:
    kind = registry.load("camera", backend)
    camera: Camera = kind(kind.Settings(**settings))
    return camera


def replay_bench(camera: Camera, path: Path, first: Callable[[], Image]) -> Bench:
    aside = path.with_name("taken away")
    return Bench(
        camera, first=first, pull=lambda: path.rename(aside), put_back=lambda: aside.rename(path) and None
    )


def clip_picture(path: Path) -> Image:
    capture = cv2.VideoCapture(str(path))
    done, image = capture.read()
    capture.release()
    assert done
    return np.asarray(image, np.uint8)


def replay_video(shop: Workshop) -> Bench:
    path = shop.folder / "clip.mp4"
    path.symlink_to(shop.clip)
    return replay_bench(made("replay", path=str(path), realtime=False), path, lambda: clip_picture(shop.clip))


def replay_folder(shop: Workshop) -> Bench:
    path = shop.folder / "pictures"
    path.mkdir()
    for number in range(3):
        (path / f"{number}.png").write_bytes(encoded(Scene().picture(number), ".png"))
    return replay_bench(made("replay", path=str(path), realtime=False), path, lambda: Scene().picture(0))


def replay_picture(shop: Workshop) -> Bench:
    path = shop.folder / "one.png"
    path.write_bytes(encoded(Scene().picture(0), ".png"))
    return replay_bench(made("replay", path=str(path), realtime=False), path, lambda: Scene().picture(0))


def demo(shop: Workshop) -> Bench:
    path = shop.folder / "demo.mp4"
    path.symlink_to(shop.clip)
    shop.patch.setattr("appliance.cameras.replay.demo_clip", lambda: path)
    return replay_bench(made("demo", realtime=False), path, lambda: clip_picture(shop.clip))


def scene_bench(camera: Camera, scene: Scene, first: Image) -> Bench:
    def plug(there: bool) -> None:
        scene.plugged = there

    return Bench(
        camera,
        lives=True,
        first=lambda: first,
        pull=lambda: plug(False),
        put_back=lambda: plug(True),
        scene=scene,
    )


def picamera2_double(patch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in, newly imported in place of the real package."""
    patch.syspath_prepend(DOUBLES)
    for name in ("picamera2", "libcamera"):
        patch.setitem(sys.modules, name, None)  # so that it is restored
        patch.delitem(sys.modules, name)
    return importlib.import_module("picamera2")


def csi(shop: Workshop) -> Bench:
    scene = picamera2_double(shop.patch).scene
    return scene_bench(made("csi", width=320, height=240), scene, scene.picture(0, 320, 240))


def usb_double(shop: Workshop) -> Bench:
    scene, device = Scene(), shop.folder / "video0"
    device.touch()
    shop.patch.setattr(cv2, "VideoCapture", VideoCaptures(scene, device))
    shop.patch.setattr(usb, "list_device_nodes", lambda: [device] if scene.plugged else [])
    shop.patch.setattr(usb, "query_device", partial(usb_answer, scene, device))
    return scene_bench(made("usb", width=320, height=240), scene, scene.picture(0, 320, 240))


def usb_raw_double(shop: Workshop) -> Bench:
    bench = usb_double(shop)
    bench.camera = made("usb", width=320, height=240, fourcc="YUYV")
    return bench


def usb_answer(scene: Scene, device: Path, asked: Path) -> usb.Device:
    if asked != device or not (scene.plugged and device.exists()):
        raise CameraLost(f"{asked} is missing")
    return usb.Device(asked, "A camera", "usb-1")


def jetson(shop: Workshop) -> Bench:
    source = shop.after.enter_context(gstreamer.sending(shop.patch))
    return Bench(
        made("jetson", source=source.words),
        lives=True,
        first=source.first,
        pull=source.stop,
        put_back=source.start,
    )


def stream_mjpeg(shop: Workshop) -> Bench:
    sender = shop.after.enter_context(mjpeg_sender(Mjpeg(pause_s=0.01)))
    camera = made("stream", url=sender.url)
    first = partial(Scene().picture, 0, 320, 240)
    return Bench(camera, lives=True, first=first, pull=sender.stop, put_back=sender.start)


def stream_rtsp(shop: Workshop) -> Bench:
    sender = shop.after.enter_context(rtsp_sender())
    camera = made("stream", url=sender.url)
    return Bench(camera, lives=True, first=sender.first, pull=sender.stop, put_back=sender.start)


def browser(shop: Workshop) -> Bench:
    """A browser that sends over a real WebSocket to a real server, in a session that has begun."""
    camera = cast(Browser, made("browser"))
    app = create_app(make_context(needs_consent=False, ingest=camera.ingest))
    server = shop.after.enter_context(served(Server(app, "127.0.0.1", 0, max_connections=8)))
    sender = shop.after.enter_context(browser_camera(f"ws://127.0.0.1:{server.port}/ws/camera"))

    def pull() -> None:
        sender.stop()
        wait_until(lambda: camera.missing() is not None)

    first = partial(Scene().picture, 0, 320, 240)
    return Bench(camera, lives=True, first=first, pull=pull, put_back=sender.start)


def wait_until(happened: Callable[[], bool], limit_s: float = 15.0) -> None:
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s"
        time.sleep(0.01)


def csi_device(shop: Workshop) -> Bench:
    pytest.importorskip("picamera2", reason="picamera2 is not installed")
    kind = registry.load("camera", "csi")
    if not kind.discover().found:
        pytest.skip("no camera on the CSI port")
    return Bench(made("csi"), lives=True)


def usb_device(shop: Workshop) -> Bench:
    if not usb.find_devices()[0]:
        pytest.skip("no camera among /dev/video*")
    return Bench(made("usb"), lives=True)


BENCHES: dict[str, tuple[str, Maker]] = {
    "replay-video": ("replay", replay_video),
    "replay-folder": ("replay", replay_folder),
    "replay-picture": ("replay", replay_picture),
    "demo": ("demo", demo),
    "csi-double": ("csi", csi),
    "usb-double": ("usb", usb_double),
    "usb-raw-double": ("usb", usb_raw_double),
    "jetson-other-source": ("jetson", jetson),
    "stream-mjpeg": ("stream", stream_mjpeg),
    "stream-rtsp": ("stream", stream_rtsp),
    "browser": ("browser", browser),
    "csi-device": ("csi", csi_device),
    "usb-device": ("usb", usb_device),
}
AT_HAND = [name for name in BENCHES if not name.endswith("-device")]
"""Benches whose camera a test can unplug."""


@pytest.fixture
def shop(tmp_path: Path, demo_clip: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    with ExitStack() as after:
        yield Workshop(tmp_path, demo_clip, monkeypatch, after)


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, shop: Workshop) -> Iterator[Bench]:
    _, maker = BENCHES[request.param]
    built = maker(shop)
    shop.after.callback(built.camera.close)
    yield built


at_hand = pytest.mark.parametrize("bench", AT_HAND, indirect=True)


def test_every_camera_in_the_registry_has_a_bench() -> None:
    assert {backend for backend, _ in BENCHES.values()} == set(registry.CAMERAS)


# --- the promises ---


def test_close_before_open_and_twice(bench: Bench) -> None:
    bench.camera.close()
    bench.camera.close()
    bench.camera.open()
    bench.camera.close()
    bench.camera.close()


def test_numbers_and_stamps_rise(bench: Bench) -> None:
    before = time.monotonic()
    bench.camera.open()
    frames = bench.read(7)
    for earlier, later in itertools.pairwise(frames):
        assert later.number == earlier.number + 1
        assert later.captured > earlier.captured
        assert later.time_s > earlier.time_s
    assert before <= frames[0].captured and frames[-1].captured <= time.monotonic()


def test_pictures_are_read_only_in_colour_and_of_one_size(bench: Bench) -> None:
    bench.camera.open()
    frames = bench.read(3)
    assert {frame.image.shape for frame in frames} == {(frames[0].height, frames[0].width, 3)}
    for frame in frames:
        assert frame.image.dtype == np.uint8 and not frame.image.flags.writeable


@at_hand
def test_channels_are_blue_green_red(bench: Bench) -> None:
    assert bench.first is not None
    expected = bench.first()
    bench.camera.open()
    (frame,) = bench.read(1)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 3


def test_a_kept_frame_does_not_change(bench: Bench) -> None:
    bench.camera.open()
    (kept,) = bench.read(1)
    copy = kept.image.copy()
    bench.read(6)
    assert np.array_equal(kept.image, copy)


@pytest.mark.parametrize("bench", [name for name in AT_HAND if name != "replay-picture"], indirect=True)
def test_each_picture_is_a_new_one(bench: Bench) -> None:
    bench.camera.open()
    assert all(not np.array_equal(a.image, b.image) for a, b in itertools.pairwise(bench.read(3)))


def test_a_camera_that_shows_living_people_needs_their_consent(bench: Bench) -> None:
    assert bench.camera.needs_consent is bench.lives


def test_before_open_and_after_close_there_is_nothing_to_read(bench: Bench) -> None:
    with pytest.raises(CameraLost):
        bench.camera.read(TIMEOUT_S)
    bench.camera.open()
    bench.camera.close()
    with pytest.raises(CameraLost):
        bench.camera.read(TIMEOUT_S)


@pytest.mark.parametrize("closed", [True, False], ids=["closed before", "opened twice"])
def test_open_works_again_and_numbers_continue(bench: Bench, closed: bool) -> None:
    bench.camera.open()
    before = bench.read(3)
    if closed:
        bench.camera.close()
    bench.camera.open()
    after = bench.read(2)
    assert after[0].number > before[-1].number and after[0].captured > before[-1].captured


@at_hand
def test_time_starts_at_zero_with_each_open(bench: Bench) -> None:
    for _ in range(2):
        before = time.monotonic()
        bench.camera.open()
        first = bench.read(10)[0]
        bench.camera.close()
        assert first.time_s <= first.captured - before, "time since this opening, not an earlier one"


@at_hand
def test_unplugging_means_a_lost_camera_within_the_timeout(bench: Bench) -> None:
    assert bench.pull is not None and bench.put_back is not None
    bench.camera.open()
    last = bench.read(2)[-1]
    bench.pull()
    began = time.monotonic()
    with pytest.raises(CameraLost) as lost:
        while time.monotonic() - began < TIMEOUT_S + SLACK_S:
            bench.camera.read(TIMEOUT_S)  # what was on its way arrives
    assert time.monotonic() - began < 2 * TIMEOUT_S + SLACK_S
    assert len(str(lost.value)) > 10
    bench.camera.close()
    with pytest.raises(CameraLost):
        bench.camera.open()
    bench.camera.close()
    bench.put_back()
    bench.camera.open()
    assert bench.read(1)[0].number > last.number


@pytest.mark.parametrize("bench", ["csi-double", "usb-double"], indirect=True)
def test_a_camera_that_stops_delivering_counts_as_lost_within_the_timeout(bench: Bench) -> None:
    assert bench.scene is not None
    bench.camera.open()
    bench.read(2)
    bench.scene.delivers = False
    began = time.monotonic()
    with pytest.raises(CameraLost, match="delivers no frames"):
        bench.camera.read(TIMEOUT_S)
    assert time.monotonic() - began < TIMEOUT_S + SLACK_S
    bench.scene.delivers = True
    bench.camera.open()
    bench.read(1)


@pytest.mark.parametrize("bench", ["csi-double", "usb-double"], indirect=True)
def test_a_camera_that_another_program_uses_is_lost_until_it_is_free(bench: Bench) -> None:
    assert bench.scene is not None
    bench.scene.busy = True
    with pytest.raises(CameraLost):
        bench.camera.open()
    bench.scene.busy = False
    bench.camera.open()
    bench.read(1)


# Whether these sources exist is unknown until they are opened.
UNKNOWN = ("jetson-other-source", "stream-mjpeg", "stream-rtsp")


@pytest.mark.parametrize("bench", [name for name in AT_HAND if name not in UNKNOWN], indirect=True)
def test_a_missing_device_is_reported_without_opening_it(bench: Bench) -> None:
    assert bench.pull is not None and bench.put_back is not None
    assert bench.camera.missing() is None
    bench.pull()
    assert bench.camera.missing()
    bench.put_back()
    assert bench.camera.missing() is None
    if bench.scene:
        assert (bench.scene.started, bench.scene.open) == (0, 0)
    bench.camera.open()
    bench.read(1)
    assert bench.camera.missing() is None, "while it is open, too"
    bench.read(1)


@at_hand
def test_nothing_is_held_after_close(bench: Bench) -> None:
    def held() -> int:
        return len(os.listdir("/proc/self/fd")) + (bench.scene.open if bench.scene else 0)

    before = held()
    for _ in range(5):
        bench.camera.open()
        bench.read(2)
        bench.camera.open()
        bench.camera.close()
    # A source in this process notices a moment later that no one is listening.
    deadline = time.monotonic() + 5
    while held() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held() == before


@pytest.mark.parametrize("bench", ["csi-double", "usb-double"], indirect=True)
def test_looking_for_it_starts_nothing(bench: Bench) -> None:
    assert bench.scene is not None and bench.pull is not None
    kind = type(bench.camera)
    found = kind.discover()  # type: ignore[attr-defined]
    assert found.found and found.why
    bench.pull()
    found = kind.discover()  # type: ignore[attr-defined]
    assert not found.found and found.why
    assert (bench.scene.started, bench.scene.open) == (0, 0)


# --- files ---


def test_a_folder_is_played_in_the_order_of_its_names(shop: Workshop) -> None:
    camera = replay_folder(shop).camera
    camera.open()
    for number in (0, 1, 2, 0, 1):
        assert np.array_equal(camera.read(1.0).image, Scene().picture(number))
    camera.close()


@pytest.mark.parametrize("kind", ["picture", "folder", "video"])
def test_a_clip_that_is_not_looped_ends(shop: Workshop, kind: str) -> None:
    if kind == "video":
        path, frames = shop.folder / "short.avi", 5
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
        for number in range(frames):
            writer.write(Scene().picture(number))
        writer.release()
    else:
        bench = replay_picture(shop) if kind == "picture" else replay_folder(shop)
        path, frames = bench.camera.path, 1 if kind == "picture" else 3  # type: ignore[attr-defined]
    camera = made("replay", path=str(path), realtime=False, loop=False)
    camera.open()
    for number in range(frames):
        assert camera.read(1.0).number == number
    for _ in range(2):
        with pytest.raises(CameraEnded, match=str(path)):
            camera.read(1.0)
    camera.open()
    assert camera.read(1.0).number == frames, "it starts over when opened again"
    camera.close()


@pytest.mark.parametrize(("settings", "rate"), [({}, 30), ({"fps": 10}, 10)])
def test_time_in_a_video_follows_its_rate(shop: Workshop, settings: dict[str, Any], rate: float) -> None:
    camera = made("demo", realtime=False, **settings)
    camera.open()
    assert [camera.read(1.0).time_s for _ in range(4)] == pytest.approx([n / rate for n in range(4)])
    camera.close()


@pytest.mark.parametrize("fps", [50, 100])
def test_in_real_time_frames_come_no_faster_than_their_rate(shop: Workshop, fps: int) -> None:
    path = replay_folder(shop).camera.path  # type: ignore[attr-defined]
    camera = made("replay", path=str(path), fps=fps)
    camera.open()
    began = camera.read(1.0).captured
    for _ in range(10):
        last = camera.read(1.0).captured
    assert last - began >= 9.5 / fps
    camera.close()


def test_a_looped_video_keeps_its_own_times(shop: Workshop) -> None:
    times = [0, 0.02, 0.04, 0.34, 0.36]
    path = video(shop.folder / "vfr.mp4", moving(5), times=times, rate=50)
    camera = made("replay", path=str(path))
    camera.open()
    frames = [camera.read(1.0) for _ in range(10)]
    camera.close()
    again = [0.38 + each for each in times]
    assert [frame.time_s for frame in frames] == pytest.approx([*times, *again], abs=0.002)
    for frame in frames:
        assert frame.captured - frames[0].captured >= frame.time_s - 0.005, "not before it is due"


def test_a_configured_rate_overrides_the_videos_times(shop: Workshop) -> None:
    path = video(shop.folder / "vfr.mp4", moving(4), times=[0, 0.02, 0.5, 0.52], rate=50)
    camera = made("replay", path=str(path), fps=100, realtime=False)
    camera.open()
    assert [camera.read(1.0).time_s for _ in range(6)] == pytest.approx([n / 100 for n in range(6)])
    camera.close()


@pytest.mark.parametrize("times", [[0, 2, 4], [0, 30, 60]])
def test_a_very_slow_video_plays_one_frame_a_second(shop: Workshop, times: list[float]) -> None:
    path = video(shop.folder / "slow.mkv", moving(3), times=times)
    camera = made("replay", path=str(path), realtime=False)
    camera.open()
    assert [camera.read(1.0).time_s for _ in range(3)] == [0, 1, 2]
    camera.close()


def test_a_damaged_video_continues_with_one_warning(shop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(1)
    images = [image + noise.integers(0, 20, image.shape, np.uint8) for image in moving(40)]
    data = video(shop.folder / "whole.mp4", images, key_every=10).read_bytes()
    path, at = shop.folder / "hole.mp4", len(data) // 2
    path.write_bytes(data[:at] + bytes(4000) + data[at + 4000 :])
    camera = made("replay", path=str(path), realtime=False)
    camera.open()
    frames = [camera.read(1.0) for _ in range(100)]
    assert len({frame.image.shape for frame in frames}) == 1
    camera.close()
    (reported,) = caplog.records
    assert reported.levelname == "WARNING"
    assert re.search(
        r"hole\.mp4: \d+ of 40 frames are lost because of damage; the decoder reported: ",
        reported.getMessage(),
    )


def test_an_animated_picture_plays_at_its_own_times(shop: Workshop) -> None:
    first, *others = [Pillow.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    path = shop.folder / "moving.gif"
    first.save(path, save_all=True, append_images=others, duration=[200, 400, 400])
    camera = made("replay", path=str(path), realtime=False)
    camera.open()
    frames = [camera.read(1.0) for _ in range(5)]
    assert [frame.time_s for frame in frames[:3]] == pytest.approx([0, 0.2, 0.6])
    assert [int(frame.image[0, 0].argmax()) for frame in frames] == [2, 1, 0, 2, 1]
    camera.close()


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("missing.mp4", None, "No such file"),
        ("text.mp4", b"hello\n" * 99, "neither a picture nor a video"),
        ("empty.mp4", b"", "is empty"),
        ("text.jpg", b"hello", "neither a picture nor a video"),
        ("folder", ..., "no pictures"),
    ],
)
def test_an_unplayable_file_is_a_configuration_error(
    shop: Workshop, name: str, content: Any, named: str
) -> None:
    path = shop.folder / name
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=named) as caught:
        made("replay", path=str(path))
    assert caught.value.key == "camera.path" and caught.value.value == str(path)


def test_a_broken_picture_in_a_folder_is_skipped_with_one_line(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    camera = replay_folder(shop).camera
    (shop.folder / "pictures" / "1.png").write_bytes(b"spoilt")
    camera.open()
    for number in (0, 2, 0, 2):
        assert np.array_equal(camera.read(1.0).image, Scene().picture(number))
    camera.close()
    (reported,) = caplog.records
    assert reported.levelname == "WARNING" and "1.png" in reported.getMessage()


def test_a_folder_with_only_broken_pictures_is_a_lost_camera(shop: Workshop) -> None:
    camera = replay_folder(shop).camera
    for path in (shop.folder / "pictures").iterdir():
        path.write_bytes(b"spoilt")
    camera.open()
    with pytest.raises(CameraLost, match="no more frames"):
        camera.read(1.0)
    camera.close()


def closed(*_: object) -> Any:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("call", ["iterdir", "is_dir", "open"])
def test_an_unreadable_folder_or_file_is_a_configuration_error(shop: Workshop, call: str) -> None:
    bench = replay_picture(shop) if call == "open" else replay_folder(shop)
    path = str(bench.camera.path)  # type: ignore[attr-defined]
    shop.patch.setattr(Path, call, closed)
    with pytest.raises(ConfigError, match=r"[Pp]ermission denied") as caught:
        made("replay", path=path)
    assert caught.value.key == "camera.path" and caught.value.value == path


@pytest.mark.parametrize("call", ["exists", "iterdir"])
def test_a_system_error_while_playing_is_a_lost_camera(shop: Workshop, call: str) -> None:
    camera = replay_folder(shop).camera
    camera.open()
    with shop.patch.context() as patch:
        patch.setattr(Path, call, closed)
        with pytest.raises(CameraLost, match="Permission denied"):
            for _ in range(4):
                camera.read(1.0)
        with pytest.raises(CameraLost, match="Permission denied"):
            camera.open()
    camera.open()
    camera.close()


@pytest.mark.parametrize("fps", [0.1, 1.9])
def test_a_rate_so_slow_that_it_would_count_as_lost_is_refused(fps: float) -> None:
    for backend in ("demo", "usb", "csi"):
        with pytest.raises(ValidationError, match="2"):
            registry.load("camera", backend).Settings(fps=fps)


def test_a_video_can_be_treated_like_living_people(shop: Workshop) -> None:
    assert made("demo", needs_agreement=True).needs_consent
    assert not registry.load("camera", "replay").discover().found, "a file is never selected automatically"
    assert registry.load("camera", "demo").discover().found


# --- csi ---


def test_csi_requests_size_rate_and_flip(shop: Workshop) -> None:
    library = picamera2_double(shop.patch)
    camera = made("csi", width=640, height=480, fps=25, vflip=True)
    camera.open()
    (configuration,) = [camera._camera.configuration]  # type: ignore[attr-defined]
    assert configuration["main"] == {"size": (640, 480), "format": "RGB888"}
    assert configuration["controls"] == {"FrameRate": 25}
    assert (configuration["transform"].hflip, configuration["transform"].vflip) == (0, 1)
    camera.close()
    assert library.scene.open == 0


def test_csi_releases_every_buffer(shop: Workshop) -> None:
    camera = csi(shop).camera
    camera.open()
    for _ in range(20):
        camera.read(TIMEOUT_S)
    camera.close()


@pytest.mark.parametrize("index", [1, 7])
def test_csi_names_a_missing_index(shop: Workshop, index: int) -> None:
    picamera2_double(shop.patch)
    camera = made("csi", index=index)
    with pytest.raises(CameraLost, match=rf"camera\.index = {index}.*1 camera"):
        camera.open()


def test_csi_ignores_a_webcam_that_libcamera_lists(shop: Workshop) -> None:
    library = picamera2_double(shop.patch)
    library.listed.append({"Model": "HD Webcam", "Id": "/base/scb/pcie@7d500000/usb@0,0-1.2:1.0-046d:0825"})
    kind = registry.load("camera", "csi")
    assert kind.discover().why == "imx708"
    camera = made("csi", index=0)
    camera.open()
    assert camera._camera.camera_num == 1, "the first one that is not a webcam, as in rpicam-hello"
    camera.close()
    library.scene.plugged = False
    assert not kind.discover().found


def test_csi_names_the_missing_package(shop: Workshop) -> None:
    shop.patch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(BackendMissing, match="sudo apt install python3-picamera2"):
        made("csi")
    found = registry.load("camera", "csi").discover()
    assert not found.found and "picamera2" in found.why


@pytest.mark.parametrize("fault", [ValueError("numpy.dtype size changed"), RuntimeError("no pipeline")])
def test_csi_with_a_package_that_cannot_be_imported_is_missing(shop: Workshop, fault: Exception) -> None:
    (shop.folder / "picamera2.py").write_text(f"raise {fault!r}\n")
    shop.patch.syspath_prepend(shop.folder)
    shop.patch.delitem(sys.modules, "picamera2", raising=False)
    with pytest.raises(BackendMissing, match=str(fault)):
        made("csi")
    found = registry.load("camera", "csi").discover()
    assert not found.found and str(fault) in found.why


def test_csi_whose_cameras_cannot_be_listed_is_lost(shop: Workshop) -> None:
    library = picamera2_double(shop.patch)
    camera = made("csi")

    def broken() -> list[dict[str, Any]]:
        raise RuntimeError("cannot acquire the media device")

    shop.patch.setattr(library.Picamera2, "global_camera_info", staticmethod(broken))
    found = registry.load("camera", "csi").discover()
    assert not found.found and "cannot acquire" in found.why
    assert "cannot acquire" in (camera.missing() or "")
    with pytest.raises(CameraLost, match="cannot acquire"):
        camera.open()


def test_csi_that_vanishes_while_opening_is_lost(shop: Workshop) -> None:
    library = picamera2_double(shop.patch)
    listed = [[{"Model": "imx708", "Id": "/base/imx708"}], []]
    shop.patch.setattr(library.Picamera2, "global_camera_info", staticmethod(lambda: listed.pop(0)))
    with pytest.raises(CameraLost, match="camera 0"):
        made("csi").open()


def test_csi_never_switches_cameras_during_a_consent(shop: Workshop) -> None:
    library = picamera2_double(shop.patch)
    camera = made("csi")
    camera.open()
    camera.close()
    library.listed.append({"Model": "imx219", "Id": "/base/soc/i2c0mux/i2c@0/imx219@10"})
    camera.open()
    assert camera._camera.camera_num == 1, "the same camera, under another number"  # type: ignore[attr-defined]
    camera.close()
    library.scene.plugged = False
    with pytest.raises(CameraLost, match=r"imx708.* is missing"):
        camera.open()
    camera.forget()
    library.scene.plugged = True
    camera.open()
    assert camera._camera.camera_num == 0  # type: ignore[attr-defined]
    camera.close()


# --- usb ---


def test_usb_requests_mjpg_before_the_size(shop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    usb_double(shop)
    camera = made("usb", width=800, height=600, fps=15)
    with caplog.at_level("INFO"):
        camera.open()
    captures: Any = cv2.VideoCapture
    asked = wants(captures.made[-1])
    assert next(iter(asked)) == "FOURCC" and asked["FOURCC"] == cv2.VideoWriter.fourcc(*"MJPG")
    assert (asked["FRAME_WIDTH"], asked["FRAME_HEIGHT"], asked["FPS"]) == (800, 600, 15)
    assert any("obtained 800x600 at 15 fps, MJPG" in record.getMessage() for record in caplog.records)
    camera.close()


@pytest.mark.parametrize(
    ("device", "path"), [("98", "/dev/video98"), ("/dev/v4l/by-id/x", "/dev/v4l/by-id/x")]
)
def test_usb_names_a_missing_device(device: str, path: str) -> None:
    with pytest.raises(CameraLost, match=f"{path} is missing"):
        made("usb", device=device).open()


def test_usb_uses_the_named_device(shop: Workshop) -> None:
    usb_double(shop)
    device = shop.folder / "video0"
    camera = made("usb", device=str(device), width=64, height=48)
    camera.open()
    assert camera.read(1.0).width == 64
    camera.close()
    device.unlink()
    with pytest.raises(CameraLost, match=str(device)):
        camera.open()


def test_usb_that_is_unplugged_while_reading_is_named(shop: Workshop) -> None:
    usb_double(shop)
    device = shop.folder / "video0"
    camera = made("usb", device=str(device))
    camera.open()
    cv2.VideoCapture.scene.plugged = False  # type: ignore[attr-defined]
    device.unlink()
    with pytest.raises(CameraLost, match=str(device)):
        camera.read(TIMEOUT_S)
    camera.close()


# --- JPEG ---


@pytest.fixture
def usb_bench(shop: Workshop) -> Iterator[Bench]:
    bench = usb_double(shop)
    bench.camera.open()
    yield bench
    bench.camera.close()


def test_usb_passes_the_cameras_jpeg_on(usb_bench: Bench) -> None:
    assert usb_bench.scene is not None
    sent: list[bytes] = []
    usb_bench.scene.on_the_wire = lambda jpeg: (sent.append(jpeg), jpeg)[1]
    frames = usb_bench.read(3)
    assert [frame.jpeg for frame in frames] == sent
    for frame, jpeg in zip(frames, sent, strict=True):
        assert np.array_equal(frame.image, cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1))


def test_usb_with_another_pixel_format_has_no_jpeg(shop: Workshop) -> None:
    bench = usb_raw_double(shop)
    bench.camera.open()
    assert bench.read(1)[0].jpeg is None
    bench.camera.close()


def test_usb_leaves_damaged_pictures_out(usb_bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    assert usb_bench.scene is not None
    lengths = itertools.cycle([None, -900, 0, None])
    usb_bench.scene.on_the_wire = lambda jpeg: jpeg[: next(lengths)]
    frames = usb_bench.read(6)
    assert [frame.number for frame in frames] == list(range(6))
    assert all(frame.jpeg and frame.jpeg.endswith(b"\xff\xd9") for frame in frames)
    assert usb_bench.scene.taken == 12
    assert [record.levelname for record in caplog.records] == ["WARNING"], "one line, not one for each"


def test_usb_whose_pictures_are_all_damaged_a_little_is_shown_without_its_jpeg(usb_bench: Bench) -> None:
    assert usb_bench.scene is not None
    usb_bench.scene.on_the_wire = lambda jpeg: jpeg[:-40] + b"\xff\xd9"
    (frame,) = usb_bench.read(1)
    assert frame.jpeg is None and frame.image.shape == (240, 320, 3)
    assert usb_bench.scene.taken == ALWAYS_DAMAGED


def test_usb_that_delivers_no_intact_picture_is_lost(usb_bench: Bench) -> None:
    assert usb_bench.scene is not None
    usb_bench.scene.on_the_wire = lambda jpeg: jpeg[:20]
    with pytest.raises(CameraLost, match=r"damaged JPEG picture.*another cable"):
        usb_bench.camera.read(TIMEOUT_S)


def test_a_film_of_jpegs_is_played_like_a_camera_that_delivers_them(shop: Workshop) -> None:
    path = video(shop.folder / "film.avi", moving(3), codec="mjpeg", pixels="yuvj420p")
    camera = made("replay", path=str(path), realtime=False)
    camera.open()
    for _ in range(3):
        frame = camera.read(1.0)
        assert frame.jpeg is not None
        shown = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), 1).astype(int)
        assert np.abs(shown - frame.image).mean() < 3
    camera.close()


@pytest.mark.parametrize("name", ["large.mp4", "large.png"])
def test_a_large_picture_is_shrunk_and_knows_its_size(shop: Workshop, name: str) -> None:
    image = Scene().picture(0, 2560, 1440)
    path = shop.folder / name
    if name.endswith(".png"):
        path.write_bytes(encoded(image, ".png"))
    else:
        video(path, [image] * 2)
    camera = made("replay", path=str(path), realtime=False)
    camera.open()
    frame = camera.read(1.0)
    assert frame.image.shape == (1080, 1920, 3)
    assert (frame.width, frame.height) == (2560, 1440)
    assert frame.full_size is not None and frame.full_size().shape == (1440, 2560, 3)
    camera.close()


FRONT, BACK = "/dev/video0", "/dev/video2"


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    made = Sockets()
    monkeypatch.setattr(cv2, "VideoCapture", made.capture)
    monkeypatch.setattr(usb, "query_device", made.query)
    monkeypatch.setattr(usb, "list_device_nodes", lambda: sorted(made.at))
    made.plug(FRONT, "interview", "usb-1")
    made.plug(BACK, "office", "usb-2")
    return made


def opened_then_pulled(sockets: Sockets, **settings: Any) -> Camera:
    camera = made("usb", **settings)
    camera.open()
    camera.read(TIMEOUT_S)
    del sockets.at[Path(FRONT)]
    with pytest.raises(CameraLost, match=f"^{FRONT} delivers no frames"):
        camera.read(TIMEOUT_S)
    camera.close()
    return camera


def test_usb_never_replaces_an_unplugged_camera_with_another(sockets: Sockets) -> None:
    camera = opened_then_pulled(sockets)
    for _ in range(2):
        with pytest.raises(CameraLost, match=f"^{FRONT} .*interview.* is missing"):
            camera.open()
        camera.close()
    assert set(sockets.opened) == {Path(FRONT)}, "no one agreed to the other camera"
    sockets.plug(FRONT, "interview", "usb-1")
    camera.open()
    camera.read(TIMEOUT_S)
    camera.close()


@pytest.mark.parametrize("device", ["", FRONT])
def test_usb_finds_the_same_camera_under_another_number(sockets: Sockets, device: str) -> None:
    camera = opened_then_pulled(sockets, device=device)
    sockets.plug("/dev/video4", "interview", "usb-1")
    camera.open()
    camera.read(TIMEOUT_S)
    assert sockets.opened[-1] == Path("/dev/video4")
    camera.close()


@pytest.mark.parametrize(("card", "bus"), [("office", "usb-1"), ("interview", "usb-3")])
@pytest.mark.parametrize("device", ["", FRONT])
def test_usb_does_not_use_another_camera_at_the_same_path(
    sockets: Sockets, device: str, card: str, bus: str
) -> None:
    camera = opened_then_pulled(sockets, device=device)
    sockets.plug(FRONT, card, bus)
    with pytest.raises(CameraLost, match="is missing"):
        camera.open()
    assert sockets.opened == [Path(FRONT)]


def test_usb_chooses_again_after_the_consent_ended(sockets: Sockets) -> None:
    camera = opened_then_pulled(sockets)
    camera.forget()
    camera.open()
    assert sockets.opened[-1] == Path(BACK)
    camera.close()


def test_usb_chooses_again_when_the_first_could_not_be_opened(sockets: Sockets) -> None:
    camera = made("usb")
    front = sockets.at.pop(Path(FRONT))
    back = sockets.at.pop(Path(BACK))
    with pytest.raises(CameraLost, match="no V4L2 capture device"):
        camera.open()
    sockets.at |= {front.path: front, back.path: back}
    camera.open()
    camera.close()


@pytest.mark.parametrize("path", ["/dev/null", "missing", "."])
def test_a_device_that_is_not_a_camera_is_reported_before_opening(tmp_path: Path, path: str) -> None:
    camera = made("usb", device=str(tmp_path / path))
    missing = camera.missing()
    assert missing is not None and ("is not a camera" in missing) is (path != "missing")
    with pytest.raises(CameraLost, match=r"is not a camera|is missing"):
        camera.open()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, r"no permission to open {}; add this user to the group video"),
        (errno.EPERM, r"no permission to open {}"),
        (errno.EBUSY, r"another program is using {}"),
        (errno.ENODEV, r"{} is missing"),
        (errno.EIO, r"{} cannot be opened: Input/output error"),
    ],
)
def test_usb_reports_why_a_device_cannot_be_opened(
    shop: Workshop, tmp_path: Path, number: int, words: str
) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "video0"
    shop.patch.setattr(usb.os, "open", refused)
    shop.patch.setattr(usb, "list_device_nodes", lambda: [path])
    expected = words.format(path)
    named = made("usb", device=str(path))
    with pytest.raises(CameraLost, match=expected):
        named.open()
    assert re.match(expected, named.missing() or "")
    if number in (errno.EACCES, errno.EPERM, errno.EBUSY):
        found = registry.load("camera", "usb").discover()
        assert not found.found and re.match(expected, found.why)
        assert re.match(expected, made("usb").missing() or "")
        with pytest.raises(CameraLost, match=expected):
            made("usb").open()


def test_usb_in_use_by_another_program_is_reported(sockets: Sockets, shop: Workshop) -> None:
    shop.patch.setattr(usb, "_is_busy", lambda path: True)
    shop.patch.setattr("tests.vendor_stubs.capture.SocketCapture.isOpened", lambda self: False)
    with pytest.raises(CameraLost, match=f"another program is using {FRONT}"):
        made("usb").open()


def test_other_files_below_dev_are_not_busy_cameras() -> None:
    assert not usb._is_busy(Path("/dev/null")) and not usb._is_busy(Path("/dev/nothing"))


def test_only_numbered_devices_are_queried(shop: Workshop) -> None:
    for name in ("video10", "video2", "video0-front", "video", "video1x", "vbi0"):
        (shop.folder / name).touch()
    shop.patch.setattr(usb, "DEVICES", shop.folder)
    assert [path.name for path in usb.list_device_nodes()] == ["video2", "video10"]


def test_only_capture_devices_are_found(tmp_path: Path) -> None:
    for path in (Path("/dev/null"), tmp_path / "missing", tmp_path):
        with pytest.raises(CameraLost):
            usb.query_device(path)


# --- jetson ---


def test_without_a_jetson_the_sensor_is_lost_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gstreamer.find(monkeypatch)
    camera = made("jetson")
    assert "not a Jetson" in (camera.missing() or "")
    with pytest.raises(CameraLost, match="not a Jetson"):
        camera.open()
    assert not registry.load("camera", "jetson").discover().found


@pytest.mark.parametrize(
    ("source", "words"),
    [("nothingsrc", "camera.source"), ("filesrc location=/nowhere ! decodebin", "No such file|GStreamer")],
)
def test_an_invalid_source_is_lost_with_gstreamers_reason(
    monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    gstreamer.find(monkeypatch)
    with pytest.raises(CameraLost, match=words):
        made("jetson", source=source).open()


def test_a_file_can_be_the_source_and_its_end_is_reported(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gstreamer.find(monkeypatch)
    folder = shop.folder / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encoded(Scene().picture(number), ".png"))
    source = f"multifilesrc location={folder}/%d.png caps=image/png,framerate=30/1 ! pngdec"
    camera = made("jetson", source=source)
    camera.open()
    assert camera.read(5.0).image.shape == Scene().picture(0).shape
    with pytest.raises(CameraLost, match="no more frames"):
        for _ in range(4):
            camera.read(1.0)
    camera.close()


def test_the_sensors_pipeline_is_the_documented_one() -> None:
    from appliance.cameras.jetson import JetsonSettings, make_pipeline

    words = make_pipeline(JetsonSettings(sensor=1))
    assert words.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,")
    assert "nvvidconv" in words and words.endswith("max-buffers=1 drop=true sync=false")


def test_a_refused_model_does_not_crash_with_gstreamer_loaded(shop: Workshop) -> None:
    """PyAV brings GCC's stack unwinder, GStreamer libunwind's; LiteRT refuses a model by a C++ exception."""
    if not machine.has_gstreamer():
        pytest.skip("no GStreamer for this Python")
    model = shop.folder / "no.tflite"
    model.write_bytes(b"not a model" * 10)
    words = (
        f"import sys, av; sys.path.append({gstreamer.DISTRIBUTION!r});"
        "from appliance.cameras import jetson; jetson.load_gstreamer();"
        "from ai_edge_litert.interpreter import Interpreter; Interpreter(model_path=sys.argv[1])"
    )
    command = [sys.executable, "-c", words, str(model)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1].split(":")[0]) == (1, "ValueError"), ended


def test_without_gstreamer_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(BackendMissing, match="python3-gi"):
        made("jetson")
