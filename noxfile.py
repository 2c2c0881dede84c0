"""`nox` checks everything that a change must pass; `nox -l` lists what else there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def runs(version: str) -> bool:
    """Whether this machine has that Python: not only a launcher that would say it is not installed."""
    command = shutil.which(f"python{version}")
    return command is not None and subprocess.run([command, "-V"], capture_output=True, check=False).returncode == 0


PYTHONS = [version for version in ("3.11", "3.12", "3.13", "3.14") if version == HERE or runs(version)]
if HERE not in PYTHONS:
    PYTHONS.append(HERE)

nox.options.sessions = ["lint", "types", f"tests-{HERE}", "thorough", "simulation"]
nox.options.reuse_venv = "yes"

# Where the tests find an S3 server other than the one they start.
SERVER = ("MPS3_TEST_ENDPOINT", "MPS3_TEST_ACCESS_KEY", "MPS3_TEST_SECRET_KEY", "MPS3_TEST_REGION")


# Most tests wait for a network, real or made up, most of the time.
AT_ONCE = ("-n", "4")

# What sessions of their own run.
ELSEWHERE = tuple(f"--ignore=tests/{folder}" for folder in ("browser", "stores"))


def group(*names: str) -> list[str]:
    return nox.project.dependency_groups(PROJECT, *names)


def install_wheel(session: nox.Session) -> None:
    """Install the wheel as it would be published, built from the source distribution, and what the tests need."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.install(*group("build", "test"))
    session.run("python", "-m", "build", "--outdir", str(dist), str(ROOT), silent=True)
    (wheel,) = dist.glob("*.whl")
    session.install(str(wheel))
    session.install("--force-reinstall", "--no-deps", str(wheel))  # the same version again is another wheel


