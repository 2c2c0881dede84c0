"""Operations on parts of a JSON value, and the steps that a patch consists of. Pure.

A step is a merge patch (RFC 7386), or a list of operations with paths (RFC 6901), or both. It applies as a whole, or
not at all. Everybody computes the same value of it: the order of the members of objects is that of their insertion,
integers have 64 bits, and numbers that are not integers are IEEE 754 doubles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import orjson

from ..types import DELETE, JSON, Delete
from . import limits
from .schema import MalformedError, as_list, as_object, check_depth, check_unknown

Step: TypeAlias = Mapping[str, Any]
"""``merge``: a merge patch; ``operations``: objects with ``op``, ``path`` and ``value``."""

_Function: TypeAlias = Callable[[Any, Any, str], Any]
"""Makes the new part, given the one that is there, the operand, and the path for errors."""

SET: Final = "set"
"""The operation that sets a part to any value, null included, which a merge patch removes."""
_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**64 - 1
DIGITS: Final = 9
"""Digits of an index of a list at the most. No value has so many items."""
FEW: Final = 64
"""Items that are looked for one by one. Of more, everything that is there is encoded once."""
_PLAIN: Final = frozenset((int, str, bool))
"""Types of which equal items of one type are the same item. 0.0 and -0.0 are not."""
_MEMBERS: Final = frozenset(("op", "path", "value"))


class NotApplicableError(ValueError):
    """A step cannot be applied to the value that is there. The message says why."""


def apply_step(value: JSON | Delete, step: Step) -> JSON:
    """Return the value after a step. Neither is changed.

    Args:
        value: The value that is there; `DELETE` if there is none.
        step: The step.

    Raises:
        NotApplicableError: It cannot be applied.
    """
    result: Any = value
    if "merge" in step:
        result = _merged(value, step["merge"])
    for operation in step.get("operations", ()):
        function = _OPERATIONS[operation["op"]]
        result = _change(result, split(operation["path"]), 0, function, operation["value"])
    return {} if result is DELETE else result


def _merged(value: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    # The library for merge patches changes its first argument. Values are shared between states, and copying a large
    # one for each of many steps would stop the event loop.
    result = dict(value) if isinstance(value, dict) else {}
    for name, part in changes.items():
        if part is None:
            result.pop(name, None)
        elif isinstance(part, dict):
            result[name] = _merged(result.get(name), part)
        else:
            result[name] = part
    return result


def fold(value: JSON | Delete, steps: Sequence[Step]) -> tuple[JSON | Delete, list[NotApplicableError | None]]:
    """Return the value after several steps, and for each of them why it was left out, if it was."""
    errors: list[NotApplicableError | None] = []
    for step in steps:
        try:
            value = apply_step(value, step)
        except NotApplicableError as error:
            errors.append(error)
        else:
            errors.append(None)
    return value, errors


def joined(first: Step, second: Step) -> Step | None:
    """Return one step that does what two do one after the other; ``None`` if there is no simple one."""
    if "merge" in first or "merge" in second:
        if "operations" in first or "operations" in second:
            return None
        if not (_is_flat(first["merge"]) and _is_flat(second["merge"])):
            return None
        # What is removed and comes back is the last member of its object; what is only changed stays where it is.
        if any(part is not None and first["merge"].get(name, part) is None for name, part in second["merge"].items()):
            return None
        return {"merge": {**first["merge"], **second["merge"]}}
    earlier, later = first["operations"], second["operations"]
    if [(one["op"], one["path"]) for one in earlier] != [(one["op"], one["path"]) for one in later]:
        return None
    if len(earlier) > 1 and _overlap([split(one["path"]) for one in earlier]):
        return None
    together = []
    for one, other in zip(earlier, later, strict=True):
        value = _both(one["op"], one["value"], other["value"])
        if value is None:
            return None
        together.append({**one, "value": value})
    return {"operations": together}


def _is_flat(changes: Mapping[str, Any]) -> bool:
    return not any(isinstance(part, dict) for part in changes.values())


def _overlap(paths: list[tuple[str, ...]]) -> bool:
    """Return whether one of some parts is another one, or in another one."""
    paths.sort()  # what is in a part comes right after it
    return any(later[: len(one)] == one for one, later in pairwise(paths))


def _both(name: str, first: Any, second: Any) -> Any:
    match name:
        case "add":
            exact = type(first) is int and type(second) is int and _SMALLEST <= first + second <= _LARGEST
            return first + second if exact else None
        case "append":
            return [*first, *second]
        case "prepend":
            return [*second, *first]
        case "union" | "remove":
            return _union(first, second)
        case "max":
            return max(first, second)
        case "min":
            return min(first, second)
    return None


def split(path: str) -> tuple[str, ...]:
    """Return the names in a path (RFC 6901).

    Raises:
        ValueError: It is not a path.
    """
    if not path:
        return ()
    if not path.startswith("/"):
        raise ValueError(f"a path begins with a slash, or is empty for the whole value: {path!r:.80}")
    parts = path[1:].split("/")
    for part in parts:
        if "~" in part.replace("~0", "").replace("~1", ""):
            raise ValueError(f"in a path a tilde is written ~0, and a slash in a name ~1: {path!r:.80}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def join(names: Sequence[str]) -> str:
    """Return the path that some names are (RFC 6901)."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def _change(value: Any, names: Sequence[str], depth: int, function: _Function, operand: Any) -> Any:
    if depth == len(names):
        return function(value, operand, join(names))
    name = names[depth]
    if value is DELETE:
        value = {}
    if isinstance(value, dict):
        return {**value, name: _change(value.get(name, DELETE), names, depth + 1, function, operand)}
    where = join(names[:depth])
    if not isinstance(value, list):
        raise NotApplicableError(f"{_at(where)} is {_kind(value)}, which has no part {name!r:.80}")
    if not _is_index(name) or int(name) >= len(value):
        raise NotApplicableError(f"{_at(where)} is a list of {len(value)}, which has no part {name!r:.80}")
    place = int(name)
    return [*value[:place], _change(value[place], names, depth + 1, function, operand), *value[place + 1 :]]


