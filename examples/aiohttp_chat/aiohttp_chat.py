"""Serve a chat room for browsers, on aiohttp and websockets, with any number of servers.

::

    pip install aiohttp
    python examples/aiohttp_chat/aiohttp_chat.py                  # then open http://127.0.0.1:8080 in two tabs
    python examples/aiohttp_chat/aiohttp_chat.py --port 8081      # another server of the same room

By default, the room is in a directory on this machine, which all servers here share. The environment selects another
store: ``MPS3_URL="s3://bucket/room.json" python examples/aiohttp_chat/aiohttp_chat.py``.

A message is a key ``message/<number>-<id>`` that never changes. Its number is one more than the highest number that its
server knew. So all users see the messages in the order of their keys, and a reply is after the message that it replies
to. Two messages of the same moment have the same number, and their ids decide. The browser creates the id. The server
recognises by it a message that a browser sends again because it lost the answer.
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
"""The number of messages that the room keeps."""
GONE = 20.0
"""Seconds until the users of a killed server are no longer present."""
LONGEST = 2000
"""The largest number of characters of a message."""
ID = re.compile(r"[0-9a-f]{16}")
KEY = re.compile(r"message/[0-9]{12}-[0-9a-f]{16}")

CLIENT = web.AppKey("client", MPS3)
SOCKETS = web.AppKey("sockets", weakref.WeakSet[web.WebSocketResponse])
ORIGINS = web.AppKey("origins", frozenset[str])

routes = web.RouteTableDef()


def make_app(url: str, origins: Iterable[str] = ()) -> web.Application:
    """Return the application, with its own client.

    Args:
        url: The store.
        origins: Other origins whose pages may connect, such as ``https://chat.example.com``.
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
    """Close all websockets when the server stops, so that the browsers connect again."""
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY)


@routes.get("/")
async def page(_: web.Request) -> web.FileResponse:
    """Return the page."""
    return web.FileResponse(PAGE)


@routes.get("/room")
async def room(request: web.Request) -> web.WebSocketResponse:
    """Serve one browser while it is connected."""
    if not may_connect(request):
        raise web.HTTPForbidden(text="this page may not connect from there")
    client, name = request.app[CLIENT], request.query.get("name", "").strip()[:40]
    if not name:
        raise web.HTTPBadRequest(text="say who you are: /room?name=…")
    socket = web.WebSocketResponse(heartbeat=15, max_msg_size=64 * 1024)
    await socket.prepare(request)
    request.app[SOCKETS].add(socket)
    manifest = f"{client.status().manifests[0].key}.here"  # separate: typing is not part of the history of the room
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
    """Return whether the page that connects is a page of this server.

    A browser lets any page of any site connect to any websocket, with the cookies of the user, and sends the origin of
    the page. Other programs send no origin.
    """
    origin = request.headers.get("Origin")
    return origin is None or origin in request.app[ORIGINS] or urlsplit(origin).netloc == request.host


async def listen(socket: web.WebSocketResponse, client: MPS3, guest: Presence, name: str) -> None:
    """Process the messages of the browser until it disconnects."""
    async for message in socket:
        match read(message):
            case {"say": str(text), "id": str(identity)} if ID.fullmatch(identity) and 0 < len(text) <= LONGEST:
                await say(client, identity, {"name": name, "text": text})
            case {"typing": bool(typing)}:
                guest.update(as_guest(name, typing=typing))
            case _:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"not understood")


async def say(client: MPS3, identity: str, message: dict[str, JSON]) -> None:
    """Add a message once, and delete the oldest ones in the same commit. The write needs no await."""
    known = [key for key in await client.keys("message/") if KEY.fullmatch(key)]
    if not any(key.endswith(f"-{identity}") for key in known):
        number = int(known[-1].split("/")[1].split("-")[0]) + 1 if known else 1
        oldest = dict.fromkeys(known[: -KEPT + 1], DELETE)
        client.put_all({f"message/{number:012}-{identity}": message, **oldest})


async def tell_messages(socket: web.WebSocketResponse, client: MPS3) -> None:
    """Send the present messages, and then each change: at once if it is pending, and again when it is durable."""
    async for batch in client.watch("message/"):
        changes = [
            {"key": change.key, "message": None if change.value is DELETE else change.value, "pending": change.pending}
            for change in batch.changes
        ]
        await tell(socket, {"messages": changes, "initial": batch.initial})


async def tell_who_is_here(socket: web.WebSocketResponse, guest: Presence) -> None:
    """Send the present users, and which of them are typing, after each change."""
    async for members in guest:
        await tell(socket, {"here": list(members.values())})


async def tell_status(socket: web.WebSocketResponse, client: MPS3) -> None:
    """Send whether the store answers, after each change."""
    said = None
    async for status in client.status_changes():
        if status.online != said:
            await tell(socket, {"online": (said := status.online)})


async def tell(socket: web.WebSocketResponse, what: JSON) -> None:
    """Send a message to the browser, unless it has disconnected."""
    with contextlib.suppress(ConnectionResetError):
        await socket.send_json(what)


def as_guest(name: str, *, typing: bool = False) -> dict[str, JSON]:
    """Return the presence information of a user."""
    return {"name": name, "typing": typing}


def read(message: WSMessage) -> Any:
    """Return the message of the browser, or ``None`` if it is not JSON."""
    try:
        return json.loads(message.data) if message.type is WSMsgType.TEXT else None
    except (ValueError, RecursionError):  # a RecursionError for too many nested brackets
        return None


def main() -> None:
    """Parse the command line, and serve."""
    parser = argparse.ArgumentParser(description="Serve a chat room; the store is MPS3_URL, or a directory.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--origin", action="append", default=[], help="another allowed origin of pages: https://…")
    given = parser.parse_args()
    url = os.environ.get("MPS3_URL") or (Path(tempfile.gettempdir()) / "mps3-room").as_uri()
    web.run_app(make_app(url, given.origin), host=given.host, port=given.port)


if __name__ == "__main__":
    main()
