"""Real proxies in front of a daemon, with the lines of docs/proxy.md, and a browser behind them."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import READY_S, Daemon, until
from tests.fakes.far import Client
from tests.machine import ROOT

NAME = "grader.example"
CLIENT = "127.0.0.9"
"""Where the browser of these tests connects from; the proxy connects from 127.0.0.1."""

DOCUMENT = (ROOT / "docs" / "proxy.md").read_text("utf-8")
DEVICE, CERTIFICATE = "127.0.0.1:8443", "/etc/ssl/grader.pem"

AROUND: dict[str, Callable[[str, Path], str]] = {
    "nginx": lambda lines, folder: (
        f"pid {folder}/pid; error_log stderr; daemon off; events {{}}\n"
        f"http {{ access_log off; {_folders(folder)}\n{lines} }}\n"
    ),
    "haproxy": lambda lines, _: lines,
    "caddy": lambda lines, folder: (
        f"{{\nadmin off\nauto_https disable_redirects\nstorage file_system {folder}\n}}\n{lines}"
    ),
}
"""What each proxy needs around the lines to run here, without root's folders."""

PORTS = {
    "nginx": ("listen 443", "listen {}"),
    "haproxy": ("bind :443", "bind :{}"),
    "caddy": (NAME, f"{NAME}:{{}}"),
}
COMMANDS = {
    "nginx": ("nginx", "-c"),
    "haproxy": ("haproxy", "-db", "-f"),
    "caddy": ("caddy", "run", "--adapter", "caddyfile", "--config"),
}


def _folders(folder: Path) -> str:
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{name}_temp_path {folder}/{name};" for name in names)


def lines_of(proxy: str, below: str = "") -> str:
    """The lines that the document gives for a proxy; `below`: with its change for a path."""
    (lines,) = re.findall(rf"^## {proxy}\n+^```\w*\n(.*?)^```$", DOCUMENT, re.M | re.S | re.I)
    if below:
        ((old, new),) = re.findall(rf"^\| {proxy} \| `(.*?)` \| `(.*?)` \|$", DOCUMENT, re.M)
        assert lines.count(old) == 1
        lines = lines.replace(old, new)
    return str(lines)


def document_settings() -> list[str]:
    """The settings that the document gives for the device, except where it listens."""
    (lines,) = re.findall(r"^```toml\n\[web\]\n(.*?)^```$", DOCUMENT, re.M | re.S)
    given = [line.replace(" = ", "=", 1) for line in lines.splitlines()]
    return [
        word for line in given if not line.startswith(("host", "port")) for word in ("--set", f"web.{line}")
    ]


BARE = f"""
server {{
    listen 443 ssl;
    ssl_certificate {CERTIFICATE};
    ssl_certificate_key {CERTIFICATE};
    location / {{ proxy_pass SCHEME://{DEVICE}; }}
}}
"""
"""What many write: nothing but the address of the device."""


@dataclass
class Browser(Client):
    """A client that reaches the device by its name at the proxy."""

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 15, (CLIENT, 0))

    def connect(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(NAME, self.port, timeout=15)
        connection.sock = self.context().wrap_socket(self.socket(), server_hostname=NAME)
        return connection


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def make_certificate(folder: Path) -> Path:
    """A certificate of the proxy for `NAME`, with its key in the same file, as haproxy wants it."""
    words = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={NAME}"
    files = ["-addext", f"subjectAltName=DNS:{NAME}", "-keyout", "key", "-out", "tls-certificate.pem"]
    subprocess.run([*words.split(), *files], cwd=folder, check=True, capture_output=True)
    pair = folder / "grader.pem"
    pair.write_bytes((folder / "tls-certificate.pem").read_bytes() + (folder / "key").read_bytes())
    return pair


@contextmanager
def proxy_running(proxy: str, lines: str, daemon: Daemon, folder: Path) -> Iterator[Browser]:
    """A proxy with these lines in front of the daemon; skips if it is not installed."""
    program = shutil.which(COMMANDS[proxy][0], path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not program:
        pytest.skip(f"no {proxy} here")
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    port, (old, new) = free_port(), PORTS[proxy]
    assert lines.count(old) >= 1 and DEVICE in lines
    lines = lines.replace(old, new.format(port), 1).replace(DEVICE, f"127.0.0.1:{daemon.port}")
    lines = lines.replace(CERTIFICATE, str(make_certificate(folder)))
    file = folder / "configuration"
    file.write_text(AROUND[proxy](lines, folder))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *COMMANDS[proxy][1:], str(file)], cwd=folder, stdout=log, stderr=log
        )
    try:
        until(lambda: _is_open(port) or process.poll() is not None, READY_S, proxy)
        assert process.poll() is None, (folder / "log").read_text()
        yield Browser(port, folder)
    finally:
        process.terminate()
        process.wait(10)


def _is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
