"""From one state of a manifest to the next, commit by commit, for those who watch it. Pure.

A commit that becomes visible late has its place before others that were delivered already. So what has been
delivered is a set of commits, and after each step the state is that set, applied in the order as it is now:
the late commit shows what newer ones do not hide, and in the end it is the resolved state again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, Final, TypeAlias

from ..format.document import CommitEntry
from ..format.file_entry import FileEntry, is_same
from ..format.layers import look_up
from ..format.patches import is_rebase
from ..format.run import Run
from ..format.state import View, candidates, common_layers
from ..format.update import is_whole, patched
from .cursors import Cursors, cursor_of
from .settle import SESSIONS as REMEMBERED

Matches: TypeAlias = Callable[[str], bool]
"""Whether a name of the manifest is watched."""

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Step:
    """One commit as a watcher sees it.

    Attributes:
        id: Of the commit; ``None`` if only the order of others has changed.
        files: The watched keys it changes, and what is said of them now.
        cursor: Where to go on after it.
        skipped: Whether it stands for commits that were not seen one by one.
    """

    id: str | None
    files: Mapping[str, FileEntry | None]
    cursor: str | None
    skipped: bool = False


def advance(
    old: View, new: View, delivered: Collection[str], matches: Matches, prefixes: Sequence[str]
) -> list[Step] | None:
    """The commits that the newer of two views has and the older has not.

    Args:
        old: The state that was shown.
        new: The state to show.
        delivered: The ids of commits that were delivered and may still be listed.
        matches: Which names are watched.
        prefixes: What those names begin with.

    Returns:
        Steps that lead from one to the other; ``None`` if commits were settled that nobody saw: then
        `mps3.format.state.differences` says what differs.
    """
    settled = new.document.sessions if new.document else {}
    if not all(old.has(session, sequence) for session, sequence in settled.items()):
        return None
    before = old.document.sessions if old.document else {}
    kept = old.sessions if len(settled) < REMEMBERED else {commit.session: commit.sequence for commit in old.commits}
    if not all(new.has(session, sequence) for session, sequence in kept.items()):
        return None  # something came so late that others had settled past it (R13)
    known = {commit.id for commit in old.commits}
    fresh = {
        commit.id
        for commit in new.commits
        if commit.id not in known and commit.id not in delivered and commit.sequence > before.get(commit.session, -1)
    }
    steps = replay(new, new.commits, fresh, matches, prefixes)
    return _corrected(old, new, steps, fresh, matches)


def replay(
    new: View,
    commits: Sequence[CommitEntry],
    fresh: Collection[str],
    matches: Matches,
    prefixes: Sequence[str],
    runs: Mapping[str, Run] | None = None,
    order: Sequence[str] = (),
    base: tuple[int, View] | None = None,
) -> list[Step]:
    """The steps that some commits are, the last ones that lead to a state.

    Args:
        new: The state to show in the end.
        commits: In order, up to those of ``new``; some may be settled.
        fresh: The ids of those that were not delivered.
        matches: Which names are watched.
        prefixes: What those names begin with.
        runs: Of the commits from the first of those, or of ``order``, on, by their SHA-256; ``None`` if all of them are
            in ``new``.
        order: The ids of some that were delivered, as they were ordered then.
        base: The place of one of the commits, and the state before it, which they patch; ``None`` if all that is known
            is what is settled in ``new``.
    """
    if runs is None:
        runs = {layer.sha256: layer for layer in new.layers if isinstance(layer, Run)}
    settled = max(0, len(commits) - len(new.commits))
    begin, below = (settled, partial(_settled, new)) if base is None else (base[0], base[1].look_up)
    moved = _moved(commits, fresh, matches, prefixes, runs, order, begin, below)
    if not fresh:
        return [Step(None, moved, cursor_of(new))] if moved else []
    # A settled commit before all of them says nothing that matters; an unsettled one may be what they patch.
    first = next((position for position, commit in enumerate(commits) if commit.id in fresh), len(commits))
    first = min(first, begin)
    patches = {position: _Patches(commits[position], runs) for position in range(first, len(commits))}
    named = {
        position: dict.fromkeys(name for name in patches[position].names(prefixes) if matches(name))
        for position in patches
        if commits[position].id in fresh
    }
    names = {name for group in named.values() for name in group}
    touching: dict[str, list[int]] = {name: [] for name in names}
    for position, patch in patches.items():
        for name in patch.among(names):
            touching[name].append(position)
    done = {position for position, commit in enumerate(commits) if commit.id not in fresh}
    last = max(named)
    cursors = Cursors(new, commits)
    steps: list[Step] = []
    for position, group in named.items():
        done.add(position)
        files: dict[str, FileEntry | None] = {}
        for name in group:
            there = [other for other in touching[name] if other in done]
            # Else a newer one, delivered already, hides it.
            if not any(patches[other].replaces(name) for other in there if other > position):
                files[name] = _fold(name, there, patches, below, begin)
        if position == last:
            # What was folded is what the state says, but for members that only settled files had.
            shown = {name: file for step in steps for name, file in step.files.items()} | files
            files.update(
                (name, file)
                for name, before in shown.items()
                if not is_same(file := look_up(name, reversed(new.layers)), before)
            )
        files, moved = {**moved, **files}, {}
        if group or files:
            steps.append(Step(commits[position].id, files, cursors.after(position, done)))
    return steps


def _moved(
    commits: Sequence[CommitEntry],
    fresh: Collection[str],
    matches: Matches,
    prefixes: Sequence[str],
    runs: Mapping[str, Run],
    order: Sequence[str],
    begin: int,
    below: Callable[[str], FileEntry | None],
) -> dict[str, FileEntry | None]:
    """What delivered commits say now that some of them have changed places, where it is not what they said before."""
    place = {commit.id: position for position, commit in enumerate(commits)}
    before = [place[identity] for identity in order if identity in place]
    if before == sorted(before):
        return {}
    first = min(before)
    there = [position for position in range(first, len(commits)) if commits[position].id not in fresh]
    patches = {position: _Patches(commits[position], runs) for position in there}
    names = {name for position in before for name in patches[position].names(prefixes) if matches(name)}
    found: dict[str, FileEntry | None] = {}
    for name in sorted(names):
        touching = {position for position in there if name in patches[position].among([name])}
        now = _fold(name, sorted(touching), patches, below, begin)
        then = [position for position in before if position in touching]
        if not is_same(now, _fold(name, then, patches, below, begin)):
            found[name] = now
    return found


def _fold(
    name: str,
    there: list[int],
    patches: Mapping[int, _Patches],
    below: Callable[[str], FileEntry | None],
    begin: int = 0,
) -> FileEntry | None:
    """Return what is said of a key after some commits.

    Args:
        name: The key.
        there: The positions of the commits that change it.
        patches: What commits say, by their positions.
        below: Returns what is known of it without them.
        begin: How many of the commits that contains already. What these patch is not known any more where no commit
            among them has replaced it: then only what they have come to can be said.
    """
    # Nearly always a commit says all there is to say of a key, and what came before does not matter.
    start = next((place for place in reversed(range(len(there))) if patches[there[place]].replaces(name)), None)
    if start is None:
        file, there = below(name), [position for position in there if position >= begin]
    else:
        file, there = None, there[start:]
    for position in there:
        file = patches[position].apply(name, file)
    return file


def file_before(view: View, commit: CommitEntry, name: str) -> FileEntry | None:
    """Return what was said of a key before a commit.

    Args:
        view: A state with the commit among its commits.
        commit: The commit, as it is among those.
        name: The key.
    """
    runs = {layer.sha256: layer for layer in view.layers if isinstance(layer, Run)}
    earlier = takewhile(lambda one: one is not commit, view.commits)
    patches = [_Patches(one, runs) for one in earlier if name in one.files or one.runs]
    there = {place: patch for place, patch in enumerate(patches) if patch.among([name])}
    return _fold(name, list(there), there, partial(_settled, view))


def _settled(view: View, name: str) -> FileEntry | None:
    layers = list(reversed(view.under.layers))
    return look_up(name, [view.document.files, *layers] if view.document else layers)


class _Patches:
    """What one commit says."""

    def __init__(self, commit: CommitEntry, runs: Mapping[str, Run]) -> None:
        self._moment = commit.modified
        self._files: Mapping[str, Any] = commit.files
        self._runs = [runs[reference.sha256] for reference in reversed(commit.runs)]

    def names(self, prefixes: Sequence[str]) -> Iterator[str]:
        found = {
            name
            for name, change in self._files.items()
            if name.startswith(tuple(prefixes)) and not is_rebase(change)  # which changes nothing
        }
        for run in self._runs:
            found.update(name for prefix in prefixes for name in run.names(prefix))
        yield from sorted(found)

    def among(self, names: Collection[str]) -> Iterable[str]:
        found = set(self._files).intersection(names)
        for run in self._runs:
            found.update(name for name in names if run.get(name, _MISSING) is not _MISSING)
        return found

    def replaces(self, name: str) -> bool:
        if name not in self._files:
            return True
        patch = self._files[name]
        return patch is None or is_whole(patch)

    def apply(self, name: str, file: FileEntry | None) -> FileEntry | None:
        for run in self._runs:
            found = run.get(name, _MISSING)
            if found is not _MISSING:
                file = found  # type: ignore[assignment]
                break
        if name not in self._files:
            return file
        patch = self._files[name]
        return None if patch is None else patched(file, patch, self._moment)


def _corrected(old: View, new: View, steps: list[Step], fresh: Collection[str], matches: Matches) -> list[Step] | None:
    """With what else differs, in the first step: a repeated commit may have taken another place."""
    place = {commit.id: place for place, commit in enumerate(new.commits)}
    # What is settled comes first.
    places = [place.get(commit.id, -1) for commit in old.commits]
    moved = places != sorted(places)
    few = candidates(old, new)
    if few is None:
        again = any(not old.has(commit.session, commit.sequence) and commit.id not in fresh for commit in new.commits)
        return None if again or moved else steps
    shown = {name for step in steps for name in step.files}
    if steps:
        first, *others = steps
    else:
        first, others = Step(None, {}, None), []
    common = common_layers(old, new)
    different: dict[str, FileEntry | None] = {}
    for name in few:
        if name in first.files or not matches(name) or (name in shown and not moved):
            continue
        if all(layer.get(name, _MISSING) is _MISSING for view in (old, new) for layer in view.layers[common:]):
            continue
        file = _without(fresh, name, new) if name in shown else new.look_up(name)
        if not is_same(old.look_up(name), file):
            different[name] = file
    if not different:
        return steps
    cursor = first.cursor if steps else cursor_of(new)
    return [Step(first.id, {**first.files, **different}, cursor), *others]


def _without(fresh: Collection[str], name: str, view: View) -> FileEntry | None:
    """What a state would say of a name if some of its commits were not there."""
    runs = {layer.sha256: layer for layer in view.layers if isinstance(layer, Run)}
    patches = {
        position: patch
        for position, commit in enumerate(view.commits)
        if commit.id not in fresh and name in (patch := _Patches(commit, runs)).among([name])
    }
    return _fold(name, list(patches), patches, partial(_settled, view))
