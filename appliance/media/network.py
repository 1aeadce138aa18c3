"""Reads a camera on the network with PyAV: RTSP over TCP or MJPEG over HTTP, each also with TLS.

Only the newest picture is kept.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import socket
import ssl
import threading
import time
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import av
import av.error
import av.logging
import numpy as np

from appliance.errors import CameraLost, PictureError
from appliance.media.jpeg import JpegDecoder
from appliance.media.shrink import frame_of
from appliance.system.native import MAX_PIXELS
from appliance.values import Frame

log = logging.getLogger("appliance.camera")

av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)  # the reason of a failure is wanted at each try

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""The schemes that can be read, with their ports."""

OPEN_S, READ_S = 3.0, 2.0
"""Longest silence of the sender in each step of opening it, and between two pictures."""

MOST_PICTURE_BYTES = 32 * 1024 * 1024
"""A larger picture, as it is sent, is a lost camera."""

COMPLETE_S = 4.0
"""Longest wait for the first complete picture of a sender that already sends parts of others."""

CLOSE_S = 3.0
"""Longest wait for the thread. One that is still connecting may take longer, and disconnects then."""

_PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp",
    "rtsps": "rtsp,rtp,tls,tcp",
    "http": "http,tcp",
    "https": "https,tls,tcp",
}
_DECODERS = "h264,hevc,mjpeg,mpeg4"
_MOST_WAITING = 300
"""Packets after a key frame that are kept for decoding: ten seconds of most cameras."""
_MOST_ALLOCATED_BYTES = 2 * MOST_PICTURE_BYTES
"""What FFmpeg may allocate at once: enough for the pixels of an 8K picture."""

_DECODE_S = 0.5
_STATUS_BYTES = 200
_MAX_LOGIN = 127
"""Bytes of user name and password in FFmpeg's RTSP client, which cuts off the rest."""


class WrongLogin(CameraLost):
    """The sender refused user name and password, or their absence."""


@dataclass(frozen=True)
class Login:
    """User name and password of a sender; its `repr` shows neither."""

    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class NetworkPicture:
    """A picture as received: a frame without number and time. `captured`: monotonic seconds of arrival."""

    captured: float
    frame: Frame


