"""The misbehaving proxy does what it says, byte by byte, against a server small enough to trust."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from proxy import KINDS, Faults, FaultyProxy

pytestmark = pytest.mark.filterwarnings("error")


@dataclass
class Server:
    """Objects by path over HTTP/1.1, kept alive; remembers what reached it."""

    url: str = ""
    objects: dict[bytes, bytes] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)  # of the requests that arrived whole
    cut_short: int = 0
    connections: int = 0
    chunked: bool = False  # answer GET so
    delay: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError as error:
                    self.cut_short += bool(error.partial)
                    return
                headers = parse(head)
                try:
                    body = await read_body(reader, headers)
                except (asyncio.IncompleteReadError, ConnectionError):
                    self.cut_short += 1
                    return
                self.heads.append(head)
                await asyncio.sleep(self.delay)
                writer.write(self.answer(head.split(b" ")[0], head.split(b" ")[1], headers, body))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def answer(self, method: bytes, path: bytes, headers: dict[bytes, bytes], body: bytes) -> bytes:
        if method == b"PUT":
            self.objects[path] = body
            return b"HTTP/1.1 200 OK\r\nETag: %b\r\nContent-Length: 0\r\n\r\n" % etag(body)
        if path not in self.objects:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        if method == b"DELETE":
            del self.objects[path]
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        found = self.objects[path]
        if headers.get(b"if-none-match") == etag(found):
            return b"HTTP/1.1 304 Not Modified\r\nETag: %b\r\n\r\n" % etag(found)
        if method == b"HEAD":
            return b"HTTP/1.1 200 OK\r\nETag: %b\r\nContent-Length: %d\r\n\r\n" % (etag(found), len(found))
        if self.chunked:
            head = b"HTTP/1.1 200 OK\r\nETag: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % etag(found)
            middle = len(found) // 2
            parts = [part for part in (found[:middle], found[middle:]) if part]
            return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nETag: %b\r\nContent-Length: %d\r\n\r\n%b" % (etag(found), len(found), found)


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Client:
    """One connection, kept alive, that hides nothing."""

    def __init__(self, url: str) -> None:
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def raw(self, request: bytes) -> Answer:
        self.writer.write(request)
        await self.writer.drain()
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, headers = int(head.split(b" ")[1]), parse(head)
        bodiless = request.startswith(b"HEAD ") or status in {204, 304}
        return Answer(status, headers, b"" if bodiless else await read_body(self.reader, headers))


def etag(body: bytes) -> bytes:
    return b'"' + hashlib.md5(body).hexdigest().encode() + b'"'


def parse(head: bytes) -> dict[bytes, bytes]:
    lines = (line.split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, value in lines}


async def read_body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding") != b"chunked":
        return await reader.readexactly(int(headers.get(b"content-length", 0)))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


@pytest.fixture
async def server():
    state = Server()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(state.serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    state.url = f"http://{host}:{port}"
    yield state
    listener.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def proxy(server: Server):
    async with FaultyProxy(server.url) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: FaultyProxy):
    async with Client(proxy.url) as client:
        yield client


async def effect(server: Server) -> bool:
    """Whether ``PUT /k`` with ``new`` took effect, now that everything has come to rest."""
    await asyncio.sleep(0.05)
    return server.objects.get(b"/k") == b"new"


# Without faults


async def test_every_byte_of_a_request_arrives(server: Server, proxy: FaultyProxy, client: Client) -> None:
    request = (
        b"PUT /b/%C3%A9%20%2F..//x?versionId=a%2Bb&x HTTP/1.1\r\n"
        b"hOsT: elsewhere:81\r\nAuthorization:  AWS4 x=y\r\nX-Amz-Meta: \xc3\xa9\r\nContent-Length: 3\r\n\r\n"
    )
    assert (await client.raw(request + b"abc")).status == 200
    assert server.heads == [request]
    assert server.objects == {b"/b/%C3%A9%20%2F..//x?versionId=a%2Bb&x": b"abc"}
    assert proxy.requests == {"PUT": 1}
    assert not proxy.injected


async def test_connections_are_kept_on_both_sides(server: Server, proxy: FaultyProxy, client: Client) -> None:
    for n in range(20):
        body = bytes([n]) * n * 10_000
        assert (await client.ask("PUT", f"/{n}", body)).headers[b"etag"] == etag(body)
        assert (await client.ask("GET", f"/{n}")).body == body
    assert (await client.ask("HEAD", "/3")).headers[b"content-length"] == b"30000"
    assert (await client.ask("GET", "/3", If_None_Match=etag(b"\3" * 30_000).decode())).status == 304
    assert (await client.ask("DELETE", "/3")).status == 204
    assert (await client.ask("GET", "/3")).status == 404
    assert server.connections == 1
    assert proxy.requests == {"PUT": 20, "GET": 22, "HEAD": 1, "DELETE": 1}


async def test_chunked_both_ways(server: Server, client: Client) -> None:
    server.chunked = True
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    await client.raw(b"PUT /k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert server.objects[b"/k"] == b"abcde"
    assert (await client.ask("GET", "/k")).body == b"abcde"


async def test_expect_100_continue(server: Server, client: Client) -> None:
    head = b"PUT /k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    client.writer.write(head)
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await client.raw(b"new")).status == 200
    assert server.objects == {b"/k": b"new"}
    assert server.heads == [head.replace(b"Expect: 100-continue\r\n", b"")]  # answered here


async def test_a_server_that_closes_every_connection(proxy: FaultyProxy, server: Server, client: Client) -> None:
    for n in range(3):
        answer = await client.ask("PUT", "/k", b"new", **({"Connection": "close"} if n == 2 else {}))
        assert answer.status == 200
    assert await client.reader.read() == b""  # an orderly end, as asked


async def test_a_server_that_is_not_there(proxy: FaultyProxy) -> None:
    async with FaultyProxy("http://127.0.0.1:9") as proxy, Client(proxy.url) as client:
        with pytest.raises(ConnectionResetError):
            await client.ask("GET", "/k")
        assert proxy.upstream_failures == 1


# Each fault


@pytest.mark.parametrize(
    ("fault", "took_effect"),
    [
        ("reset_before", False),
        ("reset_request", False),
        ("reset_after", True),
        ("black_hole", False),
        ("black_hole_after", True),
    ],
)
async def test_resets(server: Server, proxy: FaultyProxy, client: Client, fault: str, took_effect: bool) -> None:
    proxy.faults = Faults(silence=0.2)
    proxy.inject(fault)
    started = time.monotonic()
    with pytest.raises(ConnectionResetError):
        await client.ask("PUT", "/k", b"new")
    silence = time.monotonic() - started
    assert (silence >= 0.2) == fault.startswith("black_hole")
    assert await effect(server) is took_effect
    assert len(server.heads) == took_effect
    assert server.cut_short == (fault == "reset_request")
    assert proxy.injected == {fault: 1}
    async with Client(proxy.url) as other:
        assert (await other.ask("PUT", "/k", b"other")).status == 200


async def test_reset_before_does_not_wait_for_the_body(proxy: FaultyProxy, client: Client) -> None:
    proxy.inject("reset_before")
    with pytest.raises(ConnectionResetError):
        await client.raw(b"PUT /k HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")


async def test_reset_in_the_middle_of_a_request_without_a_body(
    server: Server, proxy: FaultyProxy, client: Client
) -> None:
    proxy.inject("reset_request")
    with pytest.raises(ConnectionResetError):
        await client.ask("DELETE", "/k")
    assert server.heads == []


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_reset_in_the_middle_of_the_answer(
    server: Server, proxy: FaultyProxy, client: Client, method: str
) -> None:
    server.objects[b"/k"] = b"x" * 1000
    proxy.inject("reset_response")
    client.writer.write(f"{method} /k HTTP/1.1\r\nContent-Length: 3\r\n\r\nnew".encode())
    got = b""
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(5):
            while piece := await client.reader.read(100):
                got += piece
    assert got.startswith(b"HTTP/1.1 200")
    if method == "GET":
        assert got.endswith(b"\r\n\r\n" + b"x" * 500)
    else:
        assert b"\r\n\r\n" not in got
        assert await effect(server)
    assert proxy.injected == {"reset_response": 1}


@pytest.mark.parametrize(
    ("fault", "status", "code", "took_effect"),
    [
        ("internal_error", 500, b"InternalError", False),
        ("internal_error_after", 500, b"InternalError", True),
        ("slow_down", 503, b"SlowDown", False),
        ("error_inside", 200, b"InternalError", False),
        ("error_inside_after", 200, b"InternalError", True),
    ],
)
async def test_error_answers(
    server: Server, proxy: FaultyProxy, client: Client, fault: str, status: int, code: bytes, took_effect: bool
) -> None:
    proxy.inject(fault)
    answer = await client.ask("PUT", "/k", b"new")
    assert answer.status == status
    assert b"<Error><Code>" + code + b"</Code>" in answer.body
    assert b"etag" not in answer.headers
    assert await effect(server) is took_effect
    assert proxy.injected == {fault: 1}
    assert (await client.ask("PUT", "/k", b"again")).body == b""  # on the same connection


async def test_an_error_instead_of_an_object(server: Server, proxy: FaultyProxy, client: Client) -> None:
    server.objects[b"/k"] = b"x"
    proxy.inject("error_inside_read")
    proxy.inject("error_inside")
    answer = await client.ask("GET", "/k")
    assert (answer.status, b"<Error>" in answer.body) == (200, True)
    assert proxy.injected == {"error_inside_read": 1}


async def test_an_error_for_head_has_no_body(server: Server, proxy: FaultyProxy, client: Client) -> None:
    server.objects[b"/k"] = b"x"
    proxy.inject("slow_down")
    assert (await client.ask("HEAD", "/k")).status == 503
    assert (await client.ask("GET", "/k")).body == b"x"


@pytest.mark.parametrize("chunked", [False, True])
async def test_truncated_answers(server: Server, proxy: FaultyProxy, client: Client, chunked: bool) -> None:
    server.objects[b"/k"] = b"x" * 1000
    server.chunked = chunked
    proxy.inject("truncate")
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await client.ask("GET", "/k")
    assert chunked or caught.value.partial == b"x" * 500
    assert await client.reader.read() == b""  # an orderly end
    assert proxy.injected == {"truncate": 1}


async def test_truncated_answers_without_a_body(server: Server, proxy: FaultyProxy, client: Client) -> None:
    server.objects[b"/d"] = b"x"
    proxy.inject("truncate")
    assert (await client.ask("DELETE", "/d")).status == 204
    assert not proxy.injected  # there was nothing to cut
    proxy.inject("truncate")
    with pytest.raises(asyncio.IncompleteReadError):
        await client.ask("PUT", "/k", b"new")
    assert await effect(server)
    assert proxy.injected == {"truncate": 1}


async def test_drips(server: Server, proxy: FaultyProxy, client: Client) -> None:
    server.objects[b"/k"] = b"x" * 1000
    proxy.faults = Faults(patience=0.4)
    proxy.inject("drip")
    client.writer.write(b"GET /k HTTP/1.1\r\n\r\n")
    pieces, started = [], time.monotonic()
    while sum(map(len, pieces)) < 1000:
        pieces.append(await client.reader.read(2000))
    assert 0.35 < time.monotonic() - started < 2
    assert len(pieces) >= 10
    assert b"".join(pieces).endswith(b"x" * 900)
    assert proxy.injected == {"drip": 1}


async def test_stale_reads(server: Server, proxy: FaultyProxy, client: Client) -> None:
    proxy.faults = Faults(stale=1.0)
    for body in (b"one", b"two"):
        server.objects[b"/k"] = body
        assert (await client.ask("GET", "/k")).body == body  # not a poll
    assert (await client.ask("GET", "/k", If_None_Match=etag(b"two").decode())).body == b"one"
    assert (await client.ask("GET", "/k", If_None_Match=etag(b"one").decode())).status == 304
    assert (await client.ask("GET", "/j", If_None_Match=etag(b"one").decode())).status == 404  # never seen
    assert proxy.injected == {"stale": 2}
    proxy.faults = Faults()
    assert (await client.ask("GET", "/k", If_None_Match=etag(b"one").decode())).body == b"two"


# Orders and odds


async def test_an_order_waits_for_its_request(server: Server, proxy: FaultyProxy, client: Client) -> None:
    proxy.inject("slow_down", method="PUT", contains="/manifest")
    assert (await client.ask("GET", "/manifest")).status == 404
    assert (await client.ask("PUT", "/k", b"new")).status == 200
    assert (await client.ask("PUT", "/manifest", b"x")).status == 503
    assert (await client.ask("PUT", "/manifest", b"x")).status == 200
    with pytest.raises(ValueError, match="none of"):
        proxy.inject("earthquake")


async def test_the_seed_decides(server: Server) -> None:
    async def draws(seed: int) -> list[int]:
        async with FaultyProxy(server.url, Faults(slow_down=0.3, internal_error=0.2), seed=seed) as proxy:
            async with Client(proxy.url) as client:
                statuses = [(await client.ask("PUT", "/k", b"x")).status for _ in range(200)]
            assert proxy.injected == {"slow_down": statuses.count(503), "internal_error": statuses.count(500)}
            return statuses

    first = await draws(1)
    assert await draws(1) == first
    assert await draws(2) != first
    assert 40 <= first.count(503) <= 80
    assert 20 <= first.count(500) <= 60


def test_odds_are_probabilities() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        Faults(slow_down=0.6, drip=0.5)
    with pytest.raises(ValueError, match="http://"):
        FaultyProxy("https://example.org")


# Away and back


async def test_offline(server: Server, proxy: FaultyProxy, client: Client) -> None:
    assert (await client.ask("PUT", "/k", b"old")).status == 200
    server.delay = 0.1
    under_way = asyncio.create_task(client.ask("PUT", "/k", b"new"))
    await asyncio.sleep(0.05)
    proxy.go_offline()
    with pytest.raises(ConnectionResetError):
        await under_way
    assert proxy.offline
    async with Client(proxy.url) as other:
        with pytest.raises(ConnectionError):
            await other.ask("GET", "/k")
    assert len(server.heads) == 2
    proxy.go_online()
    async with Client(proxy.url) as other:
        assert (await other.ask("GET", "/k")).status == 200
    assert proxy.injected == {"offline": 1, "refused": 1}


async def test_flapping(server: Server, proxy: FaultyProxy) -> None:
    proxy.faults = Faults(flap=0.03)
    outcomes = []
    end = time.monotonic() + 5
    while time.monotonic() < end and (len(outcomes) < 20 or proxy.injected["offline"] < 5):
        with contextlib.suppress(OSError):
            async with Client(proxy.url) as client:
                try:
                    outcomes.append((await client.ask("PUT", "/k", b"x")).status)
                except (OSError, EOFError):
                    outcomes.append(0)
        await asyncio.sleep(0.005)
    assert set(outcomes) == {0, 200}
    assert proxy.injected["offline"] >= 5
    proxy.faults = Faults()
    await asyncio.sleep(0.1)
    assert not proxy.offline
    async with Client(proxy.url) as client:
        assert (await client.ask("PUT", "/k", b"x")).status == 200


# Nothing is left behind


FDS = Path("/proc/self/fd")


def sockets() -> int:
    return sum(fd.is_socket() for fd in FDS.iterdir())


@pytest.mark.skipif(not FDS.is_dir(), reason="counts sockets the Linux way")
@pytest.mark.parametrize("moment", [0.0, 0.005, 0.05])
async def test_closing_in_the_middle_of_everything(server: Server, moment: float) -> None:
    server.objects[b"/k"] = b"x" * 1000
    server.delay = 0.01
    faults = Faults(**dict.fromkeys(KINDS, 1 / 20), silence=60, patience=60)

    async def ask(url: str, n: int) -> None:
        with contextlib.suppress(OSError, EOFError):
            async with Client(url) as client:
                while True:
                    await client.ask(["PUT", "GET", "DELETE", "HEAD"][n % 4], "/k", b"new")

    tasks_before, sockets_before = asyncio.all_tasks(), sockets()
    async with FaultyProxy(server.url, faults, seed=3) as proxy:
        asking = [asyncio.create_task(ask(proxy.url, n)) for n in range(40)]
        await asyncio.sleep(moment)
        started = time.monotonic()
        await asyncio.gather(proxy.aclose(), proxy.aclose())
    assert time.monotonic() - started < 1
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0.1)  # the server, too, has noticed
    left = {task for task in asyncio.all_tasks() - tasks_before if "Server.serve" not in repr(task)}
    assert not left
    assert sockets() <= sockets_before
    gc.collect()  # an unclosed transport warns, which is an error here
