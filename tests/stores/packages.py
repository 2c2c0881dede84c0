"""Installing programs from the registries of packages, each by its name and a pinned version.

Each function does nothing if the directory already has the program. What is built is built beside it and moved there
whole, so that an installation that was interrupted leaves nothing that looks finished.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stores.base import Unavailable


def go_install(package: str, version: str, into: Path, *, environment: Mapping[str, str] | None = None) -> Path:
    """Build a program from a Go module; return its path."""
    with _whole(into) as building:
        if building is not None:
            run(
                [_tool("go", "Go"), "install", "-trimpath", f"{package}@{version}"],
                {"GOBIN": str(building), "GOFLAGS": "-modcacherw", **(environment or {})},
            )
    return only_file(into)


def cargo_install(crate: str, version: str, into: Path, program: str, *options: str) -> Path:
    """Build a program from a crate; return its path."""
    with _whole(into) as building:
        if building is not None:
            tool = _tool("cargo", "Rust")
            run([tool, "install", crate, "--version", version, "--locked", "--root", str(building), *options])
    return into / "bin" / program


def maven_jar(group: str, artifact: str, version: str, into: Path, classifier: str = "") -> Path:
    """Fetch a jar that has everything it needs; return its path."""
    coordinates = ":".join(filter(None, (group, artifact, version, "jar", classifier)))
    with _whole(into) as building:
        if building is not None:
            plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
            wanted = [f"-Dartifact={coordinates}", f"-DoutputDirectory={building}"]
            run([_tool("mvn", "Maven"), "-q", "-B", f"{plugin}:copy", *wanted])
    return only_file(into)


def npm_install(package: str, version: str, into: Path, program: str) -> Path:
    """Install a package of Node.js; return the path of one of its programs."""
    with _whole(into) as building:
        if building is not None:
            tool = _tool("npm", "Node.js")
            run([tool, "install", "--prefix", str(building), "--no-fund", "--no-audit", f"{package}@{version}"])
    return into / "node_modules" / ".bin" / program


def pip_install(requirements: Sequence[str], into: Path) -> Path:
    """Make a virtual environment with some packages; return the directory of its programs."""
    programs = into / "bin"
    if not (into / "done").exists():  # a virtual environment cannot be moved
        shutil.rmtree(into, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(into)])
        run([str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check", *requirements])
        (into / "done").touch()
    return programs


def apt_install(*packages: str, program: str) -> str:
    """Install packages of Debian, which takes root, unless a program of theirs is there; return its path."""
    if (found := shutil.which(program)) is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise Unavailable(f"{program} is missing: as root, apt-get install {' '.join(packages)}")
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], environment)
        run(["apt-get", "install", "-yqq", "--no-install-recommends", *packages], environment)
        found = shutil.which(program)
    if found is None:
        raise Unavailable(f"{' '.join(packages)} brought no {program}")
    return found


def apt_version(package: str) -> str | None:
    """The upstream version of a package of Debian that is installed; ``None`` if it is not."""
    ran = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout.partition("+")[0] or None


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a step of an installation; what it prints is shown if it fails."""
    ran = subprocess.run(
        arguments,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
    )
    if ran.returncode:
        raise Unavailable(f"{' '.join(arguments)} ended with {ran.returncode}:\n{ran.stdout[-3000:]}")


def only_file(directory: Path) -> Path:
    (found,) = directory.iterdir()
    return found


def _tool(name: str, of: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is missing: install {of}")
    return found


@contextmanager
def _whole(into: Path) -> Iterator[Path | None]:
    """A directory that becomes ``into`` at the end; ``None`` if that is there already."""
    if into.exists():
        yield None
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        yield building
        if not into.exists():
            building.rename(into)
    finally:
        shutil.rmtree(building, ignore_errors=True)
