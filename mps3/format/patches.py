"""What a manifest says of a key after a patch, and the value that this is. Pure.

A patch is applied at its place in the order, to whatever the value is there. Where that is inline, the new value takes
its place. Where it is an object of its own, or has become too large to be inline, the patches wait in front of it, and
who reads the value applies them. From time to time a client stores the value that they make, in a commit that
*rebases*.

The version of a patched value depends on the version that it was made of: a commit that becomes visible late, below a
patch, is seen in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

import orjson

from ..types import DELETE, JSON, Delete
from . import limits
from .operations import NotApplicableError, Step, check_steps, fold
from .schema import MalformedError, as_list, as_object, as_text, depth_of
from .values import compact

PATCH: Final = "patch"
"""The member of a commit's change that holds the steps of a patch."""
REBASES: Final = "rebases"
"""The member of a commit's change that names the version whose value it stores."""
WAITING: Final = "patches"
"""The member of a file that holds the patches that wait in front of its value."""
BASE: Final = "base"
"""The member of a file that names the version of the object in front of which they wait, or waited."""
_MARK: Final = "~"


def is_patch(change: Mapping[str, Any] | None) -> bool:
    """Return whether a commit's change of a key says how its value changes, instead of what it becomes."""
    return change is not None and PATCH in change


def is_rebase(change: Mapping[str, Any] | None) -> bool:
    """Return whether a commit's change of a key stores the value that is there, and changes nothing."""
    return change is not None and REBASES in change


def is_partial(change: Mapping[str, Any] | None) -> bool:
    """Return whether what a commit's change of a key makes depends on what was said before."""
    return is_patch(change) or is_rebase(change)


def stored_version(file: Mapping[str, Any]) -> str:
    """Return the version of the object that holds the value of a file, or the value that its patches wait for."""
    return cast("str", file.get(BASE, file["version"]))


def comes_from(version: str | None, patch: str | None) -> bool:
    """Return whether a version is the one that a write has made.

    Args:
        version: The version of a file.
        patch: The version that the write has named.
    """
    return version == patch or (version is not None and patch is not None and version.startswith(patch + _MARK))


def apply_patch(
    current: Mapping[str, Any] | None, change: Mapping[str, Any], moment: float
) -> Mapping[str, Any] | None:
    """Return what is said of a key after a commit that patches or rebases it. What was said stays as it is.

    Args:
        current: What was said; ``None`` if there was no such key.
        change: The commit's change of the key.
        moment: The store's time stamp of the commit, in seconds since 1970. What has expired by then is not there.
    """
    if REBASES in change:
        return _rebased(current, change)
    if current is not None and has_expired(current, moment):
        current = None
    steps = change[PATCH]
    made = {"version": _version(None if current is None else current["version"], change["version"])}
    expires = change.get("expires") or (None if current is None else current.get("expires"))
    if expires is not None:
        made["expires"] = expires
    if current is not None and ("value" not in current or WAITING in current):
        return _waiting(current, steps, made)
    value, errors = fold(DELETE if current is None else current["value"], steps)
    if all(errors):
        return current
    if (size := inline_size(value)) is None:
        return _waiting(current, steps, made) if current is not None else None
    return {"version": made["version"], "value": value, "size": size, **made}


def has_expired(file: Mapping[str, Any], moment: float) -> bool:
    """Return whether a file has expired at a moment, in seconds since 1970."""
    expires = file.get("expires")
    return expires is not None and datetime.fromisoformat(expires).timestamp() <= moment


def inline_size(value: JSON | Delete) -> int | None:
    """Return the bytes of a value as JSON; ``None`` if it cannot be inline."""
    try:
        body = orjson.dumps(value)
    except TypeError:
        return None  # it nests too deep
    if len(body) > limits.INLINE:
        return None
    if body.count(b"[") + body.count(b"{") >= limits.INLINE_DEPTH and (
        depth_of(value, limits.INLINE_DEPTH) > limits.INLINE_DEPTH
    ):
        return None
    return len(body)


