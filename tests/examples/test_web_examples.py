"""The examples that are web services: several servers of one store, without a browser (tests/browser has one)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer
from programs import EXAMPLES, PATIENCE

from mps3 import MPS3

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside the tests")


def load(path: str) -> Any:
    """An example as a module."""
    file = EXAMPLES / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[tuple[str, Any]]]]:
    """Starts an example as a user would, and waits until it serves: (where, its process)."""
    processes: list[asyncio.subprocess.Process] = []

    async def serve(example: str) -> tuple[str, asyncio.subprocess.Process]:
        with socket.create_server(("127.0.0.1", 0)) as end:
            port = end.getsockname()[1]
        # Python adds the directory of the example to the path, as it does for a user.
        env = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "MPS3_URL")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", str(EXAMPLES / example), "--port", str(port),
            env={**env, "TMPDIR": str(tmp_path)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        processes.append(process)
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(PATIENCE), ClientSession() as session:
            while True:
                assert process.returncode is None, (await process.stdout.read()).decode()
                with contextlib.suppress(ClientConnectionError):
                    async with session.get(url) as answer:
                        assert answer.status == 200
                        return url, process
                await asyncio.sleep(0.05)

    yield serve
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def stops(process: asyncio.subprocess.Process) -> None:
    """It stops when it is asked to, and has not complained of anything."""
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE):
        printed, _ = await process.communicate()
    assert "Traceback" not in printed.decode()
    assert "ERROR" not in printed.decode()


# The board -------------------------------------------------------------------------------------------------------------


class Events:
    """The events of one tab."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self.last = ""
        self.board: dict[str, Any] = {}
        self.here: dict[str, Any] = {}
        self.at: dict[str, Any] = {}
        self.commits: list[str] = []
        self.initial = 0

    async def until(self, condition: Callable[[Events], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                await self._take()

    async def _take(self) -> None:
        fields: dict[str, str] = {}
        while line := (await self._content.readline()).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
        assert fields, "the events ended"
        self.last = fields.get("id", self.last)
        data = json.loads(fields.get("data", "null"))
        if fields.get("event") == "here":
            self.here = data
        elif fields.get("event") == "at":
            self.at |= data
        elif fields.get("event") == "board":
            self.initial += data["initial"]
            self.commits += [data["id"]] if data["id"] else []
            for change in data["changes"]:
                if "value" in change:
                    self.board[change["key"]] = change["value"]
                else:
                    self.board.pop(change["key"], None)


@contextlib.asynccontextmanager
async def tab(url: str, name: str, **headers: str) -> AsyncIterator[Events]:
    query = {"tab": secrets.token_hex(8), "name": name, "colour": "3"}
    async with (
        ClientSession(timeout=ClientTimeout(total=None), read_bufsize=2**20) as session,
        session.get(f"{url}/events", params=query, headers=headers) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Events(answer.content)


async def patch(url: str, edits: Any) -> tuple[int, Any]:
    async with ClientSession() as session, session.patch(f"{url}/board", json=edits) as answer:
        return answer.status, await answer.json()


MILK = {"title": "Milk", "column": "todo", "rank": 1}


async def test_board_on_two_servers_of_the_default_store(serve: Any) -> None:
    (first, process), (second, _) = await asyncio.gather(serve("board/board.py"), serve("board/board.py"))
    async with tab(first, "Ann") as ann:
        async with tab(second, "Bob") as bob:
            for one in (ann, bob):
                await one.until(lambda one: {guest["name"] for guest in one.here.values()} == {"Ann", "Bob"})
            # Where Ann points may be said to any of the servers.
            (tab_id,) = (key for key, guest in bob.here.items() if guest["name"] == "Ann")
            where = {"x": 7.0, "y": 8.0, "card": None}
            async with ClientSession() as session, session.put(f"{second}/at/{tab_id}", json=where) as answer:
                assert answer.status == 204
            for one in (ann, bob):
                await one.until(lambda one: one.at == {tab_id: where})
            status, answer = await patch(first, {"card/1": MILK, "card/2": {**MILK, "title": "Tea"}})
            assert status == 200
            await bob.until(lambda bob: answer["commit"] in bob.commits)
            assert bob.board["card/1"] == {**MILK, "text": "", "colour": 0}
            status, answer = await patch(second, {"card/1": {"column": "done"}, "card/2": None})
            await bob.until(lambda bob: answer["commit"] in bob.commits)
            await ann.until(lambda ann: ann.board.get("card/1", {}).get("column") == "done")
            assert "card/2" not in ann.board
            assert ann.board["card/1"]["title"] == "Milk"
        await ann.until(lambda ann: {guest["name"] for guest in ann.here.values()} == {"Ann"})

        # A tab that was away goes on at another server, after what it has seen.
        assert (await patch(first, {"card/3": MILK}))[0] == 200
        async with tab(first, "Bob", **{"Last-Event-ID": bob.last}) as again:
            await again.until(lambda again: "card/3" in again.board)
            assert set(again.board) == {"card/3"}
            assert again.initial == 0
        # What was never an id of an event begins with the present.
        async with tab(first, "Cid", **{"Last-Event-ID": "of another board"}) as cid:
            await cid.until(lambda cid: cid.initial == 1)
            assert set(cid.board) == {"card/1", "card/3", "column/todo", "column/doing", "column/done"}

        # Of two edits of one card at the same moment none is lost.
        for number in range(5):
            edits = ({"title": f"Milk {number}"}, {"colour": number}, {"text": f"{number} l"})
            urls = (first, second, second)
            answers = await asyncio.gather(*(patch(url, {"card/1": one}) for url, one in zip(urls, edits, strict=True)))
            assert [status for status, _ in answers] == [200] * 3
            await ann.until(lambda ann, answers=answers: {one["commit"] for _, one in answers} <= set(ann.commits))
            assert ann.board["card/1"] == {**MILK, "column": "done"} | edits[0] | edits[1] | edits[2]

        # With a tab open, which would listen for ever.
        await stops(process)


async def test_board_refuses_what_it_does_not_know(serve: Any) -> None:
    url, process = await serve("board/board.py")
    for edits in (
        {"secret/1": MILK},
        {"card/../1": MILK},
        {"card/1": {**MILK, "title": " "}},
        {"card/1": {**MILK, "rank": None}},
        {"card/1": {**MILK, "unknown": 1}},
        {"card/1": 7},
        {f"card/{number}": MILK for number in range(501)},
    ):
        assert (await patch(url, edits))[0] == 422
    # An edit of a card that is gone is none, and so is the deletion.
    assert await patch(url, {"card/1": {"title": "Late"}, "card/2": None}) == (200, {"commit": None})
    async with ClientSession() as session, session.put(f"{url}/at/1", json={"x": "left"}) as answer:
        assert answer.status == 422
    await stops(process)


# The chat room on aiohttp ----------------------------------------------------------------------------------------------


class Guest:
    """One browser in the room."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: dict[str, Any] = {}
        self.pending: set[str] = set()
        self.here: list[Any] = []
        self.online: bool | None = None

    async def say(self, text: str, identity: str | None = None) -> str:
        identity = identity or secrets.token_hex(8)
        await self.socket.send_json({"say": text, "id": identity})
        return identity

    async def until(self, condition: Callable[[Guest], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                told = await self.socket.receive_json()
                for change in told.get("messages", ()):
                    key = change["key"]
                    self.pending.discard(key)
                    if change["message"] is None:
                        self.messages.pop(key, None)
                    else:
                        self.messages[key] = change["message"]
                        self.pending |= {key} if change["pending"] else set()
                self.here = told.get("here", self.here)
                self.online = told.get("online", self.online)

    @property
    def said(self) -> list[str]:
        """What is durable, in the order in which it is shown."""
        return [
            f"{message['name']}: {message['text']}"
            for key, message in sorted(self.messages.items())
            if key not in self.pending
        ]


@pytest.fixture
def chat() -> Any:
    return load("aiohttp_chat/aiohttp_chat.py")


@pytest.fixture
async def rooms(chat: Any) -> AsyncIterator[list[TestClient]]:
    """Two applications, each with a client of its own, of one store."""
    url = f"memory:{secrets.token_hex(8)}"
    async with TestClient(TestServer(chat.make_app(url))) as one, TestClient(TestServer(chat.make_app(url))) as other:
        yield [one, other]


@contextlib.asynccontextmanager
async def enters(room: TestClient, name: str) -> AsyncIterator[Guest]:
    async with room.ws_connect("/room", params={"name": name}) as socket:
        yield Guest(socket)


async def test_messages_cross_between_servers(rooms: list[TestClient]) -> None:
    async with enters(rooms[0], "ann") as ann, enters(rooms[1], "bob") as bob:
        for number in range(5):
            await ann.say(f"question {number}")
            await bob.until(lambda bob: f"ann: question {number}" in bob.said)  # noqa: B023
            await bob.say(f"answer {number}")
            await ann.until(lambda ann: f"bob: answer {number}" in ann.said)  # noqa: B023
        talk = [line for number in range(5) for line in (f"ann: question {number}", f"bob: answer {number}")]
        async with enters(rooms[0], "late") as late:
            for guest in (bob, late):
                await guest.until(lambda guest: len(guest.said) == 10)
            assert ann.said == bob.said == late.said == talk
        assert ann.online


async def test_a_message_that_is_sent_again_is_said_once(rooms: list[TestClient]) -> None:
    async with enters(rooms[0], "ann") as ann, enters(rooms[1], "ann") as again:
        identity = await ann.say("only once")
        await ann.say("only once", identity)
        await again.until(lambda again: again.said == ["ann: only once"])
        await again.say("only once", identity)
        await again.say("then")
        await ann.until(lambda ann: "ann: then" in ann.said)
        assert ann.said == ["ann: only once", "ann: then"]


async def test_who_is_here_and_who_is_typing(rooms: list[TestClient]) -> None:
    async with enters(rooms[0], "ann") as ann:
        async with enters(rooms[1], "bob") as bob:
            await ann.until(lambda ann: {guest["name"] for guest in ann.here} == {"ann", "bob"})
            await bob.socket.send_json({"typing": True})
            await ann.until(lambda ann: {"name": "bob", "typing": True} in ann.here)
            await bob.socket.send_json({"typing": False})
            await ann.until(lambda ann: {"name": "bob", "typing": False} in ann.here)
        await ann.until(lambda ann: [guest["name"] for guest in ann.here] == ["ann"])


async def test_the_room_forgets_the_oldest(chat: Any, rooms: list[TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "KEPT", 3)
    async with enters(rooms[0], "ann") as ann:
        for number in range(5):
            await ann.say(f"{number}")
        await ann.until(lambda ann: ann.said == ["ann: 2", "ann: 3", "ann: 4"])


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1.evil.example.com", ""])
async def test_a_page_of_another_site_cannot_connect(rooms: list[TestClient], origin: str) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await rooms[0].ws_connect("/room", params={"name": "mallory"}, headers={"Origin": origin})
    assert refused.value.status == 403


async def test_a_page_of_this_server_and_one_that_is_named_can(chat: Any) -> None:
    app = chat.make_app(f"memory:{secrets.token_hex(8)}", ["https://chat.example.com"])
    async with TestClient(TestServer(app)) as room:
        for origin in (f"http://{room.host}:{room.port}", "https://chat.example.com"):
            async with room.ws_connect("/room", params={"name": "ann"}, headers={"Origin": origin}) as socket:
                await Guest(socket).until(lambda guest: bool(guest.here))


async def test_brackets_without_end_are_no_body_for_the_board(serve: Any) -> None:
    url, process = await serve("board/board.py")
    for body in ("[" * 60_000, '{"card/1":' + "[" * 60_000):
        headers = {"Content-Type": "application/json"}
        async with ClientSession() as session, session.patch(f"{url}/board", data=body, headers=headers) as answer:
            assert answer.status in (400, 422)
    await stops(process)


@pytest.mark.parametrize(
    "said",
    [
        "no JSON",
        "[]",
        '{"say": 1, "id": "0123456789abcdef"}',
        '{"say": "x", "id": "../x"}',
        "[" * 60_000,
        '{"say": ' + "[" * 60_000,
    ],
    ids=["text", "list", "number", "id", "brackets", "brackets in it"],
)
async def test_what_is_not_understood_ends_the_connection(rooms: list[TestClient], said: str) -> None:
    async with enters(rooms[0], "mallory") as mallory:
        await mallory.socket.send_str(said)
        async with asyncio.timeout(PATIENCE):
            while (message := await mallory.socket.receive()).type is WSMsgType.TEXT:
                pass
        assert message.type is WSMsgType.CLOSE
        assert message.data == 1003


async def test_nobody_without_a_name(rooms: list[TestClient]) -> None:
    async with rooms[0].get("/room", params={"name": " "}) as answer:
        assert answer.status == 400


async def test_room_on_two_servers_of_the_default_store(serve: Any, tmp_path: Path) -> None:
    example = "aiohttp_chat/aiohttp_chat.py"
    (first, process), (second, other) = await asyncio.gather(serve(example), serve(example))
    async with ClientSession() as session:
        async with (
            session.ws_connect(f"{first}/room?name=ann") as one,
            session.ws_connect(f"{second}/room?name=bob") as two,
        ):
            ann, bob = Guest(one), Guest(two)
            await ann.say("hello")
            await bob.until(lambda bob: bob.said == ["ann: hello"])
            await stops(process)  # with browsers connected
            async with asyncio.timeout(PATIENCE):
                while (message := await one.receive()).type is WSMsgType.TEXT:
                    pass
            assert message.data == 1001  # going away
        await stops(other)
    async with MPS3.from_url((tmp_path / "mps3-room").as_uri()) as client:
        assert list((await client.get_all(prefix="message/")).values()) == [{"name": "ann", "text": "hello"}]
