"""Storages on obstore, opened for a test: in memory, and before a server that answers as it is told."""

from __future__ import annotations

import email.utils
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helpers import NoBackoff
from obstore.store import MemoryStore
from scripted_s3 import DONE, Answer, Received, ScriptedS3

from mps3.storage.obstore.provider import Provider
from mps3.storage.obstore.session import ObstoreSession
from mps3.storage.obstore.storage import ObstoreStorage
from mps3.storage.obstore.stores import StoreFactory
from mps3.support.environment import Environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    Call = Callable[[ObstoreStorage], Awaitable[Any]]

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "gs": {"bearer_token": "token-of-the-test"},
    "az": {"account_name": "account", "account_key": KEY},
}
STAMP = "Sun, 06 Nov 2033 08:49:37 GMT"
CALLS: Mapping[str, Call] = {
    "get": lambda storage: storage.get("bucket", "key"),
    "head": lambda storage: storage.head("bucket", "key"),
    "list": lambda storage: storage.list("bucket", "prefix"),
    "capabilities": lambda storage: storage.capabilities("bucket"),
    "put": lambda storage: storage.put("bucket", "key", b"{}"),
    "create": lambda storage: storage.put("bucket", "key", b"{}", if_none_match=True),
    "delete": lambda storage: storage.delete("bucket", "key"),
}


@dataclass
class ScriptedService(ScriptedS3):
    """Answers requests for objects as it is told; to others, it tells the time that it is told to."""

    time: float | None = 2015310577.0
    asked: int = 0
    answers: list[Answer] = field(default_factory=lambda: [DONE])

    def reply(self, received: Received) -> Answer:
        if received.method == "HEAD" and "/bucket" not in received.target:
            self.received.remove(received)
            self.asked += 1
            date = b"" if self.time is None else f"date: {email.utils.formatdate(self.time, usegmt=True)}\r\n".encode()
            return b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n" + date + b"\r\n"
        return super().reply(received)


@asynccontextmanager
async def talking_to(
    fake: ScriptedService, *answers: Answer, scheme: Any = "gs", **options: Any
) -> AsyncIterator[ObstoreStorage]:
    """A storage that does not wait between attempts."""
    if answers:
        fake.answers = [*answers]
    settings = {**OPTIONS[scheme], "endpoint_url": f"http://127.0.0.1:{fake.port}"}
    storage = ObstoreStorage(scheme, settings, **{"environment": NoBackoff(), **options})
    await storage.open()
    try:
        yield storage
    finally:
        await storage.aclose()


class MemoryFactory(StoreFactory):
    """Makes stores of obstore in memory, one a bucket."""

    def check(self) -> None: ...

    def make(self, bucket: str, *, retries: int = 0) -> Any:
        return self.config.setdefault(bucket, MemoryStore())


class TimedSession(ObstoreSession):
    """A session with a service whose time is known."""

    def clock(self) -> float:
        return time.time()

    def time_of_answer(self) -> float:
        return time.time()


def memory_storage(*, told: bool = False) -> ObstoreStorage:
    """A storage on obstore's own store in memory, which does not tell the time by itself; not open yet."""
    storage = ObstoreStorage("gs")
    storage._provider = Provider("memory", "a store in memory", "bucket")
    factory = MemoryFactory(storage._provider, {}, {}, None, 30.0)
    storage._session = (TimedSession if told else ObstoreSession)(factory, Environment(), 30.0)
    return storage
