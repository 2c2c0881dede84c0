"""The changes of a patch as JSON: an operation is an object with one member, such as ``{"$increment": 1}``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ... import DELETE, Append, Increment, Maximum, Minimum, Prepend, Remove, Union
from ...format import limits

_MARK: Final = "$"
"""What the name of an operation begins with. A member of that name in a value is written with two of them."""

_NUMBERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "$increment": Increment,
    "$maximum": Maximum,
    "$minimum": Minimum,
}
_LISTS: Final[Mapping[str, Callable[..., object]]] = {
    "$append": Append,
    "$prepend": Prepend,
    "$union": Union,
    "$remove": Remove,
}
OPERATIONS: Final = ("$delete", *_NUMBERS, *_LISTS)
"""The names of the operations."""


def changes_of(raw: object) -> Any:
    """Return the argument of `mps3.MPS3.patch` that some JSON stands for.

    Args:
        raw: The JSON.

    Raises:
        ValueError: It is not an object, or has an operation that is not one, or one at a wrong place.
    """
    if not isinstance(raw, dict):
        raise ValueError(  # noqa: TRY004 - the caller shows both in the same way
            'they are not an object of members, such as \'{"title": "x"}\'; mps3 put replaces the whole value'
        )
    if "$delete" in raw:
        raise ValueError(
            '$delete is for a member of the value: \'{"name": {"$delete": true}}\'; mps3 delete deletes a key'
        )
    return _change(raw, "")


def _members(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    if len(where) > limits.PATCH or where.count("/") > limits.INLINE_DEPTH:
        raise ValueError(f"they nest more than {limits.INLINE_DEPTH} deep")
    return {_unmarked(name, where): _change(one, f"{where}/{name}") for name, one in raw.items()}


def _unmarked(name: str, where: str) -> str:
    if not name.startswith(_MARK):
        return name
    if name.startswith(_MARK * 2):
        return name.removeprefix(_MARK)
    if name in OPERATIONS:
        raise ValueError(
            f"{name} at {where or 'the top'} stands beside other members: an operation is an object of its own"
        )
    raise ValueError(
        f"{name!r:.80} at {where or 'the top'} is not an operation, which are {', '.join(OPERATIONS)}; a member of "
        f"that name is written {_MARK + name!r:.80}"
    )


def _change(raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        return raw
    if len(raw) != 1 or (name := next(iter(raw))) not in OPERATIONS:
        return _members(raw, where)
    operand = raw[name]
    if name == "$delete":
        if operand is not True:
            raise ValueError(f"$delete at {where} takes true, and nothing else")
        return DELETE
    if name in _NUMBERS:
        if isinstance(operand, bool) or not isinstance(operand, int | float):
            raise ValueError(f"{name} at {where or 'the top'} takes a number")
        return _NUMBERS[name](operand)
    if not isinstance(operand, list):
        raise ValueError(f'{name} at {where or "the top"} takes a list of items, such as {{"{name}": ["red"]}}')  # noqa: TRY004
    return _LISTS[name](*operand)
