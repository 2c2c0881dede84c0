"""A headless browser, and servers of the examples that can be killed.

The browser is the system's own Chromium, or the one that ``MPS3_TEST_BROWSER`` names. Where there is none, these tests
are skipped, and say so at the end; with ``CI=true`` they fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from helpers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    StartServer = Callable[..., Awaitable["Server"]]
    OpenTab = Callable[..., Awaitable[Any]]

EXAMPLES = Path(__file__).parents[2] / "examples"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
WHY = pytest.StashKey[str]()


def find_browser() -> str | None:
    return os.environ.get("MPS3_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


def missing() -> str | None:
    """What is missing for these tests."""
    try:
        import playwright.async_api  # noqa: F401, PLC0415
    except ImportError:
        return "playwright is not installed: nox -s browser"
    if find_browser() is None:
        return "no Chromium is installed: apt-get install chromium, or name one in MPS3_TEST_BROWSER"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="DIRECTORY", help="where to put pictures of the board")


def pytest_configure(config: pytest.Config) -> None:
    if why := missing():
        config.stash[WHY] = why


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # One event loop for all, so that they can share a browser, which takes a while to start.
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if why := item.config.stash.get(WHY, None):
        if os.environ.get("CI") == "true":
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if why := config.stash.get(WHY, None):
        terminalreporter.section("the examples were NOT tested in a browser", red=True)
        terminalreporter.line(why)


@dataclass
class Server:
    """A process that serves an example."""

    example: str
    url: str
    port: int
    log: Path
    wake: str | None = None
    process: asyncio.subprocess.Process | None = field(default=None)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        """Start it, as a user would, and wait until it serves."""
        env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-W", "error", str(EXAMPLES / self.example), "--port", str(self.port),
                *(["--wake", self.wake] if self.wake else []),
                env={**env, "MPS3_URL": self.url}, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Ask it to stop. It must not have complained of anything."""
        self.process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.process.wait()
        log = self.log.read_text()
        assert self.process.returncode is not None, f"it did not stop:\n{log}"
        assert "ERROR" not in log
        assert "Traceback" not in log


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as end:
        return end.getsockname()[1]


@pytest.fixture
def s3_url(s3_config: dict[str, Any], bucket: str) -> str:
    return f"s3://{bucket}/board.json?{urlencode(s3_config)}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(server: Any, s3: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Server, Server]]:
    """Two servers of one board, for all tests that leave them alone."""
    bucket = f"mps3-{secrets.token_hex(8)}"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    url = f"s3://{bucket}/board.json?{urlencode(server.s3_config)}"
    log = tmp_path_factory.mktemp("servers")
    servers = [Server("board/board.py", url, free_port(), log / f"{number}.log") for number in range(2)]
    await asyncio.gather(*(server.start() for server in servers))
    yield servers[0], servers[1]
    for server in servers:
        await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def start(s3_url: str, tmp_path: Path) -> AsyncIterator[StartServer]:
    """Starts servers of one store."""
    servers: list[Server] = []

    async def start(example: str = "board/board.py", url: str = s3_url, wake: str | None = None) -> Server:
        server = Server(example, url, free_port(), tmp_path / f"server-{len(servers)}.log", wake)
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            await server.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright  # noqa: PLC0415

    async with async_playwright() as playwright:
        # Without a sandbox since containers run as root; nothing but our own pages is shown.
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
def expect() -> Any:
    """Assertions that wait until they hold."""
    from playwright.async_api import expect  # noqa: PLC0415

    expect.set_options(timeout=PATIENCE * 1000)
    return expect


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(browser: Any) -> AsyncIterator[OpenTab]:
    """Opens tabs, each as somebody of its own, and sees to it that no script fails in them."""
    errors: list[str] = []
    contexts: list[Any] = []

    async def open_tab(server: Server, name: str, colour: int = 0, **options: Any) -> Any:
        context = await browser.new_context(base_url=server.address, viewport={"width": 1280, "height": 720}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        guest = f'{{"name": "{name}", "colour": {colour}}}'
        await context.add_init_script(f"localStorage.setItem('guest', '{guest}')")
        tab = await context.new_page()
        tab.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        await tab.goto(server.address)
        return tab

    yield open_tab
    for context in contexts:
        await context.close()
    assert errors == []
