"""The initial listing of a watch."""

from __future__ import annotations

from collections.abc import Iterator

from ..format.file_entry import FileEntry
from ..format.state import View


class InitialListing:
    """The progress of a watch through the keys of one state.

    Attributes:
        view: The state.
        items: The files that have not been listed yet.
        name: The last name that has been delivered.
        chunk: The files whose values are being read.
        last: Whether it is the last chunk.
    """

    def __init__(self, view: View, items: Iterator[tuple[str, FileEntry]], name: str | None = None) -> None:
        self.view = view
        self.items = items
        self.chunk: list[tuple[str, FileEntry | None]] | None = None
        self.last = False
        self.name = name
