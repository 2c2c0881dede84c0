"""Notes that can be written in a tunnel.

::

    python examples/offline_notes.py NAME [URL]

Type a line to add a note; ``/off`` and ``/on`` switch the network, ``/list`` shows all notes, ``/drop`` forgets what
the store refused for good, Ctrl-D or Ctrl-C leaves. Stop the server, kill the program, start it again under the same
name: what it has said is kept arrives exactly once, as soon as it can.

Everyone's notes are in one list, one key a note. What is not in the store yet, and what was read, is kept in the
directory ``mps3-notes-NAME`` beside the temporary files of this machine.
"""

import asyncio
import contextlib
import logging
import secrets
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from mps3 import MPS3, ClosedError, MPS3Error, Reconnect

INDEX = "notes"
"""Whose notes there are: a list of names."""


class Notes:
    """The notes of one person, and a view of everybody's.

    Args:
        client: The store.
        name: Whose notes.
    """

    def __init__(self, client: MPS3, name: str) -> None:
        self._client = client
        self._name = name

    async def add(self, text: str) -> None:
        """Add a note; return when nothing can take it away any more."""
        mine = cast("list[str]", await self._client.get(f"{INDEX}/{self._name}", []))
        note = f"note/{self._name}/{secrets.token_hex(4)}"
        write = self._client.put_all({note: text, f"{INDEX}/{self._name}": [*mine, note]})
        await write.kept()
        print(f"kept: {text}", flush=True)

    async def enter(self) -> None:
        """Be in the list of those who have notes."""
        names = cast("list[str]", await self._client.get(INDEX, []))
        if self._name not in names:
            await self._client.put(INDEX, sorted({*names, self._name})).kept()

    async def show(self) -> None:
        """Print all notes that are known here."""
        for name in cast("list[str]", await self._client.get(INDEX, [])):
            for note in cast("list[str]", await self._client.get(f"{INDEX}/{name}", [])):
                try:
                    print(f"{name}: {await self._client.get(note)}", flush=True)
                except MPS3Error:
                    print(f"{name}: … (not read yet)", flush=True)

    async def tell(self) -> None:
        """Say how things stand, whenever that changes."""
        said = ""
        async for status in self._client.status_changes():
            waiting = f", {status.pending} waiting" if status.pending else ""
            says = f"* {'online' if status.online else 'offline'}{waiting}"
            if says != said:
                print(said := says, flush=True)

    def rejected(self) -> None:
        """Forget what the store refused for good."""
        for one in self._client.rejected():
            print(f"dropped {', '.join(one.values)}: {one.error}", flush=True)
            one.drop()


def decide(offer: Reconnect) -> None:
    """Two who entered at once: both names belong into the list, so neither is overwritten."""
    for write in offer.conflicts:
        change = write.changes.get(INDEX)
        if change is not None and change.changed and isinstance(change.current, list):
            write.replace({INDEX: sorted({*change.current, *cast("list[str]", change.value)})})


async def main(name: str, url: str, directory: Path) -> None:
    """Take notes until the input ends."""
    async with MPS3.from_url(url, offline=directory, on_reconnect=decide) as client:
        notes = Notes(client, name)
        telling = asyncio.create_task(notes.tell())
        await notes.enter()
        async for line in lines():
            match line:
                case "/off":
                    client.go_offline()
                case "/on":
                    client.go_online()
                case "/list":
                    await notes.show()
                case "/drop":
                    notes.rejected()
                case "":
                    pass
                case text:
                    await notes.add(text)
        telling.cancel()
    # Closing has sent what could be sent; the rest goes out next time.


async def lines() -> AsyncIterator[str]:
    """What is typed. A thread reads it, which ends with the program."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            for line in sys.stdin:
                loop.call_soon_threadsafe(typed.put_nowait, line.strip())
            loop.call_soon_threadsafe(typed.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await typed.get()) is not None:
        yield line


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    logging.getLogger("mps3").setLevel(logging.ERROR)  # that the network is away is said in our own words
    somewhere = Path(tempfile.gettempdir())
    try:
        asyncio.run(
            main(
                sys.argv[1],
                sys.argv[2] if len(sys.argv) > 2 else (somewhere / "mps3-notes").as_uri(),
                somewhere / f"mps3-notes-{sys.argv[1]}",
            )
        )
    except (MPS3Error, ClosedError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        pass
