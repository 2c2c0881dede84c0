"""Completion in the shells there are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mps3.cli.base import key_completion
from mps3.cli.base.positionals import rejoin_urls

from .conftest import PATIENCE, environment

TRIALS = [("mps3 get us", {"users/ann", "users/bob"}), ("mps3 ls --prof", {"--profile"})]

# What the shells call: the module that is tested, under the name of the command.
COMMAND = f'#!/bin/sh\nexec "{sys.executable}" -m mps3 "$@"\n'

BASH = """
source "$1"
COMP_WORDS=($2); COMP_CWORD=$((${#COMP_WORDS[@]}-1))
_mps3_completion mps3
printf '%s\\n' "${COMPREPLY[@]}"
"""
# What zsh itself would offer takes a terminal; this is what the function hands over to it.
ZSH = """
compdef() { }
_describe() { print -rl -- ${${(P)${@[-2]}}%%:*} }
compadd() { print -rl -- "${(P)${@[-1]}[@]}" }
source "$1"
words=(${=2}); CURRENT=$#words
_mps3_completion
"""
FISH = "source $argv[1]; complete -C $argv[2]"


@pytest.fixture
def complete(mps3, url, tmp_path):
    """Lets a shell complete a line."""
    mps3("put", "users/ann", "1")
    mps3("put", "users/bob", "1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mps3").write_text(COMMAND)
    (tmp_path / "bin" / "mps3").chmod(0o755)

    def call(shell: str, line: str) -> set[str]:
        script = tmp_path / shell
        script.write_text(mps3("completion", shell).out)
        arguments = {
            "bash": ["bash", "--norc", "-c", BASH, "bash"],
            "zsh": ["zsh", "-f", "-c", ZSH, "zsh"],
            "fish": ["fish", "--no-config", "-c", FISH],
        }[shell]
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        ran = subprocess.run(
            [*arguments, str(script), line], capture_output=True, text=True, check=True, timeout=PATIENCE,
            env=environment(PATH=path, MPS3_URL=url, HOME=str(tmp_path)),
        )  # fmt: skip
        return {found.partition("\t")[0] for found in ran.stdout.splitlines() if found}

    return call


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_keys_and_options(complete, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    for line, offered in TRIALS:
        assert complete(shell, line) == offered, line


def test_what_is_offered_after_which_words(mps3, url, monkeypatch, capfd):
    mps3("put", "users/ann", "1")
    monkeypatch.setattr(key_completion, "_TIMEOUT", PATIENCE)
    monkeypatch.setenv("_MPS3_COMPLETE", "bash_complete")
    for words, offered in (
        ("mps3\nwat", ["watch"]),
        ("mps3\nget\nus", ["users/ann"]),
        ("mps3\nls\nnobody", []),
        ("mps3\nput\nusers/ann\nus", []),  # a value
        (f"mps3\nget\n{url.replace(':', chr(10) + ':' + chr(10))}\nus", ["users/ann"]),
        ("mps3\nls\nfile:///nowhere/at/all\nus", []),
        ("mps3\nls\n--profile\nnobody\ns3://bucket\nus", []),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count("\n")))
        with pytest.raises(SystemExit) as ended:
            mps3()
        found = capfd.readouterr()
        assert (ended.value.code, found.err) == (0, ""), words
        assert found.out.split() == [f"plain,{one}" for one in offered], words


def test_urls_are_put_together_again():
    assert rejoin_urls(["s3", ":", "//b/m?a", "=", "http", "us"]) == ["s3://b/m?a=http", "us"]
    assert rejoin_urls(["a", ":", "b", ""]) == ["a", ":", "b", ""]
    assert rejoin_urls([]) == []


def test_which_shell(mps3, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert mps3("completion").out == mps3("completion", "fish").out != ""
    monkeypatch.setenv("SHELL", str(Path("/bin/tcsh")))
    found = mps3("completion")
    assert found.code == 2 and "which shell?" in found.err
