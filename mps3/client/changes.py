"""From the changes that a caller gives to the step of a patch. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar, Union

from ..format import limits
from ..format.operations import SET, Step, join, split
from ..format.values import encode
from ..types import DELETE, JSON, Delete
from .operations import Operation

Changes: TypeAlias = Union[Operation, Mapping[str, Union[JSON, Delete, "Changes"]]]
"""Names of members, and what becomes of each; or an operation, for the whole."""

_NOTHING: Final = object()

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class ValueChange:
    """What a write says of a key instead of a value.

    Attributes:
        step: How the value changes.
    """

    step: Step


def step_of(changes: Changes, key: str) -> Step:
    """Return the step that some changes are.

    Args:
        changes: Names of members, and for each of them its new value, `DELETE`, an `Operation`, or the changes of its
            own members. Or an `Operation` for the whole value.
        key: The key that they are for, for errors.

    Raises:
        TypeError: They are not a mapping of texts, or a value in it is not JSON.
        ValueError: A value cannot be stored, or they nest too deep.
    """
    if isinstance(changes, Operation):
        return operation_at(changes, "", key)
    if not isinstance(changes, Mapping):
        raise TypeError(
            f"the changes of {key!r} are a mapping of names to values, not {type(changes).__qualname__}: to replace "
            "the whole value use put"
        )
    operations: list[dict[str, Any]] = []
    merged = _merged(changes, (), operations, key)
    step: dict[str, Any] = {} if merged is _NOTHING and operations else {"merge": {} if merged is _NOTHING else merged}
    if operations:
        step["operations"] = operations
    return step


def steps_of(changes: Mapping[K, Changes]) -> dict[K, Step]:
    """Return the steps that the changes of several keys are.

    Args:
        changes: Keys, and the changes of each, as for `step_of`.

    Raises:
        TypeError: They are not a mapping, or as `step_of`.
        ValueError: They are too many, or as `step_of`.
    """
    if not isinstance(changes, Mapping):
        raise TypeError(f"the changes are a mapping of keys to their changes, not {type(changes).__qualname__}")
    if len(changes) > limits.MANY:
        raise ValueError(f"{len(changes)} keys are more than {limits.MANY}: make several calls")
    return {key: step_of(change, str(key)) for key, change in changes.items()}


def operation_at(operation: Operation, path: str, key: str) -> Step:
    """Return the step that applies one operation.

    Args:
        operation: The operation.
        path: Where it applies (RFC 6901); empty for the whole value.
        key: The key that it is for, for errors.

    Raises:
        TypeError: The path is not a text.
        ValueError: It is not a path, or nests too deep.
    """
    if not isinstance(path, str):
        raise TypeError(f"a path is a str, not {type(path).__qualname__}")
    try:
        names = split(path)
    except ValueError as error:
        raise ValueError(f"the path into {key!r} is not one: {error}") from None
    _check_depth(names, key)
    return {"operations": [_described(operation, names, key)]}


def _merged(changes: Mapping[Any, Any], names: tuple[str, ...], operations: list[dict[str, Any]], key: str) -> Any:
    """Return the merge patch that some changes are, and add what is none to ``operations``."""
    _check_depth(names, key)
    result: dict[str, Any] = {}
    for name, change in changes.items():
        if type(name) is not str:
            raise TypeError(f"the changes of {key!r} have the key {name!r}: the keys of JSON objects are texts")
        path = (*names, name)
        _checked(name, path, key)
        if isinstance(change, Operation | type):
            operations.append(_described(change, path, key))
            continue
        if change is DELETE:
            result[name] = None
        elif change is None:
            # A merge patch has no null, so it only makes the objects on the way.
            operations.append({"op": SET, "path": join(path), "value": None})
        elif isinstance(change, Mapping):
            inner = _merged(change, path, operations, key)
            if inner is _NOTHING:
                continue
            result[name] = inner
        else:
            result[name] = _checked(change, path, key)
    only_operations = changes and not result and all(isinstance(one, Operation | Mapping) for one in changes.values())
    return _NOTHING if only_operations else result


def _described(operation: Operation | type, names: tuple[str, ...], key: str) -> dict[str, Any]:
    if isinstance(operation, type):
        raise TypeError(
            f"the change of {join(names)} in {key!r} is the class {operation.__qualname__}, not a value of it"
        )
    return {"op": operation.name, "path": join(names), "value": _checked(operation.operand, names, key)}


def _checked(value: Any, names: tuple[str, ...], key: str) -> Any:
    """Return a value as JSON has it, or raise an error that says where it is not."""
    encode({join(names): value}, key)
    return value


def _check_depth(names: tuple[str, ...], key: str) -> None:
    if len(names) >= limits.INLINE_DEPTH:
        raise ValueError(f"the changes of {key!r} nest more than {limits.INLINE_DEPTH} deep")
