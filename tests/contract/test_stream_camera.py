"""What is special to a camera on the network: its senders' habits, its faults and its login."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from appliance import registry
from appliance.auth.certificate import DeviceCertificate
from appliance.cameras.stream import Stream, StreamSettings, read_login
from appliance.composition.camera import AUTO_ORDER
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.errors import CameraLost, ConfigError
from appliance.media.network import Login, NetworkStream
from appliance.values import Image
from tests.e2e.daemon.driver import until
from tests.fakes.files import encoded
from tests.fakes.network_cameras import Mjpeg, MjpegSender, mjpeg_sender, rtsp_sender, scene_jpeg
from tests.fakes.scene import Scene
from tests.machine import ROOT

USER, PASSWORD = "viewer", "pass:w/ör@d %1"
"""A password with everything that an address would have to escape."""

HUNG_S = 12.0
"""Only a call that hangs takes longer."""


@contextmanager
def opened(url: str, **settings: str) -> Iterator[Stream]:
    """A camera that delivers."""
    camera = Stream(StreamSettings(url=url, **settings))
    try:
        camera.open()
        yield camera
    finally:
        camera.close()


def refusal(url: str, **settings: str) -> str:
    """Why it cannot be opened."""
    began = time.monotonic()
    with pytest.raises(CameraLost) as lost, opened(url, **settings):
        pass
    assert time.monotonic() - began < HUNG_S
    return str(lost.value)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    return write_login(tmp_path / "camera-login", f"{USER}:{PASSWORD}\n")


def write_login(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def likeness(image: Image, number: int = 0) -> float:
    """Mean difference from a picture of the scene, without its moving bar."""
    expected = Scene().picture(number, image.shape[1], image.shape[0])
    return float(np.abs(image[:, :, ::2].astype(int) - expected[:, :, ::2]).mean())


# --- senders' habits ---

HABITS = {
    "lengths": Mjpeg(),
    "no lengths": Mjpeg(lengths=False),
    "dashes in the header": Mjpeg(boundary="--frame"),
    "dashes in the header, no lengths": Mjpeg(boundary="--frame", lengths=False),
    "more dashes in the body": Mjpeg(boundary="--frame", delimiter="----frame", lengths=False),
    "quoted": Mjpeg(boundary='"frame"', lengths=False),
    "another boundary than stated": Mjpeg(boundary="other", lengths=False),
    "none stated": Mjpeg(boundary=None),
    "chunked": Mjpeg(chunked=True, lengths=False),
}


@pytest.mark.parametrize("habit", HABITS.values(), ids=HABITS)
def test_every_kind_of_multipart_is_read(habit: Mjpeg) -> None:
    with mjpeg_sender(habit) as sender, opened(sender.url) as camera:
        frames = [camera.read(5.0) for _ in range(4)]
    assert all(frame.image.shape == (240, 320, 3) and likeness(frame.image) < 3 for frame in frames)


def test_the_senders_own_jpeg_is_kept() -> None:
    with mjpeg_sender() as sender, opened(sender.url) as camera:
        assert camera.read(5.0).jpeg in [scene_jpeg(number) for number in range(15)]


def test_a_camera_whose_jpegs_all_end_early_is_shown_but_they_are_not_passed_on() -> None:
    behaviour = Mjpeg(picture=lambda number: scene_jpeg(number)[:-900] + b"\xff\xd9")
    with mjpeg_sender(behaviour) as sender, opened(sender.url) as camera:
        assert camera.read(5.0).jpeg is None


def test_a_frame_above_1080p_is_shrunk() -> None:
    data = encoded(Scene().picture(0, 2560, 1440), ".jpg")
    with mjpeg_sender(Mjpeg(picture=lambda number: data)) as sender, opened(sender.url) as camera:
        frame = camera.read(5.0)
    assert frame.image.shape == (1080, 1920, 3) and (frame.width, frame.height) == (2560, 1440)
    assert frame.jpeg is None and frame.full_size is not None and frame.full_size().shape == (1440, 2560, 3)


def test_jpeg_by_rtsp_is_read_and_kept() -> None:
    with rtsp_sender(encoder="jpegenc ! rtpjpegpay") as sender:
        sender.width, stream = 320, NetworkStream(sender.url, None)
        try:
            stream.open(8.0)
            picture = stream.take(5.0)
        finally:
            stream.close()
    assert picture.frame.jpeg is not None
    image = cv2.imdecode(np.frombuffer(picture.frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and np.abs(picture.frame.image.astype(int) - image).mean() < 3


def test_a_damaged_picture_is_left_out() -> None:
    behaviour = Mjpeg(picture=lambda number: b"not a picture" if number % 2 else scene_jpeg(number))
    with mjpeg_sender(behaviour) as sender, opened(sender.url) as camera:
        assert all(likeness(camera.read(5.0).image) < 3 for _ in range(3))


def test_a_size_that_changes_within_mjpeg() -> None:
    def picture(number: int) -> bytes:
        return encoded(Scene().picture(number, *((320, 240), (160, 120))[number // 5 % 2]), ".jpg")

    with mjpeg_sender(Mjpeg(picture=picture)) as sender, opened(sender.url) as camera:
        seen = {camera.read(5.0).image.shape for _ in range(20)}
    assert seen == {(240, 320, 3), (120, 160, 3)}


def test_a_size_that_changes_within_rtsp() -> None:
    with rtsp_sender(sizes=True) as sender, opened(sender.url) as camera:
        seen = set()
        deadline = time.monotonic() + HUNG_S
        while len(seen) < 2 and time.monotonic() < deadline:
            seen.add(camera.read(5.0).image.shape)
    assert seen == {(240, 322, 3), (120, 160, 3)}


# --- freshness ---


@contextmanager
def sending(kind: str) -> Iterator[str]:
    if kind == "rtsp":
        with rtsp_sender() as rtsp:
            yield rtsp.url
    else:
        with mjpeg_sender() as mjpeg:
            yield mjpeg.url


@pytest.mark.parametrize("kind", ["mjpeg", "rtsp"])
def test_after_a_pause_of_the_reader_the_next_frame_is_new(kind: str) -> None:
    with sending(kind) as url, opened(url) as camera:
        camera.read(5.0)
        time.sleep(2)  # the reader's pause is what is tested
        resumed = time.monotonic()
        assert camera.read(5.0).captured > resumed - 1, "not one of the sixty that came meanwhile"


def test_the_content_is_new_after_a_pause_too() -> None:
    """Not only the stamp: each picture of this sender holds its time."""

    def stamped(_: int) -> bytes:
        image = np.zeros((64, 32 * 16, 3), np.uint8)
        bits = np.unpackbits(np.array([int(time.monotonic() * 1000)], ">u4").view(np.uint8))
        image[:] = 255 * np.repeat(bits, 16)[None, :, None]
        return encoded(image, ".jpg")

    with mjpeg_sender(Mjpeg(picture=stamped)) as sender, opened(sender.url) as camera:
        camera.read(5.0)
        time.sleep(2)
        resumed = time.monotonic()
        image = camera.read(5.0).image
    bits = (image[32, 8::16, 0] > 127).astype(np.uint8)
    sent = int(np.packbits(bits).view(">u4")[0]) / 1000
    assert sent > resumed - 1


def test_a_decoder_that_is_too_slow_never_shows_an_old_picture() -> None:
    encoder = "x264enc tune=zerolatency key-int-max=30 ! rtph264pay"
    with rtsp_sender(encoder=encoder) as sender, opened(sender.url) as camera:
        stream: Any = camera._stream
        stream._decoder = SlowDecoder(stream._decoder)
        ages = []
        for _ in range(8):
            frame = camera.read(5.0)
            ages.append(time.monotonic() - frame.captured)
    assert max(ages) < 3.0, "a second to the next key frame, and half a second of decoding"


def test_pictures_that_cannot_be_converted_are_a_lost_camera() -> None:
    with mjpeg_sender() as sender, opened(sender.url) as camera:
        stream: Any = camera._stream
        stream._decoder = Unconvertible()
        with pytest.raises(CameraLost, match="cannot be converted"):
            camera.read(5.0)


class Unconvertible:
    """Decodes to a pixel format that is not known."""

    name = "h264"

    def decode(self, packet: Any) -> Any:
        return [self]

    def reformat(self, **options: Any) -> Any:
        raise ValueError("rtsp://user:secret@192.0.2.7")


class SlowDecoder:
    """Takes twice as long as the sender for each picture."""

    def __init__(self, decoder: Any) -> None:
        self._decoder, self.name = decoder, decoder.name

    def decode(self, packet: Any) -> Any:
        time.sleep(2 / 30)
        return self._decoder.decode(packet)


# --- faults ---


def test_a_sender_that_never_answers_is_given_up() -> None:
    with mjpeg_sender(Mjpeg(silent=True)) as sender:
        assert "does not answer" in refusal(sender.url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert "does not answer" in refusal(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live")


def test_a_sender_that_stalls_is_lost_within_the_timeout_and_can_be_closed() -> None:
    with mjpeg_sender() as sender, opened(sender.url) as camera:
        camera.read(5.0)
        sender.behaviour.stalls = True
        began = time.monotonic()
        with pytest.raises(CameraLost, match="delivers no frames"):
            while True:
                camera.read(0.3)
        camera.close()
        assert time.monotonic() - began < HUNG_S
        sender.behaviour.stalls = False
        camera.open()
        camera.read(5.0)


def test_an_rtsp_server_that_hangs_is_lost_and_comes_back() -> None:
    with rtsp_sender() as sender, opened(sender.url) as camera:
        last = camera.read(5.0)
        sender.freeze()
        with pytest.raises(CameraLost, match="delivers no frames"):
            while True:
                last = camera.read(2.0)
        camera.close()
        with pytest.raises(CameraLost, match="does not answer"):
            camera.open()
        sender.stop()
        sender.start()
        camera.open()
        assert camera.read(5.0).number == last.number + 1


def test_a_slow_rtsp_server_delivers_slowly() -> None:
    with rtsp_sender(fps=2) as sender, opened(sender.url) as camera:
        first, second = camera.read(2.0), camera.read(2.0)
    assert second.captured > first.captured


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Mjpeg(status=404), "no such stream; correct the path"),
        (Mjpeg(status=409), "refuses the stream"),
        (Mjpeg(status=503), "refuses the stream"),
        (Mjpeg(delimiter="frame"), "expected RTSP, or MJPEG over HTTP"),
    ],
    ids=["404", "409", "503", "no multipart"],
)
def test_what_a_sender_refuses_is_reported(behaviour: Mjpeg, words: str) -> None:
    with mjpeg_sender(behaviour) as sender:
        assert words in refusal(sender.url)


def test_what_is_not_there_is_reported() -> None:
    with mjpeg_sender() as sender:
        gone = sender.url
    for url in (gone, gone.replace("http", "rtsp")):
        assert "refuses connections" in refusal(url)
    assert "the name nowhere.invalid is unknown" in refusal("rtsp://nowhere.invalid/live")
    with rtsp_sender() as rtsp:
        assert "has no such stream" in refusal(rtsp.url.replace("live", "other"))


def test_a_public_address_that_does_not_answer_says_what_an_installed_device_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing leaves this machine: the silent sender has a public address in the look-up only.
    monkeypatch.setattr("appliance.media.network.ip_address", lambda text: Public())
    with mjpeg_sender(Mjpeg(silent=True)) as sender:
        reason = refusal(sender.url)
    assert "private networks" in reason and "setup.sh install --allow" in reason


class Public:
    is_global = True


@contextmanager
def one_byte_a_second(scheme: str, text: bytes) -> Iterator[str]:
    """The address of a sender that answers each request with this text, for as long as the client waits."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(OSError):
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    for number in range(len(text)):
                        client.send(text[number : number + 1])
                        if over.wait(1):
                            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/live"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("with_login", [False, True], ids=["no login", "login"])
