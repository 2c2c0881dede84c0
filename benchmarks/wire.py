"""An S3 server over HTTP, seen through a proxy that counts and delays; raw clients of it; buckets in it."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from meter import JITTER, Meter, Tally, target_of
from proxy import FaultyProxy, Request, Response

CONCURRENCY: Final = 32
"""Raw requests under way at once, as many as values that mps3 stores at once."""
_TAKE: Final = "take"
_LISTED: Final = (b"<Version>", b"<DeleteMarker>", b"<Contents>")


class CountingProxy(FaultyProxy):
    """A proxy that does nothing wrong: it counts every byte, and each request takes a while.

    Args:
        upstream: The server.
        latency: Seconds that it adds to a request, on average.
        seed: Decides how long each takes.
    """

    def __init__(self, upstream: str, *, latency: float = 0.0, seed: int = 0) -> None:
        super().__init__(upstream)
        self.latency = latency
        self.meter = Meter()
        self.max_keys = 0  # of the last listing of versions
        self._dice = random.Random(seed)

    async def _forward(self, request: Request, upstream: Any) -> Response:
        half = self.latency * self._dice.uniform(1 - JITTER, 1 + JITTER) / 2
        await asyncio.sleep(half)
        response = await super()._forward(request, upstream)
        await asyncio.sleep(half)
        kind, target = self._kind(request)
        heads = len(request.head) + len(response.head)
        listed = sum(map(response.body.count, _LISTED)) if kind == "LIST" else 0
        self.meter.tally.add(kind, target, response.status, len(request.body), len(response.body), heads, listed)
        return response

    def _kind(self, request: Request) -> tuple[str, str]:
        url = urlsplit(request.target.decode())
        query = parse_qs(url.query, keep_blank_values=True)
        if request.method == "GET" and "versions" in query:
            self.max_keys = int(query.get("max-keys", ["1000"])[0])
            return "LIST", target_of(query.get("prefix", [""])[0])
        if request.method == "GET" and "list-type" in query:
            return "LIST", target_of(query.get("prefix", [""])[0])
        key = unquote(url.path.removeprefix("/").partition("/")[2])
        kind = request.method if request.method in ("PUT", "GET", "HEAD", "DELETE") and key else "OTHER"
        return kind, target_of(key)


class Wire:
    """A counting proxy in a process of its own, so that its work is not the client's.

    Args:
        endpoint: The server: ``http://host:port``.
        latency: Seconds that it adds to a request, on average.
        seed: Decides how long each takes.

    Attributes:
        url: Where it listens.
        max_keys: How many versions the last listing asked for, when the requests were taken.
    """

    def __init__(self, endpoint: str, *, latency: float, seed: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, endpoint, latency, seed), daemon=True)
        self.url = ""
        self.max_keys = 0

    def __enter__(self) -> Self:
        self._process.start()
        self.url = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def take(self) -> Tally:
        """What was counted since the last time."""
        self._pipe.send(_TAKE)
        rows, self.max_keys = self._pipe.recv()
        return Tally(rows)


def _serve(pipe: Connection, endpoint: str, latency: float, seed: int) -> None:
    async def main() -> None:
        async with CountingProxy(endpoint, latency=latency, seed=seed) as proxy:
            ended = asyncio.Event()

            def answer() -> None:
                try:
                    pipe.recv()
                except EOFError:
                    ended.set()
                    return
                pipe.send((proxy.meter.take().rows(), proxy.max_keys))

            asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
            pipe.send(proxy.url)
            await ended.wait()
            asyncio.get_running_loop().remove_reader(pipe.fileno())

    asyncio.run(main())


@dataclass(frozen=True)
class Server:
    """An S3 server. Credentials come from where other S3 tools have them.

    Attributes:
        endpoint: Its address.
        region: Its region.
    """

    endpoint: str
    region: str

    def config(self, url: str | None = None) -> dict[str, Any]:
        """How to reach it, through a proxy if there is a ``url``."""
        return {"endpoint_url": url or self.endpoint, "region_name": self.region}

    @asynccontextmanager
    async def raw(self, url: str | None = None) -> AsyncIterator[Any]:
        """A plain client of the SDK, except that it sends a body without asking first, as mps3 does."""
        config = AioConfig(
            s3={"addressing_style": "path"},
            max_pool_connections=2 * CONCURRENCY,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        async with AioSession().create_client("s3", config=config, **self.config(url)) as s3:
            s3.meta.events.register_last("before-call.s3.PutObject", _without_asking)
            yield s3

    @asynccontextmanager
    async def bucket(self, *, versioning: bool = True) -> AsyncIterator[str]:
        """A bucket that is removed afterwards."""
        name = f"mps3-benchmark-{secrets.token_hex(6)}"
        async with self.raw() as s3:
            await s3.create_bucket(Bucket=name)
            try:
                if versioning:
                    await s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
                yield name
            finally:
                while await _empty(s3, name):
                    pass
                await s3.delete_bucket(Bucket=name)


def _without_asking(params: dict[str, Any], **_: Any) -> None:
    """An upload that waits for "100 Continue" is slower, and would make ours look good."""
    params["headers"].pop("Expect", None)


async def _empty(s3: Any, bucket: str) -> int:
    """Delete what is in a bucket: a page of a listing, since some servers lose their place in one that shrinks."""
    page = await s3.list_object_versions(Bucket=bucket)
    items = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
    if items:
        some = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
        await s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
    return len(items)
