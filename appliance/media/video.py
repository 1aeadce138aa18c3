"""Videos, frame by frame: upright, with their own times, and with what the decoder complains of."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

import av
import av.error
import av.filter
import av.logging
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.stream import Disposition

from appliance.errors import PictureError
from appliance.system.native import MAX_PIXELS
from appliance.values import Image

DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,dv,h264,hevc,ivf,yuv4mpegpipe"
"""What may open a file: no playlists, no patterns of names, nothing that draws text."""

DECODERS = (
    "h264,hevc,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpeg4,msmpeg4v2,msmpeg4,h263"
    ",mjpeg,dvvideo,prores,ffv1,rawvideo"
)
"""What may decode a stream, also while FFmpeg probes the file. Sound is never decoded."""

_WITHOUT_TIMES = {"h264", "hevc", "m4v", "mpegvideo"}
"""Raw streams; the times that FFmpeg gives them are made up."""

_NO_LENGTHS = _WITHOUT_TIMES | {"mpegts", "mpeg"}
"""Formats that do not say how long a frame is: only its decoder notices that the last one has no end."""

_STILLS = {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis"}
"""Brands of pictures in the container of MP4."""

_ENDS_EARLY = ("partial file", "File ended prematurely")
"""What the demuxers of MP4 and of Matroska say when the file ends before their own lengths do."""

_TS_PACKETS = (188, 188), (192, 188), (204, 204)
"""Bytes of a packet of a transport stream, plain, with a time (AVCHD), with a checksum, and of its part from
the mark on. A file may begin within a packet, but it ends with one."""

_TAIL_BYTES, _TS_IN_A_ROW = 1024, 5

_QUARTERS = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
"""Display matrices of quarter turns to the left."""

_SLOPPY = 16
"""Bytes by which writers of AVI miscount their headers."""

_GAP, _REACH = 1.75, 8
"""Frames from which on a distance is a gap, and from how far away damage may have made it."""

_STEPS, _MARKS = 10, 100
"""How many of the last distances between frames, and of damaged packets, are remembered."""

_DEFAULT_RATE, _MAX_RATE = 25.0, 10_000
_MAX_ASPECT = 4
_MAX_COMPLAINTS = 20
_JUMP_S, _DISORDER_FRAMES, _LEAST_S = 10.0, 3, 0.001
_EXPECTED = "expected a video: MP4, MOV, MKV, WebM, AVI, MPEG, DV or Y4M"

av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)  # it compares with the last line of any video


@dataclass(frozen=True)
class VideoFrame:
    """One frame as it is shown."""

    image: Image
    """uint8 blue-green-red, upright, with square pixels; its size may differ from the frame before."""

    time_s: float
    """Seconds since the first frame shown, strictly rising."""


class Video:
    """A video, decoded in one thread; its frames can be read once."""

    name: str
    """What errors call it."""

    rate: float
    """Nominal frames a second."""

    frames: int
    """How many frames the file promises; 0 when it does not say. A trimmed video shows fewer."""

    duration_s: float | None
    """How long the video lasts; None when the file does not say."""

    has_times: bool
    """Whether its frames have times of their own; a raw stream has none, and goes by `fps`."""

    def __init__(self, source: Path | BinaryIO, *, fps: float | None = None, name: str | None = None) -> None:
        """Open a video from a path, or from a seekable binary file that the caller closes.

        `fps` is the rate of a stream that has no times of its own. Raises `PictureError` when the file is
        missing, empty, no video, or a video without a decoder.
        """
        self.name = name or str(source if isinstance(source, Path) else getattr(source, "name", "input"))
        self._shown = 0
        self._complaints: dict[str, None] = {}
        self._ends_early = self._complained = False
        self._packets_end = 0
        self._container = cast("Any", None)
        self._own_file = _open_file(source) if isinstance(source, Path) else None
        with ExitStack() as undo:
            undo.callback(self.close)
            try:
                self._open(self._own_file or source)
            except av.error.FFmpegError as error:
                raise PictureError(f"{self.name}: {self._why_not()}; {_EXPECTED}") from error
            except OSError as error:
                raise PictureError(f"{self.name}: cannot be read ({error.strerror}); {_EXPECTED}") from error
            undo.pop_all()
        self.has_times = self._container.format.name not in _WITHOUT_TIMES
        self.rate = fps if fps and not self.has_times else _rate(self._stream)
        longest_s = _JUMP_S if self._container.format.name in ("mpegts", "mpeg") else math.inf
        self._losses, self._clock = _Losses(self.rate, longest_s), _Clock(self.rate, longest_s)
        self.frames = max(0, self._stream.frames)
        duration = self._container.duration
        self.duration_s = duration / av.time_base if duration else None

    @property
    def lost(self) -> int:
        """Frames lost to damage so far, after the first one shown."""
        return self._losses.count

    @property
    def complaints(self) -> tuple[str, ...]:
        """What the decoder has complained of so far: each line once, at most 20."""
        return tuple(self._complaints)

    @property
    def cut_short(self) -> bool:
        """Whether the file ends before it should; known once all frames are read."""
        return self._ends_early

    @property
    def remarks(self) -> str:
        """What is missing and what the decoder complains of, for one line; empty for a flawless video.

        Known once all frames are read.
        """
        said = []
        if self.cut_short:
            shown = f"{self._shown} of {self.frames}" if self.frames > self._shown else f"{self._shown}"
            said.append(f"was cut short, it ends after {shown} frame{'' if shown == '1' else 's'}")
        if self.lost:
            is_are = "is" if self.lost == 1 else "are"
            said.append(f"{self.lost} of {self._shown + self.lost} frames {is_are} lost to damage")
        if self._complaints:
            first, *others = self._complaints
            more = f", and {len(others)} more line{'' if len(others) == 1 else 's'}" if others else ""
            said.append(f"the decoder says: {first}{more}")
        return "; ".join(said)

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames; raises `PictureError` when none can be decoded, or the file cannot be read further."""
        if self._container is None:
            return
        try:
            for frame in self._deinterlaced():
                self._shown += 1
                yield VideoFrame(self._picture(frame), self._clock.next(self._time(frame)))
        except OSError as error:
            raise PictureError(f"{self.name}: cannot be read further ({error.strerror})") from error
        if not self._shown:
            why = next(iter(self._complaints), "it has none")
            raise PictureError(f"{self.name}: no frame can be decoded ({why}); expected a whole video")

    def close(self) -> None:
        """Release the file; a closed video has no more frames."""
        if self._container is not None:
            self._container.close()
            self._container = None
        if self._own_file is not None:
            self._own_file.close()

    # --- opening ---

    def _open(self, file: Any) -> None:
        self._size: int = file.seek(0, 2)
        file.seek(0)
        if not self._size:
            raise PictureError(f"{self.name}: is empty; {_EXPECTED}")
        file.seek(max(0, self._size - _TAIL_BYTES))
        self._tail: bytes = file.read(_TAIL_BYTES)
        file.seek(0)
        self._riff_size = 8 + int.from_bytes(file.read(8)[4:], "little")
        file.seek(0)
        options = {"format_whitelist": DEMUXERS, "codec_whitelist": DECODERS, "protocol_whitelist": "none"}
        with self._listening():
            self._container = av.open(_Unnamed(file), options=options)
        if self._container.metadata.get("major_brand", "").strip() in _STILLS:
            raise PictureError(f"{self.name}: is a still picture; {_EXPECTED}")
        self._stream = self._choose_stream()
        # That of the container counts; where there is none, the decoder's may change in the video.
        said, decoded = self._stream.sample_aspect_ratio, self._stream.codec_context.sample_aspect_ratio
        self._aspect = said if said != decoded else None

    def _choose_stream(self) -> Any:
        """The stream to show: the largest of those marked as default."""
        pictures = [stream for stream in self._container.streams if stream.type == "video"]
        videos = [stream for stream in pictures if not stream.disposition & Disposition.attached_pic]
        if not videos:
            what = "has only sound and a cover picture" if pictures else "has no pictures in it"
            raise PictureError(f"{self.name}: {what}; {_EXPECTED}")
        readable = [stream for stream in videos if _decoder(stream) in DECODERS.split(",")]
        if not readable:
            kind = (
                videos[0].codec_context.codec.canonical_name.upper() if videos[0].codec_context else "fitting"
            )
            raise PictureError(f"{self.name}: no {kind} decoder is available; convert it to H.264")
        best = max(readable, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))
        if best.width * best.height > MAX_PIXELS:
            raise PictureError(
                f"{self.name}: {best.width}x{best.height} pixels; expected {MAX_PIXELS} at most"
            )
        best.thread_count = 1
        best.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return best

    def _why_not(self) -> str:
        if any(line.startswith("mov,") for line in self._complaints):
            return "has no index that can be read, it was cut short; copy it again"
        return "is not a video that can be read"

    # --- decoding ---

    def _deinterlaced(self) -> Iterator[Any]:
        """The frames as decoded until the first interlaced one; all from there on through the filter."""
        fields: _Deinterlacer | None = None
        for frame in self._decoded():
            if fields is not None and not fields.fits(frame):
                yield from fields.push(None)
                fields = None
            if fields is None and frame.interlaced_frame:
                fields = _Deinterlacer(frame)
            if fields is None:
                yield frame
            else:
                yield from fields.push(frame)
        if fields is not None:
            yield from fields.push(None)

    def _decoded(self) -> Iterator[Any]:
        at_end = False
        has_no_lengths = self._container.format.name in _NO_LENGTHS
        is_silent = self._container.format.name == "mpeg"  # its demuxer skips damage without a word
        for packet, is_last in self._packets():
            if is_last and self._is_part(packet):
                self._ends_early = True  # what it has not would be made up
                continue
            was_heard, self._complained = self._complained, False
            try:
                with self._listening():
                    frames = packet.decode()
            except av.error.FFmpegError:
                frames = []
                self._complained = True
                self._losses.add_failure()
            if packet.size and not packet.is_discard:
                is_damaged = was_heard or self._complained or packet.is_corrupt or is_silent
                self._losses.add_packet(self._time(packet), is_damaged=is_damaged)
            self._ends_early |= is_last and self._complained and has_no_lengths
            at_end |= is_last
            for frame in frames:
                self._ends_early |= at_end and frame.is_corrupt and has_no_lengths
                self._losses.add_frame(self._time(frame))
                yield frame
        self._losses.end()
        if self._container is not None and self._container.format.name == "avi" and self._complaints:
            self._losses.count_promised(self.frames)
        self._ends_early |= self._container is not None and self._file_is_short()

    def _packets(self) -> Iterator[tuple[Any, bool]]:
        """Each packet, and whether it is the last; behind it an empty one that flushes the decoder."""
        packets = self._container.demux(self._stream)
        before = None
        while self._container is not None:
            try:
                with self._listening():
                    packet = next(packets, None)
            except av.error.FFmpegError:
                self._ends_early = True
                packet = av.Packet()
                packet.stream, packet.time_base = self._stream, self._stream.time_base
            is_flush = packet is not None and packet.dts is None and not packet.size
            if before is not None:
                yield before, is_flush
            if packet is None:
                return
            if packet.size:
                self._packets_end = (packet.pos or 0) + packet.size
            if packet.size or is_flush:  # an empty one in the middle stands for a frame as before
                before = packet

    def _time(self, part: Any) -> float | None:
        """Seconds that a packet or a frame says, None where it says nothing true."""
        return None if part.pts is None or not self.has_times else float(part.pts * part.time_base)

    def _is_part(self, packet: Any) -> bool:
        """Whether the file ends within this packet."""
        past_end: bool = self._container.format.name == "dv" and packet.pos + packet.size > self._size
        return past_end or bool(packet.is_corrupt)

    def _file_is_short(self) -> bool:
        """Whether the file is smaller than its format allows, or what it has cannot be reached."""
        kind = self._container.format.name
        if kind == "yuv4mpegpipe":
            return self._packets_end < self._size
        if kind.startswith("matroska") and any(line.startswith("matroska") for line in self._complaints):
            return self._losses.end_s < self._length_s()  # no cluster was found after the damage
        if kind == "mpegts":
            return not _ends_with_a_packet(self._tail)
        return kind == "avi" and self._size + _SLOPPY < self._riff_size

    def _length_s(self) -> float:
        """How long Matroska says that the video is; its sound may last longer."""
        said = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self._stream.metadata.get("DURATION", ""))
        if said is None:
            return self.duration_s or 0.0
        hours, minutes, seconds = map(float, said.groups())
        return 3600 * hours + 60 * minutes + seconds

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Keep what FFmpeg says in this thread meanwhile."""
        with av.logging.Capture() as lines:
            try:
                yield
            finally:
                for _, part, message in lines:
                    self._hear(part, message.strip())

    def _hear(self, part: str, message: str) -> None:
        if "not on whitelist" in message:  # sound, of which no decoder is needed
            return
        self._complained = True
        self._ends_early |= message.endswith(_ENDS_EARLY)
        if len(self._complaints) < _MAX_COMPLAINTS:
            self._complaints[f"{part}: {message}"] = None

    # --- showing ---

    def _picture(self, frame: Any) -> Image:
        width, height = frame.width, frame.height
        aspect = self._aspect or self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        if 1 < aspect <= _MAX_ASPECT:
            width = round(width * aspect)
        elif 1 / _MAX_ASPECT <= aspect < 1:
            height = round(height / aspect)
        image = frame.reformat(width=width, height=height, format="bgr24", threads=1).to_ndarray()
        return np.ascontiguousarray(_upright(image, _matrix(frame)))


class _Deinterlacer:
    """Makes one picture of the two fields of an interlaced frame; others pass unchanged."""

    def __init__(self, frame: Any) -> None:
        self._kind = _kind(frame)
        self._graph = av.filter.Graph()
        self._graph.threads = 1
        width, height, pixels = self._kind
        nodes = (
            self._graph.add_buffer(
                width=width, height=height, format=av.VideoFormat(pixels), time_base=frame.time_base
            ),
            self._graph.add("bwdif", "mode=send_frame:deint=interlaced"),
            self._graph.add("buffersink"),
        )
        self._graph.link_nodes(*nodes).configure()

    def fits(self, frame: Any) -> bool:
        """Whether the frame is of the size and format of those before."""
        return _kind(frame) == self._kind

    def push(self, frame: Any) -> Iterator[Any]:
        """Hand in the next frame, None at the end; the frames that are ready."""
        self._graph.push(frame)
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


class _Losses:
    """Counts the frames that damage leaves out.

    A demuxer or a decoder may leave them out in silence, so they are what is missing in time beside damage.
    Where there are no times it is the packets that fail. After more than `longest_s` the clock was set.
    """

    def __init__(self, rate: float, longest_s: float) -> None:
        self.count = 0
        self._longest_s = longest_s
        self._steps = deque([1 / rate], maxlen=_STEPS)
        self._damaged: deque[float] = deque(maxlen=_MARKS)
        self._newest = self._last = -math.inf
        self._gap_from = math.inf
        self._shown, self._has_times = 0, False

    @property
    def end_s(self) -> float:
        """The time at which the last frame ends, with half a frame of tolerance."""
        return self._last + 1.5 * min(self._steps)

    def add_failure(self) -> None:
        """A packet gave no frame. Before the first key frame there is nothing to lose."""
        self.count += self._shown > 0 and not self._has_times

    def add_packet(self, time: float | None, *, is_damaged: bool) -> None:
        """A packet for the decoder."""
        if time is not None:
            self._newest = max(self._newest, time)
            if is_damaged:
                self._damaged.append(time)

    def add_frame(self, time: float | None) -> None:
        """The next frame to show."""
        self._shown += 1
        if time is None:
            return
        if self._gap_from < time < self._last:
            self.count -= 1  # late, but there
            return
        if self._has_times and not self._count_gap(time) and time > self._last:
            self._steps.append(time - self._last)
        self._has_times, self._last = True, time

    def end(self) -> None:
        """No frame follows."""
        if self._has_times:
            self._count_gap(self._newest + min(self._steps))

    def count_promised(self, frames: int) -> None:
        """How many frames there should be, where times are only counted."""
        self.count = max(self.count, frames - self._shown)

    def _count_gap(self, time: float) -> bool:
        usual, passed = min(self._steps), time - self._last
        reach = _REACH * usual
        if not _GAP * usual < passed < self._longest_s or not any(
            self._last - reach <= damaged <= time + reach for damaged in self._damaged
        ):
            return False
        self.count += round(passed / usual) - 1
        self._gap_from = self._last
        return True


class _Clock:
    """The times of the frames as shown: from zero, strictly rising."""

    def __init__(self, rate: float, longest_s: float = math.inf) -> None:
        self._step, self._longest_s = 1 / rate, longest_s
        self._last = -self._step
        self._shift: float | None = None
        self._gap_from = math.inf

    def next(self, time: float | None) -> float:
        """The time of a frame whose stream says `time`, None when it says nothing."""
        due = self._last + self._step
        if time is None:
            self._last = due
            return due
        if self._shift is None:
            self._shift = -time
        now = time + self._shift
        disorder_s = _DISORDER_FRAMES * self._step
        if now > due + disorder_s:
            self._gap_from = self._last
        # Not by a few frames, nor into a gap that damage made, but by more: the stream's own clock was set.
        if not min(due - disorder_s, self._gap_from) < now < due + self._longest_s:
            self._shift, now = due - time, due
            self._gap_from = math.inf
        self._last = max(now, self._last + _LEAST_S)
        return self._last


class _Unnamed:
    """A file without its name, by which FFmpeg would guess what is in it."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _open_file(path: Path) -> BinaryIO:
    # Opened here, since FFmpeg can take a name for an address or a pattern.
    try:
        if path.exists() and not path.is_file():
            raise PictureError(f"{path}: is not a file; {_EXPECTED}")
        return path.open("rb")
    except FileNotFoundError:
        raise PictureError(
            f"{path}: there is no such file; expected a picture, a video or a folder of pictures"
        ) from None
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from error


