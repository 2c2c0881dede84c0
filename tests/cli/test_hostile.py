"""Names and values that others chose: nothing of them is run, moves a cursor, or forges a line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import subprocess
import time

import pytest

from mps3 import MPS3, ConfigurationError, CorruptionError, MemoryStorage, Ref
from mps3.cli.base.key_completion import SHELL_SAFE
from mps3.observability.logging import LoggingHook
from mps3.storage.url import discreet

from .conftest import PATIENCE, environment
from .test_completion import COMMAND

WILD = "a\x1b[31m\x9b2J\u202ex\u2066\r\nmps3: all is well\x7f\u2028\U000e0041"
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\U000e0000-\U000e0fff]")


def put(url: str, **values: object) -> None:
    async def main() -> None:
        async with MPS3.from_url(url) as client:
            await client.put_all(values)

    asyncio.run(main())


@pytest.mark.parametrize("form", ["--json", "--no-json"])
def test_no_control_reaches_the_output(mps3, url, form):
    put(url, **{WILD: {WILD: WILD}})
    first = json.loads(mps3("log").out.splitlines()[0])["id"]
    for arguments in (
        ["get", WILD], ["ls"], ["ls", "-l"], ["log"], ["history", WILD], ["export"], ["put", WILD, "2"], ["delete", WILD],
        ["get", WILD], ["delete", WILD], ["restore", WILD, "--to", first, "--yes"], ["stat"],
        ["restore", "--all", "--to", first, "--yes"], ["history", f"{WILD}?"], ["put", "k", WILD], ["ls", "--x", WILD],
        ["import", WILD], ["export", "-o", f"/nowhere/{WILD}"], ["get", "k", "--at", WILD], ["ls", f"x://{WILD}"],
    ):  # fmt: skip
        found = mps3(*arguments, form)
        assert not CONTROLS.search(found.out), (arguments, found.out)
        assert not CONTROLS.search(found.err) and "\nmps3: all is well" not in found.err, arguments
        assert found.code in (0, 1, 2) and found.err.count("\n") <= 1, (arguments, found)


def test_json_says_the_same_as_before(mps3, url):
    put(url, **{WILD: [WILD, "ä€😀"]})
    assert mps3("get", WILD).lines == [[WILD, "ä€😀"]] and "ä€😀" in mps3("get", WILD).out
    assert mps3("ls").lines[0]["key"] == WILD
    assert mps3("export").lines == [{"key": WILD, "value": [WILD, "ä€😀"]}]


def test_raw_text_is_spelt_out_on_a_terminal_with_json_too(mps3, url, terminal):
    put(url, k="\x1b[31m\x9b")
    assert mps3("get", "k", "--raw").out == "\x1b[31m\x9b\n"
    shown = terminal("get", "k", "--raw", "--json")
    assert shown.ends() == 0 and shown.shown == "\\x1b[31m\\x9b\r\n"


KEYS = (
    "a$(touch EVIL)", "a`touch EVIL`", "a;touch EVIL", "a|touch EVIL", "a&touch EVIL", "a>EVIL", "a'q", 'a"q', "a\\q", "a b",
    "a\nplain,x", "a*", "a?", "a[b]", "a{b,c}", "a#b", "a!b", "a,b", "~root", "-x", "--url=file:///evil", "#a", "=a", "%1",
    "a\x1b[31m", "a\u202eb", "s3://evil/m.json", "foo://x",
)  # fmt: skip


def test_completion_offers_what_no_shell_runs(mps3, url, monkeypatch, capfd):
    put(url, **dict.fromkeys((*KEYS, "a/b-1.json", "größe", "bus:1"), 1))
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setenv("_MPS3_COMPLETE", f"{shell}_complete")
        for words, at in (("mps3 get ", "2"), ("mps3 get a", "2"), ("mps3 ls ", "2"), ("mps3 delete x a", "3")):
            monkeypatch.setenv("COMP_WORDS", words)
            monkeypatch.setenv(
                "COMP_CWORD", "a" if shell == "fish" and words.endswith("a") else "" if shell == "fish" else at
            )
            with pytest.raises(SystemExit):
                mps3()
            said = capfd.readouterr().out
            assert "a/b-1.json" in said, (shell, words)
            assert not any(key in said for key in KEYS if key != "-x"), (shell, words, said)
    assert not any(SHELL_SAFE.fullmatch(key) for key in KEYS if "://" not in key)


def test_tab_and_enter_in_bash_run_no_key(mps3, url, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    put(url, **{"a$(touch EVIL)": 1})
    (tmp_path / "mps3").write_text(COMMAND)
    (tmp_path / "mps3").chmod(0o755)
    (tmp_path / "rc").write_text(mps3("completion", "bash").out)
    script = f"""
