"""A small S3 server in this process, for stores and proxies that behave in ways of their own.

It has what a client needs, in memory: objects and versions, conditions, and listings in pages. What a subclass or an
attribute changes is what a test is about.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Self
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from aiohttp import web

NULL = "null"


@dataclass(frozen=True)
class Row:
    """One version of an object; without a body it is a delete marker."""

    key: str
    version: str
    body: bytes | None
    modified: float
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body or b"", usedforsecurity=False).hexdigest()}"'


@dataclass
class InMemoryS3:
    """The server.

    Attributes:
        versioning: What GetBucketVersioning says, and whether a PUT makes a version; ``None`` for a store that knows
            no versions.
        swift: Whether listings continue as those of Swift do: every ``NextVersionIdMarker`` is null, and a
            ``version-id-marker`` of null means that the key has no more versions.
        page: Items that a page of a listing has at the most.
        etag_of_get: What a proxy makes of the ETag of an answer to GET or HEAD.
        answer: Answers a request in place of the server, or returns ``None``. Called with the server and the request.
        asked: How often each kind of request arrived.
        stamp: Seconds that are added to the time stamps of versions.
        pace: Seconds that must have passed since the last PUT to the same object, or the answer is 429; as Cloudflare
            R2 and Google say of theirs.
        refused: The keys of the PUTs that came too soon.
        conditions: Whether it enforces If-None-Match on PUT.
        says: Headers of every answer, in which it says what it is.
    """

    versioning: str | None = "Enabled"
    swift: bool = False
    page: int = 1000
    etag_of_get: Callable[[str], str] = lambda etag: etag
    answer: Callable[[InMemoryS3, web.BaseRequest, str], web.Response | None] = lambda server, request, key: None
    after: Callable[[InMemoryS3, web.BaseRequest, str], None] = lambda server, request, key: None
    stamp: float = 0.0
    pace: float = 0.0
    refused: list[str] = field(default_factory=list)
    conditions: bool = True
    says: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)  # the newest first
    asked: Counter[str] = field(default_factory=Counter)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._numbers = itertools.count(1)
        self._last: dict[str, float] = {}
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def s3_config(self) -> dict[str, Any]:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return {"endpoint_url": self.url, "region_name": "us-east-1", **keys}

    @property
    def everything(self) -> list[tuple[str, str]]:
        """All versions of all objects, delete markers too."""
        return [(row.key, row.version) for key in sorted(self.rows) for row in self.rows[key]]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = unquote(request.raw_path.partition("?")[0])
        key = path[1:].partition("/")[2]
        body = await request.read()
        answered = self.answer(self, request, key) or self._answer(request, key, body)
        self.after(self, request, key)
        self.arrived.set()
        answered.headers.update(self.says)
        answered.headers.setdefault("Date", formatdate(time.time(), usegmt=True))
        return answered

    def _answer(self, request: web.BaseRequest, key: str, body: bytes) -> web.Response:
        method, query = request.method, request.query
        if not key:
            kind = "versioning" if "versioning" in query else "versions" if "versions" in query else "list"
            self.asked[kind] += 1
            return {"versioning": self._versioning, "versions": self._versions, "list": self._list}[kind](request)
        self.asked[f"{method} {key}"] += 1
        self.asked[method] += 1
        match method:
            case "PUT":
                now = time.monotonic()
                if now - self._last.get(key, -math.inf) < self.pace:
                    self.refused.append(key)
                    return error(429, "TooManyRequests")
                self._last[key] = now
                return self._put(request, key, body)
            case "GET" | "HEAD":
                return self._get(request, key)
            case "DELETE":
                return self._delete(key, query.get("versionId"))
        return error(501, "NotImplemented")

    def _newest(self, key: str) -> Row | None:
        newest = next(iter(self.rows.get(key, [])), None)
        return None if newest is None or newest.body is None else newest

    def add(self, key: str, body: bytes | None, headers: dict[str, str] | None = None) -> Row:
        """Write a version; ``None`` makes a delete marker."""
        version = f"{next(self._numbers):032x}" if self.versioning == "Enabled" else NULL
        row = Row(key, version, body, time.time() + self.stamp, headers or {})
        self.rows[key] = [row, *(one for one in self.rows.get(key, []) if one.version != version or version != NULL)]
        return row

    def _put(self, request: web.BaseRequest, key: str, body: bytes) -> web.Response:
        before = self._newest(key)
        if self.conditions and "If-None-Match" in request.headers and before is not None:
            return error(412, "PreconditionFailed")
        meta = {name: value for name, value in request.headers.items() if name.lower().startswith("x-amz-meta-")}
        row = self.add(key, body, meta)
        return web.Response(headers={"ETag": row.etag, **self._named(row)})

    def _named(self, row: Row) -> dict[str, str]:
        return {} if self.versioning is None else {"x-amz-version-id": row.version}

    def _get(self, request: web.BaseRequest, key: str) -> web.Response:
        version = request.query.get("versionId")
        rows = self.rows.get(key, [])
        row = self._newest(key) if version is None else next((one for one in rows if one.version == version), None)
        if row is None or row.body is None:
            return error(404, "NoSuchKey" if version is None else "NoSuchVersion")
        etag = self.etag_of_get(row.etag)
        if request.headers.get("If-None-Match") in {row.etag, etag}:
            return web.Response(status=304, headers={"ETag": etag})
        modified = formatdate(row.modified, usegmt=True)
        headers = {"ETag": etag, "Last-Modified": modified, **self._named(row), **row.headers}
        body, status = row.body, 200
        if request.method == "GET" and "Range" in request.headers:
            start, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
            if start >= len(row.body):
                return error(416, "InvalidRange")
            body, status = row.body[start : last + 1], 206
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(row.body)}"
        return web.Response(status=status, body=body, headers=headers, content_type="application/json")

    def _delete(self, key: str, version: str | None) -> web.Response:
        if version is not None:
            self.rows[key] = [one for one in self.rows.get(key, []) if one.version != version]
        elif self.versioning == "Enabled":
            self.add(key, None)
        else:
            self.rows.pop(key, None)
        if not self.rows.get(key):
            self.rows.pop(key, None)
        return web.Response(status=204)

    def _versioning(self, request: web.BaseRequest) -> web.Response:
        if self.versioning is None:
            return error(501, "NotImplemented")
        status = f"<Status>{self.versioning}</Status>" if self.versioning != "Off" else ""
        return xml(f"<VersioningConfiguration>{status}</VersioningConfiguration>")

    def _versions(self, request: web.BaseRequest) -> web.Response:
        query = request.query
        key_marker, version_marker = query.get("key-marker"), query.get("version-id-marker")
        found = []
        for key in sorted(self.rows, key=str.encode):
            if not key.startswith(query.get("prefix", "")) or (key_marker is not None and key < key_marker):
                continue
            rows = self.rows[key]
            if key == key_marker:
                names = [one.version for one in rows]
                rows = rows[names.index(version_marker) + 1 :] if version_marker in names else []
            found += rows
        size = min(int(query.get("max-keys", 1000)), self.page)
        page, more = found[:size], len(found) > size
        items = "".join(self._item(row) for row in page)
        marker = ""
        if more:
            following = NULL if self.swift else page[-1].version
            marker = f"<NextKeyMarker>{escape(page[-1].key)}</NextKeyMarker>"
            marker += f"<NextVersionIdMarker>{following}</NextVersionIdMarker>"
        return xml(
            f"<ListVersionsResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{marker}{items}</ListVersionsResult>"
        )

    def _item(self, row: Row) -> str:
        kind = "DeleteMarker" if row.body is None else "Version"
        latest = str(self.rows[row.key][0] is row).lower()
        body = "" if row.body is None else f"<ETag>{row.etag}</ETag><Size>{len(row.body)}</Size>"
        return (
            f"<{kind}><Key>{quote(row.key)}</Key><VersionId>{row.version}</VersionId><IsLatest>{latest}</IsLatest>"
            f"<LastModified>{stamp(row.modified)}</LastModified>{body}</{kind}>"
        )

    def _list(self, request: web.BaseRequest) -> web.Response:
        query = request.query
        after = query.get("continuation-token", query.get("start-after", ""))
        current = (self._newest(key) for key in sorted(self.rows, key=str.encode) if key > after)
        found = [row for row in current if row is not None and row.key.startswith(query.get("prefix", ""))]
        page = found[: self.page]
        more = len(found) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1].key)}</NextContinuationToken>" if more else ""
        items = "".join(
            f"<Contents><Key>{quote(row.key)}</Key><LastModified>{stamp(row.modified)}</LastModified>"
            f"<ETag>{row.etag}</ETag><Size>{len(row.body or b'')}</Size></Contents>"
            for row in page
        )
        return xml(
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            f"{items}</ListBucketResult>"
        )


def stamp(seconds: float) -> str:
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03}Z"


def xml(text: str) -> web.Response:
    return web.Response(body=text.encode(), content_type="application/xml")


def error(status: int, code: str) -> web.Response:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return web.Response(status=status, body=body.encode(), content_type="application/xml")
