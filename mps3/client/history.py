"""Revisions of a key, and snapshots of a manifest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, TypeVar, cast

from ..content.reader import ValueReader
from ..errors import ExpiredError
from ..format.document import CommitEntry, read_commit_id
from ..format.file_entry import FileEntry, expires_of, sha256_of_value, size_of_value, version_of
from ..format.layers import look_up
from ..format.names import Naming, name_in
from ..format.patches import comes_from, is_partial, is_patch, is_rebase
from ..format.state import EMPTY, View
from ..format.update import patched
from ..journal.at_hand import at_hand, look_up_in
from ..journal.cursors import Position
from ..journal.past import Past, Walk
from ..journal.run_reader import MissingRunError
from ..text import printable
from ..types import DELETE, JSON, Delete, Ref
from .listing import list_page
from .pages import check_page

_MISSING: Final = object()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Revision:
    """The change of a key by one commit.

    Attributes:
        id: The id of the commit; ``None`` if the commit is not kept any more, only its value.
        version: The version of the value; ``None`` if the commit deleted the key.
        time: When it was committed, by the store's clock; ``None`` if the commit or the time is not known.
    """

    id: str | None
    version: str | None
    time: datetime | None
    _name: str = field(repr=False)
    _file: FileEntry | None = field(repr=False, compare=False)
    _reader: ValueReader = field(repr=False, compare=False)

    async def value(self) -> JSON | Delete:
        """Fetch the value; `DELETE` if the commit deleted the key.

        Raises:
            ExpiredError: The value was superseded and has been collected.
            CorruptionError: The stored value is damaged.
            UnavailableError: The store does not answer.
        """
        return (await self._reader.read([(self._name, self._file)]))[0]

    @property
    def expires(self) -> datetime | None:
        """When the value expires, by the store's clock; ``None`` if it does not."""
        return _expiry(self._file)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """The entry of a key in a manifest.

    Attributes:
        key: The key; one in another bucket than the default is written ``s3://bucket/key``.
        ref: The key and its bucket.
        version: The version of its value.
        size: The size of the value in bytes; ``None`` if it is not recorded.
        sha256: The SHA-256 of the value in hexadecimal digits; ``None`` if it is not recorded.
        expires: When it expires, by the store's clock; ``None`` if it does not.
    """

    key: str
    ref: Ref
    version: str
    size: int | None
    sha256: str | None
    expires: datetime | None = None


class Snapshot:
    """The keys of a manifest at one moment. A snapshot never changes.

    Attributes:
        id: The id of its last commit; ``None`` before the first commit.
    """

    def __init__(self, view: View, naming: Naming, reader: ValueReader, manifest: Ref, bucket: str) -> None:
        self.id: str | None = None if view.last is None else view.last.id
        self._view = view
        self._naming = naming
        self._reader = reader
        self._manifest = manifest
        self._bucket = bucket

    async def keys(self, prefix: str = "", *, limit: int | None = None, after: str | None = None) -> list[str]:
        """Return the keys that begin with ``prefix``, in order; one in another bucket is ``s3://bucket/key``.

        Args:
            prefix: What they begin with.
            limit: The maximum number of keys; all if ``None``.
            after: Return only keys that sort after this one.

        Raises:
            ValueError: ``limit`` is not positive.
            ExpiredError: The snapshot is so old that a part of it is not kept any more.
            UnavailableError: The store does not answer.
        """
        return [self._naming.label(name) for name, _ in await self._page(prefix, limit, after)]

    async def files(self, prefix: str = "", *, limit: int | None = None, after: str | None = None) -> list[FileInfo]:
        """Return the entries of the keys that `keys` returns, in order, without reading the values.

        Raises:
            ValueError: ``limit`` is not positive.
            ExpiredError: The snapshot is so old that a part of it is not kept any more.
            UnavailableError: The store does not answer.
        """
        found = []
        for name, file in await self._page(prefix, limit, after):
            bucket, key = self._naming.place(name)
            info = file["version"], size_of_value(file), sha256_of_value(file), _expiry(file)
            found.append(FileInfo(self._naming.label(name), Ref(key, bucket), *info))
        return found

    async def get(self, key: str | Ref, default: Any = None, *, bucket: str | None = None) -> Any:
        """Return the value of a key, or ``default``.

        Raises:
            ExpiredError: The value was superseded and has been collected.
            CorruptionError: The stored value is damaged.
            UnavailableError: The store does not answer.
        """
        ref = key if isinstance(key, Ref) else Ref(key)
        name = name_in(self._manifest, ref.bucket or bucket or self._bucket, ref.key)
        found = (await self._kept(look_up_in(self._view, [name])))[name]
        return default if found is None else (await self._reader.read([(name, found)]))[0]

    async def get_all(self, prefix: str = "", *, limit: int | None = None, after: str | None = None) -> dict[str, JSON]:
        """Return the keys that begin with ``prefix`` and their values, fetched concurrently.

        Args:
            prefix: What they begin with.
            limit: The maximum number of keys; all if ``None``.
            after: Return only keys that sort after this one.

        Raises:
            ValueError: ``limit`` is not positive.
            ExpiredError: The value was superseded and has been collected.
            CorruptionError: The stored value is damaged.
            UnavailableError: The store does not answer.
        """
        return await read_by_label(self._reader, self._naming, await self._page(prefix, limit, after))

    async def _page(self, prefix: str, limit: int | None, after: str | None) -> list[tuple[str, FileEntry]]:
        check_page(limit, after)
        return await self._kept(list_page(self._view, self._naming, prefix, limit, after))

    async def _kept(self, reading: Awaitable[T]) -> T:
        try:
            return await reading
        except MissingRunError as error:
            raise ExpiredError(
                f"a part of {self!r} is not kept any more",
                bucket=error.bucket,
                key=error.key,
                operation=error.operation,
            ) from error

    def __repr__(self) -> str:
        return printable(f"<Snapshot of {self._manifest} at {self.id}>")


