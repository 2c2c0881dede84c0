"""A proxy that misbehaves, between an S3 client and a real server.

It speaks just enough HTTP/1.1 to know where a request and its answer end, and otherwise passes every byte
through: the request line, the Host header and the order of headers stay as the client signed them. With each
request it may do one wrong thing, drawn from :class:`Faults` by a seeded generator, or ordered for the next
matching request with :meth:`FaultyProxy.inject`::

    async with FaultyProxy(server.url, Faults(reset_after=0.1, slow_down=0.05), seed=7) as proxy:
        async with MPS3("bucket", s3_config={"endpoint_url": proxy.url, ...}) as client:
            ...
    print(proxy.injected)
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import urlsplit

LIMIT = 1 << 20  # bytes of a head, or of a line of a chunked body
OLDER = 8  # answers remembered per URL, to be shown again
ARRIVAL = 0.01  # seconds for bytes to arrive before a reset, which may overtake what is on its way


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How likely each fault is, per request; at most one befalls each.

    "Took effect" means that the server carried the request out, though the client cannot know.
    """

    reset_before: float = 0.0  # reset when only the head has arrived; the server hears nothing
    reset_request: float = 0.0  # reset while the request is on its way; the server gets half of it
    reset_after: float = 0.0  # took effect, then reset before the first byte of the answer
    reset_response: float = 0.0  # took effect, then reset in the middle of the answer
    black_hole: float = 0.0  # no answer for `silence` seconds, then reset; the server hears nothing
    black_hole_after: float = 0.0  # took effect; no answer for `silence` seconds, then reset
    internal_error: float = 0.0  # 500 InternalError; the server hears nothing
    internal_error_after: float = 0.0  # took effect; 500 InternalError
    slow_down: float = 0.0  # 503 SlowDown; the server hears nothing
    truncate: float = 0.0  # took effect; the answer ends, in good order, before its Content-Length
    drip: float = 0.0  # took effect; the answer takes `patience` seconds, a few bytes at a time
    error_inside: float = 0.0  # not a GET: 200 with an error as its body; the server hears nothing
    error_inside_after: float = 0.0  # not a GET: took effect; 200 with an error as its body
    error_inside_read: float = 0.0  # GET: 200 with an error as its body
    stale: float = 0.0  # GET with If-None-Match: an older answer. No consistent store does this; off in most tests

    silence: float = 2.0  # seconds
    patience: float = 1.0  # seconds
    flap: float = 0.0  # seconds, on average, that the network stays up, and then down, and so on; 0: always up

    def __post_init__(self) -> None:
        if sum(getattr(self, name) for name in KINDS) > 1 + 1e-9:
            raise ValueError("the probabilities add up to more than 1")


KINDS = tuple(f.name for f in fields(Faults) if f.name not in {"silence", "patience", "flap"})


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, colon, value = line.partition(b":")
        if colon and key.strip().lower() == name:
            return value.strip()
    return None


def _without(head: bytes, *names: bytes) -> bytes:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in names]
    return b"\r\n".join([first, *kept]) + b"\r\n\r\n"


def _with(head: bytes, name: bytes, value: bytes) -> bytes:
    return _without(head, name.lower()).removesuffix(b"\r\n") + name + b": " + value + b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    head: bytes
    body: bytes = b""  # as framed on the wire

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode("ascii")

    @property
    def target(self) -> bytes:
        return self.head.split(b" ", 2)[1]

    @property
    def keep_alive(self) -> bool:
        return _keep_alive(self.head)


@dataclass(frozen=True)
class Response:
    head: bytes
    body: bytes = b""  # as framed on the wire
    until_close: bool = False  # nothing but the end of the connection ends it

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def keep_alive(self) -> bool:
        return not self.until_close and _keep_alive(self.head)


def _keep_alive(head: bytes) -> bool:
    said = (_header(head, b"connection") or b"").lower()
    return b"close" not in said and (b"HTTP/1.1" in head.split(b"\r\n", 1)[0] or b"keep-alive" in said)


def error(status: int, code: str, message: str) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>PROXY</RequestId></Error>"
    ).encode()
    phrase = {200: "OK", 500: "Internal Server Error", 503: "Slow Down"}[status]
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/xml\r\n"
        f"x-amz-request-id: PROXY\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    return Response(head, body)


_INTERNAL = ("InternalError", "We encountered an internal error. Please try again.")
ERRORS = {
    "internal_error": error(500, *_INTERNAL),
    "internal_error_after": error(500, *_INTERNAL),
    "slow_down": error(503, "SlowDown", "Please reduce your request rate."),
    "error_inside": error(200, *_INTERNAL),
    "error_inside_after": error(200, *_INTERNAL),
    "error_inside_read": error(200, *_INTERNAL),
}


