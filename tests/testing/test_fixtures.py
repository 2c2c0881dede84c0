"""The fixtures in the test suites of users, with other plugins and loops."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

TESTS = """
import asyncio
import time
import pytest

{head}

async def test_virtual(mps3_clock, mps3_client):
    async with mps3_client() as ann, mps3_client() as bob:
        changes = bob.subscribe("k")
        assert await anext(changes) is None
        await ann.put("k", 1)
        assert await anext(changes) == 1
        await asyncio.sleep(600)
    assert mps3_clock.now().minute >= 10

async def test_isolated(mps3_client):
    async with mps3_client() as client:
        assert await client.get("k") is None

def test_plain(mps3_store):
    assert mps3_store.requests == []
"""


ANYIO = """
from mps3.testing import VIRTUAL_BACKEND

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend(request):
    return VIRTUAL_BACKEND if "mps3_clock" in request.fixturenames else "asyncio"
"""


OWN_LOOPS = """
class Own(asyncio.SelectorEventLoop):
    pass

async def test_own_loop():
    assert type(asyncio.get_running_loop()) is Own
"""


OWN_LOOPS_CONFTEST = """
import asyncio

def pytest_asyncio_loop_factories(config, item):
    return {"own": lambda: item.module.Own()}
"""


AUTO = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]


def pytest_run(directory, tests, *options, conftest=""):
    (directory / "conftest.py").write_text('pytest_plugins = ["mps3.testing.fixtures"]\n' + conftest)
    (directory / "test_them.py").write_text(textwrap.dedent(tests))
    (directory / "pytest.ini").write_text("[pytest]\n")  # not those of whatever directory this one may be in
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)


@pytest.mark.parametrize(
    ("head", "options", "conftest", "passed"),
    [
        pytest.param("pytestmark = []", [*AUTO, "-p", "no:anyio"], "", 3, id="pytest-asyncio"),
        pytest.param(ANYIO, ["-p", "no:asyncio"], "", 3, id="anyio"),
        pytest.param(OWN_LOOPS, AUTO, OWN_LOOPS_CONFTEST, 4, id="loops of one's own"),
    ],
)
def test_the_fixtures_elsewhere(tmp_path, head, options, conftest, passed):
    ended = pytest_run(tmp_path, TESTS.replace("{head}", head), *options, conftest=conftest)
    assert f"{passed} passed" in ended.stdout, ended.stdout + ended.stderr


def test_pytest_is_not_imported_unless_it_is_used():
    code = "import sys, mps3.testing; assert not {'pytest', '_pytest'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
