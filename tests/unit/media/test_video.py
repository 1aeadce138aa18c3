"""Videos of every format: each frame upright and at the right time, nothing lost silently."""

from __future__ import annotations

import gc
import io
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from appliance.composition.reader import Reader, make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.errors import PictureError
from appliance.media import video as module
from appliance.media.video import Video, VideoFrame
from appliance.values import Frame
from tests.fakes.files import encoded, with_orientation
from tests.fakes.videos import add_stream, combing, moving, trimmed, video, with_matrix, woven

COUNT = 30
Made = Callable[..., Path]


def read(source: Any, **options: Any) -> tuple[Video, list[VideoFrame]]:
    opened = Video(source, **options)
    try:
        return opened, list(opened)
    finally:
        opened.close()


def times_of(frames: list[VideoFrame]) -> list[float]:
    return [frame.time_s for frame in frames]


def assert_like(image: Any, expected: Any, within: float = 8) -> None:
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < within


def refusal(path: Path, *words: str) -> str:
    with pytest.raises(PictureError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    for word in words:
        assert word in text
    return text


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def save(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save


# --- complete videos ---

KINDS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "a.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "a.3gp": {"codec": "mpeg4"},
    "a.mkv": {"codec": "ffv1"},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none", "preset": "ultrafast"}},
    "a.webm": {"codec": "libvpx", "options": {"deadline": "realtime", "b": "2M"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "b": "2M"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "divx.avi": {"codec": "mpeg4", "options": {"b": "4M"}},
    "raw.avi": {"codec": "rawvideo"},
    "a.ts": {},
    "a.mpg": {"codec": "mpeg2video", "kind": "vob"},
    "a.h264": {"kind": "h264"},
    "a.hevc": {
        "codec": "libx265",
        "kind": "hevc",
        "options": {"x265-params": "log-level=none", "preset": "ultrafast"},
    },
    "a.m2v": {"codec": "mpeg2video", "kind": "mpeg2video"},
    "a.y4m": {"codec": "rawvideo", "kind": "yuv4mpegpipe"},
    "deep.mp4": {"pixels": "yuv420p10le"},
    "deeper.mkv": {"codec": "ffv1", "pixels": "yuv422p12le"},
    "grey.mkv": {"codec": "ffv1", "pixels": "gray"},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_format_is_read_frame_by_frame(tmp_path: Path, name: str) -> None:
    images = moving(COUNT)
    opened, frames = read(video(tmp_path / name, images, **KINDS[name]))
    assert len(frames) == COUNT
    assert times_of(frames) == pytest.approx([number / 25 for number in range(COUNT)], abs=0.002)
    assert opened.rate == 25
    assert (opened.lost, opened.cut_short, opened.decoder_messages, opened.defects) == (0, False, (), "")
    for frame, image in zip(frames, images, strict=True):
        assert frame.image.dtype == np.uint8
        grey = np.repeat(image @ np.array([[0.114], [0.587], [0.299]]), 3, 2)
        assert_like(frame.image, grey if name == "grey.mkv" else image)


def test_the_demo_clip(demo_clip: Path) -> None:
    opened = Video(demo_clip)
    assert (opened.rate, opened.frames, opened.duration_s, opened.has_times) == (30, 420, 14, True)
    first = next(iter(opened))
    assert first.image.shape == (720, 1280, 3) and first.time_s == 0
    opened.close()
    assert list(opened) == [], "a closed video has no frames"


def test_an_open_file_is_read_and_left_open(tmp_path: Path) -> None:
    data = io.BytesIO(video(tmp_path / "a.mp4", moving(5)).read_bytes())
    opened, frames = read(data, name="standard input")
    assert len(frames) == 5 and opened.name == "standard input" and not data.closed


@pytest.mark.parametrize("name", ["2024-11-30T10:30:00.mp4", "http:x", "concat:a.mp4|b.mp4", "%d.png", "-"])
def test_a_name_is_never_a_url_or_a_pattern(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(video(tmp_path / "a.mp4", moving(3)), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name))[1]) == 3


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", moving(3)).rename(tmp_path / "a.jpg")
    assert len(read(path)[1]) == 3


# --- upright, in its own size ---


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), lambda i: i),
        ((0, 1, -1, 0), lambda i: np.rot90(i, -1)),
        ((-1, 0, 0, -1), lambda i: np.rot90(i, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), lambda i: i[:, ::-1]),
        ((1, 0, 0, -1), lambda i: i[::-1]),
        ((0, 1, 1, 0), lambda i: i.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda i: np.rot90(i.transpose(1, 0, 2), 2)),
    ],
    ids=["upright", "right", "upside down", "left", "mirror", "flip", "transpose", "transverse"],
)
def test_a_display_matrix_rotates_and_mirrors(
    tmp_path: Path, saved: Any, matrix: tuple[int, int, int, int], turned: Callable[[Any], Any]
) -> None:
    images = moving(3)
    data = video(tmp_path / "plain.mp4", images).read_bytes()
    _, frames = read(saved("turned.mp4", with_matrix(data, matrix)))
    for frame, image in zip(frames, images, strict=True):
        assert_like(frame.image, turned(image))
        assert frame.image.flags.c_contiguous


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_mjpeg_frames_with_exif_orientation(tmp_path: Path, orientation: int, turns: int) -> None:
    images = moving(3)
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 160, "yuvj420p"
        for number, image in enumerate(images):
            packet = av.Packet(with_orientation(encoded(image, ".jpg"), orientation))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            container.mux(packet)
    _, frames = read(path)
    for frame, image in zip(frames, images, strict=True):
        assert_like(frame.image, np.rot90(image, turns))


