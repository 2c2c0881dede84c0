"""What pending writes make of a state: values that lie over it, and patches that are applied to what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

import orjson

from ..content.patch import PendingPatch
from ..content.store import ValueStore
from ..content.value import PendingValue
from ..format.file_entry import FileEntry
from ..format.operations import NotApplicableError
from ..format.patches import errors_of, has_expired
from ..format.schema import format_time
from ..format.state import View
from ..format.update import patched
from ..types import DELETE, JSON, Delete
from .pending import Pending

_STATE: Final = object()
"""Below the first patch of a key that no other write is pending for."""

Below: TypeAlias = Callable[[Pending, View, float], Mapping[str, "PendingValue | FileEntry | None"]]
"""Returns what the pending writes before another one say of its keys, over a state at a moment."""
Laid: TypeAlias = "PendingValue | PatchStack | None"
"""The newest pending write of a key; ``None`` deletes it."""


class PatchStack:
    """A pending patch, and what is pending under it.

    Args:
        content: The patch.
        below: What is pending under it: a value, ``None`` for a deletion, another such stack, or the state.

    Attributes:
        seen: What the state said of the key when it was resolved last, and what that became.
    """

    __slots__ = ("below", "content", "seen")

    def __init__(self, content: PendingPatch, below: object = _STATE) -> None:
        self.content = content
        self.below = below
        self.seen: tuple[FileEntry | None, FileEntry | None] | None = None

    def resolve(self, file: FileEntry | None, moment: float) -> FileEntry | None:
        """Return what is said of the key.

        Args:
            file: What the state says of it.
            moment: The time at the store, in seconds since 1970.
        """
        if file is not None and has_expired(file, moment):
            file = None
        found, above = file, []
        node: object = self
        while isinstance(node, PatchStack):
            if node.seen is not None and node.seen[0] is file:
                found = node.seen[1]
                break
            above.append(node)
            node = node.below
        else:
            if node is not _STATE:
                found = None if node is None else file_of(cast("PendingValue", node))
        for one in reversed(above):
            found = patched(found, one.content.provisional, moment)
            one.seen = file, found
        return found


def file_of(content: PendingValue) -> FileEntry:
    """Return what a manifest would say of a pending value if it were inline, however large it is."""
    file: dict[str, Any] = {"version": content.name, "value": orjson.loads(content.body)}
    return file if content.expires is None else {**file, "expires": format_time(content.expires)}


def patched_over(content: PendingPatch, below: PendingValue | FileEntry | None, moment: float) -> FileEntry | None:
    """Return what a pending patch makes of what is under it.

    Args:
        content: The patch.
        below: What is said of the key; ``None`` if there is no such key.
        moment: The time at the store, in seconds since 1970.
    """
    return patched(file_of(below) if isinstance(below, PendingValue) else below, content.provisional, moment)


async def inapplicable_steps(
    content: PendingPatch, found: PendingValue | FileEntry | None, contents: ValueStore
) -> list[NotApplicableError]:
    """Return why steps of a patch do not apply to a value, which is fetched if it is not in memory.

    Args:
        content: The patch.
        found: What is said of the key; ``None`` if there is no such key.
        contents: The values.

    Raises:
        MPS3Error: The value cannot be fetched.
    """
    value: JSON | Delete = DELETE
    if isinstance(found, PendingValue):
        value = orjson.loads(found.body)
    elif found is not None:
        value = orjson.loads(await contents.fetch(content.bucket, content.key, found))
    return [error for error in errors_of(value, content.steps) if error is not None]


def lay(over: dict[str, Laid], changes: Mapping[str, PendingValue | None], under: Mapping[str, Laid]) -> None:
    """Lay the changes of a write over those before it.

    Args:
        over: What is changed.
        changes: The changes.
        under: Those before it, those in ``over`` included.
    """
    for name, content in changes.items():
        if isinstance(content, PendingPatch):
            over[name] = PatchStack(content, under.get(name, _STATE))
        elif content is None or content.rebases is None:
            over[name] = content


class ResolvedOverlay(Mapping[str, "PendingValue | FileEntry | None"]):
    """The newest pending value of each key over a state; ``None`` for a key to be deleted.

    Args:
        laid: The pending writes. They may change.
        view: The state.
        moment: The time at the store, in seconds since 1970.

    Attributes:
        moment: The same time. It may change.
    """

    def __init__(self, laid: Mapping[str, Laid], view: View, moment: float) -> None:
        self.moment = moment
        self._laid = laid
        self._view = view

    def is_over(self, laid: Mapping[str, Laid], view: View) -> bool:
        """Return whether it is made of these writes and this state."""
        return self._laid is laid and self._view is view

    def __getitem__(self, name: str) -> PendingValue | FileEntry | None:
        found = self._laid[name]
        if isinstance(found, PatchStack):
            return found.resolve(self._view.look_up(name), self.moment)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._laid

    def __iter__(self) -> Iterator[str]:
        return iter(self._laid)

    def __len__(self) -> int:
        return len(self._laid)
