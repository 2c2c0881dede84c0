"""Reading and restoring past states, whose values may be collected and whose keys may have expired."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing

from ..content.fetcher import MissingError
from ..content.reader import ValueReader
from ..content.store import ValueStore
from ..content.value import PendingValue
from ..errors import ExpiredError
from ..format.file_entry import FileEntry, expires_of, sha256_of_value, size_of_value
from ..format.names import Naming
from ..format.patches import stored_version
from ..format.state import View, alive
from ..journal.at_hand import look_up_all, look_up_in
from ..manifest.manifest import Manifest
from ..types import JSON, Delete
from .listing import differences_in


class SnapshotReader(ValueReader):
    """Reads the values of a past state. A value may be missing only if the newest state does not name it."""

    def __init__(self, contents: ValueStore, place: Callable[[str], tuple[str, str]], manifest: Manifest) -> None:
        super().__init__(contents, place)
        self._manifest = manifest

    async def read(self, wanted: Sequence[tuple[str, PendingValue | FileEntry | None]]) -> list[JSON | Delete]:
        """Return the values of many keys, as `ValueReader.read` does.

        Raises:
            ExpiredError: A value was superseded and has been collected.
            CorruptionError: A value of the newest state is missing, or a value is damaged.
            UnavailableError: The store does not answer.
            ConfigurationError: The client is in another event loop.
        """
        self._manifest.affinity.check()
        try:
            return await super().read(wanted)
        except MissingError as error:
            await self._manifest.refresh_committed()
            view, _ = self._manifest.present()
            missing = {
                name for name, file in wanted if not isinstance(file, PendingValue) and _is_at(file, error.version)
            }
            newest = await look_up_in(view, missing)
            if any(_is_at(file, error.version) for file in newest.values()):
                raise
            raise ExpiredError(
                f"the version {error.version} of s3://{error.bucket}/{error.key} was superseded and has been collected",
                bucket=error.bucket,
                key=error.key,
                operation=error.operation,
                version=error.version,
            ) from error


def _is_at(file: FileEntry | None, version: str | None) -> bool:
    return file is not None and stored_version(file) == version


async def changes_to_restore(
    newest: View, then: View, naming: Naming, prefix: str, pending: Iterable[str]
) -> dict[str, FileEntry | None]:
    """Return the keys to write in order to restore a state, and their files in that state.

    A key that has expired by now counts as absent in both states. A new key that will expire is not deleted.
    Keys with pending writes are always included, because the outcome of the writes is not known.
    """
    matches = naming.matches(prefix)

    def wanted(name: str) -> FileEntry | None:
        return alive(then.look_up(name), newest.moment)

    different: dict[str, FileEntry | None] = {}
    async with aclosing(differences_in(newest, then, naming.prefixes(prefix))) as parts:
        async for part in parts:
            names = [name for name, _ in part if matches(name)]
            now = await look_up_in(newest, names)
            before = await look_up_all(then.layers, names, wanted)
            different.update((name, before[name]) for name in names if _differs(now[name], before[name]))
    different.update(await look_up_all(then.layers, [name for name in pending if matches(name)], wanted))
    return different


def _differs(now: FileEntry | None, then: FileEntry | None) -> bool:
    if now is None or then is None:
        return now is not then and (then is not None or expires_of(now) is None)
    if expires_of(now) != expires_of(then) or (sha256 := sha256_of_value(now)) is None:
        return True
    return sha256 != sha256_of_value(then) or size_of_value(now) != size_of_value(then)
