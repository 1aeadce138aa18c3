"""One client: TLS handshake, requests and answers, until it leaves or is over a limit."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import Any, TypeVar

import h11

from appliance.web.transport import wsgi
from appliance.web.transport.admission import Admission, Peer
from appliance.web.transport.connection_writer import ConnectionWriter
from appliance.web.transport.socket_stream import SocketStream
from appliance.web.transport.thread_pool import ThreadPool
from appliance.web.transport.tls import ReloadingTls

IDLE_S = 15.0
"""How long a connection may wait for its next request."""

BODY_S = 5.0
"""Within which a complete request body must arrive."""

MOST_CHUNKS = 512
"""Of a request body; each costs the event loop some 50 µs."""

_LINGER_S, _LINGER_BYTES = 1.0, 1 << 24  # for the rest of a refused request: its answer must arrive
_LATE_S = 0.1  # for the last answer to a client that missed its limit

SERVER = "interview-grader"
T = TypeVar("T")

_log = logging.getLogger("appliance.web")


class Refused(Exception):
    """A request that gets an answer of the transport, and the end of its connection."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


class LargeBodies:
    """The places for bodies that are larger than others may be; `max_bytes` 0: none is read."""

    def __init__(self, max_bytes: int, places: int) -> None:
        self.max_bytes, self._free = max_bytes, places

    def enter(self) -> None:
        """Take a place; raises `Refused` if there is none. Each needs a `leave`."""
        if not self._free:
            raise Refused(429, "other large requests are in progress; try again", ("Retry-After", "1"))
        self._free -= 1

    def leave(self) -> None:
        """Give the place back: the request was answered."""
        self._free += 1


@dataclass(frozen=True)
class Settings:
    """What the connections of one server share. `send_s`: for a head, and for each 64 KiB sent."""

    app: wsgi.WsgiApp
    pool: ThreadPool
    admission: Admission
    tls: ReloadingTls | None
    server: Callable[[], tuple[str, str]]
    send_s: float
    max_header_bytes: int
    max_body_bytes: int
    large_bodies: LargeBodies


def _too_large(limit: int, more: str = "") -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes{more}")


def _too_busy() -> Refused:
    return Refused(503, "too busy, try again", ("Retry-After", "5"))


