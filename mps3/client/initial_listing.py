"""The initial listing of a watch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..format.file_entry import FileEntry
from ..format.state import View


@dataclass(slots=True)
class InitialListing:
    """The progress of a watch through the keys of one state.

    Attributes:
        view: The state.
        items: The files that have not been listed yet.
        name: The last name that has been delivered.
        chunk: The files whose values are being read.
        last: Whether it is the last chunk.
    """

    view: View
    items: Iterator[tuple[str, FileEntry]]
    name: str | None = None
    chunk: list[tuple[str, FileEntry | None]] | None = None
    last: bool = False
