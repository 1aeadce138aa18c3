"""Reads videos with PyAV, frame by frame: upright, with their times and the decoder's messages."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator
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
from appliance.media.shrink import working_size
from appliance.system.native import MAX_PIXELS
from appliance.values import Image

DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,dv,h264,hevc,ivf,yuv4mpegpipe"
"""Demuxers that may open a file: no playlists, no name patterns, nothing that renders text."""

DECODERS = (
    "h264,hevc,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg1video,mpeg2video,mpeg4,msmpeg4v2,msmpeg4,h263"
    ",mjpeg,dvvideo,prores,ffv1,rawvideo"
)
"""Decoders that a stream may reach, also while FFmpeg probes the file. Sound is never decoded."""

_WITHOUT_TIMES = {"h264", "hevc", "m4v", "mpegvideo"}
"""Raw streams; FFmpeg invents their times."""

_NO_LENGTHS = _WITHOUT_TIMES | {"mpegts", "mpeg"}
"""Formats without frame lengths: only the decoder detects that the last frame is incomplete."""

_STILLS = {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis"}
"""Brands of still pictures in the MP4 container."""

_ENDS_EARLY = ("partial file", "File ended prematurely")
"""Messages of the MP4 and Matroska demuxers for a file that ends before its stated length."""

_TS_PACKETS = (188, 188), (192, 188), (204, 204)
"""Bytes of a transport stream packet (plain, with a time as in AVCHD, with a checksum) and of its part from
the sync byte on. A file may begin within a packet, but ends with a complete one."""

_TAIL_BYTES, _TS_IN_A_ROW = 1024, 5

_QUARTERS = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))
"""Display matrices of counterclockwise quarter turns."""

_SLOPPY = 16
"""Bytes by which AVI writers miscount their headers."""

_GAP, _REACH = 1.75, 8
"""In frames: minimum distance that counts as a gap, and reach of the damage that may have caused it."""

_STEPS, _MARKS = 10, 100
"""How many of the last frame intervals and damaged packets are kept."""

_DEFAULT_RATE, _MAX_RATE = 25.0, 10_000
_MAX_ASPECT = 4
_MAX_MESSAGES = 20
_JUMP_S, _DISORDER_FRAMES, _LEAST_S = 10.0, 3, 0.001
_EXPECTED = "expected a video: MP4, MOV, MKV, WebM, AVI, MPEG, DV or Y4M"

av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)  # it would compare with the last line of any other video


@dataclass(frozen=True)
class VideoFrame:
    """One frame as displayed."""

    image: Image
    """uint8 blue-green-red, upright, with square pixels; its size may differ from the previous frame's."""

    time_s: float
    """Seconds since the first frame, strictly rising."""

    size: tuple[int, int] | None = None
    """Width and height before it was shrunk; None if it was not."""

    full_size: Callable[[], Image] | None = None
    """Converts the frame without shrinking it; None if it was not shrunk."""

    jpeg: bytes | None = None
    """The same picture as the file stores it, if that is an intact JPEG and the video is `live`."""


