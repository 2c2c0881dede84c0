"""Serve a live board of cards, to any number of browser tabs, from any number of servers.

::

    pip install fastapi uvicorn
    python examples/board/board.py                   # then open http://127.0.0.1:8000 in two tabs
    python examples/board/board.py --port 8001       # another server of the same board

By default, the board is in a directory on this machine, which all servers here share. The environment selects another
store: ``MPS3_URL="s3://bucket/board.json" python examples/board/board.py``. For several worker processes::

    cd examples/board && uvicorn board:app --workers 4

Servers on several machines hear of each other at once by something that can push, such as Redis::

    pip install "mps3[redis]"
    python examples/board/board.py --wake redis://localhost        # or MPS3_WAKE, or nats://…, or postgresql://…

A card is a key ``card/<id>``, a column ``column/<id>``, an open tab ``here/<tab>``. Tabs receive changes as server-sent
events. The id of each event is the cursor of its batch. A browser that lost its connection sends the last id that it
received, and any server can continue after it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import anyio
import uvicorn
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from stopping import stopping

from mps3 import DELETE, JSON, MPS3, Batch, Change, ExpiredError, Presence, UnavailableError, wake

WAKES: Final[dict[str, Callable[[str], wake.Wake]]] = {
    "redis": wake.redis,
    "nats": wake.nats,
    "postgresql": wake.postgres,
}
STATIC = Path(__file__).parent / "static"
GONE = 20.0
"""Seconds until the users of a killed server are no longer present."""
PATIENCE = 10.0
"""Seconds that a request waits for the store."""
ID = r"[A-Za-z0-9-]{1,40}"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Colour = Annotated[int, Field(ge=0, lt=8)]
Tab = Annotated[str, StringConstraints(pattern=f"^{ID}$")]
Key = Annotated[str, StringConstraints(pattern=f"^(card|column)/{ID}$")]
Edits = Annotated[dict[Key, dict[str, Any] | None], Field(max_length=500)]


class Strict(BaseModel):
    """What a browser sends has these members and no others."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Card(Strict):
    """A card. The ranks order the cards of a column."""

    title: Title
    text: Annotated[str, Field(max_length=5000)] = ""
    colour: Colour = 0
    column: Tab
    rank: float


class Column(Strict):
    """A column."""

    title: Name
    rank: float


class Guest(Strict):
    """A user who has the board open."""

    name: Name
    colour: Colour


class Where(Strict):
    """The pointer of a user, in pixels of the board, and the card that is open."""

    x: float | None = None
    y: float | None = None
    card: Tab | None = None


MODELS: dict[str, type[Strict]] = {"card": Card, "column": Column}
FIRST: dict[str, JSON] = {
    "column/todo": {"title": "To do", "rank": 1},
    "column/doing": {"title": "Doing", "rank": 2},
    "column/done": {"title": "Done", "rank": 3},
}


class State(TypedDict):
    """The state of the process while it serves.

    Attributes:
        client: The store.
        here: The manifest of presence and pointers. It is separate from the manifest of the board, so that the history
            of the board stays short, and continuing after an interruption is cheap.
        stop: Set when the process receives a signal to stop.
    """

    client: MPS3
    here: str
    stop: asyncio.Event


