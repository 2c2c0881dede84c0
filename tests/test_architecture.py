"""The house stays as its plan says: rooms, sizes, no circles, nothing private borrowed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MPS3 = Path(__file__).parent.parent / "mps3"
ROOMS = {path.parent.name for path in MPS3.glob("*/__init__.py")}
MOST_LINES = 400

pytestmark = pytest.mark.skipif(not MPS3.is_dir(), reason="the source is not beside the tests")

FILES = sorted(MPS3.rglob("*.py"))


def imports(file: Path) -> list[tuple[str, ast.ImportFrom]]:
    """What a file imports from this package: the module's full name, and the statement."""
    package = file.relative_to(MPS3.parent).with_suffix("").parts
    package = package[:-1]
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            found.append((".".join([*base, *(node.module.split(".") if node.module else [])]), node))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mps3":
            found.append((node.module, node))
    return found


def module_of(file: Path) -> str:
    parts = file.relative_to(MPS3.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_few_files_are_at_the_root():
    assert {path.name for path in MPS3.glob("*.py")} <= {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "text.py",
        "types.py",
    }


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_each_room_says_what_lives_in_it(room):
    text = ast.get_docstring(ast.parse((MPS3 / room / "__init__.py").read_text(encoding="utf-8")))
    assert text is not None and text.count(".") >= 2, "two or three sentences: what lives there, and what may not"


def test_no_file_is_long():
    long = {str(file.relative_to(MPS3)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


def test_nothing_private_is_imported_from_another_file():
    borrowed = [
        (str(file.relative_to(MPS3)), module, name.name)
        for file in FILES
        for module, node in imports(file)
        for name in node.names
        if name.name.startswith("_") and not name.name.startswith("__")
    ]
    assert borrowed == []


def test_no_modules_import_each_other_in_a_circle():
    modules = {module_of(file): file for file in FILES}
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for name, file in modules.items():
        for module, node in imports(file):
            for imported in node.names:
                inner = f"{module}.{imported.name}"
                edges[name].add(inner if inner in modules else module)
    left = {name: {other for other in others if other in modules and other != name} for name, others in edges.items()}
    while free := [name for name, others in left.items() if not others]:
        for name in free:
            del left[name]
        for others in left.values():
            others.difference_update(free)
    while useless := [name for name in left if not any(name in others for others in left.values())]:
        for name in useless:  # it only imports a circle
            del left[name]
    assert sorted(left) == []


SDKS = {"aiobotocore": "s3", "botocore": "s3", "obstore": "obstore"}


def test_only_one_room_imports_each_sdk():
    guilty = [
        str(file.relative_to(MPS3))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if file.parent.name != SDKS.get(name.split(".")[0], file.parent.name)
    ]
    assert guilty == []