class Video:
    """A video, decoded in one thread; its frames can be read once."""

    name: str
    """Its name in messages."""

    rate: float
    """Nominal frames per second."""

    frames: int
    """Number of frames as stated in the file, 0 if it is not. A trimmed video shows fewer."""

    duration_s: float | None
    """Duration as stated in the file; None if it is not."""

    has_times: bool
    """Whether its frames have times; a raw stream has none and uses `fps`."""

    def __init__(
        self,
        source: Path | BinaryIO,
        *,
        fps: float | None = None,
        name: str | None = None,
        live: bool = False,
    ) -> None:
        """Open a video from a path, or from a seekable binary file that the caller closes.

        `fps` is the rate of a stream without times. `live`: play it as a camera would: frames are shrunk, see
        `media.shrink`, and come with their JPEG. Raises `PictureError` if the file is missing, empty, not
        a video, or a video without a decoder.
        """
        self.name = name or str(source if isinstance(source, Path) else getattr(source, "name", "input"))
        self._live, self._packet = live, b""
        self._shown = 0
        self._decoder_messages: dict[str, None] = {}
        self._ends_early = self._has_message = False
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
        self._losses, self._clock = _LossCounter(self.rate, longest_s), _FrameClock(self.rate, longest_s)
        self.frames = max(0, self._stream.frames)
        duration = self._container.duration
        self.duration_s = duration / av.time_base if duration else None

    @property
    def lost(self) -> int:
        """Number of frames lost to damage so far, after the first one shown."""
        return self._losses.count

    @property
    def decoder_messages(self) -> tuple[str, ...]:
        """Messages of the decoder so far: each once, at most 20."""
        return tuple(self._decoder_messages)

    @property
    def cut_short(self) -> bool:
        """Whether the file ends early; known once all frames are read."""
        return self._ends_early

    @property
    def defects(self) -> str:
        """What is missing, and the messages of the decoder, as one line; "" for a video without defects.

        Known once all frames are read.
        """
        said = []
        if self.cut_short:
            shown = f"{self._shown} of {self.frames}" if self.frames > self._shown else f"{self._shown}"
            said.append(f"is truncated: it ends after {shown} frame{'' if shown == '1' else 's'}")
        if self.lost:
            is_are = "is" if self.lost == 1 else "are"
            said.append(f"{self.lost} of {self._shown + self.lost} frames {is_are} lost because of damage")
        if self._decoder_messages:
            first, *others = self._decoder_messages
            more = f", and {len(others)} more line{'' if len(others) == 1 else 's'}" if others else ""
            said.append(f"the decoder reported: {first}{more}")
        return "; ".join(said)

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames; raises `PictureError` if none can be decoded or the file becomes unreadable."""
        if self._container is None:
            return
        try:
            for frame in self._deinterlaced():
                self._shown += 1
                yield self._to_video_frame(frame)
        except OSError as error:
            raise PictureError(f"{self.name}: reading failed partway ({error.strerror})") from error
        if not self._shown:
            why = next(iter(self._decoder_messages), "it has none")
            raise PictureError(f"{self.name}: no frame can be decoded ({why}); expected a complete video")

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
        with self._capture_messages():
            self._container = av.open(_NamelessFile(file), options=options)
        if self._container.metadata.get("major_brand", "").strip() in _STILLS:
            raise PictureError(f"{self.name}: is a still picture; {_EXPECTED}")
        self._stream = self._choose_stream()
        # The container's aspect ratio has precedence; the decoder's may change within the video.
        said, decoded = self._stream.sample_aspect_ratio, self._stream.codec_context.sample_aspect_ratio
        self._aspect = said if said != decoded else None

    def _choose_stream(self) -> Any:
        """The stream to show: the largest default stream."""
        pictures = [stream for stream in self._container.streams if stream.type == "video"]
        videos = [stream for stream in pictures if not stream.disposition & Disposition.attached_pic]
        if not videos:
            what = "has only sound and a cover picture" if pictures else "has no pictures"
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
                f"{self.name}: {best.width}x{best.height} pixels; expected at most {MAX_PIXELS}"
            )
        best.thread_count = 1
        best.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return best

    def _why_not(self) -> str:
        if any(line.startswith("mov,") for line in self._decoder_messages):
            return "has no readable index, because it is truncated; copy it again"
        return "is not a video in a supported format"

    # --- decoding ---

    def _deinterlaced(self) -> Iterator[Any]:
        """The decoded frames; from the first interlaced one on, they pass through the deinterlacer."""
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
        is_silent = self._container.format.name == "mpeg"  # its demuxer skips damage silently
        for packet, is_last in self._packets():
            if is_last and self._is_partial(packet):
                self._ends_early = True  # the decoder would invent the missing part
                continue
            was_heard, self._has_message = self._has_message, False
            try:
                with self._capture_messages():
                    frames = packet.decode()
            except av.error.FFmpegError:
                frames = []
                self._has_message = True
                self._losses.add_failure()
            if packet.size and not packet.is_discard:
                is_damaged = was_heard or self._has_message or packet.is_corrupt or is_silent
                self._losses.add_packet(self._time(packet), is_damaged=is_damaged)
            self._ends_early |= is_last and self._has_message and has_no_lengths
            at_end |= is_last
            # The only decoder whose packet is a complete picture, and whose frames come with their packet.
            is_jpeg = self._live and self._stream.codec_context.name == "mjpeg" and not self._has_message
            self._packet = bytes(packet) if is_jpeg and len(frames) == 1 else b""
            for frame in frames:
                self._ends_early |= at_end and frame.is_corrupt and has_no_lengths
                self._losses.add_frame(self._time(frame))
                yield frame
        self._losses.end()
        if self._container is not None and self._container.format.name == "avi" and self._decoder_messages:
            self._losses.count_promised(self.frames)
        self._ends_early |= self._container is not None and self._file_is_short()

    def _packets(self) -> Iterator[tuple[Any, bool]]:
        """Each packet, and whether it is the last: an empty packet that flushes the decoder follows."""
        packets = self._container.demux(self._stream)
        before = None
        while self._container is not None:
            try:
                with self._capture_messages():
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
            if packet.size or is_flush:  # an empty packet in the middle repeats the last frame
                before = packet

    def _time(self, part: Any) -> float | None:
        """Time of a packet or a frame in seconds; None if it has no real one."""
        return None if part.pts is None or not self.has_times else float(part.pts * part.time_base)

    def _is_partial(self, packet: Any) -> bool:
        """Whether the file ends within this packet."""
        past_end: bool = self._container.format.name == "dv" and packet.pos + packet.size > self._size
        return past_end or bool(packet.is_corrupt)

    def _file_is_short(self) -> bool:
        """Whether the file is shorter than stated, or its rest cannot be reached."""
        kind = self._container.format.name
        if kind == "yuv4mpegpipe":
            return self._packets_end < self._size
        if kind.startswith("matroska") and any(
            line.startswith("matroska") for line in self._decoder_messages
        ):
            return self._losses.end_s < self._stated_length_s()  # no cluster was found after the damage
        if kind == "mpegts":
            return not _ends_with_a_packet(self._tail)
        return kind == "avi" and self._size + _SLOPPY < self._riff_size

    def _stated_length_s(self) -> float:
        """Duration of the video stream as stated by Matroska; the sound may be longer."""
        said = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", self._stream.metadata.get("DURATION", ""))
        if said is None:
            return self.duration_s or 0.0
        hours, minutes, seconds = map(float, said.groups())
        return 3600 * hours + 60 * minutes + seconds

    @contextmanager
    def _capture_messages(self) -> Iterator[None]:
        """Collect FFmpeg's messages in this thread."""
        with av.logging.Capture() as lines:
            try:
                yield
            finally:
                for _, part, message in lines:
                    self._add_message(part, message.strip())

    def _add_message(self, part: str, message: str) -> None:
        if "not on whitelist" in message:  # about sound, which is not decoded
            return
        self._has_message = True
        self._ends_early |= message.endswith(_ENDS_EARLY)
        if len(self._decoder_messages) < _MAX_MESSAGES:
            self._decoder_messages[f"{part}: {message}"] = None

    # --- showing ---

    def _to_video_frame(self, frame: Any) -> VideoFrame:
        size, matrix = self._shown_size(frame), _matrix(frame)
        time_s = self._clock.next(self._time(frame))
        wanted = working_size(*size) if self._live else size
        image = _to_image(frame, wanted, matrix)
        if wanted == size:
            is_plain = matrix == _QUARTERS[0] and size == (frame.width, frame.height)
            return VideoFrame(image, time_s, jpeg=self._jpeg(size) if is_plain else None)
        upright = size if image.shape[1] == wanted[0] else (size[1], size[0])
        return VideoFrame(image, time_s, upright, lambda: _to_image(frame, size, matrix))

    def _jpeg(self, size: tuple[int, int]) -> bytes | None:
        """The packet of the frame of this size as JPEG for any viewer."""
        packet, self._packet = self._packet, b""
        if not packet:
            return None
        from appliance.media.jpeg import fit_for_browsers, intact_size

        return fit_for_browsers(packet) if intact_size(packet) == size else None

    def _shown_size(self, frame: Any) -> tuple[int, int]:
        """Width and height with square pixels."""
        width, height = frame.width, frame.height
        aspect = self._aspect or self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        if 1 < aspect <= _MAX_ASPECT:
            width = round(width * aspect)
        elif 1 / _MAX_ASPECT <= aspect < 1:
            height = round(height / aspect)
        return width, height


