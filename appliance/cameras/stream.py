"""A camera on the network: RTSP, or MJPEG over HTTP, each also with TLS."""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator

from appliance.cameras.rotation import RotatableSettings
from appliance.errors import CameraLost, ConfigError
from appliance.media.network import PORTS, Login, NetworkStream, WrongLogin
from appliance.ports import CameraDefaults
from appliance.values import Frame

OPEN_S = 4.0
"""Longest wait for an answer; a process that stops waits for it, too."""

_LONGEST_FILE = 1024
_SECRET_NAMES = re.compile(r"pass|pwd|secret|token|auth", re.IGNORECASE)
_TO_FILE = "write USER:PASSWORD into a file, and set camera.credentials to its path"


class StreamSettings(RotatableSettings):
    """Settings of `camera.backend = "stream"`."""

    url: str = Field(
        max_length=1000,
        description="Address of the stream, without user name and password: rtsp://192.0.2.7/live or rtsps://,"
        " or http:// or https:// for MJPEG.",
    )
    credentials: str = Field(
        "",
        description="File with one line, USER:PASSWORD, which other users may not read; empty: the camera"
        " needs no login.",
    )
    ca_file: str = Field(
        "",
        description="PEM file of the authority, or of the camera's own certificate, for rtsps:// and https://;"
        " empty: the system's authorities.",
    )

    @field_validator("url")
    @classmethod
    def _without_secrets(cls, url: str) -> str:
        # The value itself is in the error that this becomes, without its login: see errors.ConfigError.
        if not re.fullmatch(r"[!-~]+", url):
            raise ValueError("expected an address without spaces and other characters than ASCII")
        if "@" in url:  # also behind a slash: a password may hold one
            raise ValueError(
                f"holds a user name or password, which the configuration never may; {_TO_FILE}."
                " In a path, write %40 for @"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("expected an address such as rtsp://192.0.2.7:554/live") from None
        if parts.scheme not in PORTS or not parts.hostname or port == 0 or parts.fragment:
            raise ValueError(
                "expected rtsp://, rtsps://, http:// or https:// with a host: rtsp://192.0.2.7:554/live"
            )
        if any(_SECRET_NAMES.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            raise ValueError(
                "holds a password behind its question mark, which the configuration never may; use the"
                f" camera's RTSP address: {_TO_FILE}"
            )
        return url


class Stream(CameraDefaults):
    """One sender on the network. Nothing is sent to it before `open`."""

    Settings = StreamSettings
    argument = "url"
    needs_consent = True

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._stream: NetworkStream | None = None
        self._refused: tuple[Login | None, str] | None = None
        self._number = 0
        self._opened = 0.0
        self._read_login()

    def missing(self) -> str | None:
        """None: whether it is there is unknown until it is opened."""
        return None

    def open(self) -> None:
        """Connect, and wait for the first picture."""
        self.close()
        try:
            login = self._read_login()
        except ConfigError as error:
            raise CameraLost(str(error)) from error
        if self._refused and self._refused[0] == login:
            raise CameraLost(self._refused[1])  # many cameras lock out who tries too often
        self._stream = NetworkStream(self._settings.url, login, ca_file=self._settings.ca_file)
        self._opened = time.monotonic()
        try:
            self._stream.open(OPEN_S)
        except WrongLogin as wrong:
            self._refused = login, str(wrong)
            raise

    def read(self, timeout: float) -> Frame:
        """The newest frame that was not read yet."""
        if self._stream is None:
            raise CameraLost("the camera is not open")
        picture = self._stream.take(timeout)
        captured = picture.captured
        frame = replace(picture.frame, number=self._number, captured=captured, time_s=captured - self._opened)
        self._number += 1
        return frame

    def close(self) -> None:
        """Disconnect."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def forget(self) -> None:
        """Let the next `open` try a refused login again; the address is always the same."""
        self._refused = None

    def _read_login(self) -> Login | None:
        return read_login(Path(self._settings.credentials)) if self._settings.credentials else None


def read_login(path: Path) -> Login:
    """The user name and password in a file; raises `ConfigError`, which holds neither."""

    def problem(reason: str) -> ConfigError:
        return ConfigError(reason, key="camera.credentials", value=str(path))

    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise problem("is not a file; expected a file with one line, USER:PASSWORD")
            if found.st_mode & stat.S_IRWXO:
                raise problem("every user may read or change it; run chmod o= on it")
            text = file.read(_LONGEST_FILE + 1).decode()
    except OSError as error:
        raise problem(f"cannot be read ({error.strerror}); correct its path or permissions") from None
    except UnicodeDecodeError:
        raise problem("is not UTF-8 text; expected one line, USER:PASSWORD") from None
    line = text.removesuffix("\n").removesuffix("\r")
    user, colon, password = line.partition(":")
    if not colon or not user or not line.isprintable() or len(text) > _LONGEST_FILE:
        raise problem("expected one line, USER:PASSWORD")
    return Login(user, password)