class ClientConnection:
    """Serves one client as a task of the event loop."""

    def __init__(
        self,
        stream: SocketStream,
        peer: Peer,
        settings: Settings,
        writers: dict[ConnectionWriter, None],
        is_stopping: Callable[[], bool],
    ) -> None:
        """`writers`: the connections that were taken over, which the server ticks."""
        self._stream, self._peer, self._settings = stream, peer, settings
        self._writers, self._is_stopping = writers, is_stopping
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.max_header_bytes)

    async def serve(self) -> None:
        """Return when the connection is over, and close nothing; a fault of the client raises nothing."""
        try:
            await self._handshake()
            wait_s = self._settings.send_s
            while await self._serve_request(wait_s):
                wait_s = IDLE_S
        except (ConnectionError, TimeoutError, Refused) as error:
            _log.debug("a connection ended: %s", error)
        except asyncio.CancelledError:
            # Within an answer it would be taken for a part of it.
            if self._peer.is_waiting and not self._is_stopping():
                self._stream.refuse(_refusal(_too_busy()))

    async def _handshake(self) -> None:
        tls = self._settings.tls
        if tls is None:
            return
        by = monotonic() + self._settings.send_s
        context = tls.ready
        if context is None:
            context = await self._run(tls.context)
        await self._stream.handshake(context, by)

    async def _serve_request(self, wait_s: float) -> bool:
        """Serve the next request; whether there may be one more."""
        with ExitStack() as held:
            try:
                request = await self._read_head(wait_s)
                if request is None:
                    return False
                length, limit = _body_length(request), self._settings.max_body_bytes
                if length > limit and not await self._allows_large_body(request, length, held):
                    return False
                body = await self._read_body(max(length, limit))
                environ = self._make_environ(request, body)
            except h11.RemoteProtocolError as error:
                await self._refuse(Refused(error.error_status_hint, str(error)))
                return False
            except Refused as refused:
                await self._refuse(refused)
                return False
            self._peer.is_waiting = False
            is_open = await self._answer(request, environ)
            self._peer.is_waiting = True
            return is_open

    async def _read_head(self, wait_s: float) -> h11.Request | None:
        by = monotonic() + wait_s
        if is_begun := bool(self._http.trailing_data[0]):
            by = monotonic() + self._settings.send_s
        while True:
            if is_begun:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    if _size(event) > self._settings.max_header_bytes:  # h11 limits incomplete ones
                        raise Refused(431, "the head of the request is too large")
                    return event
                if event is not h11.NEED_DATA:
                    return None  # closed between two requests
            try:
                data = await self._stream.receive(by)
            except TimeoutError:
                if is_begun:
                    raise Refused(408, "the request took too long to arrive") from None
                raise
            if data and not is_begun:
                by = min(by, monotonic() + self._settings.send_s)
            is_begun = True
            self._http.receive_data(data)

    async def _allows_large_body(self, request: h11.Request, length: int, held: ExitStack) -> bool:
        """Whether a large body may come; the application sees the head, and otherwise its refusal is sent.

        So only callers who may send such a body use memory for it. `held` gives its place back.
        """
        large = self._settings.large_bodies
        if not large.max_bytes:
            raise _too_large(self._settings.max_body_bytes)
        answer = await self._call({**self._make_environ(request, b""), wsgi.HEAD_ONLY: True})
        if answer is None:
            return False
        if answer.status != wsgi.CONTINUE:
            await self._deliver(request, answer)
            await self._stream.linger(_LINGER_S, _LINGER_BYTES)
            return False
        answer.close()
        if length > large.max_bytes:
            raise _too_large(large.max_bytes)
        large.enter()
        held.callback(large.leave)
        return True

    async def _read_body(self, limit: int) -> bytes:
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self._send(self._http.send(go_on))
        by, parts, size, chunks = monotonic() + BODY_S, [], 0, 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(await self._stream.receive(by))
                except TimeoutError:
                    raise Refused(408, "the body took too long to arrive") from None
            elif isinstance(event, h11.Data):
                size, chunks = size + len(event.data), chunks + event.chunk_start
                if chunks > MOST_CHUNKS:
                    raise Refused(413, f"the body has more than {MOST_CHUNKS} chunks")
                if size > limit:
                    raise _too_large(limit, " and has no Content-Length")
                parts.append(bytes(event.data))
            else:
                return b"".join(parts)

    def _make_environ(self, request: h11.Request, body: bytes) -> dict[str, Any]:
        self._peer.connection.take_over = None
        try:
            return wsgi.make_environ(
                request,
                body,
                self._peer.connection,
                peer=self._peer.address,
                server=self._settings.server(),
                scheme="https" if self._settings.tls else "http",
            )
        except ValueError as error:
            raise Refused(400, str(error)) from error

    async def _answer(self, request: h11.Request, environ: dict[str, Any]) -> bool:
        """Run the application and send its answer; whether the connection stays open."""
        answer = await self._call(environ)
        return answer is not None and await self._deliver(request, answer)

    async def _call(self, environ: dict[str, Any]) -> wsgi.Answer | None:
        """The answer of the application; None if it fails, after a refusal."""
        app = self._settings.app
        try:
            return await self._run(lambda: wsgi.Answer(app, environ), dispose=wsgi.Answer.close)
        except Exception as error:
            # Any exception: the connection has to end with an answer.
            await self._fail(error)
            return None

    async def _deliver(self, request: h11.Request, answer: wsgi.Answer) -> bool:
        """Send an answer; whether the connection stays open."""
        self._settings.admission.remember(self._peer)
        try:
            if self._peer.connection.take_over is not None:
                await self._take_over(answer)
                return False
            return await self._send_answer(request, answer)
        finally:
            if not answer.is_closed:
                self._submit(answer.close)

    async def _send_answer(self, request: h11.Request, answer: wsgi.Answer) -> bool:
        has_body = request.method != b"HEAD" and answer.status not in (204, 304)
        data = self._head(answer)
        while has_body:
            data += self._frame(h11.Data(data=answer.block)) if answer.block else b""
            if answer.failure is not None:
                await self._send(data)
                self._log_failure(answer.failure)
                return False
            if answer.is_complete:
                break
            await self._send(data)
            data = b""
            await self._run(answer.make_block)
        await self._send(data + self._frame(h11.EndOfMessage()))
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self._is_stopping() and not self._peer.connection.is_over_limit

    async def _take_over(self, answer: wsgi.Answer) -> None:
        begin = self._peer.connection.take_over
        assert begin is not None
        closing = () if answer.status == 101 else ((b"Connection", b"close"),)
        await self._send(_head_bytes(answer.status, answer.reason, (*self._common(answer), *closing)))
        writer = ConnectionWriter(self._stream, self._settings.send_s, self._submit)
        self._writers[writer] = None
        try:
            begin(writer)
            writer.start()
            if early := self._http.trailing_data[0]:
                writer.received(early)
            if self._is_stopping():
                writer.stopping()
            await writer.over.wait()
        finally:
            writer.end()
            self._writers.pop(writer, None)

    def _head(self, answer: wsgi.Answer) -> bytes:
        headers = self._common(answer)
        if self._is_stopping() or self._peer.connection.is_over_limit:
            headers.append((b"Connection", b"close"))
        return self._frame(h11.Response(status_code=answer.status, reason=answer.reason, headers=headers))

    def _common(self, answer: wsgi.Answer) -> list[tuple[bytes, bytes]]:
        return [
            *answer.headers,
            (b"Date", formatdate(usegmt=True).encode()),
            (b"Server", SERVER.encode()),
        ]

    def _frame(self, event: Any) -> bytes:
        return self._http.send(event) or b""

    async def _fail(self, error: Exception) -> None:
        if isinstance(error, Refused):
            await self._refuse(error)
        elif not isinstance(error, ConnectionError):
            self._log_failure(error)
            await self._refuse(Refused(500, "the request failed"))

    async def _refuse(self, refused: Refused) -> None:
        with suppress(TimeoutError):
            await self._stream.send(_refusal(refused), _LATE_S)
            await self._stream.linger(_LINGER_S, _LINGER_BYTES)

    async def _send(self, data: bytes | None) -> None:
        self._peer.is_sending = True
        try:
            await self._stream.send(data or b"", self._settings.send_s)
        except TimeoutError:
            _log.info("a client that took nothing for %.1f s was dropped", self._settings.send_s)
            raise
        finally:
            self._peer.is_sending = False

    async def _run(self, job: Callable[[], T], *, dispose: Callable[[T], None] | None = None) -> T:
        """The result of a job in the pool; `dispose` gets it if this connection is cut meanwhile.

        Raises `Refused` if no thread can be started, and what the job raises.
        """
        try:
            future = self._settings.pool.submit(job, first=self._settings.admission.is_known(self._peer))
        except (RuntimeError, MemoryError):
            raise _too_busy() from None
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if dispose is not None:
                future.add_done_callback(partial(_dispose, dispose))
            raise

    def _submit(self, job: Callable[[], object]) -> None:
        def logged() -> None:
            try:
                job()
            except Exception as error:
                # Any exception: no one waits for the result.
                self._log_failure(error)

        try:
            self._settings.pool.submit(logged, first=True)
        except (RuntimeError, MemoryError) as error:
            _log.warning("a job was left out: %s", error)

    def _log_failure(self, error: BaseException | None) -> None:
        if not isinstance(error, ConnectionError):
            _log.error("a request failed: %s: %s", type(error).__name__, error, exc_info=error)


def _dispose(dispose: Callable[[T], None], future: Future[T]) -> None:
    if not future.cancelled() and future.exception() is None:
        dispose(future.result())


def _refusal(refused: Refused) -> bytes:
    body = json.dumps({"error": refused.reason}).encode() + b"\n"
    lines = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        ("Server", SERVER),
        *refused.headers,
    ]
    encoded = [(name.encode(), value.encode()) for name, value in lines]
    return _head_bytes(refused.status, HTTPStatus(refused.status).phrase.encode(), encoded) + body


def _head_bytes(status: int, reason: bytes, headers: Any) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (status, reason), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _body_length(request: h11.Request) -> int:
    """The length that the head announces, 0 if the body comes in chunks; raises `Refused`."""
    headers = dict(request.headers)
    if b"transfer-encoding" in headers and (b"content-length" in headers or request.http_version < b"1.1"):
        raise Refused(400, "Transfer-Encoding together with Content-Length, or in HTTP/1.0")
    return int(headers.get(b"content-length", b"0")[:20])  # longer numbers are too large for any limit


def _size(request: h11.Request) -> int:
    lines = ((request.method, request.target), *request.headers)
    return sum(len(name) + len(value) + len(b": \r\n") for name, value in lines)
