"""Live queries over a view, which wake only when their results change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedList

from ..types import Change, Delete

T = TypeVar("T")


@dataclass(frozen=True)
class Criteria(Generic[T]):
    """What a query selects."""

    predicates: tuple[Callable[[T], object], ...] = ()
    key: Callable[[T], Any] | None = None
    reverse: bool = False
    number: int | None = None

    def accepts(self, value: T) -> bool:
        """Return whether all predicates accept a value."""
        return all(predicate(value) for predicate in self.predicates)

    def rank(self, name: str, value: T) -> tuple[Any, str]:
        """Return the place of a key in the order."""
        return (None if self.key is None else self.key(value)), name


class Query(Generic[T]):
    """A selection of a view, which can be narrowed further with the same three methods.

    `result` is the present selection. ``async for result in query`` yields the present one once the view is loaded, and
    the newest one after each commit that changes it. It costs a call of its functions for each changed key.

    The functions get the values. They are called often, and must neither change them nor wait. An exception of one is
    raised by `result`, or ends the iteration.
    """

    def __init__(self, view: Any, live: set[LiveQuery[T]], criteria: Criteria[T] | None = None) -> None:
        self._view = view
        self._live = live
        self._criteria: Criteria[T] = criteria or Criteria()

    def where(self, predicate: Callable[[T], object]) -> Query[T]:
        """Return a query of the keys whose values a function accepts, too."""
        return self._narrowed(predicates=(*self._criteria.predicates, predicate))

    def order_by(self, key: Callable[[T], Any], *, reverse: bool = False) -> Query[T]:
        """Return a query in the order of what a function returns for the values, and then of the keys."""
        return self._narrowed(key=key, reverse=reverse)

    def first(self, number: int) -> Query[T]:
        """Return a query of the first keys.

        Raises:
            ValueError: ``number`` is not positive.
        """
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"first takes a number of keys, not {type(number).__qualname__}")
        if number < 1:
            raise ValueError(f"first takes a number of keys from 1, not {number}")
        return self._narrowed(number=number)

    def _narrowed(self, **changes: Any) -> Query[T]:
        return Query(self._view, self._live, replace(self._criteria, **changes))

    @property
    def result(self) -> dict[str, T]:
        """The keys that are selected now, and their values, in order."""
        return Selection(self._criteria, self._view).result()

    async def __aiter__(self) -> AsyncIterator[dict[str, T]]:
        """Yield the present result, and then the newest one after each change of it."""
        values: Mapping[str, T] = await self._view.loaded()
        live = LiveQuery(Selection(self._criteria, values))
        self._live.add(live)
        try:
            yield live.selection.result()
            while await live.has_changed():
                yield live.selection.result()
            len(values)  # raises if it was an error that has ended the view
        finally:
            self._live.discard(live)


class LiveQuery(Generic[T]):
    """A query that somebody iterates."""

    def __init__(self, selection: Selection[T]) -> None:
        self.selection = selection
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._over = False

    def apply(self, changes: Iterable[Change[T]]) -> None:
        """Take in a commit."""
        try:
            changed = self._error is None and self.selection.apply(changes)
        except Exception as error:  # noqa: BLE001 - of a function of the user
            self._error, changed = error, True
        if changed:
            self._changed.set()

    def end(self) -> None:
        """End the iteration: the view follows no more."""
        self._over = True
        self._changed.set()

    async def has_changed(self) -> bool:
        """Wait until the result is another one; return ``False`` if the view ends before."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._error is not None:
                raise self._error
            if self._over:
                return False
            if self.selection.is_changed():
                return True


class Selection(Generic[T]):
    """The keys that are selected, kept in their order."""

    def __init__(self, criteria: Criteria[T], values: Mapping[str, T]) -> None:
        self._criteria = criteria
        accepted = {key: value for key, value in values.items() if criteria.accepts(value)}
        self._values: dict[str, T] = accepted
        self._ranks = {key: criteria.rank(key, value) for key, value in accepted.items()}
        # Without a key of its own the order is that of the keys, and nothing is compared but texts.
        own = criteria.key is not None
        self._order: SortedList[Any] = SortedList(self._ranks.values(), key=None if own else lambda rank: rank[1])
        self._shown = self._window()

    def apply(self, changes: Iterable[Change[T]]) -> bool:
        """Take in changes; return whether the result may be another one."""
        touched = False
        for change in changes:
            if change.key in self._values and is_same(self._values[change.key], change.value):
                continue  # a pending write of this client that is now committed
            if (rank := self._ranks.pop(change.key, None)) is not None:
                self._order.remove(rank)
                del self._values[change.key]
                touched = True
            if not isinstance(change.value, Delete) and self._criteria.accepts(change.value):
                rank = self._criteria.rank(change.key, change.value)
                self._ranks[change.key] = rank
                self._values[change.key] = change.value
                self._order.add(rank)
                touched = True
        if not touched or self._criteria.number is None:
            return touched
        return self._window() != self._shown

    def is_changed(self) -> bool:
        """Return whether the result is not the one that was returned last."""
        return self._criteria.number is None or self._window() != self._shown

    def result(self) -> dict[str, T]:
        """Return the result."""
        self._shown = self._window()
        if self._shown is not None:
            return dict(self._shown)
        return {key: self._values[key] for key in self._keys()}

    def _keys(self) -> Iterable[str]:
        order = reversed(self._order) if self._criteria.reverse else iter(self._order)
        return (name for _, name in islice(order, self._criteria.number))

    def _window(self) -> list[tuple[str, T]] | None:
        """Return what is shown of a query for the first ones; ``None`` of another, which may be long."""
        if self._criteria.number is None:
            return None
        return [(key, self._values[key]) for key in self._keys()]


def is_same(one: object, other: object) -> bool:
    """Return whether two values are the same; those that JSON tells apart, such as ``True`` and ``1``, are not."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and bool(one == other)
