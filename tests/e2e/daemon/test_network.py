"""The product on the network: first code, commands while it runs, and attacks."""

from __future__ import annotations

import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from appliance.audit import AuditLog
from tests.e2e.daemon.driver import Daemon, clean_environment, command, running, until
from tests.fakes.far import Answer, Client
from tests.machine import ROOT

PASSWORD, VIEWER = "a long enough password", "another good password"
ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
"""The header of a trusted proxy on the device: such a request does not come from the device itself."""
NEAR = "127.0.0.2"
"""A loopback address that is not the proxy's."""

SIEGE_S = 6.0


@contextmanager
def on_the_network(folder: Path, *more: str) -> Iterator[tuple[Daemon, Client]]:
    trusted = ("--set", 'web.trusted_proxies=["127.0.0.1"]')
    with running(folder, "--camera", "demo", "--host", "0.0.0.0", *trusted, *more) as daemon:
        yield daemon, client_of(daemon)


def client_of(daemon: Daemon) -> Client:
    """A client on the network: its requests do not come from the device itself."""
    return Client(daemon.port, daemon.folder / "state", headers=dict(ELSEWHERE))


def first_code(daemon: Daemon) -> str:
    (line,) = daemon.log_lines("FIRST CODE")
    found = re.search(r"[A-Z2-9]{4}-[A-Z2-9]{4}-[A-Z2-9]{4}", line)
    assert found, line
    return found[0]


def claim(daemon: Daemon, client: Client) -> Answer:
    return client.submit("/login", {"code": first_code(daemon), "password": PASSWORD, "repeat": PASSWORD})


def shell(daemon: Daemon, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """A command while the daemon runs."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *words, "--data-dir", str(daemon.folder / "state")],
        cwd=ROOT,
        env=clean_environment(),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_from_first_start_to_reset(tmp_path: Path) -> None:
    with on_the_network(tmp_path) as (daemon, client):
        assert daemon.out.startswith("Interview Grader is ready: open https://localhost:")
        assert daemon.log_lines("on the network: https://")
        assert client.request("/api/state").status == 401
        assert claim(daemon, client).status == 303
        assert client.request("/api/state").status == 200
        public_key = daemon_key(daemon)

        added = shell(daemon, "access", "add-viewer", "anna", given=f"{VIEWER}\n")
        assert (added.returncode, added.stdout) == (0, "anna can log in now\n")
        anna = client_of(daemon)
        assert anna.log_in("anna", VIEWER).status == 303

        made = shell(daemon, "token", "create", "prometheus", "--role", "metrics")
        secret = made.stdout.strip()
        bearer = {"Authorization": f"Bearer {secret}"}
        assert client_of(daemon).request("/metrics", headers=bearer).status == 200
        assert client_of(daemon).request("/api/state", headers=bearer).status == 403
        assert "prometheus" in shell(daemon, "token", "list").stdout

        reset = shell(daemon, "access", "reset")
        code = reset.stdout.splitlines()[0].removeprefix("first code: ")
        assert client.request("/api/state").status == 401
        assert anna.request("/api/state").status == 200
        assert client.submit("/login", {"code": code, "password": VIEWER, "repeat": VIEWER}).status == 303

    with on_the_network(tmp_path) as (daemon, again):
        assert not daemon.log_lines("FIRST CODE")
        assert daemon_key(daemon) == public_key
        again.cookie = client.cookie
        assert again.request("/api/state").status == 200
        assert shell(daemon, "access", "list").stdout.splitlines()[:2] == [
            f"{'operator':<32} operator",
            f"{'anna':<32} viewer",
        ]
    events = {(entry["event"], entry["who"]) for entry in AuditLog(tmp_path / "state").entries()}
    assert {("access", "operator"), ("access", "shell"), ("login", "viewer"), ("login", "operator")} <= events
    assert AuditLog(tmp_path / "state").verify().fault == ""
    private = [path for path in (tmp_path / "state").iterdir() if path.name != "audit.head"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def daemon_key(daemon: Daemon) -> bytes:
    """The public key that a client sees."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", daemon.port)))
    key = x509.load_der_x509_certificate(shown).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Client]]:
    """A daemon whose operator is logged in."""
    folder: Path = tmp_path_factory.mktemp("settled")
    with on_the_network(folder) as (daemon, client):
        assert claim(daemon, client).status == 303
        yield daemon, client


