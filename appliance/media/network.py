"""Reads a camera on the network with PyAV: RTSP over TCP or MJPEG over HTTP, the newest picture only."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import av
import av.error
import av.logging
import numpy as np

from appliance.errors import CameraLost
from appliance.system.native import MAX_PIXELS
from appliance.values import Image

log = logging.getLogger("appliance.camera")

av.logging.set_level(av.logging.ERROR)

PORTS = {"rtsp": 554, "http": 80, "https": 443}
"""The schemes that can be read, with their ports."""

OPEN_S, READ_S = 3.0, 2.0
"""Longest silence of the sender in each step of opening it, and between two pictures."""

COMPLETE_S = 4.0
"""Longest wait for the first complete picture of a sender that already sends parts of others."""

CLOSE_S = 3.0
"""Longest wait for the thread. One that is still connecting may take longer, and disconnects then."""

_PROTOCOLS = {"rtsp": "rtsp,rtp,tcp", "http": "http,tcp", "https": "https,tls,tcp"}
_DECODERS = "h264,hevc,mjpeg,mpeg4"
_WAITED_S, _BEHIND_S = 0.001, 1.0
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
    """A picture as received. `number` rises from 1; `captured`: monotonic seconds of its arrival.

    `jpeg`: the bytes of the sender's own JPEG, None if it sends another format.
    """

    number: int
    captured: float
    image: Image
    jpeg: bytes | None


class NetworkStream:
    """A connection to a sender. A thread of its own receives, so that nothing old waits in any buffer.

    That thread drops each picture for which a newer one has arrived. JPEG is decoded only when taken;
    formats whose pictures depend on earlier ones are decoded as they arrive.

    No message names the path of the address, the user or the password. FFmpeg's own errors hold all three,
    so none is ever chained.
    """

    def __init__(self, url: str, login: Login | None, *, ca_file: str = "") -> None:
        """A stream that is not open. `ca_file`: PEM file of the trusted authorities; "": the system's."""
        parts = urlsplit(url)
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._port = parts.port or PORTS[parts.scheme]
        self._url, self._login, self._ca_file = url, login, ca_file
        self.sender = f"{parts.scheme}://{parts.netloc}"
        self._news = threading.Condition()
        self._number = 0
        self._newest: tuple[float, Any] | None = None
        self._lost: CameraLost | None = None
        self._is_closed = False
        self._jpegs: Any = None
        self._is_public = self._receives = False
        self._connecting_since = 0.0
        self._thread = threading.Thread(target=self._run, name="network camera", daemon=True)

    def open(self, timeout: float) -> None:
        """Connect and wait for the first picture; raises `CameraLost` with the reason."""
        self._thread.start()
        if self._wait_for(0, timeout):
            return
        if not self._receives:
            raise CameraLost(self._no_answer())
        if not self._wait_for(0, COMPLETE_S):
            raise CameraLost(f"{self.sender} sends no complete picture; set its key frame interval to 2 s")

    def take(self, after: int, timeout: float) -> NetworkPicture:
        """The newest picture with a number above `after`; raises `CameraLost`. For one thread only."""
        deadline = time.monotonic() + timeout
        while True:
            if not self._wait_for(after, deadline - time.monotonic()):
                raise CameraLost(f"{self.sender} delivers no frames; check the camera and its network")
            with self._news:
                assert self._newest is not None
                number, (captured, content) = self._number, self._newest
            jpeg = content if isinstance(content, bytes) else None
            picture = self._decode_jpeg(jpeg) if jpeg is not None else content
            if picture is not None:
                image = picture.reformat(format="bgr24", threads=1).to_ndarray()
                return NetworkPicture(number, captured, np.ascontiguousarray(image), jpeg)
            after = number  # a damaged picture

    def close(self) -> None:
        """Disconnect. Waits for the thread, at most until a silent sender's time is over."""
        self._is_closed = True
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)
        self._newest = self._jpegs = None

    def _wait_for(self, after: int, timeout: float) -> bool:
        """Whether a picture with a number above `after` came in time; raises why none will come."""
        with self._news:
            self._news.wait_for(lambda: self._number > after or self._lost is not None, max(0.0, timeout))
            if self._number <= after and self._lost is not None:
                raise self._lost
            return self._number > after

    # --- the thread ---

    def _run(self) -> None:
        lost: CameraLost | None = None
        with av.logging.Capture() as lines:  # FFmpeg's messages may hold the address
            try:
                self._look_up()
                if self._scheme == "rtsp" and self._login and not self._is_closed:
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
        with socket.create_connection((self._host, self._port), timeout=OPEN_S) as connection:
            connection.sendall(request.encode())
            _, _, status = connection.makefile("rb").readline(_STATUS_BYTES).partition(b" ")
        if status.startswith(b"3"):
            raise CameraLost(self._redirects())

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
        if self._scheme == "rtsp":
            options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}
            return av.open(url, format="rtsp", options=options, timeout=(OPEN_S, READ_S))
        # A redirection would lead to a sender that the owner did not name, a proxy of the environment too.
        options |= {"max_redirects": "0", "http_proxy": "", "strict_mime_boundary": "1"}
        if self._scheme == "https":
            trusted = self._ca_file or ssl.get_default_verify_paths().cafile or ""
            options |= {"tls_verify": "1", "ca_file": trusted}
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
        pace = _Pace(decoder, self.sender)
        packets = container.demux(stream)
        while not self._is_closed:
            began = time.monotonic()
            packet = next(packets, None)
            if packet is None or not packet.size:
                return
            arrived = time.monotonic()
            self._receives = True
            messages.clear()  # of damage: the next picture tells more
            if decoder.name == "mjpeg":
                self._put(arrived, bytes(packet))
                continue
            pace.received(packet, waited=arrived - began > _WAITED_S, now=arrived)
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # until the next complete picture
            if frames:
                self._put(arrived, frames[-1])

    def _put(self, captured: float, content: Any) -> None:
        if self._is_closed:
            return
        with self._news:
            self._number, self._newest = self._number + 1, (captured, content)
            self._news.notify_all()

    # --- pictures and reasons ---

    def _decode_jpeg(self, jpeg: bytes) -> Any:
        """The picture of a JPEG; None if it is damaged."""
        if self._jpegs is None:
            self._jpegs = av.CodecContext.create("mjpeg", "r")
            self._jpegs.thread_count = 1
            self._jpegs.options = {"max_pixels": str(MAX_PIXELS)}
        try:
            with av.logging.Capture():
                frames = self._jpegs.decode(av.Packet(jpeg))
        except av.error.FFmpegError:
            return None
        return frames[-1] if frames else None

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
        if "certificate" in said.lower():
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


class _Pace:
    """Skips to the next complete picture when decoding cannot keep up, so that none is late.

    It is behind when packets were always waiting for a second.
    """

    def __init__(self, decoder: Any, sender: str) -> None:
        self._decoder, self._sender = decoder, sender
        self._caught_up = time.monotonic()
        self._skips = self._is_logged = False

    def received(self, packet: Any, *, waited: bool, now: float) -> None:
        """Note a packet. `waited`: it was not waiting already."""
        if waited:
            self._caught_up = now
        if now - self._caught_up > _BEHIND_S:
            self._skips = True
            self._decoder.skip_frame = "NONKEY"
            if not self._is_logged:
                log.warning(
                    "%s sends more than this board can decode; choose a smaller size or rate, or MJPEG",
                    self._sender,
                )
            self._is_logged = True
        elif self._skips and waited and packet.is_keyframe:
            self._skips = False
            self._decoder.skip_frame = "DEFAULT"