def _version(before: str | None, patch: str) -> str:
    digest = hashlib.blake2b(b"" if before is None else before.encode(), digest_size=6).hexdigest()
    return patch + _MARK + digest


def _waiting(current: Mapping[str, Any], steps: Sequence[Step], made: Mapping[str, Any]) -> Mapping[str, Any]:
    earlier = current.get(WAITING, ())
    patches = [*earlier, {"version": made["version"], "steps": steps}]
    if len(patches) > limits.STEPS or len(orjson.dumps(patches)) > limits.WAITING:
        return current  # nobody has stored the value for long; what is said of a key has a limit
    members = {name: one for name, one in current.items() if name not in ("expires", WAITING)}
    if "value" not in current:
        members[BASE] = stored_version(current)
    return {**members, **made, WAITING: patches}


def _rebased(current: Mapping[str, Any] | None, change: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if current is None:
        return None
    patches = current.get(WAITING, ())
    if current["version"] == change[REBASES]:
        left: list[Any] = []
    else:
        place = next((place for place, one in enumerate(patches) if one["version"] == change[REBASES]), None)
        if place is None:
            return current  # it was replaced, or stored by another client
        left = list(patches[place + 1 :])
    dropped = ("value", "sha256", "size", WAITING, BASE)
    members = {name: one for name, one in current.items() if name not in dropped}
    members |= {name: change[name] for name in ("sha256", "size") if change.get(name) is not None}
    return {**members, BASE: change["version"], **({WAITING: left} if left else {})}


def patched_body(file: Mapping[str, Any], base: JSON) -> bytes:
    """Return the bytes of the value of a file whose patches wait, without those that do not apply.

    Args:
        file: The file.
        base: The value that they wait for.
    """
    steps = [step for patch in file.get(WAITING, ()) for step in patch["steps"]]
    try:
        return compact(orjson.dumps(fold(base, steps)[0]))
    except TypeError:
        value = base  # one of them makes it nest deeper than it can be written
    for step in steps:
        after, _ = fold(value, [step])
        if _can_be_written(after):
            value = cast("JSON", after)
    return compact(orjson.dumps(value))


def _can_be_written(value: JSON | Delete) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def errors_of(value: JSON | Delete, steps: Sequence[Step]) -> list[NotApplicableError | None]:
    """Return for each step of a patch why it does not apply to a value, if it does not."""
    return fold(value, steps)[1]


def check_patch(raw: Mapping[str, Any], where: str, *, change: bool) -> None:
    """Refuse members of a file, or of a commit's change, that are not those of patches.

    Args:
        raw: The file, or the change.
        where: Where it stands, for the error.
        change: Whether it is the change of a commit.

    Raises:
        MalformedError: They are not.
    """
    for member in (PATCH, REBASES) if not change else (WAITING, BASE):
        if member in raw:
            place = "in states only" if change else "in commits only"
            raise MalformedError(f"{where} has a member {member}, which stands {place}")
    if PATCH in raw:
        check_steps(raw[PATCH], f"{where}.{PATCH}")
        if "value" in raw or raw.get("sha256") is not None or REBASES in raw:
            raise MalformedError(f"{where} has a patch, and a value")
    if REBASES in raw:
        as_text(raw[REBASES], f"{where}.{REBASES}")
        if "value" in raw:
            raise MalformedError(f"{where} stores a value, and has one")
    if BASE in raw:
        as_text(raw[BASE], f"{where}.{BASE}")
        if "value" in raw:
            raise MalformedError(f"{where} has a value, and a stored one")
    if WAITING in raw:
        for number, one in enumerate(as_list(raw[WAITING], f"{where}.{WAITING}", limits.STEPS)):
            at = f"{where}.{WAITING}[{number}]"
            as_text(as_object(one, at).get("version"), f"{at}.version")
            check_steps(one.get("steps"), f"{at}.steps")
        if (size := len(orjson.dumps(raw[WAITING]))) > limits.WAITING:
            raise MalformedError(f"{where}.{WAITING} has {size} bytes, more than {limits.WAITING}")
