"""What the pages for developers say of the code is so: the rooms, the files that they name, and all public names."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import mps3
from mps3 import MPS3
from mps3.format import limits

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOM = re.compile(r"\b(\w+)(?:/|\.py)(?=\s)")
FILE = re.compile(r"`((?:\w+/)+\w+\.(?:py|md))`")

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is not beside the tests")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def layers() -> list[set[str]]:
    """The rooms of the import contract, from top to bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [{room.strip().removeprefix("mps3.") for room in layer.split(":")} for layer in contract["layers"]]


def test_the_picture_of_the_rooms_is_the_import_contract():
    picture = page("architecture.md").split("```text\n")[1].split("```")[0]
    drawn = [set(ROOM.findall(line[:28])) for line in picture.splitlines() if "─" not in line]
    assert drawn == layers()


def test_every_room_is_in_the_import_contract():
    rooms = {path.parent.name for path in (ROOT / "mps3").glob("*/__init__.py")}
    assert rooms <= set.union(*layers())


@pytest.mark.parametrize(
    "name", ["architecture.md", *(f"decisions/{path.name}" for path in DOCS.glob("decisions/*.md"))]
)
def test_the_files_that_a_page_names_exist(name):
    named = set(FILE.findall(page(name)))
    assert {file for file in named if not (ROOT / file).exists() and not (ROOT / "mps3" / file).exists()} == set()


def test_every_decision_is_listed_and_in_the_navigation():
    pages = {path.name for path in DOCS.glob("decisions/[0-9]*.md")}
    assert set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", page("decisions/index.md"))) == pages
    assert set(re.findall(r"decisions/(\d{4}-[\w-]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))) == pages


def test_the_cheat_sheet_has_every_public_name():
    text = page("cheatsheet.md")
    assert [name for name in mps3.__all__ if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("name", [name for name in dir(MPS3) if not name.startswith("_")])
def test_the_cheat_sheet_has_every_method_with_its_arguments(name):
    text = re.sub(r"```.*?```", "", page("cheatsheet.md"), flags=re.DOTALL)
    called = re.search(rf"\b(?:client|MPS3)\.{name}\(([^)]*(?:\(\)[^)]*)?)\)", text)
    assert called is not None
    said = re.findall(r"(?:^|, )\*{0,2}(\w+)", called[1])
    assert said == [argument for argument in inspect.signature(getattr(MPS3, name)).parameters if argument != "self"]


def test_the_cheat_sheet_has_every_argument_of_a_client():
    made = re.search(r"`MPS3\((.*)\)`", page("cheatsheet.md"))
    assert made is not None
    assert re.findall(r"(?:^|, )(?!\*)(\w+)", made[1]) == list(inspect.signature(MPS3).parameters)


def test_llms_txt_is_the_cheat_sheet_and_fits_into_a_prompt():
    text = page("cheatsheet.md")
    assert page("llms.txt") == text, "copy docs/cheatsheet.md to docs/llms.txt"
    assert len(text) <= 9_000


def test_every_limit_is_on_the_page_of_limits():
    section = page("keys.md").split("## Limits of keys and values")[1]
    numbers = {name: value for name, value in vars(limits).items() if isinstance(value, int)}
    assert len(numbers) > 15
    said = {name: f"{value >> 20} MiB" if value % 2**20 == 0 else f"{value:,}" for name, value in numbers.items()}
    assert {name: text for name, text in said.items() if not re.search(rf"\b{text}\b", section)} == {}
