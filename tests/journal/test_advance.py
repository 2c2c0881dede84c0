"""The next state that is made of the state before is the one that is built of everything. Said as properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import event, given
from hypothesis import strategies as st

from mps3 import Ref
from mps3.format.document import CommitEntry, Document
from mps3.format.layers import FrozenLayers
from mps3.format.names import Names
from mps3.format.run import open_run
from mps3.format.run_writer import encode_runs
from mps3.format.state import View, build_view, candidates
from mps3.format.update import apply_update
from mps3.journal.merge.advance import advance_view

keys = st.sampled_from(["a", "b", "c", "d"])
files = st.builds(
    lambda version, more: {"version": version, **more},
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from(
        [{"value": 1, "size": 1}, {"size": 2}, {"value": {"x": 1}}, {"expires": "2026-01-31T12:00:00.000Z"}]
    ),
)
changes = st.dictionaries(keys, st.none() | files, max_size=2)
RUN = next(iter(encode_runs({"a": {"version": "0"}, "d": {"version": "0", "size": 3}}, 1000)))


def entry(number: int, said: dict[str, Any]) -> CommitEntry:
    return CommitEntry(f"session {number % 3}", number, f"v{number}", float(number), None, {"files": said})


@st.composite
def steps(draw) -> tuple[View, Document, tuple[CommitEntry, ...], dict[str, Any], bool]:
    """A view, and what the next one is made of; and whether only the first commits are settled, and new ones last."""
    held, references = {}, ()
    if draw(st.booleans()):
        reference = replace(RUN.reference, key="run")
        held = {reference.sha256: open_run(reference, RUN.body, Names(Ref("manifest.json", "bucket")))}
        references = (reference,)
    settled_files = draw(st.dictionaries(keys, files, max_size=3))
    document = Document("merge", 3.0, "s", 0, None, {}, files=settled_files, runs=references)
    commits = tuple(entry(number, draw(changes)) for number in range(draw(st.integers(0, 5))))
    before = build_view(document, "head", commits, held, 0.0)
    settled = draw(st.integers(0, len(commits)))
    now: dict[str, Any] = dict(settled_files)
    for commit in commits[:settled]:
        apply_update(commit.update, now, FrozenLayers(tuple(held.values())))
    sessions = {commit.session: commit.sequence for commit in commits[:settled]}
    rest = [*commits[settled:], *(entry(10 + number, draw(changes)) for number in range(draw(st.integers(0, 3))))]
    usual = bool(commits[settled:])
    match draw(st.sampled_from(["usual", "usual", "late", "lost", "other files", "other run"])):
        case "late":
            place = draw(st.integers(0, len(rest)))
            usual &= place >= len(commits) - settled
            rest.insert(place, entry(20, draw(changes)))
        case "lost" if rest:
            place = draw(st.integers(0, len(rest) - 1))
            usual &= place >= len(commits) - settled
            rest.pop(place)
        case "other files":
            now, usual = {**now, "e": {"version": "9"}}, False
        case "other run":
            references, usual = (() if references else references), usual and not references
    following = Document("merge", 3.0, "s", 9, None, {}, files=now, runs=references, sessions=sessions)
    return before, following, tuple(rest), held, usual


@given(steps())
def test_the_next_state_is_the_same_as_built_of_everything(step):
    before, document, commits, held, usual = step
    layers = orjson.dumps(before.layers[len(before.under.layers) :])
    found = advance_view(before, document, "next", commits, 0.5)
    event("advanced" if found else "not advanced")
    assert orjson.dumps(before.layers[len(before.under.layers) :]) == layers, "the view before never changes"
    if found is None:
        assert not usual
        return
    whole = build_view(document, "next", commits, held, 0.5)
    assert found == whole
    assert found.under.layers == whole.under.layers


@given(steps())
def test_the_keys_that_may_differ_are_among_the_candidates(step):
    before, document, commits, held, _ = step
    after = advance_view(before, document, "next", commits, 0.0) or build_view(document, "next", commits, held, 0.0)
    names = candidates(before, after)
    if names is not None and document.runs == before.document.runs:
        assert {name for name in "abcde" if before.look_up(name) != after.look_up(name)} <= set(names)