async def read_by_label(reader: ValueReader, naming: Naming, found: Iterable[tuple[str, Any]]) -> dict[str, JSON]:
    """Return the values of names by label, sorted by label, without deleted ones."""
    wanted = list(found)
    values = await reader.read(wanted)
    labelled = {
        naming.label(name): value for (name, _), value in zip(wanted, values, strict=True) if value is not DELETE
    }
    return dict(sorted(labelled.items()))


async def view_at(past: Past, newest: View, at: str | datetime) -> View:
    """Return the state of a manifest at a commit, given its id, or at a time by the store's clock.

    Raises:
        ExpiredError: That state is not kept.
        TypeError: It is neither an id nor a time.
        ValueError: The time has no time zone.
    """
    if not isinstance(at, str | datetime):
        raise TypeError(f"a moment is the id of a commit, or a datetime, not {type(at).__name__}")
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError(f"the time {at} has no time zone")
        return await _view_at_time(past, newest, at.timestamp(), f"the state at {at} is not known")
    return await _view_at_commit(past, newest, Position.read(at).id, f"the state at {at} is not known")


async def _view_at_time(past: Past, newest: View, moment: float, unknown: str) -> View:
    def wanted(commit: CommitEntry) -> bool:
        return 0 < commit.modified <= moment

    walk = await past.walk_to(newest, moment)
    place = None if walk is None else await walk.find(wanted)
    if walk is None or (place is None and not walk.complete):
        walk = await past.walk(newest)
        place = await walk.find(wanted)
    if place is not None:
        return (await walk.state_at(place)).at(moment)
    if walk.complete and all(commit.modified for commit in walk.commits):
        return EMPTY
    raise past.expired(f"{unknown}: {_oldest_commit(walk)}")


async def _view_at_commit(past: Past, newest: View, identity: str, unknown: str) -> View:
    def wanted(commit: CommitEntry) -> bool:
        return commit.id == identity

    created = read_commit_id(identity)
    walk = None if created is None else await past.walk_to(newest, created)
    place = None if walk is None else await walk.find(wanted)
    if walk is None or place is None:
        walk = await past.walk(newest)
        place = await walk.find(wanted)
    if place is None:
        raise past.expired(f"{unknown}: {_oldest_commit(walk)}")
    moment = walk.commits[place].modified
    return (await walk.state_at(place)).at(moment)


def _oldest_commit(walk: Walk) -> str:
    oldest = walk.commits[0] if walk.commits else None
    since = "there is no commit" if oldest is None else f"the oldest commit that is kept is {oldest.id}"
    if oldest is not None and oldest.modified:
        since += f" of {time_of(oldest)}"
    return since


