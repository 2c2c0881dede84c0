"""Reading and bringing back what was: values that may have been collected since, and keys that may have expired."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from ..content.fetcher import MissingError
from ..content.reader import Reader
from ..content.store import Contents
from ..content.value import Content
from ..errors import ExpiredError
from ..format.entries import FileEntry, expires_of
from ..format.names import Naming
from ..format.state import View, alive, differences, weight
from ..manifest.manifest import Manifest
from ..types import JSON, Delete
from .threads import in_thread_if_large


class PastReader(Reader):
    """Reads values that a state of the past names.

    Args:
        contents: The values of all manifests.
        place: The bucket and the key that the manifest means by a name.
        manifest: The manifest: what it names now has to be there.
    """

    def __init__(self, contents: Contents, place: Callable[[str], tuple[str, str]], manifest: Manifest) -> None:
        super().__init__(contents, place)
        self._manifest = manifest

    async def read(self, wanted: Sequence[tuple[str, Content | FileEntry | None]]) -> list[JSON | Delete]:
        """The values of many keys, as `Reader.read` gives them.

        Raises:
            ExpiredError: One is not there any more, and no key has it now: it was collected.
            CorruptionError: One is missing though a key has it now, or is not what was written.
            UnavailableError: The store does not answer.
            ConfigurationError: The client is in another event loop.
        """
        self._manifest.home.check()
        try:
            return await super().read(wanted)
        except MissingError as error:
            await self._manifest.refresh()
            view, _ = self._manifest.present()
            missing = {name for name, file in wanted if not isinstance(file, Content) and _is_at(file, error.version)}
            if any(_is_at(view.look_up(name), error.version) for name in missing):
                raise
            raise ExpiredError(
                f"what s3://{error.bucket}/{error.key} was (version {error.version}) is not kept any more: it was "
                "superseded, and collected",
                bucket=error.bucket,
                key=error.key,
                operation=error.operation,
                version=error.version,
            ) from error


def _is_at(file: FileEntry | None, version: str | None) -> bool:
    return file is not None and file["version"] == version


async def to_restore(
    newest: View, then: View, naming: Naming, prefix: str, pending: Iterable[str]
) -> dict[str, FileEntry | None]:
    """The keys that have to be written for all to be as it was, and what is to be said of them.

    What has expired by now counts as absent, then and now. What was not there then, and expires by itself, is left to
    that.

    Args:
        newest: The newest state, as it looks now.
        then: The state to bring back.
        naming: What the keys are called.
        prefix: What they begin with.
        pending: The names of keys that are being written; nobody knows what of that will be there.
    """
    matches = naming.matches(prefix)

    def wanted(name: str) -> FileEntry | None:
        return alive(then.look_up(name), newest.moment)

    def find() -> dict[str, FileEntry | None]:
        found = chain.from_iterable(differences(newest, then, start) for start in naming.prefixes(prefix))
        names = (name for name, _ in found if matches(name))
        return {name: wanted(name) for name in names if _differs(newest.look_up(name), wanted(name))}

    different = await in_thread_if_large(weight(newest, then), find)
    different.update((name, wanted(name)) for name in pending if matches(name))
    return different


def _differs(now: FileEntry | None, then: FileEntry | None) -> bool:
    if now is None or then is None:
        return now is not then and (then is not None or expires_of(now) is None)
    if expires_of(now) != expires_of(then) or now.get("sha256") is None:
        return True
    return any(now.get(member) != then.get(member) for member in ("sha256", "size"))
