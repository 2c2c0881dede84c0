"""A server that answers S3 requests as it is told, and notes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Received:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


Answer = bytes | None  # as on the wire; None: break the connection


def answer(status: int = 200, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    fields = {"content-length": str(len(body) if length is None else length)} | headers
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error(status: int, code: str, message: str = "", extra: str = "") -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
    return answer(status, body.encode(), content_type="application/xml")


def versions_xml(items: str, more: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    return answer(200, f"<ListVersionsResult xmlns='http://s3'>{more}{items}</ListVersionsResult>".encode())


def version_xml(version: str, second: int, *, key: str = "key", kind: str = "Version", latest: bool = False) -> str:
    return (
        f"<{kind}><Key>{key}</Key><VersionId>{version}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
        f"<LastModified>2026-01-01T00:00:{second:02}.500Z</LastModified></{kind}>"
    )


SLOW_DOWN = error(503, "SlowDown")
HELLO = answer(200, b"hello", ETag='"5d4"')
DONE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
HANG = b"hang"
PAGE = b"<!DOCTYPE html><html><body>Accept the terms</body></html>"  # of a portal


@dataclass
class ScriptedS3:
    """Answers requests from a list; the last answer is for all that follow.

    With ``body_after_head`` it sends the body of an answer also after a HEAD, where HTTP has none.
    """

    answers: list[Answer] = field(default_factory=lambda: [HELLO])
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    body_after_head: bool = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.s3_config = {
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "region_name": "us-east-1",
            "aws_access_key_id": "AKIAACCESSKEY",
            "aws_secret_access_key": "wJalrSecret",
        }
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        try:
            while await self._one(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()

    def reply(self, received: Received) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.received.append(Received(method, target, headers, body, number))
        reply = self.reply(self.received[-1])
        if reply is None:
            return False
        if reply == HANG:
            await reader.read()
            return False
        if method != "GET" and reply.startswith(b"HTTP/1.1 200") and b"ETag" in reply:
            reply = DONE + reply.partition(b"\r\n")[2].partition(b"\r\n")[2].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if method == "HEAD" and not self.body_after_head:
            reply = reply.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        writer.write(reply)
        await writer.drain()
        head, _, content = reply.partition(b"\r\n\r\n")
        return method == "HEAD" or f"content-length: {len(content)}".encode() in head
