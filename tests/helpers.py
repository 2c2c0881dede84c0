"""What several test modules use."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mps3 import MPS3, MemoryStorage, UnavailableError
from mps3.errors import MPS3Error
from mps3.format.slot import SlotName
from mps3.storage.wrapper import StorageWrapper
from mps3.support.environment import Environment

POLL = 0.05
WINDOW = 3.0
PROFILE = os.environ.get("MPS3_TEST_PROFILE", "")
"""How much there is of what could go on for ever: "everyday" for `nox -s tests`, "thorough" for `nox -s thorough`."""
EXAMPLES = {"everyday": 25, "thorough": 500}.get(PROFILE, 100)
"""How many Hypothesis makes up for a test that does not say how many."""
PATIENCE = 60.0  # seconds after which a test that waits has failed, on a machine however busy
BUCKET = "bucket"
MANIFEST = "manifest.json"
COMMIT = "any commit of manifest.json"
"""In the place of a key: the manifest itself with the merge journal, each slot with the log journal."""

AWKWARD_KEYS = {
    "plain": "key",
    "awkward": '&$@=;[~|^  :+,"?\\{^}%]>#',
    "control": "".join(map(chr, range(1, 32))) + "\x7f",
    "newline": "a\nb\r\nc\td",
    "c1 controls": "\x80\x9f\xa0\u2028",
    "spaces": " a  b ",
    "space": " ",
    "slash": "/",
    "slashes": "//a///b//",
    "leading slash": "/a",
    "trailing slash": "a/",
    "dot": ".",
    "dots": "..",
    "up": "../x",
    "up inside": "a/../../b",
    "here": "./a/./b",
    "emoji": "\U0001f600\U0001f469\u200d\U0001f4bb",
    "combining": "e\u0301",
    "composed": "\u00e9",
    "rtl": "\u202e\u05d0",
    "1024 bytes": "k" * 1024,
    "1024 bytes of emoji": "\U0001f600" * 256,
    "percent": "a%2Fb",
    "percents": "%%25%",
    "plus": "a+b",
    "query": "a?versionId=1&x=y",
    "url": "s3://looks/like/a/url",
    "short url": "s3://",
    "http url": "https://example.org/a?b#c",
    "version like": "a@mps3-0",
    "xml": "<a>&amp;</a>",
    "quotes": "'\"`",
    "backslash": "a\\b",
    "digits": "0",
    "looks like null": "null",
    "dunder": "__proto__",
    "tilde": "~",
    "manifest like": "manifest.json/x",
    "uppercase": "KEY",
}


class Clock:
    """A store's clock that can be put forward."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset

    def later(self, seconds: float) -> None:
        self.offset += seconds


class NoBackoff(Environment):
    """Does not wait between attempts, but counts how often anyone else would."""

    def __init__(self) -> None:
        super().__init__(random.Random(0))
        self.waits = 0

    def backoff(self, attempt: int, *, first: float = 1.0, most: float = 1.0) -> float:
        assert most >= first > 0
        self.waits += 1
        return 0.0


def client(bucket: str, s3_config: Mapping[str, Any] | None, manifest: Any = MANIFEST, **options: Any) -> MPS3:
    """A client of the server under test that does not let anyone wait."""
    return MPS3(bucket, manifest, s3_config=s3_config, **{"poll_interval": POLL, **options})


def memory_client(storage: Any, manifest: Any = MANIFEST, **options: Any) -> MPS3:
    """A client of a store in memory: by its versions tests say which journal they are about."""
    return MPS3(BUCKET, manifest, storage=storage, **{"poll_interval": POLL, **by_versions(storage), **options})


def deaf_client(storage: Any, **options: Any) -> MPS3:
    """The same, but one that does not hear of other clients: it polls only."""
    return memory_client(StorageWrapper(storage), **by_versions(storage), **options)


def by_versions(storage: Any) -> dict[str, Any]:
    """The journal of a test: the merge journal where a store keeps versions, and otherwise what `auto` takes."""
    return {"journal": "merge"} if getattr(storage, "_versioning", False) else {}


async def eventually(condition: Callable[[], Any], *, within: float = PATIENCE) -> Any:
    """Wait until ``condition()``, or what it returns to be awaited, is true."""
    async with asyncio.timeout(within):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


async def soon(awaitable: Awaitable[Any], within: float = PATIENCE) -> Any:
    async with asyncio.timeout(within):
        return await awaitable


async def settle() -> None:
    """Let every task go as far as it gets without waiting for anything outside."""
    for _ in range(50):
        await asyncio.sleep(0)


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fail if there is a task afterwards that was not there before."""
    before = asyncio.all_tasks()
    yield
    await settle()
    assert asyncio.all_tasks() - before == set()


class Unreliable(MemoryStorage):
    """A store in memory that can be told to fail, to hang, and what was asked of it.

    Attributes:
        calls: The operation and key of each call so far.
        fail: Returns the error of a call, given its operation and key, or None.
        switch: Calls wait for it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[tuple[str, str]] = []
        self.fail: Callable[[str, str], MPS3Error | None] = lambda operation, key: None
        self.hang: Callable[[str, str], bool] = lambda operation, key: False
        self.switch = asyncio.Event()

    def down(self) -> None:
        self.fail = lambda operation, key: UnavailableError("the network is down", operation=operation, key=key)

    def up(self) -> None:
        self.fail = lambda operation, key: None

    def refuse(self, error: MPS3Error, *, operation: str = "put", key: str | None = None) -> None:
        self.fail = lambda asked, name: error if asked == operation and self.is_meant(key, name) else None

    def hold(self, operation: str, key: str | None = None) -> None:
        """Let matching calls wait until :meth:`release`."""
        self.switch.clear()
        self.hang = lambda asked, name: asked == operation and self.is_meant(key, name)

    def hold_all(self) -> None:
        self.switch.clear()
        self.hang = lambda asked, name: True

    def release(self) -> None:
        self.hang = lambda asked, name: False
        self.switch.set()

    def count(self, operation: str, key: str | None = None) -> int:
        return sum(asked == operation and self.is_meant(key, name) for asked, name in self.calls)

    def is_meant(self, wanted: str | None, key: str) -> bool:
        """Whether a key is the wanted one: any for ``None``, that of a commit for `COMMIT`."""
        if wanted != COMMIT:
            return wanted in (None, key)
        slot = SlotName.parse(MANIFEST, key)
        return key == MANIFEST if slot is None and self._versioning else slot is not None and not slot.is_checkpoint

    async def _pass(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        if self.hang(operation, key):
            await self.switch.wait()
        error = self.fail(operation, key)
        if error is not None:
            raise error

    async def capabilities(self, bucket: str) -> Any:
        await self._pass("capabilities", bucket)
        return await super().capabilities(bucket)

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        await self._pass("get", key)
        return await super().get(bucket, key, **options)

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        await self._pass("put", key)
        return await super().put(bucket, key, body, **options)

    async def versions(self, bucket: str, key: str, **options: Any) -> Any:
        await self._pass("versions", key)
        return await super().versions(bucket, key, **options)


class StoreWithClock(Unreliable):
    """An unreliable store whose clock can be put forward."""

    def __init__(self, **options: Any) -> None:
        self.ahead = Clock()
        super().__init__(clock=self.ahead, **options)

    def later(self, seconds: float) -> None:
        self.ahead.later(seconds)


async def stored_manifest(storage: MemoryStorage, key: str = MANIFEST) -> dict[str, Any]:
    found = await MemoryStorage.get(storage, BUCKET, key)
    return json.loads(found.body)