def test_frames_are_released_one_by_one(tmp_path: Path) -> None:
    opened = Video(video(tmp_path / "a.mp4", moving(20)))
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in opened) == 20
        assert sum(isinstance(each, av.VideoFrame) for each in gc.get_objects()) <= 1
    finally:
        gc.enable()
        opened.close()


def test_a_change_of_size_gives_each_frame_its_own(tmp_path: Path, saved: Any) -> None:
    wide, tall = moving(20), moving(20, 96, 160)
    parts = [video(tmp_path / f"{number}.ts", part).read_bytes() for number, part in enumerate((wide, tall))]
    opened, frames = read(saved("turn.ts", b"".join(parts)))
    assert [frame.image.shape for frame in frames] == [image.shape for image in (*wide, *tall)]
    for frame, image in zip(frames, (*wide, *tall), strict=True):
        assert_like(frame.image, image)
    assert times_of(frames) == pytest.approx([number / 25 for number in range(40)], abs=0.003)
    assert not opened.cut_short


@pytest.mark.parametrize(
    ("aspect", "size"), [((16, 15), (171, 96)), ((1, 2), (160, 192)), ((50, 1), (160, 96))]
)
def test_pixels_become_square(tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int]) -> None:
    path = video(tmp_path / "a.mp4", moving(3), aspect=Fraction(*aspect))
    for frame in read(path)[1]:
        assert frame.image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", ["vp9.mp4", "mjpeg.mov"])
def test_pixels_become_square_where_only_the_container_says_their_shape(tmp_path: Path, name: str) -> None:
    kind = KINDS[name.replace("mp4", "webm").replace("mov", "avi")]
    path = video(tmp_path / name, moving(3), aspect=Fraction(4, 3), **kind)
    assert [frame.image.shape for frame in read(path)[1]] == [(96, 213, 3)] * 3


INTERLACED = {
    "a.mp4": {"options": {"x264-params": "tff=1", "flags": "+ildct+ilme"}},
    "a.mpg": {"codec": "mpeg2video", "kind": "vob", "options": {"flags": "+ildct+ilme", "field_order": "tt"}},
}


@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_fields_are_merged(tmp_path: Path, name: str) -> None:
    images = moving(2 * COUNT)
    path = video(tmp_path / name, woven(images), **INTERLACED[name])
    opened, frames = read(path)
    assert len(frames) == COUNT
    assert times_of(frames) == pytest.approx([number / 25 for number in range(COUNT)], abs=0.002)
    for frame, even, odd in zip(frames, images[::2], images[1::2], strict=True):
        # The square has moved on between the two fields: whichever is shown, it has straight edges.
        assert min(np.abs(frame.image.astype(int) - field).mean() for field in (even, odd)) < 8
    combed = np.mean([combing(image) for image in woven(images)])
    assert np.mean([combing(frame.image) for frame in frames]) < combed / 2
    assert opened.defects == ""


