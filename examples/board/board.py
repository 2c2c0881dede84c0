"""A board of cards for everybody who has it open, in any number of tabs and on any number of servers.

::

    pip install fastapi uvicorn
    python examples/board/board.py                   # then open http://127.0.0.1:8000 in two tabs
    python examples/board/board.py --port 8001       # and another server, which shows the same

Without more, the board is in a directory of this machine, which all servers here share. Another store is named in the
environment: ``MPS3_URL="s3://bucket/board.json" python examples/board/board.py``. For several worker processes::

    cd examples/board && uvicorn board:app --workers 4

A card is a key ``card/<id>``, a column ``column/<id>``, an open tab ``here/<tab>``. Tabs hear of changes by
server-sent events: each has the cursor of the batch it stands for as its id, and a browser that lost its connection
sends the last one it saw, so that it goes on there, whichever server answers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import anyio
import uvicorn
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from stopping import stopping

from mps3 import DELETE, JSON, MPS3, Batch, ExpiredError, Presence, UnavailableError

STATIC = Path(__file__).parent / "static"
GONE = 20.0
"""Seconds after which those whose server was killed are not here any more."""
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
    """A card. Those of a column stand in the order of their ranks."""

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
    """Somebody who has the board open."""

    name: Name
    colour: Colour


class Where(Strict):
    """Where somebody points, in pixels of the board, and which card they look at."""

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
    """What the process has for as long as it serves.

    Attributes:
        client: The store.
        here: The manifest of those who are here, and of where they point. It is another than that of the board, whose
            history they do not belong to, so that going on after a break is cheap.
        stop: Set when the process is told to stop.
    """

    client: MPS3
    here: str
    stop: asyncio.Event


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """One client for the process: it opens before the first request, and closes after the last."""
    url = os.environ.get("MPS3_URL") or (Path(tempfile.gettempdir()) / "mps3-board").as_uri()
    with stopping() as stop:
        async with MPS3.from_url(url) as client:
            if not await client.keys("column/"):
                await client.put_all(FIRST)
            board = client.status().manifests[0].key
            yield {"client": client, "here": f"{board}.here", "stop": stop}


app = FastAPI(title="Board", lifespan=lifespan)
app.mount("/static", StaticFiles(directory=STATIC), name="static")


@app.get("/")
async def page() -> FileResponse:
    """The page; all else happens in it."""
    return FileResponse(STATIC / "index.html")


@app.exception_handler(UnavailableError)
@app.exception_handler(TimeoutError)
async def unavailable(_: Request, error: Exception) -> JSONResponse:
    """The store is away: the browser tries again."""
    return JSONResponse({"detail": str(error) or "the store does not answer"}, 503, {"Retry-After": "1"})


@app.patch("/board")
async def change(edits: Edits, request: Request) -> dict[str, str | None]:
    """Change cards and columns, all together: the members that are named, or the whole of what is new.

    This shows at once. If two change one card within the same moment, the later commit counts, whole. Where that must
    not be, `MPS3.transact` looks again, at the price of some seconds until it is certain that nobody came in between.

    Returns:
        The ``commit`` that has them, and is durable, for the browser to recognise it among the events. There is none if
        all that was to be changed is gone meanwhile.
    """
    client: MPS3 = request.state.client
    known = await client.get_all(edits)
    values = {key: changed(key, known.get(key), fields) for key, fields in edits.items()}
    values = {key: value for key, value in values.items() if value is not None}
    if not values:
        return {"commit": None}
    async with asyncio.timeout(PATIENCE):  # which leaves the write alone: it is on its way
        return {"commit": (await client.put_all(values)).id}


def changed(key: str, known: JSON, fields: dict[str, Any] | None) -> Any:
    """What becomes of a card or a column, or ``None`` if there is nothing to do."""
    if fields is None:
        return None if known is None else DELETE
    before = known if isinstance(known, dict) else {}
    try:
        return MODELS[key.partition("/")[0]].model_validate({**before, **fields}).model_dump()
    except ValidationError as error:
        if not before and all(problem["type"] == "missing" for problem in error.errors()):
            return None  # an edit of what somebody else has deleted
        raise HTTPException(422, error.errors(include_url=False, include_context=False)) from error


@app.put("/at/{tab}", status_code=204)
async def point(tab: Tab, where: Where, request: Request) -> None:
    """Show the others where somebody points. There is nothing to wait for, and it is forgotten after a while."""
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
    """All that a tab hears, for as long as it listens: what happens on the board, who is here, and how the store is."""
    client: MPS3 = request.state.client
    here: str = request.state.here
    member = f"{tab}.{secrets.token_hex(4)}"  # a tab that connects again may do so before its last connection has ended
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
    """Send what comes from all sources, until it is time to stop: then the stream ends."""

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
    """Serve the events of one tab. They end when the server stops, and the browser looks for another one."""
    async for event in feed:
        yield event


async def board_events(client: MPS3, since: str | None) -> AsyncIterator[ServerSentEvent]:
    """The board, or what happened on it since, and then each commit."""
    try:
        async for batch in client.watch(since=since):
            yield event_of(batch)
    except ExpiredError:  # too long ago
        async for batch in client.watch():
            yield event_of(batch)


async def here_events(present: Presence) -> AsyncIterator[ServerSentEvent]:
    """Who is here, and again whenever that changes."""
    async for members in present:
        yield ServerSentEvent(event="here", data={member.partition(".")[0]: info for member, info in members.items()})


async def at_events(client: MPS3, here: str) -> AsyncIterator[ServerSentEvent]:
    """Where each tab points, and then each move; null when that is not known any more."""
    async for batch in client.watch("at/", manifest=here):
        moves = {change.key: None if change.value is DELETE else change.value for change in batch.changes}
        yield ServerSentEvent(event="at", data={key.removeprefix("at/"): where for key, where in moves.items()})


async def status_events(client: MPS3) -> AsyncIterator[ServerSentEvent]:
    """Whether the store answers."""
    said = None
    async for status in client.status_changes():
        if status.online != said:
            yield ServerSentEvent(event="status", data={"online": (said := status.online)})


def event_of(batch: Batch[JSON]) -> ServerSentEvent:
    """A batch as an event. A key without a value is deleted."""
    changes = [
        {"key": change.key, "pending": change.pending} | ({} if change.value is DELETE else {"value": change.value})
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


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description="A board for everybody; the store is MPS3_URL, or a directory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    # A write that waits for a store that is away does not keep the server from stopping.
    uvicorn.run(app, host=given.host, port=given.port, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
