"""Applying what a commit says to what was said before. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from copy import deepcopy
from typing import Any, Final

from json_merge_patch import merge

from .file_entry import FileEntry
from .layers import FrozenLayers
from .patches import BASE, WAITING, apply_patch, is_partial
from .schema import NOTHING

_EXPIRES: Final = frozenset(("expires", WAITING, BASE))
_MOVED: Final = frozenset(("value", "sha256", "size", WAITING, BASE))
_REPLACED: Final = _MOVED | _EXPIRES
_WHOLE: Final = ({"version", "sha256", "size"}, {"version", "value", "size"})
_BESIDE: Final = {"expires"}
_VALUE: Final = {"value"}


def apply_update(
    update: Mapping[str, Any], files: dict[str, FileEntry | None], under: FrozenLayers, moment: float = -math.inf
) -> None:
    """Apply a commit's update to ``files``, which lie over other layers.

    A deleted key that may be in one of those leaves a tombstone. What says all there is to say of a key replaces what
    was said, which is not even looked up.

    Args:
        update: What the commit says. Its runs are not applied.
        files: What is said of keys.
        under: What lies under them.
        moment: The store's time stamp of the commit, in seconds since 1970: a patch of what has expired begins anew.

    Raises:
        NotAtHandError: What lies under `names_needed` is not at hand.
    """
    for name, patch in update.get("files", NOTHING).items():
        after = None
        if patch is not None and is_whole(patch):
            after = patch
        elif patch is not None:
            after = patched(files[name] if name in files else under.look_up(name), patch, moment)
        if after is not None or under:
            files[name] = after
        else:
            files.pop(name, None)


def is_whole(change: Mapping[str, Any]) -> bool:
    """Return whether a commit says all there is to say of a key: what was said before does not matter."""
    if len(change) == 3 and change.get("size") is not None and change.get("version") is not None:
        return "value" in change or change.get("sha256") is not None  # as nearly all are
    members = change.keys() - _BESIDE
    return members in _WHOLE and change.get("expires", "") is not None and None not in map(change.get, members - _VALUE)


def names_needed(update: Mapping[str, Any]) -> list[str]:
    """Return the keys of which it matters for a commit what was said before."""
    files: Mapping[str, Any] = update.get("files", NOTHING)
    return [name for name, change in files.items() if change is not None and not is_whole(change)]


def patched(current: FileEntry | None, patch: Mapping[str, Any], moment: float = -math.inf) -> FileEntry | None:
    """What is said of a key after a commit that does not delete it; ``current`` stays as it is.

    An inline value is replaced as a whole, and null is one.

    Args:
        current: What was said before; ``None`` if there was no such key.
        patch: What the commit says.
        moment: The store's time stamp of the commit, in seconds since 1970.

    Returns:
        ``None`` if there was no such key, and what the commit says does not apply to nothing.
    """
    if is_whole(patch):
        return patch
    if is_partial(patch):
        return apply_patch(current, patch, moment)
    if current:
        outdated = _outdated(current, patch)
        current = {member: value for member, value in current.items() if member not in outdated}
    if any(isinstance(value, dict) for member, value in patch.items() if member != "value"):
        # `merge` changes its first argument, and entries are shared between states.
        beside = {member: value for member, value in patch.items() if member != "value"}
        merged: dict[str, Any] = merge(_without_value(current), beside)
        for file in (patch, current or NOTHING):
            if "value" in file:
                return {**merged, "value": file["value"]}
        return merged
    members = {**current, **patch} if current else patch
    return {member: value for member, value in members.items() if value is not None or member == "value"}


def _outdated(current: FileEntry, patch: Mapping[str, Any]) -> AbstractSet[str]:
    """The members that speak of the value before, and are gone with it."""
    # The time of one value is not that of the next (R19).
    new = patch.get("version") != current["version"]
    if "value" in patch:
        return _REPLACED if new else _MOVED
    if not new:
        return _MOVED if "value" in current and patch.get("sha256") is not None else frozenset()
    return _REPLACED if "value" in current else _EXPIRES


def _without_value(file: FileEntry | None) -> dict[str, Any]:
    return {member: deepcopy(value) for member, value in (file or NOTHING).items() if member != "value"}