def _is_index(name: str) -> bool:
    # Of too many digits the interpreter makes no number.
    return name.isascii() and name.isdigit() and len(name) <= DIGITS and (name == "0" or name[0] != "0")


def _at(path: str) -> str:
    return f"{path:.80}" if path else "the value"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "a boolean"), (int, "a number"), (float, "a number"), (str, "a text"), (list, "a list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "an object")


def _number(value: Any, path: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotApplicableError(f"{_at(path)} is {_kind(value)}, not a number")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if value is DELETE:
        return []
    if not isinstance(value, list):
        raise NotApplicableError(f"{_at(path)} is {_kind(value)}, not a list")
    return value


def _set(_: Any, operand: Any, __: str) -> Any:
    return operand


def _add(value: Any, operand: float, path: str) -> int | float:
    number = 0 if value is DELETE else _number(value, path)
    try:
        result = number + operand
    except OverflowError:  # an integer of 64 bits is never too large for a double, what is in a bucket may be
        result = math.inf
    fits = math.isfinite(result) if isinstance(result, float) else _SMALLEST <= result <= _LARGEST
    if not fits:
        raise NotApplicableError(f"{_at(path)} would overflow: {number} + {operand}")
    return result


def _max(value: Any, operand: float, path: str) -> int | float:
    return operand if value is DELETE or operand > _number(value, path) else value


def _min(value: Any, operand: float, path: str) -> int | float:
    return operand if value is DELETE or operand < _number(value, path) else value


def _append(value: Any, operand: list[Any], path: str) -> list[Any]:
    return [*_list(value, path), *operand]


def _prepend(value: Any, operand: list[Any], path: str) -> list[Any]:
    return [*operand, *_list(value, path)]


def _add_missing(value: Any, operand: list[Any], path: str) -> list[Any]:
    return _union(_list(value, path), operand)


def _union(value: Sequence[Any], items: Sequence[Any]) -> list[Any]:
    result = list(value)
    if len(items) <= FEW:
        for item in items:
            if not _holds(result, item):
                result.append(item)
        return result
    there = {_identity(one) for one in value}
    for item in items:
        if (identity := _identity(item)) not in there:
            there.add(identity)
            result.append(item)
    return result


def _holds(items: Sequence[Any], item: Any) -> bool:
    """Return whether an item is there. 1, 1.0 and true are equal, and different items."""
    if item not in items:
        return False
    identity = _identity(item)
    return any(_identity(one) == identity for one in items if type(one) is type(item) and one == item)


def _remove(value: Any, operand: list[Any], path: str) -> list[Any]:
    there = _list(value, path)
    unwanted = {_identity(one) for one in operand if len(operand) > FEW or one in there}
    return [one for one in there if _identity(one) not in unwanted] if unwanted else list(there)


def _identity(item: object) -> object:
    # A list has thousands of items, and each of many operations looks at all of them.
    if type(item) in _PLAIN:
        return type(item), item
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


_OPERATIONS: Final[Mapping[str, _Function]] = {
    SET: _set,
    "add": _add,
    "max": _max,
    "min": _min,
    "append": _append,
    "prepend": _prepend,
    "union": _add_missing,
    "remove": _remove,
}
_NUMBERS: Final = frozenset(("add", "max", "min"))


def check_steps(raw: object, where: str) -> None:
    """Refuse what is not a list of steps.

    Args:
        raw: The list.
        where: Where it stands, for the error.

    Raises:
        MalformedError: It is not one.
    """
    for number, step in enumerate(as_list(raw, where, limits.STEPS)):
        _check_step(as_object(step, f"{where}[{number}]"), f"{where}[{number}]")
    if (size := len(orjson.dumps(raw))) > limits.PATCH:
        raise MalformedError(f"{where} has {size} bytes, more than {limits.PATCH}")


def _check_step(step: Mapping[str, Any], where: str) -> None:
    if "merge" in step:
        check_depth(as_object(step["merge"], f"{where}.merge"), f"{where}.merge", limits.INLINE_DEPTH)
    for number, one in enumerate(as_list(step.get("operations", []), f"{where}.operations", limits.STEPS)):
        _check_operation(as_object(one, f"{where}.operations[{number}]"), f"{where}.operations[{number}]")
    for member, value in step.items():
        if member not in ("merge", "operations"):
            check_unknown(value, f"{where}.{member}")


def _check_operation(one: Mapping[str, Any], where: str) -> None:
    if one.keys() != _MEMBERS:
        raise MalformedError(f"{where} does not have op, path and value, and nothing else")
    name, path, value = one["op"], one["path"], one["value"]
    if not isinstance(name, str) or name not in _OPERATIONS:
        raise MalformedError(f"{where}.op is unknown: {name!r:.80}")
    if not isinstance(path, str):
        raise MalformedError(f"{where}.path is not a text")
    try:
        names = split(path)
    except ValueError as error:
        raise MalformedError(f"{where}.path: {error}") from None
    if len(names) >= limits.INLINE_DEPTH:
        raise MalformedError(f"{where}.path is more than {limits.INLINE_DEPTH} deep")
    if name in _NUMBERS:
        if type(value) not in (int, float):
            raise MalformedError(f"{where}.value is not a number")
    elif name != SET:
        as_list(value, f"{where}.value", limits.PARTS)
    check_depth(value, f"{where}.value", limits.INLINE_DEPTH)
