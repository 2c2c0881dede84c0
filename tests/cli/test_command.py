"""What all commands have in common: how they start, what they say of errors, and how they end."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import mps3 as package
from mps3 import errors
from mps3.cli import app
from mps3.cli.base import exits
from mps3.storage.local import LocalStorage

from .conftest import PATIENCE, Result, credentials, environment, start

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
SECRET = "s3cr3tS3cr3t"
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MPS3Error)]


def python(code: str, *arguments: str, **env: str) -> Result:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment(**env),
        check=False,
    )
    return Result(ran.returncode, ran.stdout, ran.stderr)


def test_the_command_that_is_installed():
    script = Path(sys.executable).with_name("mps3")
    if not script.exists():
        pytest.skip("it is not installed")
    said = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=environment()).stdout
    assert said == f"mps3, version {package.__version__}\n"


LOADED = """
import sys
from mps3.cli import main
assert main(sys.argv[1:]) == 0
heavy = {"aiobotocore", "botocore", "aiohttp", "rich", "httpx", "pydantic", "msgspec"}
print(*sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["put", "k", "1"]])
def test_what_is_not_needed_is_not_loaded(arguments, tmp_path):
    found = python(LOADED, *arguments, MPS3_URL=f"file://{tmp_path}/store")
    assert (found.code, found.err) == (0, "\n")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing):
    code = f"""
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == {missing!r} else real(name, *more)
from mps3.cli import main
sys.exit(main(["ls"]))
"""
    said = f"mps3: the command line needs {missing}: pip install 'mps3[cli]'\n"
    assert python(code) == Result(3, "", said)


def test_help(mps3):
    found = mps3("--help")
    assert found.code == 0 and all(re.search(rf"^  {name} +\S", found.out, re.MULTILINE) for name in app.COMMANDS)
    for name in app.COMMANDS:
        found = mps3(name, "-h")
        assert found.code == 0 and found.out.startswith(f"Usage: mps3 {name} ")
        # Each option says what it is for.
        assert not re.search(r"^  (-., )?--[a-z-]+( [A-Z]+)?$\n(?! {6})", found.out, re.MULTILINE)
    found = mps3()
    assert found.code == 2 and found.out == "" and found.err.startswith("Usage: mps3 ")


@pytest.mark.parametrize(
    ("arguments", "said"), [(["frobnicate"], "No such command"), (["ls", "--frob"], "No such option")]
)
def test_what_nobody_knows(mps3, url, arguments, said):
    found = mps3(*arguments)
    assert found.code == 2 and said in found.err and "--help" in found.err and found.err.count("\n") == 1


def test_each_kind_of_error_has_an_exit_code_of_its_own():
    assert set(exits.EXITS) == {*KINDS} - {errors.MPS3Error}
    codes = [*exits.EXITS.values(), exits.NO, exits.USAGE, exits.BUG, exits.INTERRUPTED]
    assert len(set(codes)) == len(codes) and all(0 < code < 256 for code in codes)


@pytest.mark.skipif(not DOCS.is_file(), reason="the documentation is not beside the tests")
def test_the_exit_codes_are_documented():
    rows = dict(re.findall(r"^\| (\d+) \| `?(\w+)", DOCS.read_text(), re.MULTILINE))
    assert {int(code): name for code, name in rows.items() if name.endswith("Error")} == {
        code: kind.__name__ for kind, code in exits.EXITS.items()
    }
    assert {"0", "1", "2", "70", "130"} <= set(rows)


@pytest.mark.parametrize("kind", exits.EXITS)
def test_errors_are_one_line(mps3, url, tmp_path, monkeypatch, kind):
    async def fail(self: object, *arguments: object, **options: object) -> None:
        raise kind(f"what\nwent wrong \x1b with aws_secret_access_key={SECRET}")

    (tmp_path / "store").mkdir()
    monkeypatch.setattr(LocalStorage, "open", fail)
    found = mps3("ls")
    assert (found.code, found.out) == (exits.EXITS[kind], "")
    assert found.err.startswith("mps3: what went wrong \\x1b with aws_secret_access_key=…")
    assert found.err.count("\n") == 1 and SECRET not in found.err


