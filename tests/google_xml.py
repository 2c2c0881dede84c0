"""The XML API of Google Cloud Storage, before fake-gcs-server, which has most of the JSON API and little of this one.

``python tests/google_xml.py PORT URL`` serves it until it is ended. It is a translation and nothing more: the objects, and
the condition that an object must not exist, are the emulator's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

PAGE = 1000
META = "x-goog-meta-"
BOUNDARY = "mps3-boundary"


def failed(status: int, code: str) -> web.Response:
    """An error as Google sends it."""
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}.</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


class Front:
    """The XML API of one emulator."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.session: ClientSession

    async def serve(self, port: int) -> None:
        connector = TCPConnector(limit=64)
        async with ClientSession(connector=connector, timeout=ClientTimeout(total=30)) as self.session:
            runner = web.ServerRunner(web.Server(self.answer), access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            await asyncio.Event().wait()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        bucket, _, name = path[1:].partition("/")
        if not bucket:
            return failed(400, "MissingSecurityHeader")
        if not name:
            return await (self.create(bucket) if request.method == "PUT" else self.list(bucket, request.query))
        calls = {"GET": self.get, "HEAD": self.get, "PUT": self.put, "DELETE": self.delete}
        call = calls.get(request.method)
        return failed(405, "MethodNotAllowed") if call is None else await call(request, bucket, unquote(name))

    async def create(self, bucket: str) -> web.StreamResponse:
        async with self.ask("POST", "/storage/v1/b?project=mps3", json={"name": bucket}) as created:
            return web.Response(status=created.status)

    async def exists(self, bucket: str) -> bool:
        async with self.ask("GET", f"/storage/v1/b/{bucket}") as found:
            return found.status == 200

    def ask(self, method: str, path: str, **options: Any) -> Any:
        return self.session.request(method, URL(self.target + path, encoded=True), **options)

    async def get(self, request: web.BaseRequest, bucket: str, name: str) -> web.StreamResponse:
        path = f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        asked = {"Accept-Encoding": "identity"}
        if "Range" in request.headers:
            asked["Range"] = request.headers["Range"]
        async with self.ask(request.method, path, headers=asked) as found:
            if found.status == 404:
                return failed(404, "NoSuchKey" if await self.exists(bucket) else "NoSuchBucket")
            if found.status == 416:
                return failed(416, "InvalidRange")
            body = await found.read()
            sent = ("ETag", "Last-Modified", "X-Goog-Generation", "Content-Type", "Content-Range")
            headers = {header: found.headers[header] for header in sent if header in found.headers}
            headers |= {header: value for header, value in found.headers.items() if header.lower().startswith(META)}
            if found.status in {200, 206} and request.headers.get("If-None-Match") in {headers["ETag"], "*"}:
                return web.Response(status=304, headers=headers)
            if request.method == "HEAD":
                headers["Content-Length"] = found.headers["Content-Length"]
            return web.Response(status=found.status, body=body, headers=headers)

    async def put(self, request: web.BaseRequest, bucket: str, name: str) -> web.StreamResponse:
        body = await request.read()
        match = request.headers.get("x-goog-if-generation-match")
        query = "?uploadType=multipart" + ("" if match is None else f"&ifGenerationMatch={match}")
        description = {
            "name": name,
            "contentType": request.headers.get("Content-Type", "application/octet-stream"),
            "metadata": {
                header[len(META) :].lower(): value
                for header, value in request.headers.items()
                if header.lower().startswith(META)
            },
        }
        parts = [
            f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{json.dumps(description)}\r\n".encode(),
            f"--{BOUNDARY}\r\nContent-Type: {description['contentType']}\r\n\r\n".encode() + body,
            f"\r\n--{BOUNDARY}--\r\n".encode(),
        ]
        headers = {"Content-Type": f"multipart/related; boundary={BOUNDARY}"}
        path = f"/upload/storage/v1/b/{bucket}/o{query}"
        async with self.ask("POST", path, data=b"".join(parts), headers=headers) as stored:
            if stored.status == 404:
                return failed(404, "NoSuchBucket")
            if stored.status == 412:
                return failed(412, "PreconditionFailed")
            if stored.status != 200:
                return failed(stored.status, "InvalidArgument")
            told = await stored.json()
        etag = told["etag"].strip('"')
        return web.Response(headers={"ETag": f'"{etag}"', "x-goog-generation": str(told["generation"])})

    async def delete(self, _: web.BaseRequest, bucket: str, name: str) -> web.StreamResponse:
        async with self.ask("DELETE", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}") as deleted:
            if deleted.status == 404:
                return failed(404, "NoSuchKey" if await self.exists(bucket) else "NoSuchBucket")
            return web.Response(status=204 if deleted.status < 300 else deleted.status)

    async def list(self, bucket: str, query: Any) -> web.StreamResponse:
        if not await self.exists(bucket):
            return failed(404, "NoSuchBucket")
        prefix, after = query.get("prefix", ""), query.get("start-after")
        if token := query.get("continuation-token"):
            after = base64.urlsafe_b64decode(token).decode()
        most = min(int(query.get("max-keys", PAGE)), PAGE)
        # The emulator's own pages begin at a name, and not after it.
        start = "" if after is None else f"&startOffset={quote(after, safe='')}"
        path = f"/storage/v1/b/{bucket}/o?maxResults={most + 1}&prefix={quote(prefix, safe='')}{start}"
        async with self.ask("GET", path) as listed:
            items = (await listed.json()).get("items") or []
        items = [item for item in items if after is None or item["name"].encode() > after.encode()]
        more = len(items) > most
        items = items[:most]
        contents = "".join(
            f"<Contents><Key>{escape(item['name'])}</Key><Generation>{item['generation']}</Generation>"
            f'<LastModified>{stamp(item["updated"])}</LastModified><ETag>"{item["etag"]}"</ETag>'
            f"<Size>{item['size']}</Size></Contents>"
            for item in items
        )
        following = ""
        if more:
            token = base64.urlsafe_b64encode(items[-1]["name"].encode()).decode()
            following = f"<NextContinuationToken>{token}</NextContinuationToken>"
        text = (
            "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(items)}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{contents}</ListBucketResult>"
        )
        return web.Response(text=text, content_type="application/xml")


def stamp(text: str) -> str:
    """A time as Google writes it: with milliseconds."""
    return re.sub(r"(\.\d{1,3})\d*", r"\1", text)


if __name__ == "__main__":
    asyncio.run(Front(sys.argv[2]).serve(int(sys.argv[1])))