class _Deinterlacer:
    """Merges the two fields of interlaced frames; other frames pass unchanged."""

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
        """Whether the frame has the size and format of the previous ones."""
        return _kind(frame) == self._kind

    def push(self, frame: Any) -> Iterator[Any]:
        """Add the next frame, None at the end; returns the frames that are ready."""
        self._graph.push(frame)
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


class _LossCounter:
    """Counts the frames that are lost because of damage.

    A demuxer or decoder may omit them silently, so gaps in time near damage are counted, or failed packets if
    there are no times. A gap longer than `longest_s` means that the clock was set.
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
        """End of the last frame in seconds, with a tolerance of half a frame."""
        return self._last + 1.5 * min(self._steps)

    def add_failure(self) -> None:
        """Count a packet that yields no frame. Nothing counts as lost before the first key frame."""
        self.count += self._shown > 0 and not self._has_times

    def add_packet(self, time: float | None, *, is_damaged: bool) -> None:
        """Note a packet that goes to the decoder."""
        if time is not None:
            self._newest = max(self._newest, time)
            if is_damaged:
                self._damaged.append(time)

    def add_frame(self, time: float | None) -> None:
        """Note the next frame that is shown."""
        self._shown += 1
        if time is None:
            return
        if self._gap_from < time < self._last:
            self.count -= 1  # late, but not lost
            return
        if self._has_times and not self._count_gap(time) and time > self._last:
            self._steps.append(time - self._last)
        self._has_times, self._last = True, time

    def end(self) -> None:
        """Note the end of the video."""
        if self._has_times:
            self._count_gap(self._newest + min(self._steps))

    def count_promised(self, frames: int) -> None:
        """Use the stated number of frames, for a format whose times are only counted."""
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


class _FrameClock:
    """Times of the displayed frames: from zero, strictly rising."""

    def __init__(self, rate: float, longest_s: float = math.inf) -> None:
        self._step, self._longest_s = 1 / rate, longest_s
        self._last = -self._step
        self._shift: float | None = None
        self._gap_from = math.inf

    def next(self, time: float | None) -> float:
        """The time of the next frame, whose stream states `time`, or None."""
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
        # A jump by more than a few frames, not into a gap caused by damage: the stream's clock was set.
        if not min(due - disorder_s, self._gap_from) < now < due + self._longest_s:
            self._shift, now = due - time, due
            self._gap_from = math.inf
        self._last = max(now, self._last + _LEAST_S)
        return self._last


class _NamelessFile:
    """A file without its name, so that FFmpeg does not guess the format from it."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _open_file(path: Path) -> BinaryIO:
    # Opened here, because FFmpeg may interpret a name as a URL or a pattern.
    try:
        if path.exists() and not path.is_file():
            raise PictureError(f"{path}: is not a file; {_EXPECTED}")
        return path.open("rb")
    except FileNotFoundError:
        raise PictureError(
            f"{path}: no such file; expected a picture, a video or a folder of pictures"
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
    if not guessed or guessed > 2 * average > 0:  # the clock's rate, if the frame rate varies
        guessed = average
    return float(guessed) if 0 < guessed <= _MAX_RATE else _DEFAULT_RATE


def _kind(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """Display matrix of a frame as (a, b, c, d): x' = a x + c y, y' = b x + d y."""
    try:
        # Not frame.side_data, which creates a reference cycle: 300 MB would wait for the garbage collector.
        found = cast("Any", SideDataContainer)(frame).get("DISPLAYMATRIX")
    except ValueError:  # side data unknown to PyAV before 19, which still knows the angle
        return _QUARTERS[round(frame.rotation / 90) % 4]
    if found is None:
        return _QUARTERS[0]
    a, b, _, c, d, *_ = np.frombuffer(bytes(found), np.int32).tolist()
    return a, b, c, d


def _to_image(frame: Any, size: tuple[int, int], matrix: tuple[int, int, int, int]) -> Image:
    width, height = size
    image = frame.reformat(width=width, height=height, format="bgr24", threads=1).to_ndarray()
    return np.ascontiguousarray(_upright(image, matrix))


def _upright(image: Image, matrix: tuple[int, int, int, int]) -> Image:
    a, b, c, d = matrix
    if abs(a) < abs(b):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