@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_sender_that_answers_a_byte_a_second_is_given_up(
    scheme: str, with_login: bool, credentials: Path
) -> None:
    with one_byte_a_second(scheme, b"RTSP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(99)) as url:
        camera = Stream(StreamSettings(url=url, credentials=str(credentials) if with_login else ""))
        began = time.monotonic()
        with pytest.raises(CameraLost, match="does not answer"):
            camera.open()
        camera.close()
        until(lambda: not is_receiving(), HUNG_S, "the thread that receives has ended")
        assert time.monotonic() - began < 2 * HUNG_S


def is_receiving() -> bool:
    """Whether a thread receives from a sender."""
    return any(each.name == "network camera" for each in threading.enumerate())


def test_a_picture_that_takes_a_byte_a_second_is_a_lost_camera() -> None:
    with mjpeg_sender() as sender, opened(sender.url) as camera:
        camera.read(5.0)
        sender.behaviour.picture_pause_s = 1.0
        with pytest.raises(CameraLost, match="delivers no frames"):
            while True:
                camera.read(2.0)


READ_ENDLESS = """
import resource, sys
from appliance.errors import CameraLost
from appliance.media.network import NetworkStream

stream = NetworkStream(sys.argv[1], None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    stream.open(4.0)
    while True:
        stream.take(4.0)
except CameraLost as lost:
    print(lost)
stream.close()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("lengths", [True, False], ids=["length", "no length"])
def test_a_picture_without_end_fills_no_memory(lengths: bool) -> None:
    """Two seconds of it were 1.9 GB from a sender on the same machine."""
    endless = Mjpeg(endless=True, lengths=lengths)
    with mjpeg_sender(endless) as sender:
        done = subprocess.run(
            [sys.executable, "-c", READ_ENDLESS, sender.url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    reason, grown = done.stdout.splitlines()
    assert ("larger than 32 MB" if lengths else "cannot be read") in reason
    assert int(grown) < 300, f"{grown} MB"


# --- login ---


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_a_login_by_http(kind: str, credentials: Path) -> None:
    with (
        mjpeg_sender(Mjpeg(login=(kind, USER, PASSWORD))) as sender,
        opened(sender.url, credentials=str(credentials)) as camera,
    ):
        camera.read(5.0)


def test_a_login_by_rtsp(credentials: Path) -> None:
    with (
        rtsp_sender(login=(USER, PASSWORD)) as sender,
        opened(sender.url, credentials=str(credentials)) as camera,
    ):
        camera.read(5.0)


@pytest.mark.parametrize("kind", ["basic", "digest", "rtsp"])
def test_a_wrong_password_is_named_nowhere_and_not_tried_again(
    kind: str, credentials: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    if kind == "rtsp":
        sending = rtsp_sender(login=(USER, "another"))
    else:
        sending = mjpeg_sender(Mjpeg(login=(kind, USER, "another")))  # type: ignore[assignment]
    with sending as sender:
        camera = Stream(StreamSettings(url=sender.url, credentials=str(credentials)))
        texts = []
        for _ in range(2):
            with pytest.raises(CameraLost, match="refuses this user name and password") as lost:
                camera.open()
            texts.append("".join(traceback.format_exception(lost.value)))
            camera.close()
        if isinstance(sender, MjpegSender):
            assert len(sender.requests) <= 2, "one try: a challenge and its answer"
        write_login(credentials, f"{USER}:another\n")
        camera.open()
        camera.read(5.0)
        camera.close()
    texts += [caplog.text, *capfd.readouterr(), repr(vars(camera)), repr(camera._read_login())]
    for secret in (USER, PASSWORD, "another", "p%3Aw", "%C3%B6r"):
        assert not any(secret in text for text in texts), secret


def test_the_refused_login_is_tried_again_after_stop(credentials: Path) -> None:
    behaviour = Mjpeg(login=("basic", USER, "another"))
    with mjpeg_sender(behaviour) as sender:
        camera = Stream(StreamSettings(url=sender.url, credentials=str(credentials)))
        with pytest.raises(CameraLost):
            camera.open()
        camera.close()
        behaviour.login = ("basic", USER, PASSWORD)
        with pytest.raises(CameraLost):
            camera.open()
        camera.close()
        camera.forget()
        camera.open()
        camera.close()


def test_a_missing_login_is_reported() -> None:
    with mjpeg_sender(Mjpeg(login=("basic", USER, PASSWORD))) as sender:
        assert "asks for a user name and password" in refusal(sender.url)
    with rtsp_sender(login=(USER, PASSWORD)) as rtsp:
        assert "asks for a user name and password" in refusal(rtsp.url)


def test_a_redirection_is_refused_and_its_target_gets_no_request(credentials: Path) -> None:
    with mjpeg_sender() as other, mjpeg_sender(Mjpeg(redirect=other.url)) as sender:
        assert "redirects to another address" in refusal(sender.url, credentials=str(credentials))
        sender.behaviour.redirect = other.url.replace("http", "rtsp")
        assert not other.requests


def test_a_redirection_by_rtsp_is_refused_before_the_login_is_sent(credentials: Path) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(b"RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:1/x\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"
        assert "redirects to another address" in refusal(url, credentials=str(credentials))
        thread.join()
    assert len(asked) == 1 and b"Authorization" not in asked[0]


@pytest.mark.parametrize("scheme", ["http", "tcp", "rtsps", "file"])
def test_a_redirection_by_rtsp_leads_to_nothing_but_rtsp(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as listener:
        location = f"{scheme}://127.0.0.1:{target.getsockname()[1]}/etc/hostname"
        listener.settimeout(HUNG_S)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rw", newline="") as stream:
                while stream.readline():
                    number = ""
                    while header := stream.readline().strip():
                        number = header if header.startswith("CSeq") else number
                    stream.write(f"RTSP/1.0 302 Found\r\n{number}\r\nLocation: {location}\r\n\r\n")
                    stream.flush()

        thread = threading.Thread(target=serve)
        thread.start()
        assert refusal(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live")
        thread.join()
        target.setblocking(False)
        with pytest.raises(BlockingIOError):
            target.accept()


def test_a_playlist_of_a_sender_opens_nothing() -> None:
    with mjpeg_sender() as other:
        playlist = f"#EXTM3U\n#EXTINF:1,\n{other.url}\n#EXTINF:1,\nfile:///etc/hostname\n".encode()
        with (
            mjpeg_sender(Mjpeg(picture=lambda number: playlist)) as sender,
            pytest.raises(CameraLost),
            opened(sender.url) as camera,
        ):
            camera.read(1.0)
        assert other.requests == []


def test_a_track_at_another_address_is_not_opened() -> None:
    """An RTSP server may name any address for its video."""
    with mjpeg_sender() as other:
        for address in (other.url, other.url.replace("http:", "rtsp:"), "file:///etc/hostname"):
            with answering_rtsp(f"a=control:{address}\r\n") as (url, asked):
                assert "refuses the stream" in refusal(url)
            assert f"SETUP {address} RTSP/1.0" in asked, "the sender itself gets the request"
        assert other.requests == []


@contextmanager
def answering_rtsp(line: str) -> Iterator[tuple[str, list[str]]]:
    """The address of a sender of H.264 with this line in its description, and the requests it gets."""
    sdp = f"v=0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n{line}"
    described = f"Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}"
    asked: list[str] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client, client.makefile("rw", newline="") as stream:
            while first := stream.readline():
                asked.append(first.strip())
                number = ""
                while header := stream.readline().strip():
                    number = header if header.startswith("CSeq") else number
                known = first.startswith(("OPTIONS", "DESCRIBE"))
                rest = described if first.startswith("DESCRIBE") else "\r\n"
                stream.write(f"RTSP/1.0 {'200 OK' if known else '454 Unknown'}\r\n{number}\r\n{rest}")
                stream.flush()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HUNG_S)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live", asked
        thread.join()


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with mjpeg_sender() as sender, opened(sender.url) as camera:
        camera.read(5.0)


# --- TLS ---


def test_https_needs_a_trusted_certificate_of_this_host(tmp_path: Path) -> None:
    certificate, key = DeviceCertificate(tmp_path, ()).current()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with mjpeg_sender(tls=tls) as sender:
        assert "is not trusted" in refusal(sender.url)
        for url in (sender.url, sender.url.replace("127.0.0.1", "localhost")):
            with opened(url, ca_file=certificate) as camera:
                camera.read(5.0)
    with mjpeg_sender(tls=tls, address="127.0.0.2") as sender:
        for _ in range(2):
            assert "is not trusted" in refusal(sender.url, ca_file=certificate)


@contextmanager
def encrypted(port: int, tls: ssl.SSLContext) -> Iterator[int]:
    """The port of a relay that ends TLS in front of a sender on this machine."""
    over = threading.Event()

    def relay(client: socket.socket) -> None:
        with (
            client,
            suppress(OSError),
            tls.wrap_socket(client, server_side=True) as plain,
            socket.create_connection(("127.0.0.1", port)) as sender,
        ):
            back = threading.Thread(target=pump, args=(sender, plain))
            back.start()
            pump(plain, sender)
            back.join()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                client, _ = listener.accept()
                threads.append(threading.Thread(target=relay, args=(client,)))
                threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            for each in (thread, *threads):
                each.join()


def test_rtsps_needs_a_trusted_certificate_of_this_host(tmp_path: Path, credentials: Path) -> None:
    for folder in ("own", "other"):
        (tmp_path / folder).mkdir()
    certificate, key = DeviceCertificate(tmp_path / "own", ()).current()
    other, _ = DeviceCertificate(tmp_path / "other", ()).current()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with rtsp_sender(login=(USER, PASSWORD)) as sender, encrypted(sender.port, tls) as port:
        url = f"rtsps://127.0.0.1:{port}/live"
        with opened(url, ca_file=certificate, credentials=str(credentials)) as camera:
            camera.read(5.0)
        for ca_file in ("", other):
            assert "is not trusted" in refusal(url, ca_file=ca_file, credentials=str(credentials))
        elsewhere = url.replace("127.0.0.1", "127.0.0.2")
        for _ in range(2):
            assert "is not trusted" in refusal(elsewhere, ca_file=certificate)


# --- settings ---


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://viewer:secret-1@192.0.2.7/live",
        "rtsp://viewer:secret-1/2@192.0.2.7/live",
        "rtsp://viewer:12/secret-1@192.0.2.7/live",
        "http://secret-1@192.0.2.7/",
        "viewer:secret-1@192.0.2.7",
        "viewer:secret-1/2@192.0.2.7",
        "http://192.0.2.7/video.cgi?user=viewer&pwd=12",
        "http://192.0.2.7/video.cgi?PASSWORD=",
    ],
)
@pytest.mark.parametrize("way", ["--camera", "--set", "file", "environment"])
def test_a_password_in_the_address_is_refused_and_not_repeated(url: str, way: str, tmp_path: Path) -> None:
    options = {"data_dir": tmp_path, "config": tmp_path / "config.toml"}
    text, environment = "", {}
    if way == "--camera":
        options["camera"] = f"stream:{url}"
    elif way == "--set":
        options["settings"] = ('camera.backend="stream"', f"camera.url={url}")
    elif way == "file":
        text = f'[camera]\nbackend = "stream"\nurl = "{url}"\n'
    else:
        environment = {"INTERVIEW_GRADER__CAMERA__BACKEND": "stream", "INTERVIEW_GRADER__CAMERA__URL": url}
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(ConfigOptions(**options), environment)  # type: ignore[arg-type]
    said = str(refused.value)
    assert "camera.credentials" in said and "secret" not in said


@pytest.mark.parametrize(
    "url",
    ["", "192.0.2.7", "rtsp://", "ftp://192.0.2.7/", "rtsp://host:99999/", "rtsp://a b/", "rtmp://a/b"],
)
def test_what_can_never_be_a_stream_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="expected"):
        StreamSettings(url=url)


@pytest.mark.parametrize(
    "url", ["rtsp://[fd00::7]:8554/a?b=c&subtype=1", "rtsps://a/b", "https://camera.local/%40hd"]
)
def test_addresses(url: str) -> None:
    assert StreamSettings(url=url).url == url


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("a:b\n", 0o644, "every user may read"),
        ("a:b\n", 0o602, "every user may read"),
        ("ab\n", 0o600, "USER:PASSWORD"),
        (":b\n", 0o600, "USER:PASSWORD"),
        ("a:b\nc\n", 0o600, "USER:PASSWORD"),
        ("a:" + "b" * 2000, 0o600, "USER:PASSWORD"),
    ],
)
def test_a_file_that_cannot_hold_the_login_is_refused(
    text: str, mode: int, words: str, tmp_path: Path
) -> None:
    path = write_login(tmp_path / "login", text, mode)
    with pytest.raises(ConfigError, match=words):
        Stream(StreamSettings(url="rtsp://192.0.2.7/live", credentials=str(path)))


def test_other_files_are_no_login(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(ConfigError, match="credentials"):
            read_login(path)


@pytest.mark.parametrize("text", ["a:b:c d", "a:b:c d\n", "a:b:c d\r\n"])
def test_the_password_is_all_behind_the_first_colon(text: str, tmp_path: Path) -> None:
    assert read_login(write_login(tmp_path / "login", text, 0o640)) == Login("a", "b:c d")


# --- before the camera may be open ---


def test_nothing_is_sent_before_it_is_opened(credentials: Path) -> None:
    with mjpeg_sender() as sender:
        camera = Stream(StreamSettings(url=sender.url, credentials=str(credentials)))
        assert camera.missing() is None
        assert not registry.load("camera", "stream").discover().found and "stream" not in AUTO_ORDER
        assert not sender.requests
