"""Run a chat room in the terminal, for any number of processes.

::

    python examples/chat.py NAME [URL]

Without a URL, all processes on this machine share one room. Type a line to send it, and Ctrl-D or Ctrl-C to leave.

Each message is a key that only its author writes, together with the author's count of messages. So no client overwrites
a message, and a slow reader finds the messages that it skipped. A message names the messages that its author had read,
and is shown after them. All clients write the guest list: two that enter at once may overwrite each other there, so a
client that misses a name in the list adds it again.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from mps3 import JSON, MPS3, ClosedError, MPS3Error, Write

ROOM = "room"
HERE, GONE = "here", "gone"


class Guest:
    """A person in the room.

    Args:
        client: The store.
        name: The name that the others see.
        tasks: Runs the background tasks until the client closes.
    """

    def __init__(self, client: MPS3, name: str, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._id = f"{name}.{secrets.token_hex(4)}"  # two guests may have one name
        self._said = 0
        self._known = {self._id}
        self._read: dict[str, int] = {}
        self._read_since: dict[str, int] = {}
        self._reading = asyncio.Lock()

    def enter(self) -> None:
        """Join the room, and listen to the others."""
        self._client.put(f"chat/{self._id}", [0, HERE])
        self._tasks.create_task(self._meet())

    def say(self, text: str) -> None:
        """Send a message. The write needs no await."""
        self._said += 1
        message: JSON = {"text": text, "read": self._read_since}
        self._client.put_all({f"chat/{self._id}/{self._said}": message, f"chat/{self._id}": [self._said, HERE]})
        self._read_since = {}

    def leave(self) -> Write:
        """Leave the room. Await the result to wait until all messages are durable."""
        return self._client.put(f"chat/{self._id}", [self._said, GONE])

    async def be_listed(self) -> None:
        """Wait until the guest list has this guest, so that others find the messages."""
        while self._id not in cast("list[str]", await self._client.get(ROOM, [])):
            await self._client.put(ROOM, sorted(self._known))

    async def _meet(self) -> None:
        with contextlib.suppress(ClosedError):
            async for value in self._client.subscribe(ROOM):
                listed = set(cast("list[str]", value or []))
                for guest in listed - self._known:
                    self._tasks.create_task(self._listen(guest))
                self._known |= listed
                if self._known > listed:
                    self._client.put(ROOM, sorted(self._known))

    async def _listen(self, guest: str) -> None:
        before = GONE
        with contextlib.suppress(ClosedError):
            async for value in self._client.subscribe(f"chat/{guest}"):
                said, now = cast("tuple[int, str]", value or (0, GONE))
                if (before, now) == (GONE, HERE):
                    show(f"* {nickname(guest)} is here")
                async with self._reading:
                    await self._read_up_to(guest, said)
                if (before, now) == (HERE, GONE):
                    show(f"* {nickname(guest)} left")
                before = now

    async def _read_up_to(self, guest: str, last: int) -> None:
        numbers = range(self._read.get(guest, 0) + 1, last + 1)
        messages = await asyncio.gather(*(self._client.get(f"chat/{guest}/{number}") for number in numbers))
        for number, message in zip(numbers, cast("list[dict[str, Any]]", messages), strict=True):
            for other, count in message["read"].items():
                if other != self._id:
                    await self._read_up_to(other, count)
            if number > self._read.get(guest, 0):  # otherwise it was shown before a message that refers to it
                show(f"{nickname(guest)}: {message['text']}")
                self._read[guest] = self._read_since[guest] = number


async def chat(name: str, url: str) -> None:
    """Join the room, send each line of the standard input, and leave."""
    async with asyncio.TaskGroup() as tasks, MPS3.from_url(url) as client:
        watching = tasks.create_task(watch_connection(client))
        guest = Guest(client, name, tasks)
        guest.enter()
        try:
            async for line in lines():
                if line.strip():
                    guest.say(line)
        finally:
            goodbye = guest.leave()  # closing the client sends it, also after Ctrl-C
        await goodbye
        await guest.be_listed()
        watching.cancel()
        # The subscriptions end when the client closes, and the tasks end with them.


async def watch_connection(client: MPS3) -> None:
    """Print when the store becomes unreachable, and when it is reachable again."""
    online = True
    while True:
        await asyncio.sleep(0.25)
        status = client.status()
        if status.online != online:
            online = status.online
            show("* online again" if online else f"* offline: {status.last_error}")


async def lines() -> AsyncIterator[str]:
    """Yield the lines of the standard input: of a terminal, a pipe or a file, on any platform."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Queue[str | None]()

    def read() -> None:
        # A separate file object: the interpreter cannot end while another thread waits in `sys.stdin`.
        with os.fdopen(0, errors="replace", closefd=False) as stdin, contextlib.suppress(RuntimeError):
            for line in stdin:
                loop.call_soon_threadsafe(arrived.put_nowait, line.rstrip("\n"))
            loop.call_soon_threadsafe(arrived.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await arrived.get()) is not None:
        yield line


def nickname(guest: str) -> str:
    """Return the name without the suffix that makes it unique."""
    return guest.rpartition(".")[0]


def show(line: str) -> None:
    """Print a line without buffering, also into a pipe."""
    print(line, flush=True)


def main() -> None:
    """Run the program."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} NAME [URL]")
    default = (Path(tempfile.gettempdir()) / "mps3-chat").as_uri()
    logging.getLogger("mps3").setLevel(logging.ERROR)  # `watch_connection` prints the status
    url = sys.argv[2] if len(sys.argv) == 3 else default
    code: int | str = 0
    try:
        asyncio.run(chat(sys.argv[1], url))
    except* MPS3Error as group:
        code = "\n".join(str(error) for error in group.exceptions)
    except* KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