def _ends_with_a_packet(tail: bytes) -> bool:
    return any(
        all(tail[len(tail) - marked - n * length] == 0x47 for n in range(_TS_IN_A_ROW))
        for length, marked in _TS_PACKETS
        if len(tail) >= _TS_IN_A_ROW * length
    )


def _decoder(stream: Any) -> str:
    return str(stream.codec_context.name) if stream.codec_context else ""


def _rate(stream: Any) -> float:
    guessed, average = stream.guessed_rate or 0, stream.average_rate or 0
    if not guessed or guessed > 2 * average > 0:  # the clock's own rate, where that of the frames varies
        guessed = average
    return float(guessed) if 0 < guessed <= _MAX_RATE else _DEFAULT_RATE


def _kind(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """How a frame is to be turned and mirrored: x' = a x + c y, y' = b x + d y, as (a, b, c, d)."""
    try:
        # Not frame.side_data: that ties a frame to itself, and 300 MB of them wait for the garbage collector.
        found = cast("Any", SideDataContainer)(frame).get("DISPLAYMATRIX")
    except ValueError:  # beside side data that PyAV before 19 does not know; the angle it still does
        return _QUARTERS[round(frame.rotation / 90) % 4]
    if found is None:
        return _QUARTERS[0]
    a, b, _, c, d, *_ = np.frombuffer(bytes(found), np.int32).tolist()
    return a, b, c, d


def _upright(image: Image, matrix: tuple[int, int, int, int]) -> Image:
    a, b, c, d = matrix
    if abs(a) < abs(b):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
