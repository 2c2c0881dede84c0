"""The initial listing of a watch."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from ..format.file_entry import FileEntry
from ..format.state import View

Files: TypeAlias = "AsyncGenerator[list[tuple[str, FileEntry]]]"


class InitialListing:
    """The progress of a watch through the keys of one state.

    Args:
        view: The state, as it looked when the listing began.
        files: Returns the files of a state behind a name, some at a time.
        name: The last name that has been delivered.

    Attributes:
        view: The state.
        name: The last name that has been delivered.
        chunk: The files whose values are being read.
        last: Whether it is the last chunk.
    """

    def __init__(self, view: View, files: Callable[[View, str | None], Files], name: str | None = None) -> None:
        self.view = view
        self.name = name
        self.chunk: list[tuple[str, FileEntry | None]] | None = None
        self.last = False
        self._files = files
        self._parts = files(view, name)
        self._found: deque[tuple[str, FileEntry]] = deque()
        self._complete = False

    async def take(self, most: int) -> list[tuple[str, FileEntry | None]]:
        """Take the next chunk, and return it.

        Args:
            most: How many files, at the most.

        Raises:
            MPS3Error: They cannot be read; it can be called again.
        """
        while len(self._found) < most and not self._complete:
            try:
                self._found.extend(await anext(self._parts))
            except StopAsyncIteration:
                self._complete = True
            except BaseException:
                self._parts = self._files(self.view, self._found[-1][0] if self._found else self.name)
                raise
        self.chunk = [self._found.popleft() for _ in range(min(most, len(self._found)))]
        self.last = self._complete and not self._found
        return self.chunk
