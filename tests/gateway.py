"""A gateway before an S3 server, with conditions of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import ClientSession, DummyCookieJar, web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from servers import Server
from yarl import URL

PASSED_ON = {"content-type", "if-none-match", "range", "content-md5", "x-amz-checksum-sha256"}


@dataclass
class Gateway:
    """Stands before a server, with a path of its own, lets in who has the right words, and signs for them."""

    server: Server
    admits: Any  # (request) -> None, or a status
    prefix: str = ""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    token: str = "token-1"
    issued: int = 0
    token_status: int = 200

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
        )
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        self.url = self.origin + self.prefix
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def rotate(self) -> None:
        self.token = f"token-{int(self.token.rpartition('-')[2]) + 1}"

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        status, answer = await self._answer(request, body)
        self.requests.append((request.method, request.raw_path, status))
        return answer

    async def _answer(self, request: web.BaseRequest, body: bytes) -> tuple[int, web.Response]:
        if request.raw_path == "/oauth/token":
            self.issued += 1
            return 0, web.json_response({"access_token": self.token}, status=self.token_status)
        self.headers.append(dict(request.headers))
        refused = self.admits(request)
        if refused is not None:
            return refused, web.Response(status=refused, text="<html>go away</html>")
        assert request.raw_path.startswith(self.prefix + "/"), request.raw_path
        url = self.server.url + request.raw_path.removeprefix(self.prefix)
        kept = {name: value for name, value in request.headers.items() if name.lower() in PASSED_ON}
        signed = AWSRequest(request.method, url.replace("tenant=me", "").rstrip("?&"), headers=kept, data=body)
        S3SigV4Auth(Credentials(self.server.access_key, self.server.secret_key), "s3", self.server.region).add_auth(
            signed
        )
        async with self._session.request(
            request.method, URL(signed.url, encoded=True), headers=dict(signed.headers), data=body or None
        ) as response:
            content = await response.read()
            kept = {
                name: value
                for name, value in response.headers.items()
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}
            }
            return response.status, web.Response(status=response.status, body=content, headers=kept)
