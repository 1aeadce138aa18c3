"""Films: frame by frame with their own times, upright, and never in silence about damage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
import av.filter
import av.logging
import numpy as np

from appliance.environment import MAX_PIXELS
from appliance.errors import PictureError
from appliance.values import Image

FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,dv,h264,hevc,ivf,yuv4mpegpipe"
"""Demuxers that untrusted files may reach: no playlists, no patterns of names, nothing that draws text."""

DECODERS = (
    "h264,hevc,libdav1d,libaom-av1,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpeg4,msmpeg4v2,msmpeg4"
    ",h263,mjpeg,dvvideo,prores,ffv1,rawvideo"
)
"""Video decoders that untrusted files may reach."""

_SOUND = "aac,ac3,eac3,alac,flac,mp2float,mp3float,mp2,mp3,opus,libopus,vorbis,pcm_s16le,pcm_s16be,pcm_u8"

_WITHOUT_TIMES = {"h264", "hevc", "m4v", "mpegvideo"}
"""Raw streams: their demuxers make up 25 frames a second."""

_DEFAULT_RATE = 25.0
_MAX_COMPLAINTS = 20
_EXPECTED = "expected MP4, MOV, MKV, WebM, AVI or MPEG"
_JUMP_S = 10.0

av.logging.set_level(av.logging.ERROR)


@dataclass(frozen=True)
class FilmFrame:
    """One frame as it is to be shown."""

    image: Image
    """uint8 blue-green-red, upright, square pixels; its size may differ from the frame before."""

    time_s: float
    """Seconds since the first frame, strictly rising."""


class Film:
    """A film from a file, decoded in one thread; iterate once for its frames."""

    rate: float
    """Nominal frames a second."""

    frames: int
    """How many frames the file promises; 0 when it does not say."""

    duration_s: float | None
    """How long the file says it lasts."""

    lost: int
    """Frames lost to damage so far."""

    def __init__(self, source: Path | BinaryIO, *, fps: float | None = None, name: str | None = None) -> None:
        """Open a film. `source`: a path, or a seekable file.

        `fps`: the rate of a stream that has no times of its own, such as raw H.264; 25 by default.
        `name`: what errors call it. Raises `PictureError` when it is missing, empty or no film.
        """
        self.name = name or str(source if isinstance(source, Path) else getattr(source, "name", "input"))
        self._own = isinstance(source, Path)
        self._file: BinaryIO | None = _open(source) if isinstance(source, Path) else source
        self._complaints: Counter[str] = Counter()
        self.lost = 0
        self._ended_early = False
        self._filter: _Deinterlacer | None = None
        try:
            self._container, self._stream = self._open_stream(fps)
        except BaseException:
            self._close_file()
            raise
        stream = self._stream
        self._timed = self._container.format.name not in _WITHOUT_TIMES
        self.rate = (fps if fps and not self._timed else None) or _rate(stream)
        self.frames = max(0, stream.frames)
        self.duration_s = self._container.duration / av.time_base if self._container.duration else None

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the decoder complained of, each once, at most 20."""
        return tuple(self._complaints)

    @property
    def cut_short(self) -> bool:
        """Whether the file ends before what it promises; known once all frames are read."""
        return self._ended_early

    def __iter__(self) -> Iterator[FilmFrame]:
        """The frames; raises `PictureError` when not one can be decoded."""
        times = _Times(self.rate, self._timed)
        count = 0
        for frame in self._deinterlaced():
            count += 1
            yield FilmFrame(self._picture(frame), times.next(frame))
        if not count and self._file is not None:
            why = next(iter(self._complaints), "it has no frames")
            raise PictureError(f"{self.name}: no frame can be decoded ({why}); expected a whole film")

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            self._container.close()
            self._close_file()

    def _close_file(self) -> None:
        if self._own and self._file is not None:
            self._file.close()
        self._file = None

    # --- opening ---

    def _open_stream(self, fps: float | None) -> tuple[Any, Any]:
        options = {
            "format_whitelist": FORMATS,
            "codec_whitelist": f"{DECODERS},{_SOUND}",
            "protocol_whitelist": "none",
        }
        try:
            with self._listening():
                container = av.open(self._file, options=options)
        except av.error.FFmpegError as error:
            raise PictureError(f"{self.name}: is not a film that can be read; {_EXPECTED}") from error
        try:
            return container, self._choose(container)
        except BaseException:
            container.close()
            raise

    def _choose(self, container: Any) -> Any:
        """The stream to show: the largest, those marked as default first."""
        pictures = [stream for stream in container.streams if stream.type == "video"]
        streams = [s for s in pictures if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            what = "has sound and a cover picture but no film" if pictures else "has no pictures"
            raise PictureError(f"{self.name}: {what}; {_EXPECTED}")
        known = [s for s in streams if s.codec_context is not None and _allowed(s.codec_context)]
        if not known:
            codec = streams[0].codec_context
            kind = codec.codec.canonical_name.upper() if codec is not None else "such"
            raise PictureError(
                f"{self.name}: no {kind} decoder is available; expected H.264, HEVC, VP8, VP9 or MPEG"
            )
        stream = max(
            known,
            key=lambda s: (bool(s.disposition & av.stream.Disposition.default), s.width * s.height, -s.index),
        )
        if stream.width * stream.height > MAX_PIXELS:
            raise PictureError(f"{self.name}: frames of {stream.width}x{stream.height} are too large")
        stream.thread_count = 1
        stream.codec_context.thread_count = 1
        return stream

    # --- decoding ---

    def _deinterlaced(self) -> Iterator[Any]:
        for frame in self._decoded():
            if self._filter is not None and not self._filter.fits(frame):
                yield from self._filter.flush()
                self._filter = None
            if self._filter is None and frame.interlaced_frame:
                self._filter = _Deinterlacer(frame)
            if self._filter is None:
                yield frame
            else:
                yield from self._filter.push(frame)
        if self._filter is not None:
            yield from self._filter.flush()

    def _decoded(self) -> Iterator[Any]:
        shown = False
        for packet in self._packets():
            try:
                with self._listening():
                    frames = packet.decode()
            except av.error.FFmpegError:
                self.lost += shown  # before the first key frame nothing can be shown, and nothing is lost
                continue
            for frame in frames:
                shown = True
                yield frame

    def _packets(self) -> Iterator[Any]:
        """All packets of the stream, and at last an empty one that flushes the decoder."""
        while self._file is not None:
            packets = self._container.demux(self._stream)
            while True:
                try:
                    with self._listening():
                        packet = next(packets, None)
                except av.error.FFmpegError:
                    self._ended_early = True
                    break
                if packet is None:
                    return
                yield packet
            return

    def _listening(self) -> _Listening:
        return _Listening(self._complaints)

    # --- showing ---

    def _picture(self, frame: Any) -> Image:
        width, height = frame.width, frame.height
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        if Fraction(1, 4) <= aspect <= 4:
            width, height = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        image = frame.reformat(width=width, height=height, format="bgr24").to_ndarray()
        return np.ascontiguousarray(_upright(image, frame))


class _Listening:
    """While it lasts, what FFmpeg says in this thread is kept."""

    def __init__(self, complaints: Counter[str]) -> None:
        self._complaints = complaints
        self._capture = av.logging.Capture()

    def __enter__(self) -> None:
        self._logs = self._capture.__enter__()

    def __exit__(self, *_: object) -> None:
        self._capture.__exit__(None, None, None)
        for _level, part, message in self._logs:
            text = f"{part}: {message.strip()}"
            if text in self._complaints or len(self._complaints) < _MAX_COMPLAINTS:
                self._complaints[text] += 1


class _Deinterlacer:
    """Both fields of an interlaced frame become one picture; progressive frames pass unchanged."""

    def __init__(self, frame: Any) -> None:
        self._kind = (frame.width, frame.height, frame.format.name)
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
        )
        deinterlace = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = self._graph.add("buffersink")
        source.link_to(deinterlace)
        deinterlace.link_to(sink)
        self._graph.configure()

    def fits(self, frame: Any) -> bool:
        return (frame.width, frame.height, frame.format.name) == self._kind

    def push(self, frame: Any) -> Iterator[Any]:
        self._graph.push(frame)
        yield from self._pull()

    def flush(self) -> Iterator[Any]:
        self._graph.push(None)
        yield from self._pull()

    def _pull(self) -> Iterator[Any]:
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


