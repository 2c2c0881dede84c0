"""Processes for what must not be disturbed: a copy of this one for each scenario, and clients with none of the store.

`isolated` runs something in a fork, which has a copy of the store to spoil, and a time limit. `apart` runs something in
a fresh process, to which the store looks like one far away: neither its memory nor its work counts there.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import multiprocessing
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, TypeVar

from mps3 import MemoryStorage, MPS3Error
from mps3.storage import Object

LARGE: Final = 1 << 16
"""Bytes that do not go through the socket, where they would hold up the event loop, but through a file."""
BREATH: Final = 0.01
"""Seconds for the other process to come up."""

T = TypeVar("T")


class UnfinishedError(Exception):
    """It took longer than it may, or failed."""


def isolated(work: Callable[[], T], limit: float) -> T:
    """Run something in a fork of this process.

    Args:
        work: What to run. Its result is pickled.
        limit: Seconds that it may take.

    Raises:
        UnfinishedError: It took longer, or failed.
    """
    return _result(multiprocessing.get_context("fork"), work, limit)


def apart(work: Callable[[], T], limit: float) -> T:
    """Run something in a fresh process, which shares nothing with this one.

    Args:
        work: What to run: something that can be pickled, as its result is.
        limit: Seconds that it may take.

    Raises:
        UnfinishedError: It took longer, or failed.
    """
    return _result(multiprocessing.get_context("spawn"), work, limit)


def _result(context: Any, work: Callable[[], T], limit: float) -> T:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(work, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit):
            raise UnfinishedError(f"not finished after {limit:.0f} s")
        try:
            good, result = ours.recv()
        except EOFError:
            process.join()
            raise UnfinishedError(f"its process ended with {process.exitcode}") from None
        if not good:
            raise UnfinishedError(result)
        return result  # type: ignore[no-any-return]
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(work: Callable[[], Any], answer: Connection) -> None:
    try:
        answer.send((True, work()))
    except Exception:  # noqa: BLE001 - whatever it is, the other process says so
        answer.send((False, traceback.format_exc()))
    answer.close()
    os._exit(0)  # neither flush what the parent has buffered, nor end what is the parent's


# A store in another process -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(storage: Any) -> Iterator[Path]:
    """A copy of a store, served by another process on a socket, which this names, to a `DistantStorage`."""
    with tempfile.TemporaryDirectory(prefix="mps3-") as directory:
        path = Path(directory) / "store"
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(storage, path), daemon=True)
        process.start()
        try:
            while not path.exists() and process.is_alive():
                time.sleep(BREATH)
            yield path
        finally:
            process.kill()
            process.join()


def _serve(storage: Any, path: Path) -> None:
    async def serve() -> None:
        early = path.with_suffix(".early")
        server = await asyncio.start_unix_server(lambda reader, writer: _answers(storage, path, reader, writer), early)
        async with server:
            early.rename(path)  # a socket has its name before anybody listens
            await server.serve_forever()

    asyncio.run(serve())


async def _answers(storage: Any, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def answer(number: int, name: str, args: Any, options: Any) -> None:
        try:
            good, result = True, await getattr(storage, name)(*args, **options)
        except MPS3Error as error:
            good, result = False, error
        writer.write(await _packed((number, good, result), path.parent))

    tasks = set()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            number, name, args, options = await _unpacked(reader)
            task = asyncio.create_task(answer(number, name, args, options))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


class DistantStorage:
    """A store in another process, on the other side of a socket.

    Args:
        path: The socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listening: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        """Connect. Once is enough for any number of users."""
        if self._writer is None:
            reader, self._writer = await asyncio.open_unix_connection(self._path)
            self._listening = asyncio.create_task(self._listen(reader))

    async def aclose(self) -> None:
        """Stay connected: the process ends soon."""

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            number, good, result = await _unpacked(reader)
            waiting = self._waiting.pop(number)
            if not waiting.done():
                if good:
                    waiting.set_result(result)
                else:
                    waiting.set_exception(result)

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if not inspect.iscoroutinefunction(getattr(MemoryStorage, name, None)):
            raise AttributeError(name)  # it is no request, so nobody far away answers it

        async def ask(*args: Any, **options: Any) -> Any:
            assert self._writer is not None, "it is not open"
            self._number += 1
            number = self._number
            answer = self._waiting[number] = asyncio.get_running_loop().create_future()
            self._writer.write(await _packed((number, name, args, options), self._path.parent))
            return await answer

        return ask


async def _packed(message: Any, directory: Path) -> bytes:
    """A message as it crosses the socket. Large bodies go through files, which a thread writes."""
    bodies: list[bytes] = []
    message = _without_bodies(message, bodies)
    files = []
    for body in bodies:
        handle, name = await asyncio.to_thread(tempfile.mkstemp, dir=directory)
        os.close(handle)
        await asyncio.to_thread(Path(name).write_bytes, body)
        files.append(name)
    packed = pickle.dumps((message, files))
    return len(packed).to_bytes(8) + packed


async def _unpacked(reader: asyncio.StreamReader) -> Any:
    size = int.from_bytes(await reader.readexactly(8))
    message, files = pickle.loads(await reader.readexactly(size))
    bodies = []
    for name in files:
        bodies.append(await asyncio.to_thread(Path(name).read_bytes))
        await asyncio.to_thread(os.unlink, name)
    return _with_bodies(message, bodies)


@dataclass(frozen=True, slots=True)
class _Body:
    """Stands in a message for a large body."""

    number: int


def _without_bodies(message: Any, bodies: list[bytes]) -> Any:
    if type(message) is bytes and len(message) >= LARGE:
        bodies.append(message)
        return _Body(len(bodies) - 1)
    if isinstance(message, Object):
        return replace(message, body=_without_bodies(message.body, bodies))
    if type(message) is tuple:
        return tuple(_without_bodies(part, bodies) for part in message)
    if type(message) is dict:
        return {name: _without_bodies(part, bodies) for name, part in message.items()}
    return message


def _with_bodies(message: Any, bodies: list[bytes]) -> Any:
    if isinstance(message, _Body):
        return bodies[message.number]
    if isinstance(message, Object):
        return replace(message, body=_with_bodies(message.body, bodies))
    if type(message) is tuple:
        return tuple(_with_bodies(part, bodies) for part in message)
    if type(message) is dict:
        return {name: _with_bodies(part, bodies) for name, part in message.items()}
    return message