def test_the_device_itself_needs_no_login_and_a_proxy_on_it_does(settled: tuple[Daemon, Client]) -> None:
    daemon, _ = settled
    near = Client(daemon.port, daemon.folder / "state", source=NEAR)
    assert near.request("/api/state").status == 200
    assert near.request("/metrics").status == 200
    for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via", "X-Forwarded-Host"):
        assert near.request("/api/state", headers={name: "127.0.0.1"}).status == 403
    assert client_of(daemon).request("/api/state").status == 401


def test_a_real_address_of_the_network_needs_a_login(settled: tuple[Daemon, Client]) -> None:
    daemon, operator = settled
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.9", 9))  # sends nothing
        except OSError:
            return  # this machine has no network: the previous test covers it with a header
        address = str(sock.getsockname()[0])
    client = Client(daemon.port, daemon.folder / "state", address=address)
    for path in ("/", "/stream.mjpg", "/snapshot.jpg", "/api/state", "/metrics", "/access", "/ws/live"):
        assert client.request(path).status == 401, path
    client.cookie = operator.cookie
    assert client.request("/api/state").status == 200


def test_plain_http_gets_nothing_of_the_page(settled: tuple[Daemon, Client]) -> None:
    daemon, _ = settled
    with socket.create_connection(("127.0.0.1", daemon.port), 10) as sock:
        sock.sendall(b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = b""
        with suppress(ConnectionError):
            while part := sock.recv(4096):
                received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and f"Content-Length: {len(body)}".encode() in head
    assert b"https://" in body


def test_own_files_are_used_and_changed_without_a_restart(tmp_path: Path) -> None:
    from appliance.auth.certificate import DeviceCertificate

    own, new = DeviceCertificate(tmp_path / "own"), DeviceCertificate(tmp_path / "new")
    for pair in (own, new):
        pair.current()
    files = ("--set", f"access.certificate={own.certificate}", "--set", f"access.key={own.key}")
    with on_the_network(tmp_path / "device", *files) as (daemon, _):
        assert not (daemon.folder / "state" / "tls-key.pem").exists()
        assert Client(daemon.port, tmp_path / "own", headers=ELSEWHERE).request("/login").status == 200
        trust_new = (tmp_path / "new" / "tls-certificate.pem").read_bytes()
        (tmp_path / "trusted").mkdir()
        (tmp_path / "trusted" / "tls-certificate.pem").write_bytes(trust_new)
        own.key.write_bytes(new.key.read_bytes())
        own.certificate.write_bytes(trust_new)

        def changed() -> bool:
            with suppress(ssl.SSLError):
                trusting = Client(daemon.port, tmp_path / "trusted", source=NEAR)
                return trusting.request("/login").status < 400
            return False

        until(changed, 10, "the new certificate is served")


# --- attacks while someone watches ---


class Watching:
    """A viewer who counts pictures."""

    def __init__(self, client: Client) -> None:
        self._connection = client.connect()
        self._connection.request("GET", "/stream.mjpg")
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200

    def rate(self, seconds: float) -> float:
        """Pictures per second over this many seconds."""
        began, count = monotonic(), 0
        while (spent := monotonic() - began) < seconds:
            line = self._answer.readline()
            assert line, "the stream ended"
            count += line.startswith(b"X-Frame-Number")
        return count / spent

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def guess(client: Client, over: threading.Event) -> None:
    while not over.is_set():
        with suppress(OSError):
            Client(client.port, client.folder, headers=dict(ELSEWHERE)).log_in("operator", "wrong password")


def send_huge_bodies(client: Client, over: threading.Event) -> None:
    while not over.is_set():
        send_huge_body(client)


def send_huge_body(client: Client) -> int:
    """Returns how many of the 50 megabytes the device accepted before it closed the connection."""
    connection, sent = client.connect(), 0
    with suppress(OSError):
        connection.putrequest("POST", "/login")
        connection.putheader("Content-Length", str(50_000_000))
        connection.endheaders()
        for _ in range(50):
            connection.send(b"x" * 1_000_000)
            sent += 1
    connection.close()
    return sent


def test_a_huge_body_is_not_read(settled: tuple[Daemon, Client]) -> None:
    _, client = settled
    assert send_huge_body(client) < 30, "megabytes: 16 are discarded, and the buffers of both sockets"


def trickle(client: Client, over: threading.Event) -> None:
    """A dozen requests that send a byte now and then."""
    with ExitStack() as stack:
        while not over.is_set():
            senders = []
            for _ in range(12):
                with suppress(OSError):
                    raw = stack.enter_context(socket.create_connection(("127.0.0.1", client.port), 5))
                    wrapped = stack.enter_context(
                        client.context().wrap_socket(
                            raw, server_hostname="127.0.0.1", do_handshake_on_connect=False
                        )
                    )
                    wrapped.do_handshake()
                    wrapped.sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")
                    senders.append(wrapped)
            for _ in range(10):
                if over.wait(0.3):
                    return
                for sender in senders:
                    with suppress(OSError):
                        sender.sendall(b"a")


@pytest.mark.parametrize("attack", [guess, send_huge_bodies, trickle], ids=lambda attack: attack.__name__)
def test_the_stream_continues_during_an_attack(settled: tuple[Daemon, Client], attack: object) -> None:
    assert callable(attack)
    daemon, client = settled
    near = Client(daemon.port, client.folder, source=NEAR)  # the attacking address may be rate-limited
    viewer = Watching(near)
    over = threading.Event()
    besiegers = [threading.Thread(target=attack, args=(client, over), daemon=True) for _ in range(2)]
    try:
        viewer.rate(1.0)
        before = viewer.rate(SIEGE_S / 2)
        for besieger in besiegers:
            besieger.start()
        during = viewer.rate(SIEGE_S)
        assert near.request("/healthz").status == 200
        # A minimum that only a starved stream misses: the attackers run on the same processors.
        assert during > before / 5, f"{before:.1f} pictures a second before, {during:.1f} during"
    finally:
        over.set()
        for besieger in besiegers:
            besieger.join(30)
        viewer.close()
    assert daemon.process.poll() is None


# --- mistakes at the shell ---


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("access", "remove", "nobody"), "nobody"),
        (("access", "add-viewer", "Not a name"), "Not a name"),
        (("access", "add-viewer", "anna"), "0 characters"),
        (("token", "revoke", "nothing"), "nothing"),
        (("token", "create", "a/b"), "a/b"),
        (("token", "create", "a", "--role", "root"), "root"),
        (("token",), "ACTION"),
    ],
)
def test_a_mistake_at_the_shell_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    found = command(*words, "--data-dir", tmp_path) if len(words) > 1 else command(*words)
    assert found.returncode == 2 and found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert said in line


def test_a_key_alone_is_a_mistake(tmp_path: Path) -> None:
    found = command("run", "--set", "access.key=/k.pem", "--data-dir", tmp_path)
    assert found.returncode == 2 and "access.certificate" in found.stderr


@pytest.mark.parametrize("words", [("run", "--camera", "demo", "--port", "0"), ("check",)])
def test_missing_files_are_a_mistake(tmp_path: Path, words: tuple[str, ...]) -> None:
    files = ("--set", "access.certificate=/c.pem", "--set", "access.key=/k.pem")
    found = command(*words, "--data-dir", tmp_path, *files)
    assert found.returncode == 2
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("interview-grader:")]
    assert "/c.pem" in line and "No such file" in line