cd {tmp_path}; . ./rc
COMP_WORDS=(mps3 get a); COMP_CWORD=2; COMPREPLY=()
_mps3_completion mps3
eval "echo mps3 get ${{COMPREPLY[0]}}"
"""
    ran = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=PATIENCE,
        env=environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", MPS3_URL=url),
    )  # fmt: skip
    assert ran.returncode == 0 and not (tmp_path / "EVIL").exists()


async def test_no_name_forges_a_line_of_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    manifest = Ref("m\n2026-01-01 CRITICAL forged\x1b[2J", "bucket\nforged")
    storage = MemoryStorage()
    async with MPS3("b\nforged", manifest, storage=storage, hooks=[LoggingHook()]) as client:
        await client.put("k\nforged", 1)
        logging.getLogger("mps3").warning("%s is odd: %s", manifest, "x\nforged\x9b")
        assert "\n" not in repr(client)
    assert len(caplog.records) > 5
    for record in caplog.records:
        if record.name.startswith("mps3"):
            assert not re.search(r"[\x00-\x1f\x7f-\x9f]", record.getMessage()), record


def test_no_name_forges_a_line_of_a_message():
    for kind in (ConfigurationError, CorruptionError):
        error = kind("s3://bucket/a\nforged\r\x1b[2J\x9b\u202e is not JSON", key="a\nforged")
        assert str(error) == "s3://bucket/a forged\\r\\x1b[2J\\x9b\\u202e is not JSON" and error.key == "a\nforged"


SECRET = "s3cr3tS3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:a/{SECRET}@host",
        f"http://u:a'{SECRET}@host", f"http://{SECRET}@host/x", f"https://u:{SECRET}@h:1/p@q", f"s3://u:a/{SECRET}@bucket/m",
        f"s3://{SECRET}@bucket", f"s3://b?endpoint_url=http://u:a/{SECRET}@host&region_name=x",
        f"s3://b?endpoint_url=http%3A%2F%2Fu%3A{SECRET}%40host", f"s3://b?aws_session_token={SECRET}",
        f"https://h/?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}",
    ],
)  # fmt: skip
def test_no_message_shows_credentials_of_a_url(mps3, monkeypatch, url):
    assert SECRET not in discreet(f"cannot connect to {url!r}: it failed")
    monkeypatch.setenv("MPS3_URL", "memory:")
    monkeypatch.setenv("MPS3_DEBUG", "1")
    for arguments in (
        ["ls", url], ["stat", url], ["ls", "s3://b", "--endpoint-url", url], ["ls", "--url", url], ["get", "k", "x", url],
        ["ls", "s3://b", f"--endpoint-url={url}"], ["ls", f"--{url}"],
    ):  # fmt: skip
        if url.startswith("s3://b?") and SECRET in url and "token" in url and arguments[0] in ("ls", "stat"):
            continue  # it would be used
        found = mps3(*arguments)
        assert found.code in (1, 2, 3) and SECRET not in found.err + found.out, arguments


def test_keys_with_an_at_are_shown():
    assert discreet("s3://media/users/ann@example.org is not JSON") == "s3://media/users/ann@example.org is not JSON"


def test_hiding_credentials_takes_no_time():
    began = time.process_time()
    for piece in ("http://", "s3://a/", "a", "%3a%2f%2f", "://", "a:@"):
        discreet(piece * 20_000)
        discreet(piece * 20_000 + "@")
    assert time.process_time() - began < 5


@pytest.mark.skipif(os.name == "nt", reason="arguments are Unicode there")
@pytest.mark.parametrize(
    "command",
    [
        "get",
        "ls",
        "history",
        "log",
        "export",
        "delete",
        "put",
        "patch",
        "increment",
        "watch",
        "stat",
        "gc",
        "doctor",
        "import",
    ],
)
def test_arguments_that_are_not_utf_8(mps3, url, command):
    put(url, k=1)
    found = mps3(command, "\udcff", *{"put": ["1"], "patch": ["{}"]}.get(command, []))
    assert found.code in (1, 2, 3) and not found.out and found.err.count("\n") == 1
    assert "should not have happened" not in found.err


def test_output_in_another_encoding(run, mps3, url):
    put(url, größe="😀\x9b")
    for arguments in (["ls"], ["get", "größe"], ["log"], ["export"], ["ls", "--no-json"], ["get", "größe", "--raw"]):
        assert run(*arguments, PYTHONIOENCODING="ascii").code == 0
    assert run("get", "größe", PYTHONIOENCODING="latin-1").lines == ["😀\x9b"]
