"""S3 servers for the tests: moto in a process of its own, or any other that the environment names.

``python tests/servers.py`` serves moto until its standard input ends, and prints where.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterator

MOTO = "MPS3_TEST_ENDPOINT" not in os.environ
"""Whether the server is moto: none that the environment names."""


@dataclass(frozen=True)
class Server:
    """An S3 server, and how to get in."""

    url: str
    access_key: str = "testing"
    secret_key: str = "testing"
    region: str = "us-east-1"

    @property
    def s3_config(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.url,
            "region_name": self.region,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """The server that the environment names, else moto, for as long as the context lasts."""
    if url := os.environ.get("MPS3_TEST_ENDPOINT"):
        yield Server(
            url,
            os.environ.get("MPS3_TEST_ACCESS_KEY", "testing"),
            os.environ.get("MPS3_TEST_SECRET_KEY", "testing"),
            os.environ.get("MPS3_TEST_REGION", "us-east-1"),
        )
    else:
        with moto() as url:
            yield Server(url)


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Moto in another process, so that it neither holds up the event loop nor shares its memory."""
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            assert url, "moto did not start"
            yield url
        finally:
            process.terminate()


def serve_moto() -> None:
    # Slow, and only needed in the process that serves.
    from moto.moto_server import werkzeug_app  # noqa: PLC0415
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    class AnyLine(werkzeug_app.RegexConverter):
        """Lets keys have line feeds."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.regex = f"(?s:{self.regex})"

    class Handler(WSGIRequestHandler):
        """Keeps connections open, as S3 does. Werkzeug's own closes each after an answer, for which tests would pay."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # head and body are one packet

        def log_request(self, *_: Any) -> None: ...

        def run_wsgi(self) -> None:
            self.wfile.flush()  # with "100 Continue", if that was asked for
            environ = self.make_environ()
            # What the application leaves of a body would be taken for the next request.
            stream = environ["wsgi.input"]
            chunked = environ.get("wsgi.input_terminated")
            sent = stream.read() if chunked else stream.read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(sent)
            (body,) = self.server.app(environ, self._start)
            head = self.command == "HEAD"
            if not head and self._code not in {204, 304}:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if head else body)
            self.wfile.flush()

        def _start(self, status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            code, _, reason = status.partition(" ")
            self._code = int(code)
            self.send_response(self._code, reason)
            for name, value in headers:
                if self.command == "HEAD" or name.lower() != "content-length":
                    self.send_header(name, value)

    werkzeug_app.RegexConverter = AnyLine
    application = one_at_a_time(werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def one_at_a_time(application: Any) -> Any:
    """Moto loses versions when it serves two requests at once.

    A server of one thread would do, but it serves one connection at a time, and clients keep theirs open.
    """
    lock = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with lock:
            answer = application(environ, start_response)
            try:
                return [b"".join(answer)]
            finally:
                if hasattr(answer, "close"):
                    answer.close()

    return serve


def _exit_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


# Counting -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """A request that passed."""

    method: str
    path: str  # as it was on the wire
    query: str
    status: int  # 0 if the server broke the connection
    sent: int  # bytes of the body
    received: int


@dataclass
class CountingProxy:
    """Passes each request on as it is, byte for byte where a signature covers it, and remembers it."""

    target: str
    requests: list[Counted] = field(default_factory=list)
    url: str = ""

    def clear(self) -> None:
        self.requests.clear()

    async def __aenter__(self) -> Self:
        self._session = ClientSession(
            auto_decompress=False,
            timeout=ClientTimeout(total=None),
            connector=TCPConnector(limit=0),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
        )
        self._session._retry_connection = False
        self._runner = web.ServerRunner(web.Server(self._pass_on), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.read()
        parts = urlsplit(f"http://host{request.raw_path}")
        status, received = 0, 0
        try:
            async with self._session.request(
                request.method,
                URL(self.target + request.raw_path, encoded=True),
                headers=_end_to_end(request.headers),
                data=body or None,
                allow_redirects=False,
            ) as answer:
                status = answer.status
                content = await answer.read()
            received = len(content)
            return web.Response(status=status, body=content, headers=_end_to_end(answer.headers))
        finally:
            self.requests.append(Counted(request.method, parts.path, parts.query, status, len(body), received))


def _end_to_end(headers: Any) -> CIMultiDict[str]:
    dropped = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


@contextlib.asynccontextmanager
async def counted(endpoint: str) -> Any:
    """A proxy to ``endpoint`` that counts requests."""
    async with CountingProxy(endpoint) as proxy:
        yield proxy


if __name__ == "__main__":
    serve_moto()