def test_dv_of_a_camcorder(tmp_path: Path) -> None:
    images = moving(6, 720, 576)
    path = video(tmp_path / "a.dv", images, codec="dvvideo", kind="dv", aspect=Fraction(16, 15))
    _, frames = read(path)
    assert [frame.image.shape for frame in frames] == [(576, 768, 3)] * 6
    assert times_of(frames) == pytest.approx([number / 25 for number in range(6)])


# --- time ---


def test_times_are_read_at_a_variable_rate(tmp_path: Path) -> None:
    times = [number / 24 for number in range(24)] + [1 + number / 4 for number in range(8)]
    _, frames = read(video(tmp_path / "a.mp4", moving(32), times=times, rate=24))
    assert times_of(frames) == pytest.approx(times, abs=0.001)


def test_dropped_frames_of_an_avi_take_their_time(tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 6, 7, 20, 21]
    path = video(
        tmp_path / "a.avi", moving(8), codec="mpeg4", times=[n / 25 for n in times], tick=Fraction(1, 25)
    )
    opened, frames = read(path)
    assert times_of(frames) == pytest.approx([n / 25 for n in times], abs=0.001)
    assert opened.defects == ""


def test_the_rate_of_a_screen_recording_is_that_of_its_frames(tmp_path: Path) -> None:
    times = list(itertools.accumulate([0, 0.031, 0.035, 0.029, 0.037, 0.033] * 6))
    opened, frames = read(video(tmp_path / "a.mkv", moving(36), times=times, rate=1000))
    assert times_of(frames) == pytest.approx(times, abs=0.002)
    assert 20 < opened.rate < 40


@pytest.mark.parametrize("rate", [Fraction(24002, 100), 480, Fraction(1, 2)])
def test_any_rate(tmp_path: Path, rate: Fraction) -> None:
    opened, frames = read(video(tmp_path / "a.mp4", moving(12), rate=rate))
    assert opened.rate == pytest.approx(float(rate), rel=0.001)
    assert times_of(frames) == pytest.approx([number / rate for number in range(12)], rel=0.001)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_a_late_start_begins_at_zero_and_is_complete(tmp_path: Path, name: str) -> None:
    path = video(tmp_path / name, moving(10), times=[90 + number / 25 for number in range(10)])
    opened, frames = read(path)
    assert times_of(frames) == pytest.approx([number / 25 for number in range(10)], abs=0.002)
    assert not opened.cut_short


@pytest.mark.parametrize("name", ["a.h264", "a.m2v"])
def test_a_raw_stream_uses_the_given_rate(tmp_path: Path, name: str) -> None:
    path = video(tmp_path / name, moving(10), **KINDS[name])
    opened, frames = read(path, fps=12.5)
    assert not opened.has_times and opened.rate == 12.5
    assert times_of(frames) == pytest.approx([number / 12.5 for number in range(10)])


def test_a_given_rate_does_not_override_the_videos_times(tmp_path: Path) -> None:
    opened, frames = read(video(tmp_path / "a.mp4", moving(10)), fps=5)
    assert opened.rate == 25 and frames[-1].time_s == pytest.approx(9 / 25)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([5.0, 5.04, 5.08], [0, 0.04, 0.08]),
        ([None, None, None], [0, 0.04, 0.08]),
        ([5.0, None, 5.08], [0, 0.04, 0.08]),
        ([5.0, 5.0, 5.04], [0, 0.001, 0.04]),
        ([5.0, 5.08, 5.04, 5.12], [0, 0.08, 0.081, 0.12]),
        ([5.0, 5.04, 1.0, 1.04], [0, 0.04, 0.08, 0.12]),
        ([5.0, 5.04, 9000.0, 9000.04], [0, 0.04, 0.08, 0.12]),
    ],
    ids=["late", "none", "one missing", "twice the same", "out of order", "set back", "set ahead"],
)
def test_times_always_rise(said: list[float | None], expected: list[float]) -> None:
    clock = module._FrameClock(25, 10)
    assert [clock.next(time) for time in said] == pytest.approx(expected, abs=1e-6)


