"""A view as a table in a notebook, which moves as the view changes."""

from __future__ import annotations

import asyncio
import contextlib
import html
from collections.abc import Coroutine, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from ..errors import MPS3Error
from ..text import printable

ROWS: Final = 20
"""Keys that are shown."""
WIDTH: Final = 80
"""Characters of a value that are shown."""
PAUSE: Final = 0.25
"""Seconds between two updates, at the least."""


class Table:
    """A table of the first keys of a view and their values."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def bundle(self) -> dict[str, str]:
        """Return it as text and as HTML."""
        values: Mapping[str, Any] = self._view
        rows = [(printable(key), _shown(value)) for key, value in islice(values.items(), ROWS)]
        more = len(values) - len(rows)
        lines = [f"{key}  {value}" for key, value in rows]
        cells = "".join(f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in rows)
        if more:
            lines.append(f"… and {more} more")
            cells += f"<tr><td colspan=2>… and {more} more</td></tr>"
        return {
            "text/plain": "\n".join([repr(self._view), *lines]),
            "text/html": f"<table><thead><tr><th>key</th><th>value</th></tr></thead><tbody>{cells}</tbody></table>",
        }

    def show(self) -> Coroutine[Any, Any, None] | None:
        """Show it in a notebook. Return what shows it anew after changes, until the view ends; ``None`` elsewhere."""
        from IPython.display import display  # noqa: PLC0415 - only there it is called

        show: Any = display
        handle = show(self.bundle(), raw=True, display_id=True)
        return None if handle is None else self._update(handle)

    async def _update(self, handle: Any) -> None:
        with contextlib.suppress(MPS3Error):  # whoever uses the view is told
            await self._view.loaded()
            handle.update(self.bundle(), raw=True)
            async for _ in self._view:
                await asyncio.sleep(PAUSE)  # what happens meanwhile is shown with it
                handle.update(self.bundle(), raw=True)


def _shown(value: object) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = repr(value)
    text = printable(text)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
