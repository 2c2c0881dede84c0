"""`uvicorn --reload` is not held up by a stream that somebody listens to: the sample of the guide, and the board."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession, ClientTimeout
from programs import EXAMPLES, PATIENCE

GUIDE = EXAMPLES.parent / "docs" / "guide-web.md"
VERSION = """

@app.get("/version")
async def version() -> str:
    return {!r}
"""

pytestmark = pytest.mark.skipif(
    not (EXAMPLES.is_dir() and GUIDE.is_file()), reason="the examples are not beside the tests"
)


def sample() -> str:
    (code,) = re.findall(
        r"<!-- needs: fastapi -->\n```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return code


@contextlib.asynccontextmanager
async def reloading(folder: Path, module: str, store: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A server as a developer runs it: (where, its process)."""
    with socket.create_server(("127.0.0.1", 0)) as end:
        port = end.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", f"{module}:app", "--reload", "--port", str(port),
        cwd=folder, env={**env, "MPS3_URL": store.as_uri()}, start_new_session=True,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # the server, and the one that watches its files
        await process.wait()


async def serves(url: str, version: str) -> None:
    """Wait until this version of the program answers."""
    async with asyncio.timeout(PATIENCE), ClientSession(timeout=ClientTimeout(total=1)) as session:
        while True:
            with contextlib.suppress(ClientConnectionError, TimeoutError):
                async with session.get(f"{url}/version") as answer:
                    if answer.status == 200 and await answer.json() == version:
                        return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("example", ["guide", "board"])
async def test_a_reload_does_not_wait_for_open_streams(example: str, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("fastapi")
    folder = tmp_path / "app"
    if example == "guide":
        folder.mkdir()
        module, code, stream = "service", sample(), "/events"
    else:
        shutil.copytree(EXAMPLES / "board", folder)
        module, code, stream = (
            "board",
            (folder / "board.py").read_text(encoding="utf-8"),
            "/events?tab=1&name=ann&colour=1",
        )
        code = code.replace('if __name__ == "__main__":\n    main()\n', "")
    file = folder / f"{module}.py"
    file.write_text(code + VERSION.format("first"), encoding="utf-8")
    async with reloading(folder, module, tmp_path / "store") as (url, _):
        await serves(url, "first")
        async with ClientSession(timeout=ClientTimeout(total=None)) as session, session.get(url + stream) as answer:
            assert answer.status == 200
            await answer.content.readline()  # it is live
            file.write_text(code + VERSION.format("second"), encoding="utf-8")
            await serves(url, "second")