class _Times:
    """The times of frames as they are shown: from zero, strictly rising."""

    def __init__(self, rate: float, timed: bool) -> None:
        self._step, self._timed = 1 / rate, timed
        self._shift: float | None = None
        self._last = -self._step

    def next(self, frame: Any) -> float:
        """The time of the next frame in seconds."""
        expected = self._last + self._step
        time = frame.time if self._timed else None
        if time is None:
            self._last = expected
            return expected
        if self._shift is None:
            self._shift = -time
        now = time + self._shift
        if now <= self._last - 1 or now > expected + _JUMP_S:  # the clock of the file was set
            self._shift, now = expected - time, expected
        self._last = max(now, self._last + 0.001)
        return self._last


def _open(path: Path) -> BinaryIO:
    if not path.is_file():
        raise PictureError(
            f"{path}: there is no such file; expected a picture, a video or a folder of pictures"
        )
    try:
        file = path.open("rb")
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}); expected a film") from error
    if not file.read(1):
        file.close()
        raise PictureError(f"{path}: is empty; expected a film")
    file.seek(0)
    return file


def _allowed(codec: Any) -> bool:
    return codec.name in DECODERS.split(",")


def _rate(stream: Any) -> float:
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return _DEFAULT_RATE


def _upright(image: Image, frame: Any) -> Image:
    """Turned and mirrored as the film's display matrix says."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32)
    if abs(a) < abs(b):
        image = image.transpose(1, 0, 2)
        a, d = c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
