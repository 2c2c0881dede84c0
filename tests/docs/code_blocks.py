"""The blocks of code in the pages."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    needs: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    async def run(self, namespace: dict[str, Any]) -> list[str]:
        """Run it as the REPL of asyncio would; what it printed."""
        source = "\n" * self.line + self.code  # tracebacks show the line in the page
        code = compile(source, str(ROOT / self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            result = eval(code, namespace)
            if inspect.isawaitable(result):
                await result
        return printed.getvalue().splitlines()

    def expected(self) -> list[str]:
        return re.findall(r"^ *print\(.*\)  # (.*)$", self.code, re.MULTILINE)


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        Block(page, text[: match.start("fence")].count("\n") + 1, match["language"], match["code"], match["needs"])
        for match in re.finditer(
            r"^(?:<!-- needs: (?P<needs>\w+) -->\n)?(?P<fence>```)(?P<language>.*)\n(?P<code>(?s:.*?))^```$",
            text,
            re.MULTILINE,
        )
    ]
    assert len(found) == len(re.findall("^ *```", text, re.MULTILINE)) / 2, "a fence was not understood"
    return found


def python(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]