def pytest(session: nox.Session, *args: str, **env: str | None) -> None:
    """Run the tests in the checkout without its root on ``sys.path``, so that ``mps3`` is the wheel's.

    The variables reach the processes that tests start, too. ``tests/test_wheel.py`` checks that it worked.
    """
    session.run(
        "pytest",
        *args,
        env={"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT / "tests"), "MPS3_TEST_WHEEL": "1", **env},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, the format, and that each room imports only those below it."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": str(ROOT)})


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, of the examples, and those that users see."""
    project = PROJECT["project"]
    extras = [requirement for extra in project.get("optional-dependencies", {}).values() for requirement in extra]
    session.install(*project["dependencies"], *extras, *group("types"))
    session.run("mypy", *session.posargs)
    session.run("pyright", env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})  # the settings say: what users see


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the installed wheel and a server that they start: those that take minutes altogether."""
    install_wheel(session)
    everyday = ("-m", "not thorough", *ELSEWHERE)
    pytest(session, *AT_ONCE, *everyday, *session.posargs, MPS3_TEST_PROFILE="everyday", **dict.fromkeys(SERVER))


@nox.session
def thorough(session: nox.Session) -> None:
    """Run the tests that `tests` leaves out, and those with made-up examples with many more of these.

    Except the simulated histories: the session `simulation` runs them all, as many as it is told to.
    """
    install_wheel(session)
    chosen = ("-m", "thorough or hypothesis", "--ignore=tests/simulation", *ELSEWHERE)
    pytest(session, *AT_ONCE, *chosen, *session.posargs, MPS3_TEST_PROFILE="thorough", **dict.fromkeys(SERVER))


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run what leans on others with the oldest versions of them that pyproject.toml allows, on the oldest Python."""
    session.install(*group("lowest"))
    oldest = Path(session.create_tmp()) / "oldest.txt"
    oldest.unlink(missing_ok=True)  # uv would stay with what it says
    session.run("uv", "pip", "compile", str(ROOT / "pyproject.toml"), "--all-extras", "--group", "test", "--quiet",
                "--resolution", "lowest-direct", "--python", session.python, "--output-file", str(oldest))  # fmt: skip
    session.install("-r", str(oldest))
    session.install("--no-deps", str(ROOT))
    # What leans on others: stores, SQLite, types, the command line, web frameworks, Jupyter. The page of the command
    # line shows texts of the newest versions.
    files = [
        "storage",
        "cli",
        "offline/test_outbox.py",
        "offline/test_outbox_damage.py",
        "offline/test_cache.py",
        "storage/test_auth.py",
        "doctor/test_doctor.py",
        "observability/test_logging.py",
        "observability/test_opentelemetry.py",
        "examples/test_jobs_example.py",
        "examples/test_notebook.py",
        "client/test_put_get.py",
        "testing",
        "client/test_typed.py",
        "format/test_values.py",
        "examples/test_web_examples.py",
        "test_wheel.py",
    ]
    chosen = session.posargs or [f"tests/{file}" for file in files]
    pytest(session, *AT_ONCE, "--ignore=tests/cli/test_page.py", *chosen, **dict.fromkeys(SERVER))


@nox.session
def browser(session: nox.Session) -> None:
    """Try the board of the examples in a headless Chromium, which has to be installed."""
    install_wheel(session)
    session.install(*group("browser"))
    pytest(session, "tests/browser", "-n", "2", *session.posargs, **dict.fromkeys(SERVER))


@nox.session
def server(session: nox.Session) -> None:
    """Run the tests against the S3 server that the environment names."""
    if not os.environ.get(SERVER[0]):
        session.error(f"set {', '.join(SERVER)} to a server with versioning, and keys that may make buckets")
    install_wheel(session)
    # What does not touch a server is quick, and the simulation brings its own.
    skipped = [f"--ignore=tests/{folder}" for folder in ("simulation", "browser", "stores")]
    pytest(session, "-n", "3", *(session.posargs or skipped))  # the server has to do with what they leave it


@nox.session
def cloud(session: nox.Session) -> None:
    """Examine a bucket of a cloud vendor: ``nox -s cloud -- run r2 BUCKET``; ``estimate`` says what it costs."""
    install_wheel(session)
    path = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT / "tests")}
    session.run("python", "-m", "stores.exam.cloud", *(session.posargs or ["--help"]), env=path)


@nox.session
def store(session: nox.Session) -> None:
    """Install a real S3 server, and examine it: ``nox -s store -- seaweedfs``; with ``--up`` it is only started."""
    install_wheel(session)
    path = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT / "tests"), "MPS3_TEST_WHEEL": "1"}
    session.run("python", "-m", "stores", *(session.posargs or ["--help"]), env=path)


@nox.session
def stores(session: nox.Session) -> None:
    """Install the real S3 servers that are installed quickly, and examine each a little."""
    install_wheel(session)
    pytest(
        session, "tests/stores", "-n", "2", "-o", "faulthandler_timeout=0", *session.posargs, **dict.fromkeys(SERVER)
    )


@nox.session
def simulation(session: nox.Session) -> None:
    """Run whole histories in a simulated, hostile world: ``nox -s simulation -- --histories 10000``.

    Without a number, as many of each kind as `MPS3_TEST_HISTORIES` says, or 100.
    """
    install_wheel(session)
    # As long as it takes: no dump of where it is.
    pytest(session, "tests/simulation", "-o", "faulthandler_timeout=0", *session.posargs, **dict.fromkeys(SERVER))


@nox.session
def faults(session: nox.Session) -> None:
    """Write thousands of values through a network that misbehaves: ``nox -s faults -- 5000``."""
    install_wheel(session)
    writes = session.posargs[0] if session.posargs else "5000"
    pytest(
        session, "tests/storage/test_faults.py", "-s", "-o", "faulthandler_timeout=0", MPS3_TEST_FAULTY_WRITES=writes
    )


@nox.session
def transactions(session: nox.Session) -> None:
    """Increment a counter a thousand times by twenty contending clients, on every store, with both journals."""
    install_wheel(session)
    pytest(
        session,
        "tests/client/test_transactions.py",
        "-k",
        "increment",
        "-o",
        "faulthandler_timeout=0",
        *session.posargs,
        MPS3_TEST_INCREMENTS="1000",
    )


@nox.session
def crash(session: nox.Session) -> None:
    """Kill a writer at any moment, again and again: ``nox -s crash -- --kills 2000``."""
    install_wheel(session)
    session.run(
        "python", "tests/crash.py", *session.posargs, env={"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT / "tests")}
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Read random documents, and runs: ``nox -s fuzz -- --documents 1000000``."""
    install_wheel(session)
    path = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT / "tests")}
    for program in ("fuzz.py", "fuzz_runs.py"):
        session.run("python", f"tests/{program}", *session.posargs, env=path)


@nox.session
def soak(session: nox.Session) -> None:
    """Let clients come and go, and watch the memory: ``nox -s soak -- --seconds 600``, or ``--collect 100000``."""
    install_wheel(session)
    session.run("python", "tests/soak.py", *session.posargs, env={"PYTHONSAFEPATH": "1"})


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure what things cost, and write docs/performance.md: ``nox -s benchmarks -- --endpoint URL``; ``--quick``."""
    install_wheel(session)
    session.install(*group("benchmarks"))
    session.run("python", "benchmarks", *session.posargs, env={"PYTHONSAFEPATH": "1"})


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into ``site/``; a broken link fails. ``nox -s docs -- serve`` shows it instead."""
    session.install(*group("docs", "lint"))  # mkdocstrings formats signatures with ruff
    check_links(session)
    env = {"NO_MKDOCS_2_WARNING": "1"}
    if session.posargs:
        session.run("mkdocs", *session.posargs, env=env)
    else:
        session.run("mkdocs", "build", "--strict", env=env)


def check_links(session: nox.Session) -> None:
    """Every relative link of the pages outside ``docs/`` leads somewhere; mkdocs checks its own."""
    broken = [
        f"{page.name}: {target}"
        for page in sorted(ROOT.glob("*.md"))
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (ROOT / target).exists()
    ]
    if broken:
        session.error("broken links:\n" + "\n".join(broken))


@nox.session
def build(session: nox.Session) -> None:
    """Build what is published into ``dist/``, and check it."""
    session.install(*group("build"))
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, (ROOT / "dist").iterdir()))
