"""Which keys of a long list a call returns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest
from typing import TypeVar

from ..format.names import Naming

T = TypeVar("T")


def check_page(limit: int | None, after: str | None) -> None:
    """Check the arguments of a page.

    Raises:
        TypeError: ``limit`` is not a whole number, or ``after`` is not a key.
        ValueError: ``limit`` is not positive.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise TypeError(f"limit is a number of keys, not {type(limit).__qualname__}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is a number of keys from 1, not {limit}")
    if after is not None and not isinstance(after, str):
        raise TypeError(f"after is a key as `keys` returns it, not {type(after).__qualname__}")


def page_of(
    found: Iterable[tuple[str, T]], naming: Naming, limit: int | None, after: str | None
) -> list[tuple[str, T]]:
    """Return a part of the names and of what belongs to each, in the order of their labels.

    Args:
        found: All names, in any order.
        naming: Their labels.
        limit: How many, at the most; ``None``: all.
        after: Only those whose label follows this one.
    """
    label: Callable[[tuple[str, T]], str] = lambda item: naming.label(item[0])  # noqa: E731 - it is used twice
    if after is not None:
        found = (item for item in found if label(item) > after)
    return sorted(found, key=label) if limit is None else nsmallest(limit, found, key=label)
