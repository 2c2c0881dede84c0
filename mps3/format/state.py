"""The state of a manifest: runs, overlaid with files, overlaid with commits. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, islice, takewhile
from operator import itemgetter
from typing import Final, cast

from .document import CommitEntry, Document
from .file_entry import FileEntry, Files, expires_of, is_same
from .layers import FrozenLayers, Layer, look_up, require_at_hand
from .run import NotAtHandError, Run
from .run_reference import RunReference
from .schema import NOTHING
from .update import apply_update

STEP: Final = 64
"""Keys that are compared at once."""

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class View:
    """A resolved state of a manifest. It never changes; a newer one replaces it.

    Attributes:
        head: The newest manifest version it was resolved from; ``None`` before the first commit.
        document: What that version holds.
        commits: The commits above the settled files, in order, each once.
        layers: What there is, the oldest first: runs, settled files, commits.
        sessions: The last sequence of each session that is part of this state.
        under: The runs of settled files among them.
        pace: Seconds that each writer should leave between its commits (R15).
        undecided: Transactions that are not part of it, and may be once it is certain what comes before them (R20).
        moment: What expired until then is not shown, by the store's clock, in seconds since 1970 (R19).
    """

    head: str | None
    document: Document | None
    commits: tuple[CommitEntry, ...]
    layers: tuple[Layer, ...]
    sessions: Mapping[str, int]
    under: FrozenLayers = field(compare=False)
    pace: float = 0.0
    undecided: tuple[CommitEntry, ...] = ()
    moment: float = -math.inf

    @property
    def last(self) -> CommitEntry | None:
        """The last commit. Of the last one that a checkpoint contains, only its author and its time are known."""
        commits = self.commits
        # With the merge journal, what the log holds beside the commits is not decided yet, or repeats settled ones.
        if not commits and self.document is not None and self.document.journal == "log":
            commits = self.document.log
        return commits[-1] if commits else None

    def at(self, moment: float) -> View:
        """The same state as it looks at this moment."""
        return replace(self, moment=moment)

    def look_up(self, name: str) -> FileEntry | None:
        """What this state says of a key; ``None`` if there is no such key."""
        return alive(look_up(name, reversed(self.layers)), self.moment)

    def may_have(self, name: str) -> bool:
        """Return whether there is such a key, or that is not known without fetching a part of a run."""
        try:
            return self.look_up(name) is not None
        except NotAtHandError:
            return True

    def has(self, session: str, sequence: int) -> bool:
        """Whether a commit is part of this state."""
        return self.sessions.get(session, -1) >= sequence

    def is_usurped(self, session: str, sequence: int, is_forged: Callable[[CommitEntry], bool]) -> bool:
        """Whether a commit is certainly not part of this state, though one of its session is that is not before it.

        A session makes one commit at a time, so somebody else has used its name.

        Args:
            session: The session of the commit.
            sequence: Its place there.
            is_forged: Whether what is said under its identity is not what it said.
        """
        if not self.has(session, sequence) or self.document is None:
            return False
        settled = self.document.sessions.get(session, -1) >= sequence
        own = (one for one in self.commits if (one.session, one.sequence) == (session, sequence))
        return not settled and all(map(is_forged, own))

    def layers_of(self, commit: CommitEntry) -> tuple[Layer, ...]:
        """What one of the commits says, the newest layer first."""
        runs = {reference.sha256 for reference in commit.runs}
        return commit.files, *(one for one in self.layers if isinstance(one, Run) and one.sha256 in runs)

    def items(self, prefix: str = "", start: str = "", stop: str | None = None) -> Iterator[tuple[str, FileEntry]]:
        """All keys that begin with ``prefix``, in order, and their files.

        Args:
            prefix: What they begin with.
            start: Only keys from this one on.
            stop: Only keys that are less than this one.

        Raises:
            NotAtHandError: What is needed of its runs is not at hand.
        """
        aged = (_aged(layer, -age, prefix, start, stop) for age, layer in enumerate(self.layers))
        for _, said in groupby(heapq.merge(*aged, key=itemgetter(0, 1)), key=itemgetter(0)):
            name, _, file = next(said)
            if (shown := alive(file, self.moment)) is not None:
                yield name, shown

    def names(self, prefix: str = "", start: str = "", stop: str | None = None) -> Iterator[str]:
        """Only the keys of `items`."""
        return (name for name, _ in self.items(prefix, start, stop))


def alive(file: FileEntry | None, moment: float) -> FileEntry | None:
    """What is said of a key, unless it has expired at this moment."""
    expires = expires_of(file)
    return file if expires is None or expires > moment else None


def _aged(
    layer: Layer, age: int, prefix: str, start: str = "", stop: str | None = None
) -> Iterator[tuple[str, int, FileEntry | None]]:
    if isinstance(layer, Run):
        for name, file in layer.items(prefix, start, stop):
            yield name, age, file
    else:
        within = (name for name in layer if name >= start and (stop is None or name < stop))
        for name in sorted(name for name in within if name.startswith(prefix)):
            yield name, age, layer[name]


EMPTY: Final = View(None, None, (), (), NOTHING, FrozenLayers(()))
"""The state before the first commit."""


def needed_runs(document: Document, commits: Iterable[CommitEntry]) -> tuple[RunReference, ...]:
    """The runs that `build_view` wants to have at hand."""
    return (*document.runs, *(run for commit in commits if "runs" in commit.update for run in commit.runs))


def build_view(
    document: Document,
    head: str | None,
    commits: tuple[CommitEntry, ...],
    held: Mapping[str, Run],
    pace: float,
    before: View = EMPTY,
    undecided: tuple[CommitEntry, ...] = (),
) -> View:
    """Overlay a document's settled files with commits.

    Args:
        document: The newest.
        head: Its version.
        commits: What is not settled, in order, each once.
        held: Its runs and those of the commits, by their SHA-256.
        pace: As in `View`.
        before: The view before this one, from which it takes what it can.
        undecided: As in `View`.
    """
    layers: list[Layer] = [held[reference.sha256] for reference in document.runs]
    lowest = under = before.under if before.under.layers == tuple(layers) else FrozenLayers(tuple(layers))
    files = dict(document.files)
    sessions = dict(document.sessions)
    for commit in commits:
        if runs := [held[reference.sha256] for reference in commit.runs]:
            layers += [files, *runs] if files else runs
            files, under = {}, FrozenLayers(tuple(layers))
        apply_update(commit.update, files, under, commit.modified)
        sessions[commit.session] = commit.sequence
    if files:
        layers.append(files)
    return View(head, document, commits, tuple(layers), sessions, lowest, pace, undecided)


def extend_view(
    view: View, commit: CommitEntry, head: str, document: Document, held: Mapping[str, Run] = NOTHING
) -> View:
    """Return a state with one more commit, without building the rest again.

    Args:
        view: The state before it.
        commit: The commit.
        head: As in `View`.
        document: As in `View`.
        held: The runs of the commit, by their SHA-256.
    """
    layers = view.layers
    if commit.runs:
        layers = (*layers, *(held[reference.sha256] for reference in commit.runs))
    if commit.files:
        files: dict[str, FileEntry | None] = {}
        if layers and not isinstance(layers[-1], Run):
            files, layers = dict(layers[-1]), layers[:-1]
        lower = view.under if view.under.layers == layers else FrozenLayers(layers)
        apply_update(commit.update, files, lower, commit.modified)
        layers = (*layers, files)
    sessions = {**view.sessions, commit.session: commit.sequence}
    return replace(
        view, head=head, document=document, commits=(*view.commits, commit), layers=layers, sessions=sessions
    )


def added_commits(old: View, new: View) -> tuple[CommitEntry, ...] | None:
    """Return the commits by which `extend_view` has made one view from another; ``None`` if it was not made so."""
    known = len(old.commits)
    # Most of the commits are the same objects, so that they are compared fast.
    if old.document is not new.document or new.commits[:known] != old.commits:
        return None
    return new.commits[known:]


def common_layers(old: View, new: View) -> int:
    """How many of their lowest layers two views have in common."""
    pairs = zip(old.layers, new.layers, strict=False)
    # Of the same run there may be several objects.
    return sum(
        1
        for _ in takewhile(lambda pair: pair[0] is pair[1] or (isinstance(pair[0], Run) and pair[0] == pair[1]), pairs)
    )


def different_layers(old: View, new: View) -> list[Layer]:
    """Return the layers that two views do not have in common, each once."""
    common = common_layers(old, new)
    return list({id(layer): layer for view in (old, new) for layer in view.layers[common:]}.values())


def weight(old: View, new: View) -> int:
    """About how many keys have to be looked at to know what `differences` there are."""
    layers = [layer for view in (old, new) for layer in view.layers[common_layers(old, new) :]]
    return sum(layer.reference.entries if isinstance(layer, Run) else len(layer) for layer in layers)


def changed_names(old: View, new: View, among: Mapping[str, object]) -> Iterator[list[str]]:
    """Which of the keys ``among`` may differ between two views of one manifest, a few at a time.

    Each step looks at a few dozen keys, so that one can do something else between two of them.
    """
    if not among:
        return
    few = candidates(old, new)
    left = iter(list(among) if few is None else [name for name in few if name in among])
    common = common_layers(old, new)
    while names := list(islice(left, STEP)):
        yield [name for name in names if _differs(name, old, new, common)]


def _differs(name: str, old: View, new: View, common: int) -> bool:
    try:
        if not any(layer.get(name, _MISSING) is not _MISSING for view in (old, new) for layer in view.layers[common:]):
            return False
        return not is_same(old.look_up(name), new.look_up(name))
    except NotAtHandError:
        return True  # who listens looks it up, and sees whether it does


def differences(
    old: View, new: View, prefix: str, start: str = "", stop: str | None = None
) -> Iterator[tuple[str, FileEntry | None]]:
    """The keys that begin with ``prefix`` and differ between two views, in order, and what the newer one says.

    Args:
        old: A view.
        new: Another of the same manifest.
        prefix: What the keys begin with.
        start: Only keys from this one on.
        stop: Only keys that are less than this one.

    Raises:
        NotAtHandError: What is needed of their runs is not at hand.
    """
    layers = different_layers(old, new)
    mentioned = heapq.merge(*((line[0] for line in _aged(layer, 0, prefix, start, stop)) for layer in layers))
    names = (name for name, _ in groupby(mentioned))
    while some := list(islice(names, STEP)):
        require_at_hand(new.layers, some)
        require_at_hand(old.layers, some)
        for name in some:
            said = look_up(name, reversed(new.layers))
            if not is_same(look_up(name, reversed(old.layers)), said):
                yield name, said


def _replaced(old: View, new: View) -> Iterable[str] | None:
    """The keys of which the topmost layers say something else, where these alone differ; ``None`` where not."""
    common = common_layers(old, new)
    tops = []
    for view in (old, new):
        above = view.layers[common:]
        if len(above) > 1 or any(isinstance(layer, Run) for layer in above):
            return None
        tops.append(cast("Files", above[0]) if above else NOTHING)
    before, after = tops
    names = [name for name, file in after.items() if before.get(name, _MISSING) is not file]
    names += before.keys() - after.keys()
    return names


def candidates(old: View, new: View) -> Iterable[str] | None:
    """The keys that may differ; ``None`` where that would be a long list, or cannot be known."""
    if old is new:
        return ()
    if (few := _replaced(old, new)) is not None:
        return few
    if old.document is None or new.document is None:
        return None
    settled = new.document.sessions
    if not all(old.has(session, sequence) for session, sequence in settled.items()):
        return None  # commits were settled that the older view has never seen
    before = [commit for commit in old.commits if commit.runs]
    large = [commit.id for commit in before if commit.sequence <= settled.get(commit.session, -1)]
    large += [commit.id for commit in new.commits if commit.runs]
    if large != [commit.id for commit in before]:
        return None  # a large change is new, or has another place among the others
    names: dict[str, None] = {}
    for view in (old, new):
        names.update(dict.fromkeys(view.document.files if view.document else ()))
        for commit in view.commits:
            names.update(dict.fromkeys(commit.files))
    return names