def test_a_long_pause_in_a_file_is_not_a_clock_change() -> None:
    clock = module._FrameClock(25)
    assert [clock.next(time) for time in (0.0, 60.0)] == [0, 60]


# --- complete, though not all of it is shown ---


def test_a_trimmed_video_is_complete(tmp_path: Path, saved: Any) -> None:
    data = video(tmp_path / "long.mp4", moving(50), options={"bf": "2"}).read_bytes()
    opened, frames = read(saved("trimmed.mp4", trimmed(data, skip_s=0.4, last_s=1)))
    assert 25 <= len(frames) <= 26, "the second between 0.4 and 1.4"
    assert_like(frames[0].image, moving(50)[10])
    assert frames[0].time_s == 0 and opened.frames == 50
    assert not opened.cut_short and opened.defects == ""


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_broadcast_that_starts_in_the_middle_is_complete(tmp_path: Path, saved: Any, codec: str) -> None:
    options = {"x264-params": "scenecut=0"} if codec == "libx264" else {}
    path = video(tmp_path / "a.ts", moving(60), codec=codec, key_every=20, options=options)
    data = path.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    opened, frames = read(saved("joined.ts", b"".join(packets[len(packets) // 6 :])))
    assert 35 < len(frames) < 60 and frames[0].time_s == 0
    assert_like(frames[-1].image, moving(60)[-1])
    assert (opened.cut_short, opened.lost) == (False, 0)


def test_a_broadcast_that_starts_within_a_packet_is_complete(tmp_path: Path, saved: Any) -> None:
    data = video(tmp_path / "a.ts", moving(60), key_every=20).read_bytes()
    opened, frames = read(saved("joined.ts", data[188 * 10 + 77 :]))
    assert len(frames) > 30 and not opened.cut_short


def test_the_larger_of_two_streams_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        small, large = moving(5, 64, 48), moving(10)
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream, images in zip(streams, (small, large), strict=True):
            stream.height, stream.width = images[0].shape[:2]
        for stream, images in zip(streams, (small, large), strict=True):
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode(None))
    opened, frames = read(path)
    assert [frame.image.shape for frame in frames] == [(96, 160, 3)] * 10
    assert not opened.cut_short


def test_longer_sound_is_not_missing_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000)
        add_stream(container, moving(10))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 80_000), np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    opened, frames = read(path)
    assert len(frames) == 10 and opened.duration_s == pytest.approx(10, abs=0.1)
    assert opened.defects == ""


# --- truncated ---

CUT = ["a.webm", "a.mkv", "a.ts", "divx.avi"]


def noisy(count: int) -> list[Any]:
    noise = np.random.default_rng(1)
    return [image + noise.integers(0, 20, image.shape, np.uint8) for image in moving(count)]


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share) // 376 * 376 + 100])  # no complete packets of a broadcast
    return path


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", CUT)
def test_a_truncated_video_gives_its_frames_and_reports_it(tmp_path: Path, name: str, share: float) -> None:
    opened, frames = read(cut(video(tmp_path / name, noisy(COUNT), **KINDS[name]), share))
    assert 0 < len(frames) < COUNT
    assert opened.cut_short
    assert f"is truncated: it ends after {len(frames)}" in opened.defects


def test_a_truncated_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", noisy(COUNT), muxing={"movflags": "faststart"})
    opened, frames = read(cut(path, 0.7))
    assert 0 < len(frames) < COUNT and opened.cut_short
    assert f"ends after {len(frames)} of {COUNT} frames" in opened.defects


def test_a_truncated_fragmented_mp4(tmp_path: Path) -> None:
    path = video(
        tmp_path / "a.mp4", moving(60), key_every=10, muxing={"movflags": "frag_keyframe+empty_moov"}
    )
    opened, frames = read(cut(path, 0.8))
    assert 0 < len(frames) < 60 and opened.cut_short


