"""What requests cost: how many there are, and the bytes of their bodies, counted where the library meets its store."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Any, Final

from mps3.errors import ConflictError
from mps3.format.names import LOG_SUFFIX
from mps3.format.slot import CHECKPOINT
from mps3.storage import UNCHANGED, Absence

MANIFEST: Final = "manifest.json"
BUCKET: Final = "bucket"
LATENCY: Final = 0.03
"""Seconds from a request to its answer, unless told otherwise."""
JITTER: Final = 0.2
"""How far a latency may be from the average, as a part of it."""
VERSION_XML: Final = 500
"""Bytes that one version takes in the listing of an S3 server."""
LISTING_XML: Final = 500
"""Bytes of a listing besides its versions."""
ERROR_XML: Final = 300
"""Bytes of the body of an answer like 404 or 412."""
KINDS: Final = ("PUT", "GET", "HEAD", "LIST", "DELETE", "OTHER")
_OPERATIONS: Final = {
    "put": "PUT",
    "get": "GET",
    "head": "HEAD",
    "versions": "LIST",
    "scan": "LIST",
    "list": "LIST",
    "delete": "DELETE",
}


@dataclass(slots=True)
class Sum:
    """Requests of one kind, for one kind of object, with one kind of answer.

    Attributes:
        requests: How many.
        up: Bytes of the bodies sent.
        down: Bytes of the bodies received.
        heads: Bytes of all that is not a body, both ways; not known at the seam.
        listed: How many versions or objects were listed.
    """

    requests: int = 0
    up: int = 0
    down: int = 0
    heads: int = 0
    listed: int = 0

    def add(self, other: Sum) -> None:
        """Add another."""
        self.requests += other.requests
        self.up += other.up
        self.down += other.down
        self.heads += other.heads
        self.listed += other.listed


class Tally:
    """Requests, added up."""

    def __init__(self, rows: Iterable[Iterable[Any]] = ()) -> None:
        self._sums: dict[tuple[str, str, int], Sum] = {}
        for kind, target, status, *numbers in rows:
            self._sums[kind, target, status] = Sum(*numbers)

    def add(self, kind: str, target: str, status: int, up: int, down: int, heads: int = 0, listed: int = 0) -> None:
        """Count a request.

        Args:
            kind: One of `KINDS`.
            target: What it was about: ``manifest``, ``run`` or ``value``.
            status: Of the answer, as in HTTP.
            up: Bytes of the request's body.
            down: Bytes of the answer's body.
            heads: Bytes of both heads.
            listed: How much the answer lists.
        """
        self._sums.setdefault((kind, target, status), Sum()).add(Sum(1, up, down, heads, listed))

    def __add__(self, other: Tally) -> Tally:
        both = Tally(self.rows())
        for which, one in other._sums.items():
            both._sums.setdefault(which, Sum()).add(one)
        return both

    def rows(self) -> list[tuple[Any, ...]]:
        """All sums, in a form that can be sent: the kind, the target, the status, and the numbers of `Sum`."""
        return [(*which, *astuple(one)) for which, one in self._sums.items()]

    def without_polls(self) -> Tally:
        """Without the polls that found nothing, which are the price of time and of no operation."""
        return Tally(row for row in self.rows() if row[:3] not in (("GET", "manifest", 304), ("GET", "manifest", 404)))

    def select(self, kind: str | None = None, target: str | None = None, status: int | None = None) -> Sum:
        """The sum of the requests that are all of this; ``None`` stands for any."""
        total = Sum()
        for one in self._matching(kind, target, status):
            total.add(one)
        return total

    def _matching(self, *wanted: object) -> Iterator[Sum]:
        for which, one in self._sums.items():
            if all(want in (None, have) for want, have in zip(wanted, which, strict=True)):
                yield one

    def count(self, kind: str | None = None, target: str | None = None, status: int | None = None) -> int:
        """How many requests are all of this."""
        return self.select(kind, target, status).requests

    @property
    def bodies(self) -> int:
        """Bytes of all bodies, both ways."""
        total = self.select()
        return total.up + total.down

    @property
    def bodies_as_s3(self) -> int:
        """The same, if listings were as long as those of S3. Other servers have shorter names for things."""
        listings = self.select("LIST")
        return self.bodies - listings.down + LISTING_XML * listings.requests + VERSION_XML * listings.listed

    def __str__(self) -> str:
        return ", ".join(
            f"{one.requests} {kind} {target}" + (f" ({status})" if status != 200 else "")
            for (kind, target, status), one in self._sums.items()
        )


class Meter:
    """Something that counts, and starts anew when it is asked for the sum."""

    def __init__(self) -> None:
        self.tally = Tally()

    def take(self) -> Tally:
        """What was counted since the last time."""
        taken, self.tally = self.tally, Tally()
        return taken


def target_of(key: str) -> str:
    """What kind of object a key names."""
    if key == MANIFEST or (key.startswith(MANIFEST + LOG_SUFFIX) and not key.endswith(CHECKPOINT)):
        return "manifest"  # a slot is the commit that it holds
    return "run" if key.startswith(f"{MANIFEST}.") else "value"


class MeteredStorage(Meter):
    """A store that counts what is asked of it, and charges the bytes that S3 would send; a bit away, if wanted.

    A stranger's method (there may be more than a `mps3.storage.Storage` has) is counted as a request, too.

    Args:
        storage: The store.
        latency: Seconds from a request to its answer, on average. Half of it passes before it takes effect.
        jitter: How far a latency may be from the average, as a part of it.
        seed: Decides how long each takes.
    """

    def __init__(self, storage: Any, *, latency: float = 0.0, jitter: float = JITTER, seed: int = 0) -> None:
        super().__init__()
        self._storage = storage
        self._storage = storage
        self._jitter = jitter
        self._latency = latency
        self._dice = random.Random(seed)

    async def open(self) -> None:
        await self._storage.open()

    async def aclose(self) -> None:
        await self._storage.aclose()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._storage, name)
        if not inspect.iscoroutinefunction(call):
            return call
        kind = _OPERATIONS.get(name, "OTHER")

        async def metered(bucket: str, *args: Any, **options: Any) -> Any:
            key = args[0] if args and isinstance(args[0], str) else ""
            body = next((arg for arg in (*args, *options.values()) if isinstance(arg, bytes)), b"")
            half = self._latency and self._latency * self._dice.uniform(1 - self._jitter, 1 + self._jitter) / 2
            status, down, listed = 500, 0, 0
            try:
                if half:
                    await asyncio.sleep(half)
                answer = await call(bucket, *args, **options)
                status, down, listed = _charge(answer)
                if half:
                    await asyncio.sleep(half)
            except ConflictError:
                status, down = 412, ERROR_XML
                raise
            else:
                return answer
            finally:
                self.tally.add(kind, target_of(key), status, len(body) if kind == "PUT" else 0, down, 0, listed)

        return metered


def _charge(answer: Any) -> tuple[int, int, int]:
    """The status and the bytes of the body of an answer, and how much it lists."""
    if isinstance(answer, Absence):
        return (304, 0, 0) if answer is UNCHANGED else (404, ERROR_XML, 0)
    if (body := getattr(answer, "body", None)) is not None:
        return 200, len(body), 0
    for listed in ("versions", "found", "entries"):
        if (found := getattr(answer, listed, None)) is not None:
            return 200, LISTING_XML + VERSION_XML * len(found), len(found)
    return 200, 0, 0