def test_what_nobody_expected(mps3, url, tmp_path, monkeypatch):
    async def fail(self: object) -> None:
        raise KeyError(SECRET)

    (tmp_path / "store").mkdir()
    monkeypatch.setattr(LocalStorage, "open", fail)
    found = mps3("ls")
    assert (found.code, found.out) == (70, "") and "KeyError" in found.err and found.err.count("\n") == 1
    assert SECRET not in found.err
    monkeypatch.setenv("MPS3_DEBUG", "1")
    assert "Traceback" in mps3("ls").err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ls", f"s3://bucket?aws_secret_access_key={SECRET}&what=1"], 3, "unknown in a store's URL: what"),
        (
            ["get", "file:///x", "a", f"s3://bucket?aws_secret_access_key={SECRET}"],
            2,
            "unexpected argument 's3://bucket?aws_secret",
        ),
        (["ls", f"s3://user:{SECRET}@bucket"], 3, "no user or password"),
        (["ls", "s3://bucket", "--endpoint-url", f"http://user:{SECRET}@"], 3, ""),
        (["ls", "s3://bucket", "--endpoint-url", f"http://user:a/{SECRET}@host"], 3, "user or a password"),
        (["ls", f"s3://bucket?endpoint_url=http://user:a/{SECRET}@host"], 3, "user or a password"),
        (["ls", f"s3://user:a/{SECRET}@bucket"], 3, "no user or password"),
        (["ls", f"http://user:a/{SECRET}@host/bucket"], 2, ""),
        (["ls", "s3://bucket", "--profile", "nobody-has-this-one"], 3, "could not be found"),
        (["ls", "memory:", "--region", "x"], 2, "are for stores on S3"),
        (["ls", "http://bucket"], 2, "which store?"),
    ],
)
def test_urls_and_secrets(mps3, monkeypatch, arguments, code, said):
    monkeypatch.delenv("MPS3_URL", raising=False)
    found = mps3(*arguments)
    assert found.code == code and said in found.err and found.err.count("\n") == 1 and SECRET not in found.err


@pytest.mark.server
def test_credentials_from_a_profile(mps3, server, bucket, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "MPS3_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    (tmp_path / "config").write_text(
        f"[profile tests]\naws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
        f"region = {server.region}\n"
    )
    where = ("--endpoint-url", server.url)
    found = mps3("put", f"s3://{bucket}", "k", "1", *where)
    assert found.code == 4 and "--profile" in found.err and found.err.count("\n") == 1
    assert mps3("put", f"s3://{bucket}", "k", "1", "--profile", "tests", *where).code == 0
    monkeypatch.setenv("AWS_PROFILE", "tests")
    assert mps3("get", f"s3://{bucket}", "k", *where).lines == [1]


@pytest.mark.server
def test_a_bucket_that_is_not_there(mps3, server, monkeypatch):
    for name, value in credentials(server).items():
        monkeypatch.setenv(name, value)
    found = mps3("put", "s3://mps3-nobody-made-this", "k", "1", "--endpoint-url", server.url)
    assert found.code == 3 and "there is no bucket" in found.err and found.err.count("\n") == 1


def test_nothing_listens(mps3):
    url = f"s3://bucket?endpoint_url=http://127.0.0.1:9&aws_access_key_id=a&aws_secret_access_key={SECRET}"
    found = mps3("get", url, "k")
    assert found.code == 5 and "look at the network" in found.err and SECRET not in found.err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_whoever_reads_has_seen_enough(run, url, tmp_path):
    (tmp_path / "in").write_text("".join(f'{{"key":"{number:01000}","value":1}}\n' for number in range(300)))
    assert run("import", str(tmp_path / "in")).code == 0
    for arguments in (["ls"], ["export"]):
        process = start(*arguments, env={"MPS3_URL": url})
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == b""
        process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_while_something_is_written(tmp_path):
    """It says whether it may have been written, and does not wait for the store."""
    code = """
import asyncio, os, signal, sys, threading
from mps3.storage.local import LocalStorage
put = LocalStorage.put

async def hang(self, bucket, key, *rest, **more):
    if key == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(1000)
    return await put(self, bucket, key, *rest, **more)

LocalStorage.put = hang
from mps3.cli import main
sys.exit(main(["put", sys.argv[2], "k", '"' + "x" * 2000 + '"']))
"""
    url = f"file://{tmp_path}/store"
    assert python(code, "k", url) == Result(130, "", "mps3: interrupted: nothing was written\n")
    found = python(code, "manifest.json", url)
    assert found.code == 130 and "it may have been written" in found.err and found.err.count("\n") == 1


def test_the_log_of_the_library_is_one_line_each(mps3, url, tmp_path, monkeypatch):
    close = LocalStorage.aclose

    async def complain(self: LocalStorage) -> None:
        logging.getLogger("mps3").warning("this is\nodd")
        await close(self)

    (tmp_path / "store").mkdir()
    monkeypatch.setattr(LocalStorage, "aclose", complain)
    assert mps3("ls").err == "mps3: this is odd\n"


def test_all_commands_are_there():
    for name in app.COMMANDS:
        assert isinstance(app.app.get_command(click.Context(app.app), name), click.Command)  # type: ignore[attr-defined]