@pytest.mark.parametrize("name", ["a.h264", "a.m2v"])
def test_a_raw_stream_truncated_within_a_frame(tmp_path: Path, saved: Any, name: str) -> None:
    whole = video(tmp_path / name, noisy(COUNT), **KINDS[name])
    data = whole.read_bytes()
    starts = [at.start() for at in re.finditer(b"\x00\x00\x01", data)]
    _, start, end = max(
        (end - start, start, end) for start, end in itertools.pairwise(starts[len(starts) // 2 :])
    )
    opened, frames = read(saved(f"cut {name}", data[: (start + end) // 2]))
    assert 0 < len(frames) < COUNT and opened.cut_short


@pytest.mark.parametrize("share", [0.5, 0.93])
def test_an_mp4_without_its_index_is_one_clear_error(tmp_path: Path, share: float) -> None:
    refusal(cut(video(tmp_path / "a.mp4", moving(COUNT)), share), "truncated", "copy it again")


def test_half_a_frame_is_not_shown(tmp_path: Path) -> None:
    images = moving(4, 720, 576)
    path = video(tmp_path / "a.dv", images, codec="dvvideo", kind="dv")
    opened, frames = read(cut(path, 3.5 / 4))
    assert len(frames) == 3 and opened.cut_short


# --- damage ---


def hole(data: bytes, at: float, length: int = 3000) -> bytes:
    start = int(len(data) * at)
    return data[:start] + bytes(length) + data[start + length :]


def test_damage_in_the_middle_is_counted_and_the_rest_is_read(
    tmp_path: Path, saved: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    images = noisy(100)
    data = video(tmp_path / "a.mp4", images, options={"crf": "20"}, key_every=25).read_bytes()
    opened, frames = read(saved("hole.mp4", hole(data, 0.3)))
    assert opened.lost > 0 and len(frames) == 100 - opened.lost
    assert_like(frames[-1].image, images[-1], 12)
    assert not opened.cut_short
    assert f"{opened.lost} of 100 frames are lost because of damage" in opened.defects
    assert opened.decoder_messages and opened.decoder_messages[0] in opened.defects
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "at"), [("a.ts", 0.3), ("a.ts", 0.5), ("a.mpg", 0.3), ("a.mpg", 0.5), ("divx.avi", 0.7)]
)
def test_silently_lost_frames_are_counted(tmp_path: Path, saved: Any, name: str, at: float) -> None:
    data = video(tmp_path / name, noisy(100), **{"key_every": 25, **KINDS[name]}).read_bytes()
    opened, frames = read(saved(f"hole {name}", hole(data, at, 2000)))
    assert 0 < len(frames) < 100
    assert len(frames) + opened.lost == 100
    assert (
        f"{opened.lost} of 100 frames {'is' if opened.lost == 1 else 'are'} lost because of damage"
        in opened.defects
    )
    assert not opened.cut_short


def test_a_video_damaged_up_to_its_end_is_not_truncated(tmp_path: Path, saved: Any) -> None:
    kind = KINDS["hevc.mkv"]
    data = bytearray(video(tmp_path / "a.mp4", noisy(COUNT), **kind).read_bytes())
    with av.open(io.BytesIO(data)) as container:
        second = list(container.demux(video=0))[1]
    data[second.pos : second.pos + second.size] = bytes(second.size)  # all others refer to it
    opened, frames = read(saved("hole.mp4", bytes(data)))
    assert 0 < len(frames) < 10 and len(frames) + opened.lost == COUNT
    assert not opened.cut_short


def test_late_frames_after_damage_do_not_change_the_clock(tmp_path: Path, saved: Any) -> None:
    data = video(tmp_path / "a.ts", noisy(100), key_every=25).read_bytes()
    _, frames = read(saved("hole.ts", hole(data, 0.5, 2000)))
    times = times_of(frames)
    assert times[-1] == pytest.approx(99 / 25) and times == sorted(set(times))


def test_a_variable_rate_is_not_a_loss(tmp_path: Path, saved: Any) -> None:
    times = [number / 25 for number in range(50)] + [2 + number / 5 for number in range(50)]
    data = bytearray(video(tmp_path / "a.mp4", noisy(100), times=times, key_every=25).read_bytes())
    with av.open(io.BytesIO(data)) as container:
        tenth = list(container.demux(video=0))[9]
    data[tenth.pos + 30 : tenth.pos + tenth.size] = bytes(tenth.size - 30)
    opened, frames = read(saved("bad.mp4", bytes(data)))
    assert opened.decoder_messages and len(frames) + opened.lost == 100


def test_a_video_whose_rest_cannot_be_reached_is_truncated(tmp_path: Path, saved: Any) -> None:
    data = video(tmp_path / "a.webm", noisy(COUNT), **KINDS["vp9.webm"]).read_bytes()
    opened, frames = read(saved("hole.webm", hole(data, 0.5, len(data) // 8)))  # has no second cluster
    assert 0 < len(frames) < COUNT
    assert opened.cut_short and f"it ends after {len(frames)} frames" in opened.defects


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_stream_of_raw_pictures_truncated_within_a_frame(tmp_path: Path, share: float) -> None:
    path = video(tmp_path / "a.y4m", moving(COUNT), codec="wrapped_avframe", kind="yuv4mpegpipe")
    opened, frames = read(cut(path, share))
    assert 0 < len(frames) < COUNT and opened.cut_short


def test_damage_at_the_end_is_not_truncation(tmp_path: Path, saved: Any) -> None:
    path = video(tmp_path / "a.mp4", noisy(40), key_every=10, muxing={"movflags": "faststart"})
    opened, frames = read(saved("hole.mp4", path.read_bytes()[:-900] + bytes(900)))
    assert opened.lost > 0 and len(frames) == 40 - opened.lost
    assert not opened.cut_short


def test_decoder_messages_are_bounded(tmp_path: Path, saved: Any) -> None:
    data = bytearray(video(tmp_path / "a.ts", moving(100), key_every=10).read_bytes())
    for at in range(3000, len(data), 500):
        data[at] ^= 0x55
    opened, _ = read(saved("bad.ts", bytes(data)))
    assert 5 < len(opened.decoder_messages) <= 20
    assert len(set(opened.decoder_messages)) == len(opened.decoder_messages)


def test_decoder_messages_belong_to_their_video(tmp_path: Path, saved: Any) -> None:
    whole = video(tmp_path / "a.mkv", moving(10))
    broken = saved("cut.mkv", whole.read_bytes()[:-100])
    first, second, third = (Video(path) for path in (broken, whole, broken))
    for _ in itertools.zip_longest(first, second, third):
        pass
    assert first.decoder_messages == third.decoder_messages != () == second.decoder_messages
    for opened in (first, second, third):
        opened.close()


def test_a_video_without_decodable_frames(tmp_path: Path, saved: Any) -> None:
    data = video(tmp_path / "a.mp4", moving(10)).read_bytes()
    at, length = data.index(b"mdat") + 4, int.from_bytes(data[data.index(b"mdat") - 4 :][:4], "big") - 8
    refusal(saved("grey.mp4", data[:at] + bytes(length) + data[at + length :]), "no frame can be decoded")


# --- what is refused ---


def test_a_codec_without_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "av1.mp4", moving(3), **KINDS["av1.mp4"])
    monkeypatch.setattr(module, "DECODERS", "h264,hevc")
    assert "truncated" not in refusal(path, "no AV1 decoder")


def test_a_decoder_that_is_not_on_the_list_is_never_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CVE-2026-8461 is in this one. Even while the file is only probed, no decoder of another name is opened.
    path = video(tmp_path / "a.avi", moving(3), codec="magicyuv", pixels="yuv420p")
    heard: list[str] = []
    monkeypatch.setattr(Video, "_add_message", lambda self, part, message: heard.append(message))
    refusal(path, "no MAGICYUV decoder")
    assert any("Codec (magicyuv) not on whitelist" in line for line in heard)


TEXTS = {
    "text": b"this is text\n" * 100,
    "UTF-16": ("this is text\n" * 100).encode("utf-16"),
    "latin": ("Gr\u00fc\u00dfe\n" * 100).encode("latin-1"),
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "SDP": b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "XML": b'<?xml version="1.0"?><MPD type="static"><Period/></MPD>',
    "noise": np.random.default_rng(1).bytes(50_000),
    "zeros": bytes(50_000),
}


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.nfo", "a.m3u8", "a.h264"])
@pytest.mark.parametrize("kind", TEXTS)
def test_other_files_are_not_videos(saved: Any, kind: str, name: str) -> None:
    refusal(saved(name, TEXTS[kind]), "expected")


@pytest.mark.parametrize(
    ("codec", "name", "pixels"),
    [
        ("png", "a.png", "rgb24"),
        ("mjpeg", "a.jpg", "yuvj420p"),
        ("gif", "a.gif", "bgr8"),
        ("libsvtav1", "a.avif", "yuv420p"),
    ],
)
def test_a_picture_is_not_a_video(tmp_path: Path, codec: str, name: str, pixels: str) -> None:
    kind = {"a.png": "image2", "a.jpg": "image2"}.get(name)
    path = video(tmp_path / name, moving(1), codec=codec, pixels=pixels, kind=kind)
    refusal(path, "expected a video")


def test_cover_art_of_an_audio_file_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 96, 160, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(moving(1)[0], format="bgr24")))
        container.mux(cover.encode(None))
        for _ in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    refusal(path, "only sound and a cover picture")


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    refusal(path, "no such file" if content is None else "is empty")


def test_a_folder_a_pipe_or_a_device_is_not_a_video(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        refusal(path, "is not a file")


def test_a_file_without_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> Any:
        raise PermissionError(13, "Permission denied")

    path = video(tmp_path / "a.mp4", moving(1))
    monkeypatch.setattr(Path, "open", closed)  # root may read everything
    refusal(path, "cannot be read (Permission denied)")


def test_a_video_with_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video(tmp_path / "a.mp4", moving(3))
    monkeypatch.setattr(module, "MAX_PIXELS", 160 * 96 - 1)
    refusal(path, "160x96 pixels")
    monkeypatch.undo()
    parts = [video(tmp_path / f"{n}.ts", moving(5, 160 * n, 96 * n)).read_bytes() for n in (1, 2)]
    grown = tmp_path / "grown.ts"
    grown.write_bytes(b"".join(parts))
    monkeypatch.setattr(module, "MAX_PIXELS", 2 * 160 * 96)
    opened, frames = read(grown)
    assert {frame.image.shape for frame in frames} == {(96, 160, 3)} and opened.decoder_messages


def test_a_failing_disk_is_an_error(tmp_path: Path) -> None:
    class Disk(io.BytesIO):
        fails = False

        def read(self, size: int | None = -1) -> bytes:
            if self.fails:
                raise OSError(5, "Input/output error")
            return super().read(size)

    path = video(tmp_path / "a.ts", noisy(100), codec="mpeg2video", options={"b": "4M"})
    disk = Disk(path.read_bytes())
    opened = Video(disk, name="disk.ts")
    disk.fails = True
    with pytest.raises(PictureError, match=r"disk\.ts: reading failed partway \(Input/output error\)"):
        list(opened)
    with pytest.raises(PictureError, match=r"disk\.ts: cannot be read \(Input/output error\)"):
        Video(disk, name="disk.ts")
    opened.close()


# --- people ---


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = make_reader(load_config(ConfigOptions(data_dir=tmp_path_factory.mktemp("state")), {}))
    yield made
    made.pipeline.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["interlaced", "mirrored", "turned", "deep", "AV1"])
def test_both_people_of_the_demo_clip_are_found_in_every_format(
    reader: Reader, tmp_path: Path, saved: Any, demo_clip: Path, kind: str
) -> None:
    clip = Video(demo_clip)
    images = [np.ascontiguousarray(frame.image[::2, ::2]) for frame, _ in zip(clip, range(24), strict=False)]
    clip.close()
    path = tmp_path / "a.mp4"
    if kind == "interlaced":
        video(path, woven(images), **INTERLACED["a.mp4"])
    elif kind == "mirrored":
        path = saved("mirrored.mp4", with_matrix(video(path, images).read_bytes(), (-1, 0, 0, 1)))
    elif kind == "turned":
        sideways = [np.ascontiguousarray(np.rot90(image)) for image in images]
        path = saved("turned.mp4", with_matrix(video(path, sideways).read_bytes(), (0, 1, -1, 0)))
    else:
        video(path, images, **KINDS["deep.mp4" if kind == "deep" else "av1.mp4"])
    reader.pipeline.reset()
    found = [
        len(reader.pipeline.read(Frame(number, frame.time_s, frame.image, frame.time_s)).people)
        for number, frame in enumerate(read(path)[1])
    ]
    assert found == [2] * (12 if kind == "interlaced" else 24)
