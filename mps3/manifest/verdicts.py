"""Whether the patches of a commit apply at its place in the order, and to which writes that matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..content.patch import PendingPatch
from ..errors import ConflictError
from ..format.document import CommitEntry
from ..format.file_entry import FileEntry, inline_body, version_of
from ..format.operations import Step
from ..format.patches import PATCH, WAITING, comes_from, errors_of, has_expired, is_patch
from ..format.state import View
from ..format.update import patched
from ..journal.diff import file_before
from ..types import DELETE, JSON, Delete, Ref
from .pending import Pending, final_changes


@dataclass(frozen=True, slots=True)
class PlacedPatch:
    """A patch at its place in the order.

    Attributes:
        name: The key.
        content: The patch.
        version: Its version, as the commit has it: an earlier client may have sent it with another one.
        steps: Its steps, as the commit has them; none if it is known that they apply.
        before: What was said of the key before; ``None`` if it did not exist.
        after: What is said of it after.
    """

    name: str
    content: PendingPatch
    version: str
    steps: Sequence[Step]
    before: FileEntry | None
    after: FileEntry | None

    @property
    def is_stored(self) -> bool:
        """Whether the value before is an object of its own, which has to be at hand to judge."""
        return self.before is not None and "value" not in self.before

    def value(self, body: bytes | None = None) -> JSON | Delete:
        """Return the value before.

        Args:
            body: Its bytes, if it is an object of its own.
        """
        if self.before is None:
            return DELETE
        found: JSON = orjson.loads((inline_body(self.before) if body is None else body) or b"null")
        return found


def placed_patches(view: View, group: Sequence[Pending], session: str, sequence: int) -> list[PlacedPatch]:
    """Return the patches of a commit at its place; none if the state does not list the commit any more.

    Args:
        view: The newest state.
        group: The writes of the commit.
        session: The session of the commit.
        sequence: The sequence of the commit.
    """
    if not any(pending.is_patch for pending in group):
        return []
    own = next((one for one in reversed(view.commits) if (one.session, one.sequence) == (session, sequence)), None)
    if own is None:
        return []
    found = ((name, content) for name, content in final_changes(group).items() if isinstance(content, PendingPatch))
    return [_place(view, own, name, content) for name, content in found if is_patch(own.files.get(name))]


def _place(view: View, own: CommitEntry, name: str, content: PendingPatch) -> PlacedPatch:
    change: Mapping[str, Any] = own.files[name] or {}
    newest = view.look_up(name)
    if len(change[PATCH]) == 1 and _is_inline(newest) and comes_from(version_of(newest), change["version"]):
        return PlacedPatch(
            name, content, change["version"], (), None, newest
        )  # as nearly always: it applies, and nothing came since
    before = file_before(view, own, name)
    after = patched(before, change, own.modified)
    if before is not None and has_expired(before, own.modified):
        before = None
    return PlacedPatch(name, content, change["version"], change[PATCH], before, after)


def _is_inline(file: FileEntry | None) -> bool:
    return file is not None and "value" in file and WAITING not in file


def failures(
    group: Sequence[Pending],
    patches: Sequence[PlacedPatch],
    bodies: Mapping[str, bytes],
    manifest: Ref,
    *,
    final: bool,
) -> dict[Pending, ConflictError]:
    """Return the errors of those writes of which a patch does not apply, and record in them which does not.

    Args:
        group: The writes of a commit.
        patches: Its patches.
        bodies: The bytes of the values before, where those are objects of their own, by the names of their keys.
        manifest: The manifest.
        final: Whether nothing can come before the commit any more.
    """
    found: dict[Pending, list[str]] = {}
    for patch in patches:
        errors = errors_of(patch.value(bodies.get(patch.name)), patch.steps)
        parts = patch.content.places()
        nothing = not comes_from(version_of(patch.after), patch.version) and not any(errors)
        for pending in group:
            content = pending.changes.get(patch.name)
            if not isinstance(content, PendingPatch):
                continue
            own = [content] if content in parts else [part for part in content.parts if part in parts]
            for part in own:  # a transaction may have several patches of a key
                whys = [str(errors[step]) for step in parts[part] if step < len(errors) and errors[step] is not None]
                if nothing:
                    whys = ["the value, or what waits to be stored in it, would be too large: put the value instead"]
                if whys:
                    pending.void |= {part}
                    found.setdefault(pending, []).extend(f"{pending.labels[patch.name]!r}: {why}" for why in whys)
    return {pending: _error(pending, whys, manifest, final=final) for pending, whys in found.items()}


def _error(pending: Pending, whys: Sequence[str], manifest: Ref, *, final: bool) -> ConflictError:
    rest = len(pending.changes) > 1 or len(pending.void) < sum(
        len(content.parts) for content in pending.changes.values() if isinstance(content, PendingPatch)
    )
    error = ConflictError(
        f"a patch does not apply to what is there, so nothing of it was done: {'; '.join(whys)}"
        + (" (what the same write does to other keys was done)" if rest else ""),
        bucket=manifest.bucket,
        key=manifest.key,
        operation="PutObject",
    )
    error.maybe_written = rest or not final
    if not final:
        error.add_note("With the merge journal a commit may become visible late, before this one, so that it applies.")
    return error
