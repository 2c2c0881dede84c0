"""What a patch would make of a value, as far as this client knows it without a request."""

from __future__ import annotations

from enum import Enum

import orjson

from ..content.store import ValueStore
from ..content.value import PendingValue
from ..errors import UnavailableError
from ..format.file_entry import FileEntry
from ..format.operations import NotApplicableError, Step, apply_step
from ..format.patches import WAITING, patched_body, stored_version
from ..format.run import NotAtHandError
from ..format.values import LONG
from ..manifest.manifest import Manifest
from ..types import DELETE, JSON, Delete


class Unknown(Enum):
    """What is not known."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


def preview(manifest: Manifest, name: str, place: tuple[str, str], step: Step, contents: ValueStore) -> JSON | Unknown:
    """Return what a step makes of the value that this client shows.

    Args:
        manifest: The manifest that names the value.
        name: The name of its key in the manifest.
        place: The bucket and the key.
        step: The step.
        contents: The values.

    Returns:
        `UNKNOWN` if the value is not in memory, is so large that the event loop would wait, or the step does not apply.
    """
    try:
        _ = manifest.past  # without a journal, nothing is known of any key
    except UnavailableError:
        return UNKNOWN
    try:
        value = _shown(manifest.look_up(name), place, contents)
    except NotAtHandError:
        return UNKNOWN
    if isinstance(value, Unknown):
        return UNKNOWN
    try:
        return apply_step(value, step)
    except NotApplicableError:
        return UNKNOWN  # the write says why


def _shown(
    found: PendingValue | FileEntry | None, place: tuple[str, str], contents: ValueStore
) -> JSON | Delete | Unknown:
    if found is None:
        return DELETE
    body = found.body if isinstance(found, PendingValue) else _in_memory(found, place, contents)
    if body is None or len(body) > LONG:
        return UNKNOWN
    value: JSON = orjson.loads(body)
    return value


def _in_memory(file: FileEntry, place: tuple[str, str], contents: ValueStore) -> bytes | None:
    body = contents.cached(*place, file)
    if body is not None:
        return body
    base = contents.cached(*place, {"version": stored_version(file)})
    if base is None or WAITING not in file:
        return base
    return None if len(base) > LONG else patched_body(file, orjson.loads(base))
