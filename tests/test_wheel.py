"""What is tested is the installed wheel, whole, and not the source tree beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

import mps3
from mps3.doctor.known.records import known_stores

pytestmark = pytest.mark.skipif("MPS3_TEST_WHEEL" not in os.environ, reason="nox installs the wheel and says so")

SOURCE = Path(__file__).parent.parent / "mps3"
INSTALLED = Path(sysconfig.get_path("purelib")) / "mps3"


def files(root: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(root): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_this_process_imports_the_wheel() -> None:
    assert Path(mps3.__file__).parent == INSTALLED
    assert mps3.__version__ == version("mps3")


def test_processes_started_here_import_the_wheel() -> None:
    code = "import mps3; print(mps3.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    assert Path(ran.stdout.strip()).parent == INSTALLED


def test_the_wheel_holds_the_whole_package() -> None:
    assert files(INSTALLED) == files(SOURCE)
    assert Path("py.typed") in files(INSTALLED)


def test_what_is_known_of_stores_is_read_from_the_wheel() -> None:
    records = {path for path in files(INSTALLED) if path.match("doctor/known/*.json")}
    assert len(records) == len(known_stores()) > 15