def _half(head: bytes, body: bytes) -> bytes:
    """The beginning of a message: up to the middle of its body, or of its head if it has none."""
    return (head + body)[: len(head) + len(body) // 2] if body else head[: len(head) // 2]


def _truncated(response: Response) -> Response:
    """An answer that announces more than it brings."""
    if _header(response.head, b"transfer-encoding") is not None:  # ends without its last chunk
        head = response.head
    else:
        head = _with(response.head, b"Content-Length", str(len(response.body) or 100).encode())
    return Response(head, response.body[: len(response.body) // 2], until_close=True)


async def _send(writer: asyncio.StreamWriter, raw: bytes, seconds: float = 0.0) -> None:
    """Send at once, or in twenty pieces over some seconds."""
    size = -(-len(raw) // 20) if seconds else len(raw)
    for at in range(0, len(raw), size):
        if seconds:
            await asyncio.sleep(seconds / 20)
        writer.write(raw[at : at + size])
        await writer.drain()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body, framing and trailers included."""
    raw = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        raw += line
        size = int(line.split(b";", 1)[0], 16)
        if size == 0:
            break
        raw += await reader.readexactly(size + 2)
    while True:
        line = await reader.readuntil(b"\r\n")
        raw += line
        if line == b"\r\n":
            return bytes(raw)


async def _request_body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"chunked" in (_header(head, b"transfer-encoding") or b"").lower():
        return await _chunks(reader)
    return await reader.readexactly(int(_header(head, b"content-length") or 0))


async def _read_response(reader: asyncio.StreamReader, method: str) -> Response:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        response = Response(head)
        if response.status >= 200:
            break
    if method == "HEAD" or response.status in {204, 304}:
        return response
    if b"chunked" in (_header(head, b"transfer-encoding") or b"").lower():
        return Response(head, await _chunks(reader))
    length = _header(head, b"content-length")
    if length is None:
        return Response(head, await reader.read(), until_close=True)
    return Response(head, await reader.readexactly(int(length)))


async def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset instead of an orderly close, and wait until its socket is gone."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Reset(Exception):  # noqa: N818  not an error: what was asked for
    """The client's connection is to be reset."""


class FaultyProxy:
    """Listens on this machine, forwards to ``upstream``, and misbehaves as told.

    Args:
        upstream: The server: ``http://host:port``.
        faults: What goes wrong how often. May be replaced at any time: ``proxy.faults = Faults()`` ends the trouble.
        seed: Decides which request meets which fault.

    Attributes:
        injected: How often each fault befell a request; also ``offline`` (times the network went away) and
            ``refused`` (connections reset because it was away).
        requests: How many requests arrived, by method.
        upstream_failures: Requests that failed at the server itself.
    """

    def __init__(self, upstream: str, faults: Faults | None = None, *, seed: int | random.Random = 0) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"upstream must be http://host:port, not {upstream!r}")
        self._upstream = (parts.hostname, parts.port or 80)
        self._random = seed if isinstance(seed, random.Random) else random.Random(seed)
        self._faults = faults or Faults()
        self._orders: list[tuple[str, str | None, bytes]] = []
        self._answers: defaultdict[bytes, deque[Response]] = defaultdict(lambda: deque(maxlen=OLDER))
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flapper: asyncio.Task[None] | None = None
        self._offline = False
        self.url = ""
        self.injected: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.upstream_failures = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LIMIT)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        self.faults = self._faults
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End every connection and task. Safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = [*self._connections, *([self._flapper] if self._flapper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    # What goes wrong

    @property
    def faults(self) -> Faults:
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        if self._flapper:
            self._flapper.cancel()
            self._flapper = None
            self.go_online()
        if faults.flap:
            self._flapper = asyncio.create_task(self._flap(faults.flap))

    def inject(self, fault: str, *, method: str | None = None, contains: str | bytes = b"") -> None:
        """Order a fault for the next request of this method whose request line contains these bytes."""
        if fault not in KINDS:
            raise ValueError(f"{fault!r} is none of {', '.join(KINDS)}")
        self._orders.append((fault, method, contains.encode() if isinstance(contains, str) else contains))

    @property
    def offline(self) -> bool:
        return self._offline

    def go_offline(self) -> None:
        """Reset every connection, whatever it was doing, and every new one until :meth:`go_online`."""
        if not self._offline:
            self._offline = True
            self.injected["offline"] += 1
            for task in self._connections:
                task.cancel()

    def go_online(self) -> None:
        self._offline = False

    async def _flap(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds * self._random.uniform(0.5, 1.5))
            self.go_offline()
            await asyncio.sleep(seconds * self._random.uniform(0.5, 1.5))
            self.go_online()

    def _draw(self, request: Request) -> str | None:
        line = request.head.split(b"\r\n", 1)[0]
        for order in self._orders:
            fault, method, contains = order
            if method in {None, request.method} and contains in line and self._applies(fault, request):
                self._orders.remove(order)
                return fault
        dice = self._random.random()
        for fault in KINDS:
            dice -= getattr(self._faults, fault)
            if dice < 0:
                return fault if self._applies(fault, request) else None
        return None

    def _applies(self, fault: str, request: Request) -> bool:
        match fault:
            case "error_inside" | "error_inside_after":
                return request.method not in {"GET", "HEAD"}
            case "error_inside_read":
                return request.method == "GET"
            case "truncate":
                return request.method != "HEAD"
            case "stale":
                is_poll = request.method == "GET" and _header(request.head, b"if-none-match") is not None
                return is_poll and len(self._answers.get(request.target, ())) > 1
        return True

    # Connections

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # cancelled before it ran, or twice

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = _Upstream(self._upstream)
        end = _abort
        try:
            if self._offline or self._server is None:
                self.injected["refused"] += 1
                return
            while await self._serve_one(reader, writer, upstream):
                pass
            end = _close
        except (Reset, asyncio.CancelledError):
            pass  # cancelled by `go_offline` and `aclose` only
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the other side went away, in good order or not
        finally:
            await upstream.abort()
            await end(writer)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: _Upstream) -> bool:
        """Answer one request. Whether another may follow on this connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        request = Request(head)
        self.requests[request.method] += 1
        fault = self._draw(request)
        if fault == "reset_before":
            self._count(fault)
            raise Reset
        if (_header(head, b"expect") or b"").lower() == b"100-continue":
            head = _without(head, b"expect")  # SigV4 never signs it
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = Request(head, await _request_body(reader, head))
        if fault == "reset_request":
            self._count(fault)
            await upstream.half(request)
            raise Reset
        if fault in {"internal_error", "slow_down", "error_inside", "error_inside_read"}:
            response = ERRORS[fault]
        elif fault != "black_hole":
            response = await self._forward(request, upstream)
        if fault == "truncate" and response.status in {204, 304}:
            fault = None  # nothing to cut
        if fault is not None:
            self._count(fault)
        match fault:
            case "reset_after":
                raise Reset
            case "reset_response":
                await _send(writer, _half(response.head, response.body))
                await asyncio.sleep(ARRIVAL)
                raise Reset
            case "black_hole" | "black_hole_after":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), self._faults.silence)  # or until the client hangs up
                raise Reset
            case "internal_error_after" | "error_inside_after":
                response = ERRORS[fault]
            case "truncate":
                response = _truncated(response)
            case "stale":
                response = self._older(request)
        raw = response.head if request.method == "HEAD" else response.head + response.body
        await _send(writer, raw, self._faults.patience if fault == "drip" else 0.0)
        return request.keep_alive and response.keep_alive

    async def _forward(self, request: Request, upstream: _Upstream) -> Response:
        try:
            response = await upstream.ask(request)
        except (OSError, EOFError):
            self.upstream_failures += 1
            raise Reset from None
        self._remember(request, response)
        return response

    def _remember(self, request: Request, response: Response) -> None:
        if not self._faults.stale and all(fault != "stale" for fault, *_ in self._orders):
            self._answers.clear()
        elif response.status == 200 and request.method == "GET" and _header(request.head, b"range") is None:
            answers = self._answers[request.target]
            if not answers or _header(answers[-1].head, b"etag") != _header(response.head, b"etag"):
                answers.append(response)

    def _older(self, request: Request) -> Response:
        older = self._random.choice(list(self._answers[request.target])[:-1])
        etag = _header(older.head, b"etag")
        if etag is not None and etag == _header(request.head, b"if-none-match"):
            return Response(b"HTTP/1.1 304 Not Modified\r\nETag: " + etag + b"\r\n\r\n")
        return older

    def _count(self, fault: str) -> None:
        self.injected[fault] += 1


class _Upstream:
    """The connection to the server that goes with one connection of a client."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            await self.abort()
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=LIMIT)
        return self._streams

    async def ask(self, request: Request) -> Response:
        reader, writer = await self._open()
        await _send(writer, request.head + request.body)
        response = await _read_response(reader, request.method)
        if not (request.keep_alive and response.keep_alive):
            await self.abort()
        return response

    async def half(self, request: Request) -> None:
        """Send the first half, then reset."""
        _, writer = await self._open()
        await _send(writer, _half(request.head, request.body))
        await asyncio.sleep(ARRIVAL)
        await self.abort()

    async def abort(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            await _abort(streams[1])
