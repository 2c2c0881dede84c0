"""What a patch may say of a part of a value, other than what it becomes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..types import JSON


class Operation:
    """A change of a part of a value that depends on what is there.

    Use one of its subclasses as a member of the changes of `MPS3.patch`.

    Attributes:
        name: The name of the operation in a manifest.
    """

    __slots__ = ()
    name: ClassVar[str]

    @property
    def operand(self) -> Any:
        """What the operation is applied with."""
        raise NotImplementedError


def _number(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} takes a number, not {type(value).__qualname__}")
    if not math.isfinite(value):
        raise ValueError(f"{what} takes a finite number, not {value}")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(f"{what} takes an integer of 64 bits, not {value}")


@dataclass(frozen=True, slots=True)
class Increment(Operation):
    """Add to a number. Where there is none, count from zero.

    Args:
        by: The number to add; it may be negative.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not finite, or an integer of more than 64 bits.
    """

    name: ClassVar[str] = "add"
    by: int | float = 1

    def __post_init__(self) -> None:
        _number(self.by, "Increment")

    @property
    def operand(self) -> Any:
        """The number to add."""
        return self.by


@dataclass(frozen=True, slots=True)
class Extreme(Operation):
    """A choice between two numbers: the one that is there, and this one.

    Args:
        number: The number to compare with. Where there is none, it becomes the value.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not finite, or an integer of more than 64 bits.
    """

    number: int | float

    def __post_init__(self) -> None:
        _number(self.number, type(self).__name__)

    @property
    def operand(self) -> Any:
        """The number to compare with."""
        return self.number


class Maximum(Extreme):
    """Keep the larger one of two numbers: the one that is there, or this one."""

    __slots__ = ()
    name: ClassVar[str] = "max"


class Minimum(Extreme):
    """Keep the smaller one of two numbers: the one that is there, or this one."""

    __slots__ = ()
    name: ClassVar[str] = "min"


@dataclass(frozen=True, slots=True, init=False)
class ListOperation(Operation):
    """A change of a list. Where there is none, the list is empty.

    Attributes:
        items: The JSON values that it is changed with.
    """

    items: tuple[JSON, ...] = field()

    def __init__(self, *items: JSON) -> None:
        object.__setattr__(self, "items", items)

    @property
    def operand(self) -> Any:
        """The items."""
        return list(self.items)


class Append(ListOperation):
    """Add items at the end of a list."""

    __slots__ = ()
    name: ClassVar[str] = "append"


class Prepend(ListOperation):
    """Add items at the beginning of a list, in the order given."""

    __slots__ = ()
    name: ClassVar[str] = "prepend"


class Union(ListOperation):
    """Add those items at the end of a list that are not in it. 1 and 1.0 are different items."""

    __slots__ = ()
    name: ClassVar[str] = "union"


class Remove(ListOperation):
    """Remove all items from a list that are equal to one of these. 1 and 1.0 are different items."""

    __slots__ = ()
    name: ClassVar[str] = "remove"
