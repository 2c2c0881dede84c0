"""The code in the documentation runs, and prints what its comments say."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from docs.code_blocks import ROOT, Block, blocks, python
from httpx import ASGITransport, AsyncClient

from mps3 import MPS3

PAGES = [
    "README.md",
    "docs/cheatsheet.md",
    "docs/consistency.md",
    "docs/costs.md",
    "docs/guide.md",
    "docs/guide-web.md",
    "docs/keys.md",
    "docs/migrating.md",
    "docs/observability.md",
    "docs/offline.md",
    "docs/operations.md",
    "docs/security.md",
    "docs/testing.md",
    "docs/transactions.md",
    "docs/tutorial.md",
    "docs/views.md",
    "docs/wake.md",
]
NOT_CODE = {"console", "json", "text"}

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_no_code(page: str) -> None:
    assert {block.language for block in blocks(page)} <= {"python", *NOT_CODE}
    assert python(page)


@pytest.mark.parametrize("page", PAGES)
async def test_page(page: str) -> None:
    async with MPS3.from_url(f"memory:{secrets.token_hex(8)}") as client:
        namespace: dict[str, Any] = {"client": client, "__name__": "__main__"}
        for block in python(page):
            if block.needs is None:
                assert await block.run(namespace) == block.expected(), str(block)


@pytest.mark.parametrize(
    "block",
    [block for page in PAGES for block in python(page) if block.needs not in (None, "pytest", "process")],
    ids=str,
)
async def test_block_that_needs_more(block: Block) -> None:
    pytest.importorskip(block.needs)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    assert await block.run(namespace) == block.expected()
    if block.needs == "fastapi":
        await try_application(namespace["app"])
    if "events" in namespace:
        await try_events(namespace)
    if block.needs == "aiohttp":
        await try_websocket(namespace["app"])


async def try_events(namespace: dict[str, Any]) -> None:
    async with namespace["app"].router.lifespan_context(namespace["app"]) as state:
        client = state["client"]
        await client.put("values/color", "red")
        request = SimpleNamespace(state=SimpleNamespace(client=client))
        event = await anext(namespace["events"](request, "never was an id"))
        assert event.data == {"initial": True, "changes": {"values/color": {"value": "red"}}}
        await client.delete("values/color")
        event = await anext(namespace["events"](request, event.id))
        assert event.data == {"initial": False, "changes": {"values/color": None}}


async def try_websocket(app: Any) -> None:
    async with TestClient(TestServer(app)) as web, web.ws_connect("/live") as ann, web.ws_connect("/live") as bob:
        await ann.send_json(["color", ["red", None]])
        assert await bob.receive_json() == ["values/color", ["red", None]]


def test_blocks_that_are_tests(tmp_path: Path) -> None:
    """Each is a file of tests, but for the one that says that it is something else."""
    tests = [block for page in PAGES for block in python(page) if block.needs == "pytest"]
    for block in tests:
        name = re.match(r"# (\S+\.py)\n", block.code)
        file = name[1] if name else f"test_{Path(block.page).stem}_{block.line}.py"
        (tmp_path / file).write_text(block.code, encoding="utf-8")
    options = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", "-W", "error"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    passed = sum(len(re.findall(r"^(?:async )?def test_", block.code, re.MULTILINE)) for block in tests)
    assert re.search(rf"^{passed} passed", ended.stdout, re.MULTILINE), ended.stdout + ended.stderr


async def try_application(app: Any) -> None:
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state)}, receive, send)

        async with AsyncClient(transport=ASGITransport(app=with_state), base_url="http://app") as web:
            assert (await web.get("/values/color")).status_code == 404
            assert (await web.put("/values/color", json=["red", None])).status_code == 204
            assert (await web.get("/values/color")).json() == ["red", None]


def test_the_reference_has_every_method_of_the_client():
    listed = re.search(
        r"::: mps3\.MPS3\n.*?members:\n((?: +- \w+\n)+)",
        (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert listed is not None
    assert sorted(re.findall(r"\w+", listed[1])) == sorted(name for name in dir(MPS3) if not name.startswith("_"))
