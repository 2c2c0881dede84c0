"""A live, read-only mapping of the keys with a prefix, kept current commit by commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sortedcontainers import SortedDict

from ..errors import ClosedError, ConfigurationError, ExpiredError, MPS3Error, ValidationError
from ..text import printable
from ..types import JSON, Batch, Change, Delete
from .conversion import Conversion
from .display import Table
from .query import LiveQuery, Query
from .subscription import Subscription

T = TypeVar("T")


class View(Mapping[str, T], Generic[T]):
    """What ``view`` returns: the keys with a prefix and their values, in the order of the keys, always current.

    It is a read-only mapping that each commit changes as a whole: who reads it between two ``await`` sees one state,
    and never half of a commit. Pending writes of this client are included, from the next step of the event loop on. It
    begins to load with the first use of ``async with``, `loaded` or ``async for``, in batches of 1,000 keys, and ends
    with the client, or with `aclose`.

    ``async for change in view`` waits until it is loaded, and then yields each change of a key. A slow reader gets the
    last change of each key.
    """

    def __init__(
        self,
        watch: Callable[[], Subscription[Batch[JSON]]],
        prefix: str,
        limit: int | None,
        conversion: Conversion | None,
        opened: set[View[Any]],
    ) -> None:
        self._make_watch = watch
        self._watch: Subscription[Batch[JSON]] | None = None
        self._prefix = prefix
        self._limit = limit
        self._conversion = conversion
        self._opened = opened
        self._values: SortedDict[str, T] = SortedDict()
        self._invalid: dict[str, ValidationError] = {}
        # While it is listed again: what was there before, and has not been seen yet.
        self._listed_before: dict[str, None] = {}
        self._readers: set[_Reader[T]] = set()
        self._queries: set[LiveQuery[T]] = set()
        self._complete = False
        self._error: Exception | None = None
        self._ended = False
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._displays: set[asyncio.Task[None]] = set()

    # A mapping

    def __getitem__(self, key: str) -> T:
        self._check()
        value: T = self._values[key]
        return value

    def __iter__(self) -> Iterator[str]:
        self._check()
        return iter(self._values)

    def __len__(self) -> int:
        self._check()
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        self._check()
        return key in self._values

    def under(self, prefix: str) -> dict[str, T]:
        """Return the keys that begin with ``prefix``, and their values, in order."""
        self._check()
        found: dict[str, T] = {}
        for key in self._values.irange(prefix):
            if not key.startswith(prefix):
                break
            found[key] = self._values[key]
        return found

    @property
    def complete(self) -> bool:
        """Whether everything has been loaded."""
        return self._complete

    @property
    def invalid(self) -> Mapping[str, ValidationError]:
        """The keys whose values do not fit the type, which the mapping leaves out."""
        return dict(self._invalid)

    # Live queries

    def where(self, predicate: Callable[[T], object]) -> Query[T]:
        """Return a live query of the keys whose values a function accepts; see `Query`."""
        return Query(self, self._queries).where(predicate)

    def order_by(self, key: Callable[[T], Any], *, reverse: bool = False) -> Query[T]:
        """Return a live query of all keys in the order of what a function returns for their values; see `Query`."""
        return Query(self, self._queries).order_by(key, reverse=reverse)

    def first(self, number: int) -> Query[T]:
        """Return a live query of the first keys; see `Query`."""
        return Query(self, self._queries).first(number)

    # Following

    async def loaded(self) -> Self:
        """Wait until everything has been loaded, and return the view.

        Raises:
            ConfigurationError: There are more keys than ``limit``.
            ClosedError: The client or the view was closed.
            MPS3Error: The keys cannot be read.
        """
        self._start()
        await self._settled.wait()
        self._check()
        if not self._complete:
            raise ClosedError("the view was closed before it was loaded")
        return self

    async def __aiter__(self) -> AsyncIterator[Change[T]]:
        """Yield each change of a key, from now on.

        Raises:
            ConfigurationError: There are more keys than ``limit``.
            MPS3Error: The keys cannot be read any more.
        """
        await self.loaded()
        reader: _Reader[T] = _Reader()
        self._readers.add(reader)
        try:
            while True:
                while reader.changes:
                    yield reader.changes.pop(next(iter(reader.changes)))
                self._check()
                if self._ended:
                    return
                reader.news.clear()
                await reader.news.wait()
        finally:
            self._readers.discard(reader)

    async def __aenter__(self) -> Self:
        """Begin to load."""
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop following. The mapping stays as it is, and iterations end."""
        self._end()
        tasks = [*self._displays, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        if self._task is None and not self._ended:
            self._watch = self._make_watch()
            self._opened.add(self)
            self._task = asyncio.get_running_loop().create_task(self._follow(self._watch), name="mps3 view")

    async def _follow(self, watch: Subscription[Batch[JSON]]) -> None:
        try:
            while True:
                try:
                    async for batch in watch:
                        self._apply(batch)
                except ExpiredError:
                    # It has not been followed for so long that nobody knows what has changed since.
                    await watch.aclose()
                    watch = self._watch = self._make_watch()
                    self._listed_before = dict.fromkeys(self._values)
                else:
                    return
        except MPS3Error as error:
            self._error = error
        finally:
            self._end()
            with contextlib.suppress(MPS3Error):
                await watch.aclose()

    def _apply(self, batch: Batch[JSON]) -> None:
        changes = [self._converted(change) for change in batch.changes]
        for change in changes:
            self._listed_before.pop(change.key, None)
        if batch.end_of_initial:
            changes += [Change(key, Delete.DELETE, None) for key in self._listed_before]
            self._listed_before = {}
        for change in changes:
            if isinstance(change.value, Delete):
                self._values.pop(change.key, None)
            else:
                self._values[change.key] = change.value
        if self._limit is not None and len(self._values) > self._limit:
            self._values.clear()
            raise ConfigurationError(
                f"there are more than {self._limit} keys that begin with {self._prefix!r}, which is the limit of this "
                "view: give a longer prefix or a higher limit, or read the keys in pages"
            )
        loaded = self._complete
        self._complete = self._complete or batch.end_of_initial or not batch.initial
        for query in self._queries:
            query.apply(changes)
        if loaded:
            for reader in self._readers:
                reader.tell(changes)
        if self._complete:
            self._settled.set()

    def _converted(self, change: Change[JSON]) -> Change[T]:
        self._invalid.pop(change.key, None)
        value: Any = change.value
        if self._conversion is not None and not isinstance(value, Delete):
            try:
                value = self._conversion.load(change.key, value)
            except ValidationError as error:
                self._invalid[change.key] = error
                return Change(change.key, Delete.DELETE, None, change.pending)
        return Change(change.key, value, change.version, change.pending)

    def _end(self) -> None:
        self._ended = True
        self._opened.discard(self)
        self._settled.set()
        for reader in self._readers:
            reader.news.set()
        for query in self._queries:
            query.end()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Mapping) and dict(self) == other)

    __hash__ = object.__hash__  # it is a view, not a value

    def __repr__(self) -> str:
        state = "ended" if self._ended else "complete" if self._complete else "loading"
        return printable(f"<View of {self._prefix!r}, {len(self._values)} keys, {state}>")

    # Notebooks

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        return Table(self).bundle()

    def _ipython_display_(self) -> None:
        update = Table(self).show()
        if update is not None:
            self._start()
            task = asyncio.get_running_loop().create_task(update, name="mps3 view on display")
            self._displays.add(task)
            task.add_done_callback(self._displays.discard)


class _Reader(Generic[T]):
    """What one iteration has not yielded yet: the last change of each key."""

    def __init__(self) -> None:
        self.changes: dict[str, Change[T]] = {}
        self.news = asyncio.Event()

    def tell(self, changes: list[Change[T]]) -> None:
        for change in changes:
            self.changes.pop(change.key, None)
            self.changes[change.key] = change
        self.news.set()