class NetworkStream:
    """A connection to a sender. A thread of its own receives, so that nothing old waits in any buffer.

    It keeps only what the newest picture needs: that one itself, or the packets since the last key frame.
    They are decoded in the thread that takes the picture.

    No message names the path of the address, the user or the password. FFmpeg's own errors hold all three,
    so none is ever chained.
    """

    def __init__(self, url: str, login: Login | None, *, ca_file: str = "") -> None:
        """A stream that is not open. `ca_file`: PEM file of the trusted authorities; "": the system's."""
        parts = urlsplit(url)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._is_rtsp, self._is_tls = parts.scheme in ("rtsp", "rtsps"), parts.scheme in ("rtsps", "https")
        self._port = parts.port or PORTS[parts.scheme]
        self._url, self._login, self._ca_file = url, login, ca_file
        self.sender = f"{parts.scheme}://{parts.netloc}"
        self._news = threading.Condition()
        self._waiting: deque[tuple[float, Any]] = deque()
        self._waiting_bytes = 0
        self._decoder: Any = None
        self._jpegs = JpegDecoder()
        self._needs_key_frame = True
        self._lost: CameraLost | None = None
        self._is_closed = False
        self._is_public = self._receives = False
        self._connecting_since = 0.0
        self._thread = threading.Thread(target=self._run, name="network camera", daemon=True)

    def open(self, timeout: float) -> None:
        """Connect and wait for the first picture; raises `CameraLost` with the reason."""
        _limit_allocations()
        self._thread.start()
        if self._wait(timeout):
            return
        if not self._receives:
            raise CameraLost(self._no_answer())
        if not self._wait(COMPLETE_S):
            raise CameraLost(f"{self.sender} sends no complete picture; set its key frame interval to 2 s")

    def take(self, timeout: float) -> NetworkPicture:
        """The newest picture that was not taken yet; raises `CameraLost`. For one thread only."""
        deadline = time.monotonic() + timeout
        while self._wait(deadline - time.monotonic()):
            if picture := self._decode():
                return picture
        raise CameraLost(f"{self.sender} delivers no frames; check the camera and its network")

    def close(self) -> None:
        """Disconnect. Waits for the thread, at most until a silent sender's time is over."""
        self._is_closed = True
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)
        with self._news:
            self._forget_waiting()

    def _wait(self, timeout: float) -> bool:
        """Whether something to decode came in time; raises why nothing will come."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._lost, max(0.0, timeout))
            if not self._waiting and self._lost:
                raise self._lost
            return bool(self._waiting)

    def _decode(self) -> NetworkPicture | None:
        """The newest picture of what has arrived; None if that is damaged."""
        return self._decode_jpeg() if self._decoder.name == "mjpeg" else self._decode_video()

    def _decode_jpeg(self) -> NetworkPicture | None:
        with self._news:
            arrived, packet = self._waiting[-1]
            self._forget_waiting()
        try:
            return NetworkPicture(arrived, self._jpegs.decode(bytes(packet)))
        except PictureError:
            return None

    def _decode_video(self) -> NetworkPicture | None:
        newest: tuple[float, Any] | None = None
        # A board that decodes too slowly shows what it has, and skips to the next key frame.
        deadline = time.monotonic() + _DECODE_S
        while newest is None or time.monotonic() < deadline:
            with self._news:
                if not self._waiting:
                    break
                arrived, packet = self._waiting.popleft()
                self._waiting_bytes -= packet.size
            with suppress(av.error.FFmpegError), av.logging.Capture():
                newest = next(((arrived, frame) for frame in self._decoder.decode(packet)[-1:]), newest)
        if newest is None:
            return None
        arrived, frame = newest
        try:
            with av.logging.Capture():
                image = frame.reformat(format="bgr24", threads=1).to_ndarray()
        except (av.error.FFmpegError, ValueError) as error:  # a pixel format that is not converted
            raise CameraLost(
                f"{self.sender} sends pictures that cannot be converted: {type(error).__name__}"
            ) from None
        return NetworkPicture(arrived, frame_of(np.ascontiguousarray(image)))

    # --- the thread ---

    def _run(self) -> None:
        lost: CameraLost | None = None
        with av.logging.Capture() as lines:  # FFmpeg's messages may hold the address
            try:
                self._look_up()
                if self._is_rtsp and self._login and not self._is_closed:
                    self._refuse_redirection()
                if not self._is_closed:
                    with closing(self._connect()) as container:
                        self._receive(container, lines)
                lost = CameraLost(f"{self.sender} ended the stream")
            except CameraLost as error:
                lost = error
            except (OSError, av.error.FFmpegError) as error:
                lost = self._explain(error, [message for _, _, message in lines])
            except Exception as error:  # of PyAV: its text may hold the address
                lost = CameraLost(f"{self.sender} cannot be read: {type(error).__name__}")
        with self._news:
            self._lost = lost
            self._news.notify_all()

    def _look_up(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise CameraLost(f"{self.sender}: the name {self._host} is unknown; correct camera.url") from None
        addresses = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        self._is_public = all(address.is_global for address in addresses)

    def _refuse_redirection(self) -> None:
        """Ask once without the login: FFmpeg would follow an RTSP redirection, and log in there."""
        request = f"DESCRIBE {self._url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
        line, deadline = b"", time.monotonic() + OPEN_S
        with (
            socket.create_connection((self._host, self._port), timeout=OPEN_S) as plain,
            self._encrypted(plain) as connection,
        ):
            connection.sendall(request.encode())
            while b"\n" not in line and len(line) < _STATUS_BYTES:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                data = connection.recv(_STATUS_BYTES)
                if not data:
                    break
                line += data
        if line.partition(b" ")[2].startswith(b"3"):
            raise CameraLost(self._redirects())

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        """The connection, with TLS for `rtsps`."""
        if self._scheme != "rtsps":
            return connection
        context = ssl.create_default_context(cafile=self._ca_file or None)
        return context.wrap_socket(connection, server_hostname=self._host)

    def _connect(self) -> Any:
        self._connecting_since = time.monotonic()
        url, options = (
            self._url,
            {"protocol_whitelist": _PROTOCOLS[self._scheme], "codec_whitelist": _DECODERS},
        )
        if self._login:
            login = f"{quote(self._login.user, safe='')}:{quote(self._login.password, safe='')}"
            if len(login) > _MAX_LOGIN:
                raise WrongLogin(f"{self.sender}: user name and password are too long; choose shorter ones")
            url = url.replace("://", f"://{login}@", 1)
        # Without probing, which would hold back the first second of a stream.
        options |= {"analyzeduration": "0", "probesize": "32"}
        if self._is_tls:
            trusted = self._ca_file or ssl.get_default_verify_paths().cafile or ""
            options |= {"tls_verify": "1", "ca_file": trusted}
        if self._is_rtsp:
            options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}
            return av.open(url, format="rtsp", options=options, timeout=(OPEN_S, READ_S))
        # A redirection would lead to a sender that the owner did not name, a proxy of the environment too.
        options |= {"max_redirects": "0", "http_proxy": "", "strict_mime_boundary": "1"}
        options |= {"seekable": "0", "icy": "0"}  # without the headers of a player
        return av.open(url, format="mpjpeg", options=options, timeout=(OPEN_S, READ_S))

    def _receive(self, container: Any, messages: list[Any]) -> None:
        """Receive until closed, or until the stream ends."""
        if not container.streams.video:
            raise CameraLost(f"{self.sender} sends no video; correct camera.url")
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder is None or decoder.name not in _DECODERS.split(","):
            kind = decoder.name if decoder else "an unknown format"
            raise CameraLost(f"{self.sender} sends {kind}; set the camera to H.264, H.265 or MJPEG")
        decoder.thread_count = 1  # more would hold back pictures
        decoder.options = {"max_pixels": str(MAX_PIXELS)}
        log.info("%s sends %s", self.sender, decoder.name)
        self._decoder = decoder
        for packet in container.demux(stream):
            if self._is_closed or not packet.size:
                return
            if packet.size > MOST_PICTURE_BYTES:
                limit_mb = MOST_PICTURE_BYTES >> 20
                raise CameraLost(
                    f"{self.sender} sends a picture larger than {limit_mb} MB; choose a smaller one"
                )
            self._receives = True
            messages.clear()
            self._keep(packet)

    def _keep(self, packet: Any) -> None:
        with self._news:
            is_full = (
                len(self._waiting) >= _MOST_WAITING
                or self._waiting_bytes + packet.size > _MOST_ALLOCATED_BYTES
            )
            if packet.is_keyframe:
                self._needs_key_frame = False
                self._forget_waiting()
            elif self._needs_key_frame or is_full:
                self._needs_key_frame = True
                self._forget_waiting()
                return
            self._waiting.append((time.monotonic(), packet))
            self._waiting_bytes += packet.size
            self._news.notify_all()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    # --- reasons ---

    def _explain(self, error: Exception, messages: list[str]) -> CameraLost:
        """What a person can do about an error of the connection."""
        said = " ".join(messages)
        sender = self.sender
        if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
            wrong = (
                "refuses this user name and password" if self._login else "asks for a user name and password"
            )
            return WrongLogin(f"{sender} {wrong}; write them to the file of camera.credentials")
        if isinstance(error, av.error.HTTPNotFoundError):
            return CameraLost(f"{sender} has no such stream; correct the path of camera.url")
        if isinstance(error, (av.error.HTTPClientError, av.error.HTTPServerError)):
            return CameraLost(f"{sender} refuses the stream; is it busy, or switched off?")
        if "certificate" in said.lower() or isinstance(error, ssl.SSLCertVerificationError):
            return CameraLost(
                f"the certificate of {sender} is not trusted; set camera.ca_file to that of its authority"
            )
        if isinstance(error, ConnectionRefusedError):
            return CameraLost(f"{sender} refuses connections; switch the stream on, or correct camera.url")
        # FFmpeg reports its timeouts as several errors.
        took = time.monotonic() - self._connecting_since
        if isinstance(error, (TimeoutError, PermissionError)) or (not self._receives and took > OPEN_S):
            return CameraLost(self._no_answer())
        if self._receives:
            return CameraLost(f"{sender} delivers no frames; check the camera and its network")
        if isinstance(error, av.error.InvalidDataError):
            return CameraLost(f"{sender} sends no stream that can be read; expected RTSP, or MJPEG over HTTP")
        if isinstance(error, OSError) and error.errno == errno.EIO:
            return CameraLost(self._redirects())
        return CameraLost(f"{sender} cannot be read; check the camera and its network")

    def _redirects(self) -> str:
        return (
            f"{self.sender} redirects to another address or closes the connection;"
            " set camera.url to the stream itself"
        )

    def _no_answer(self) -> str:
        if self._is_public:
            return (
                f"{self.sender} does not answer, and its address is public: an installed device reaches only"
                " private networks; allow it with setup.sh install --allow NETWORK"
            )
        return f"{self.sender} does not answer; check the camera and its network"


def _limit_allocations() -> None:
    """Bound what a sender can make FFmpeg keep: it has no limit for the bytes of a picture."""
    # Of the whole process, whose only videos are those of its camera. The symbol is that of the FFmpeg which
    # this module of PyAV is linked to.
    ctypes.CDLL(str(av.logging.__file__)).av_max_alloc(ctypes.c_size_t(_MOST_ALLOCATED_BYTES))