def wake_of(url: str | None) -> wake.Wake | None:
    """Return the wake-ups of a service that can push; ``None`` if there is none."""
    return WAKES[url.partition(":")[0]](url) if url else None


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Open one client before the first request, and close it after the last."""
    url = os.environ.get("MPS3_URL") or (Path(tempfile.gettempdir()) / "mps3-board").as_uri()
    with stopping() as stop:
        async with MPS3.from_url(url, wake=wake_of(os.environ.get("MPS3_WAKE"))) as client:
            if not await client.keys("column/"):
                await client.put_all(FIRST)
            board = client.status().manifests[0].key
            yield {"client": client, "here": f"{board}.here", "stop": stop}


app = FastAPI(title="Board", lifespan=lifespan)
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.get("/")
async def page() -> FileResponse:
    """Return the page."""
    return FileResponse(STATIC / "index.html")


@app.exception_handler(UnavailableError)
@app.exception_handler(TimeoutError)
async def unavailable(_: Request, error: Exception) -> JSONResponse:
    """Answer 503 while the store does not answer, so that the browser tries again."""
    return JSONResponse({"detail": str(error) or "the store does not answer"}, 503, {"Retry-After": "1"})


@app.patch("/board")
async def change(edits: Edits, request: Request) -> dict[str, str | None]:
    """Change cards and columns: the given members of existing ones, or complete new ones.

    The changes are visible at once. Of existing ones only the given members are patched: if two users change different
    members of one card at the same moment, both changes are kept.

    Returns:
        The ``commit`` of the changes, which is durable. The browser recognises its changes among the events by it. It
        is ``None`` if others have deleted everything that was to be changed.
    """
    client: MPS3 = request.state.client
    known = await client.get_all(edits)
    changed = {key: checked(key, known.get(key), fields) for key, fields in edits.items() if fields is not None}
    parts = {key: members for key, members in changed.items() if members is not None and key in known}
    values = {key: value for key, value in changed.items() if value is not None and key not in known}
    values |= {key: DELETE for key, fields in edits.items() if fields is None and key in known}
    # Both are called before either is sent, so they share a commit.
    writes = [client.put_all(values)] if values else []
    writes += [client.patch_all(parts)] if parts else []
    if not writes:
        return {"commit": None}
    async with asyncio.timeout(PATIENCE):  # does not cancel the writes
        return {"commit": [await write for write in writes][-1].id}


def checked(key: str, known: JSON, fields: dict[str, Any]) -> Any:
    """Return the given members of a card or a column that is known, or all of a new one; ``None`` if it was deleted."""
    before = known if isinstance(known, dict) else {}
    try:
        value = model_of(key).model_validate({**before, **fields})
    except ValidationError as error:
        if all(problem["type"] == "missing" for problem in error.errors()):
            return None  # an edit of a card or column that another user has deleted
        raise HTTPException(422, error.errors(include_url=False, include_context=False)) from error
    return value.model_dump(include=set(fields) if before else None)


def model_of(key: str) -> type[Strict]:
    """Return the model of a card or a column."""
    return MODELS[key.partition("/")[0]]


@app.put("/at/{tab}", status_code=204)
async def point(tab: Tab, where: Where, request: Request) -> None:
    """Show the pointer of a user to the others. The write needs no await, and expires."""
    client: MPS3 = request.state.client
    client.put(f"at/{tab}", where.model_dump(), expires_in=GONE, manifests=[request.state.here])


Events = MemoryObjectReceiveStream[ServerSentEvent]


async def feed(
    request: Request,
    guest: Annotated[Guest, Depends()],
    tab: Annotated[Tab, Query()],
    since: str | None = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[Events]:
    """Yield the events of a tab: changes of the board, presence, pointers, and the status of the store."""
    client: MPS3 = request.state.client
    here: str = request.state.here
    member = f"{tab}.{secrets.token_hex(4)}"  # a tab may connect again before its last connection has ended
    who = client.presence("here/", member, guest.model_dump(), expires_in=GONE, manifest=here)
    send, receive = anyio.create_memory_object_stream[ServerSentEvent](16)
    async with receive, who as present, anyio.create_task_group() as tasks:
        sources = (
            board_events(client, last_event_id or since),
            here_events(present),
            at_events(client, here),
            status_events(client),
        )
        tasks.start_soon(pour, sources, send, request.state.stop)
        try:
            yield receive
        finally:
            tasks.cancel_scope.cancel()


async def pour(
    sources: Iterable[AsyncIterator[ServerSentEvent]],
    into: MemoryObjectSendStream[ServerSentEvent],
    stop: asyncio.Event,
) -> None:
    """Merge the events of all sources into one stream, which ends when the server stops."""

    async def send(source: AsyncIterator[ServerSentEvent]) -> None:
        async for event in source:
            await into.send(event)

    async with into, anyio.create_task_group() as tasks:
        for source in sources:
            tasks.start_soon(send, source)
        await stop.wait()
        tasks.cancel_scope.cancel()


@app.get("/events", response_class=EventSourceResponse)
async def events(feed: Annotated[Events, Depends(feed)]) -> AsyncIterator[ServerSentEvent]:
    """Serve the events of one tab. They end when the server stops; the browser then connects again."""
    async for event in feed:
        yield event


async def board_events(client: MPS3, since: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield the board, or its changes since a cursor, and then each commit."""
    try:
        async for batch in client.watch(since=since):
            yield event_of(batch)
    except ExpiredError:  # the changes since then are not kept any more
        async for batch in client.watch():
            yield event_of(batch)


async def here_events(present: Presence) -> AsyncIterator[ServerSentEvent]:
    """Yield the present users, and again after each change."""
    async for members in present:
        yield ServerSentEvent(event="here", data={member.partition(".")[0]: info for member, info in members.items()})


async def at_events(client: MPS3, here: str) -> AsyncIterator[ServerSentEvent]:
    """Yield the pointer of each tab, and then each move; null when a pointer has expired."""
    async for batch in client.watch("at/", manifest=here):
        moves = {change.key: None if change.value is DELETE else change.value for change in batch.changes}
        yield ServerSentEvent(event="at", data={key.removeprefix("at/"): where for key, where in moves.items()})


async def status_events(client: MPS3) -> AsyncIterator[ServerSentEvent]:
    """Yield whether the store answers, and again after each change."""
    said = None
    async for status in client.status_changes():
        if status.online != said:
            yield ServerSentEvent(event="status", data={"online": (said := status.online)})


def event_of(batch: Batch[JSON]) -> ServerSentEvent:
    """Return a batch as an event. A key without a value is deleted."""
    changes = [
        {"key": change.key, "pending": change.pending} | ({"value": change.value} if is_whole(change) else {})
        for change in batch.changes
        if change.key.startswith(("card/", "column/"))
    ]
    data = {
        "id": batch.id,
        "initial": batch.initial,
        "end": batch.end_of_initial,
        "skipped": batch.skipped,
        "changes": changes,
    }
    return ServerSentEvent(event="board", data=data, id=batch.cursor, retry=500)


def is_whole(change: Change[JSON]) -> bool:
    """Return whether a change has a card or a column. A patch of one that was deleted at that moment leaves a part."""
    try:
        model_of(change.key).model_validate(change.value)
    except ValidationError:
        return False
    return True


def main() -> None:
    """Parse the command line, and serve."""
    parser = argparse.ArgumentParser(description="Serve a board; the store is MPS3_URL, or a directory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--wake", metavar="URL", help="a service that tells the servers of each other's changes")
    given = parser.parse_args()
    if given.wake:
        os.environ["MPS3_WAKE"] = given.wake
    # A write that waits for the store must not prevent the server from stopping.
    uvicorn.run(app, host=given.host, port=given.port, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
