"""The project's own tests that touch a store, on this server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from servers import Server

from stores.native import NativeServer

ROOT = Path(__file__).parent.parent.parent.parent
AT_ONCE = "2"


def environment(server: Server, module: str) -> dict[str, str]:
    """What names a server to the tests."""
    if isinstance(server, NativeServer):
        return {"MPS3_TEST_NATIVE": module, "MPS3_TEST_NATIVE_URL": server.url}
    return {
        "MPS3_TEST_ENDPOINT": server.url,
        "MPS3_TEST_ACCESS_KEY": server.access_key,
        "MPS3_TEST_SECRET_KEY": server.secret_key,
        "MPS3_TEST_REGION": server.region,
    }


def run_tests(server: Server, module: str, *arguments: str) -> dict[str, Any]:
    """Run the tests that are marked ``server``, or ``native`` for one that is not S3; say which failed."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        mark = "native" if isinstance(server, NativeServer) else "server"
        wanted = ["-m", mark, "--ignore=tests/simulation", "--ignore=tests/browser", "--ignore=tests/stores"]
        # The exam has checked that, and knows the weaknesses of this server.
        wanted.append("--deselect=tests/storage/test_conformance.py::test_s3_conformance")
        options = ["-q", "-n", AT_ONCE, "-p", "no:cacheprovider", f"--junitxml={report}"]
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, *wanted, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment(server, module)},
            stdout=sys.stderr,
            check=False,
        )
        cases = list(ET.parse(report).iter("testcase"))
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - len(failed) - skipped,
        "skipped": skipped,
        "failed": len(failed),
        "problems": [f"a test failed: {name}" for name in failed],
    }
