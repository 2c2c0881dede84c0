"""How the commits of one manifest get their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..document import Kind
from ..state import View


@dataclass(slots=True)
class Attempt:
    """One commit on its way, from the first try until it is acknowledged.

    Attributes:
        sequence: Its place in the session; every repetition has the same.
        update: The change.
        doubtful: Whether an earlier try may have reached the store.
        tries: How often it was written, so that no two versions are the same to the byte, or to their ETag.
    """

    sequence: int
    update: Mapping[str, Any]
    doubtful: bool = False
    tries: int = 0


class Journal(Protocol):
    """Orders the commits of one manifest. Its calls are made one at a time."""

    @property
    def kind(self) -> Kind:
        """What documents call it."""
        ...

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        ...

    @property
    def view(self) -> View:
        """The newest state that was resolved; it only moves forward (R13)."""
        ...

    async def resolve(self) -> bool:
        """Look for what others committed: one conditional GET when there is nothing new.

        Returns:
            Whether `view` is another now.

        Raises:
            CorruptionError: The manifest is not one.
            FormatError: A newer client wrote it.
        """
        ...

    async def append(self, attempt: Attempt) -> None:
        """Try to commit. When it returns, the commit is acknowledged and part of `view`.

        Raises:
            UnavailableError: Not known to be committed; call again with the same attempt.
            MPS3Error: It can not be committed.
        """
        ...
