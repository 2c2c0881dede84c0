"""A chat room in the browser, on aiohttp and websockets, with any number of servers.

::

    pip install aiohttp
    python examples/aiohttp_chat/aiohttp_chat.py                  # then open http://127.0.0.1:8080 in two tabs
    python examples/aiohttp_chat/aiohttp_chat.py --port 8081      # and another server, with the same room

Without more, the room is in a directory of this machine, which all servers here share. Another store is named in the
environment: ``MPS3_URL="s3://bucket/room.json" python examples/aiohttp_chat/aiohttp_chat.py``.

A message is a key ``message/<number>-<id>`` that is never changed. Its number is one more than the highest that its
server knew, so the order of the keys is one that everybody sees, and an answer stands after what it answers. Two
messages said at the same moment have the same number, and the id, which the browser made up, decides. By the id the
server also knows a message that a browser sends again because it lost the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import tempfile
import weakref
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from mps3 import DELETE, JSON, MPS3, Presence

PAGE = Path(__file__).parent / "chat.html"
KEPT = 200
"""Messages that the room remembers."""
GONE = 20.0
"""Seconds after which those whose server was killed are not here any more."""
LONGEST = 2000
"""Characters of a message."""
ID = re.compile(r"[0-9a-f]{16}")
KEY = re.compile(r"message/[0-9]{12}-[0-9a-f]{16}")

CLIENT = web.AppKey("client", MPS3)
SOCKETS = web.AppKey("sockets", weakref.WeakSet[web.WebSocketResponse])
ORIGINS = web.AppKey("origins", frozenset[str])

routes = web.RouteTableDef()


def make_app(url: str, origins: Iterable[str] = ()) -> web.Application:
    """The application, with a client of its own.

    Args:
        url: The store.
        origins: Where else pages may come from that connect, such as ``https://chat.example.com``.
    """

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with MPS3.from_url(url) as app[CLIENT]:
            yield

    app = web.Application()
    app[SOCKETS] = weakref.WeakSet()
    app[ORIGINS] = frozenset(origins)
    app.cleanup_ctx.append(client)
    app.on_shutdown.append(hang_up)
    app.add_routes(routes)
    return app


async def hang_up(app: web.Application) -> None:
    """The server is to stop: the browsers look for another one."""
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY)


@routes.get("/")
async def page(_: web.Request) -> web.FileResponse:
    """The page."""
    return web.FileResponse(PAGE)


@routes.get("/room")
async def room(request: web.Request) -> web.WebSocketResponse:
    """Serve one browser, for as long as it is connected."""
    if not may_connect(request):
        raise web.HTTPForbidden(text="this page may not connect from there")
    client, name = request.app[CLIENT], request.query.get("name", "").strip()[:40]
    if not name:
        raise web.HTTPBadRequest(text="say who you are: /room?name=…")
    socket = web.WebSocketResponse(heartbeat=15, max_msg_size=64 * 1024)
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    manifest = f"{client.status().manifests[0].key}.here"  # of its own: typing is no part of the room's history
    member = os.urandom(8).hex()
    present = client.presence("here/", member, as_guest(name), expires_in=GONE, manifest=manifest)
    async with present as guest, asyncio.TaskGroup() as tasks:
        telling = [
            tasks.create_task(tell_messages(socket, client)),
            tasks.create_task(tell_who_is_here(socket, guest)),
            tasks.create_task(tell_status(socket, client)),
        ]
        await listen(socket, client, guest, name)
        for task in telling:
            task.cancel()
    return socket


def may_connect(request: web.Request) -> bool:
    """Whether the page that connects is one of ours.

    A browser lets any page of any site connect to any websocket, with the cookies of the user, and only says where the
    page is from. What is no browser says nothing.
    """
    origin = request.headers.get("Origin")
    return origin is None or origin in request.app[ORIGINS] or urlsplit(origin).netloc == request.host


async def listen(socket: web.WebSocketResponse, client: MPS3, guest: Presence, name: str) -> None:
    """Do what the browser says, until it is gone."""
    async for message in socket:
        match read(message):
            case {"say": str(text), "id": str(identity)} if ID.fullmatch(identity) and 0 < len(text) <= LONGEST:
                await say(client, identity, {"name": name, "text": text})
            case {"typing": bool(typing)}:
                guest.update(as_guest(name, typing=typing))
            case _:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"not understood")


async def say(client: MPS3, identity: str, message: dict[str, JSON]) -> None:
    """Add a message, once, and forget the oldest in the same commit. There is nothing to wait for."""
    known = [key for key in await client.keys("message/") if KEY.fullmatch(key)]
    if not any(key.endswith(f"-{identity}") for key in known):
        number = int(known[-1].split("/")[1].split("-")[0]) + 1 if known else 1
        oldest = dict.fromkeys(known[: -KEPT + 1], DELETE)
        client.put_all({f"message/{number:012}-{identity}": message, **oldest})


async def tell_messages(socket: web.WebSocketResponse, client: MPS3) -> None:
    """Tell the browser the messages there are, and then each change; its own at once, and again when it is durable."""
    async for batch in client.watch("message/"):
        changes = [
            {"key": change.key, "message": None if change.value is DELETE else change.value, "pending": change.pending}
            for change in batch.changes
        ]
        await tell(socket, {"messages": changes, "initial": batch.initial})


async def tell_who_is_here(socket: web.WebSocketResponse, guest: Presence) -> None:
    """Tell the browser who is here, and who of them is typing, whenever that changes."""
    async for members in guest:
        await tell(socket, {"here": list(members.values())})


async def tell_status(socket: web.WebSocketResponse, client: MPS3) -> None:
    """Tell the browser whether the store answers."""
    said = None
    async for status in client.status_changes():
        if status.online != said:
            await tell(socket, {"online": (said := status.online)})


async def tell(socket: web.WebSocketResponse, what: JSON) -> None:
    """Send something to the browser, if it is still there."""
    with contextlib.suppress(ConnectionResetError):
        await socket.send_json(what)


def as_guest(name: str, *, typing: bool = False) -> dict[str, JSON]:
    """What the others are told of somebody."""
    return {"name": name, "typing": typing}


def read(message: WSMessage) -> Any:
    """What the browser said, or ``None`` if that is not JSON."""
    try:
        return json.loads(message.data) if message.type is WSMsgType.TEXT else None
    except (ValueError, RecursionError):  # of the latter, as many brackets as the parser cannot nest
        return None


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description="A chat room; the store is MPS3_URL, or a directory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--origin", action="append", default=[], help="where else pages may come from: https://…")
    given = parser.parse_args()
    url = os.environ.get("MPS3_URL") or (Path(tempfile.gettempdir()) / "mps3-room").as_uri()
    web.run_app(make_app(url, given.origin), host=given.host, port=given.port)


if __name__ == "__main__":
    main()