async def revisions(past: Past, newest: View, name: str, limit: int | None, reader: ValueReader) -> list[Revision]:
    """Return the changes of a key by the commits that are kept, newest first."""
    said: dict[str, Mapping[str, Any] | None] = {}

    async def read(commit: CommitEntry) -> CommitEntry | None:
        changed, change = await _change(past, commit, name)
        if changed:
            said[commit.id] = change
        return commit if changed and not is_rebase(change) else None

    walk = await past.walk(newest)
    commits, complete = await read_commits(walk, limit, read)
    found = [
        Revision(commit.id, version_of(file), time_of(commit), name, file, reader)
        for commit, file in await _files_after(walk, commits, said, name)
    ]
    oldest = await _oldest_file(past, walk, name) if complete else None
    if oldest is not None:
        found.append(Revision(None, version_of(oldest), None, name, oldest, reader))
    return found


async def read_commits(
    walk: Walk, limit: int | None, read: Callable[[CommitEntry], Awaitable[T | None]]
) -> tuple[list[T], bool]:
    """Return the results of ``read`` for the commits that are kept, newest first, without ``None``.

    Also return whether these are all results: there are neither more than ``limit``, nor has ``read`` raised an
    `ExpiredError`.
    """
    known: dict[str, T | None] = {}
    while True:
        found: list[T] = []
        for commit in reversed(walk.commits):
            if len(found) == limit:
                return found, False
            try:
                result = known[commit.id] if commit.id in known else await read(commit)
            except ExpiredError:
                return found, False
            known[commit.id] = result
            if result is not None:
                found.append(result)
        if len(found) == limit:
            return found, False
        if not await walk.further():
            return found, True


async def _files_after(
    walk: Walk, commits: Sequence[CommitEntry], said: Mapping[str, Mapping[str, Any] | None], name: str
) -> list[tuple[CommitEntry, FileEntry | None]]:
    """Return what is said of a key after each of some commits, newest first, without those that change nothing.

    Args:
        walk: Where they were found.
        commits: Those that change the key, newest first.
        said: What they say, and others that rebase its value, by their ids.
        name: The key.
    """
    if not commits:
        return []
    wanted = {commit.id for commit in commits}
    start = next(place for place, commit in enumerate(walk.commits) if commit.id == commits[-1].id)
    file: FileEntry | None = None
    known, found = False, []
    for place, commit in enumerate(walk.commits[start:], start):
        if commit.id not in said:
            continue
        change = said[commit.id]
        if change is None or not is_partial(change):
            file, known = None if change is None else patched(None, change), True
        elif known:
            file = patched(file, change, commit.modified)
        else:
            try:
                then = await walk.state_at(place)
                file = await at_hand(lambda: then.look_up(name))  # noqa: B023 - called at once
            except ExpiredError:
                continue
            known = True
        applies = not is_patch(change) or change is None or comes_from(version_of(file), change["version"])
        if commit.id in wanted and applies:
            found.append((commit, file))
    return found[::-1]


async def _change(past: Past, commit: CommitEntry, name: str) -> tuple[bool, Mapping[str, Any] | None]:
    """Return whether a commit changes a key, and what it says of it."""
    changed, file = False, cast("FileEntry | None", None)
    if commit.runs:
        runs = await past.runs_of([commit])
        for reference in commit.runs:
            entry = await at_hand(lambda run=runs[reference.sha256]: run.get(name, _MISSING))  # type: ignore[misc]
            if entry is not _MISSING:
                changed, file = True, cast("FileEntry | None", entry)
    if name in commit.files:
        changed, file = True, commit.files[name]
    return changed, file


async def _oldest_file(past: Past, walk: Walk, name: str) -> FileEntry | None:
    """Return the file of a key before the oldest commit that is kept, if it is known."""
    document = walk.oldest
    if document is None:
        return None
    if name in document.files:
        return document.files[name]
    try:
        runs = await past.load(document.runs)
    except ExpiredError:
        return None
    layers = [runs[reference.sha256] for reference in reversed(document.runs)]
    return await at_hand(lambda: look_up(name, layers))


def _expiry(file: FileEntry | None) -> datetime | None:
    expires = expires_of(file)
    return None if expires is None else datetime.fromtimestamp(expires, timezone.utc)


def time_of(commit: CommitEntry) -> datetime | None:
    """Return the time of a commit; ``None`` if the store does not tell the time."""
    return datetime.fromtimestamp(commit.modified, timezone.utc) if commit.modified else None
