"""A store in a directory, another look at its database, and programs that use it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from mps3.storage import local
from mps3.storage.local import FILE_NAME, LocalStorage


@pytest.fixture
async def storage(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.open()
    yield storage
    await storage.aclose()


@pytest.fixture(autouse=True)
def no_threads_left():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio_")]
    assert left == []


def another_connection(path):
    return closing(sqlite3.connect(path / FILE_NAME, isolation_level=None, timeout=0))


def environment():
    return os.environ | {"PYTHONPATH": str(Path(local.__file__).parents[2]), "PYTHONWARNINGS": "default"}


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
