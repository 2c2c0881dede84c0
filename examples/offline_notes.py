"""Take notes without a network.

::

    python examples/offline_notes.py NAME [URL]

Type a line to add a note. The notes of all users are in one list with one title. Stop the server, disconnect the
network, or kill the program and start it again under the same name: each note that is reported as kept arrives exactly
once.

    /list           list all known notes
    /title TEXT     change the title; if others changed it meanwhile, the program asks which one to use
    /off, /on       go offline, and online again
    /refused        list the writes that the store refused for good; then /retry or /drop
    /quit           leave, like Ctrl-D and Ctrl-C

Unsent notes and cached ones are in the directory ``mps3-notes-NAME``, in the directory for temporary files.
"""

import asyncio
import contextlib
import logging
import secrets
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from pathlib import Path

from mps3 import JSON, MPS3, MPS3Error, Reconnect, UnavailableError

NOTES = "note/"
TITLE = "title"
HELP = "/list  /title TEXT  /off  /on  /refused  /retry  /drop  /quit"


def say(line: str) -> None:
    """Print a line without buffering."""
    print(line, flush=True)


class Notes:
    """The notes of all users, as one user sees them.

    Args:
        name: The name of the user.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._client: MPS3
        self._asked: asyncio.Future[str] | None = None

    async def run(self, url: str, directory: Path) -> None:
        """Take notes until the input ends."""
        async with MPS3.from_url(url, offline=directory, on_reconnect=self.decide) as self._client:
            title = await self.known(TITLE) or "Notes"
            say(f"{title}, as {self._name}. Type a note, or /help.")
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self.tell()), tasks.create_task(self.listen())]
                async for line in lines():
                    if line == "/quit":
                        break
                    await self.obey(line)
                for task in background:
                    task.cancel()
            status = self._client.status()
            if status.pending and not status.online:
                say(f"* {plural(status.pending)} will leave when you are here again")
        # Closing has sent as many writes as possible.

    async def obey(self, line: str) -> None:
        """Carry out a line of input."""
        command, _, rest = line.partition(" ")
        match command:
            case "":
                pass
            case "/list":
                await self.list()
            case "/title":
                await self.keep(f"the title {rest!r}", {TITLE: rest})
            case "/off":
                self._client.go_offline()
            case "/on":
                self._client.go_online()
            case "/mine" | "/theirs" if self._asked is not None:
                self._asked.set_result(command)
            case "/refused" | "/retry" | "/drop":
                await self.refused(command)
            case _ if command.startswith("/"):
                say(HELP)
            case _:
                # The time in the key is only for the order of the list; the suffix makes the key unique.
                now = datetime.now(timezone.utc)
                key = f"{NOTES}{now:%Y-%m-%dT%H:%M:%S.%f}-{secrets.token_hex(4)}"
                await self.keep(line, {key: {"by": self._name, "text": line}})

    async def keep(self, what: str, values: dict[str, JSON]) -> None:
        """Write, and return when the write survives a crash. This needs no network."""
        try:
            await self._client.put_all(values).kept()
        except MPS3Error as error:
            say(f"* {what} is not safe yet: {error}")
        else:
            say(f"kept: {what}")

    async def known(self, key: str) -> JSON:
        """Return a value, or ``None`` if this client does not have it."""
        try:
            return await self._client.get(key)
        except UnavailableError:
            return None

    async def list(self) -> None:
        """Print all known notes."""
        say(f"--- {await self.known(TITLE) or 'Notes'} ---")
        for key in await self._client.keys(NOTES):
            note = await self.known(key)
            say(shown(note) if note is not None else "… (not read yet)")

    async def tell(self) -> None:
        """Print the status after each change."""
        online, said, refused = False, "", 0
        async for status in self._client.status_changes():
            # A note that is sent at once needs no message.
            if not (status.online and online and status.pending):
                says = "* online" if status.online else "* offline"
                if status.pending:
                    says += f", {plural(status.pending)} {'on the way' if status.online else 'waiting'}"
                if says != said:
                    say(said := says)
            online = status.online
            if refused < (refused := len(self._client.rejected())):
                say("* the store refused something for good: see /refused")

    async def listen(self) -> None:
        """Print the notes of other users as they arrive."""
        async for batch in self._client.watch(NOTES):
            for change in batch.changes:
                if not batch.initial and isinstance(change.value, dict) and change.value.get("by") != self._name:
                    say(shown(change.value))

    async def refused(self, command: str) -> None:
        """Show the writes that the store refused for good, or retry or drop them."""
        for one in self._client.rejected():
            what = ", ".join(shown(value) if key != TITLE else f"title {value!r}" for key, value in one.values.items())
            match command:
                case "/retry":
                    one.retry()
                    say(f"again: {what}")
                case "/drop":
                    one.drop()
                    say(f"dropped: {what}")
                case _:
                    say(f"{what}: {one.error}")

    async def decide(self, offer: Reconnect) -> None:
        """Ask which title to use if others have changed it meanwhile. All writes wait for the answer."""
        titles = [write for write in offer.conflicts if TITLE in write.changes]
        if not titles:
            return
        change = titles[-1].changes[TITLE]
        say(f"* others made the title {change.current!r}, you {change.value!r}: /theirs or /mine?")
        self._asked = asyncio.get_running_loop().create_future()
        try:
            if await self._asked == "/theirs":
                for write in titles:
                    write.withdraw()
        finally:
            self._asked = None


def shown(note: object) -> str:
    """Return a note as a line."""
    return f"{note.get('by')}: {note.get('text')}" if isinstance(note, dict) else repr(note)


def plural(number: int) -> str:
    """Return the number of changes as text."""
    return "1 change" if number == 1 else f"{number} changes"


async def lines() -> AsyncIterator[str]:
    """Yield the lines of the standard input. A daemon thread reads them."""
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
    logging.getLogger("mps3").setLevel(logging.CRITICAL)  # the program prints its own messages
    somewhere = Path(tempfile.gettempdir())
    name, url = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else (somewhere / "mps3-notes").as_uri()
    try:
        asyncio.run(Notes(name).run(url, somewhere / f"mps3-notes-{name}"))
    except MPS3Error as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except ExceptionGroup as group:
        sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in group.exceptions))
    except KeyboardInterrupt:
        pass
