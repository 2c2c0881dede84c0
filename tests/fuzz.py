"""Random documents by the hundred thousand, for ``nox -s fuzz``: nothing but the errors that are promised.

python tests/fuzz.py --documents 1000000 --seed 0
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fuzzing import fuzz

from mps3.errors import CorruptionError, FormatError
from mps3.format import limits
from mps3.format.document import CommitEntry, Document
from mps3.format.document_codec import decode, encode
from mps3.format.file_entry import FileEntry, inline_body, is_same, nests_deep, sha256_of_value, size_of_value
from mps3.format.run import Run, open_run
from mps3.format.run_writer import encode_runs
from mps3.format.slot import checkpoint_stamp, empty_document, is_filler, slot_entry
from mps3.format.state import View, build_view
from mps3.journal.diff import advance
from mps3.journal.log.fold import Judgement, apply, judge
from mps3.journal.merge.order import causal_order, needed, once, store_order

TEXTS = [
    "",
    "a",
    "b",
    "é",
    "\x00",
    "s3://b/k",
    "x" * 300,
    "0" * 64,
    "2026-01-31T12:00:00.000Z",
    "1500-01-01T00:00:00Z",
    "v1",
    "NaN",
    "[" * 70,
]
NUMBERS: list[Any] = [0, 1, -1, 2, 2**53, 2**63, 2**70, 1.5, -0.0, 1e308, True]
NO_JSON = [math.nan, math.inf, "\ud800", 10**400]
"""What `json` writes, and no document can have."""
TIMES = ["2026-01-31T12:00:00.000Z", "2026-01-31T13:00:00+01:00", "9999-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z"]
KEYS = TEXTS[1:5]
VERSIONS = ["v1", "v2", "b"]
PATHS = ["", "", "/a", "/a", "/a/b", "/b/c", "/0", "/a/0", "/" + "9" * 5000, "/" * 63]
"""Where operations apply."""
MANIFEST = 20
"""Documents that are taken for slots of one log."""


def anything(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.random()
    if kind < 0.3 or depth > 4:
        return dice.choice(TEXTS)
    if kind < 0.5:
        return dice.choice(NUMBERS)
    if kind < 0.6:
        return None
    if kind < 0.8:
        return [anything(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(TEXTS): anything(dice, depth + 1) for _ in range(dice.randrange(4))}


def nested(depth: int, innermost: Any = None) -> Any:
    for number in range(depth):
        innermost = [innermost] if number % 2 else {"": innermost}
    return innermost


def value(dice: random.Random) -> Any:
    """An inline value, nearly always one that is allowed."""
    kind = dice.random()
    if kind < 0.97:
        return anything(dice, 3)
    if kind < 0.98:
        return nested(dice.choice([1, limits.INLINE_DEPTH - 1, limits.INLINE_DEPTH, limits.INLINE_DEPTH + 1, 300]))
    if kind < 0.985:
        return dice.choice(NO_JSON)
    if kind < 0.99:
        return "x" * (limits.INLINE - dice.randrange(4))
    return [anything(dice, 3)] * dice.choice([10, 1000])


def operation(dice: random.Random) -> Any:
    """An operation of a patch, nearly always one that is allowed."""
    name = dice.choice(["add", "max", "min", "append", "prepend", "union", "remove", "set"])
    if dice.random() < 0.02:
        return anything(dice, 3)
    path = dice.choice(PATHS if dice.random() < 0.98 else TEXTS)
    if name in ("add", "max", "min"):
        return {"op": name, "path": path, "value": dice.choice(NUMBERS[:-1])}
    return {"op": name, "path": path, "value": value(dice) if name == "set" else [value(dice), value(dice)]}


def steps(dice: random.Random) -> Any:
    """The steps of a patch."""
    kinds = [
        lambda: {"merge": {dice.choice("abc"): value(dice), "b": {"c": value(dice)}}},
        lambda: {"operations": [operation(dice) for _ in range(dice.randrange(3))]},
        lambda: {"merge": {}, "operations": [operation(dice)]},
        lambda: {"operations": [operation(dice)] * dice.choice([1, 1, 400])},
    ]
    return [dice.choice(kinds)() for _ in range(dice.randrange(4))]


def file(dice: random.Random, *, change: bool) -> Any:
    """A file, stored or inline, or what is neither; or the change of one."""
    said: dict[str, Any] = {"version": dice.choice(VERSIONS)}
    kind = dice.random()
    if change and kind < 0.3:
        said["patch"] = steps(dice)
    elif kind < 0.5:
        said |= {"value": value(dice), "size": dice.randrange(99)}
    elif kind < 0.9:
        said |= {"sha256": dice.choice(["0" * 64, None]), "size": dice.randrange(99)}
    if change and kind > 0.8:
        said["rebases"] = dice.choice([*VERSIONS, "v1~e4a6a0577479"])
    if not change and dice.random() < 0.2:
        waiting = [{"version": dice.choice(VERSIONS), "steps": steps(dice)} for _ in range(dice.randrange(3))]
        said |= {"patches": waiting, **({} if "value" in said else {"base": dice.choice(VERSIONS)})}
    if dice.random() < 0.3:
        said["expires"] = dice.choice(TIMES)
    if dice.random() < 0.01:
        said["sha256"] = "f" * 64  # beside a value
    if dice.random() < 0.1:
        said["unknown"] = anything(dice, 2)
    if dice.random() < 0.02:
        said[dice.choice(["size", "version", "value", "sha256", "expires"])] = dice.choice([None, -1, 2**60, *TEXTS])
    return said


def files(dice: random.Random, *, change: bool) -> dict[str, Any]:
    return {
        dice.choice(KEYS if dice.random() < 0.9 else TEXTS[1:]): file(dice, change=change)
        if dice.random() < 0.8
        else None
        for _ in range(dice.randrange(4))
    }


def others(dice: random.Random) -> dict[str, Any]:
    """What a commit says besides files, which is mostly nothing."""
    if dice.random() < 0.8:
        return {}
    expected = {dice.choice(KEYS): dice.choice([None, *VERSIONS])}
    return dice.choice([{"expect": expected}, {"closes": True}, {"collects": True}, {"collected": "a.1"}])


def reference(dice: random.Random) -> dict[str, Any]:
    """How a document names a run."""
    first, last = sorted(dice.choices(KEYS, k=2))
    sizes = {"bytes": dice.randrange(2, 99), "index": 1, "entries": dice.randrange(9)}
    beside = dice.choice([{}, {"expires": 1.5}, {"continues": True}, {"unknown": anything(dice, 2)}])
    return {"key": "m.runs/x", "sha256": "0" * 64, **sizes, "first": first, "last": last, **beside}


def valid(dice: random.Random) -> dict[str, Any]:
    """A document as somebody might have written it, not always in good faith: circles are possible."""
    versions = [f"v{number}" for number in range(5)]

    def commit() -> dict[str, Any]:
        return {
            "session": dice.choice("ab"),
            "sequence": dice.randrange(4),
            "previous": dice.choice([None, *versions]),
            "update": {"files": files(dice, change=True), **others(dice)},
        }

    log = [
        {**commit(), "version": version, "modified": dice.choice(TEXTS[8:9])}
        for version in dice.sample(versions, dice.randrange(5))
    ]
    return {
        "mps3": 2,
        "journal": dice.choice(["merge", "log"]),
        "window": dice.choice([3, 0.5]),
        **commit(),
        "log": log,
        "files": {name: one for name, one in files(dice, change=False).items() if one},
        "sessions": {"a": dice.randrange(3)},
        "runs": [reference(dice) for _ in range(dice.choice([0, 0, 0, 1, 2]))],
    }


def damage(dice: random.Random, document: Any) -> Any:
    """Replace one part, somewhere."""
    if not isinstance(document, dict | list) or not document or dice.random() < 0.2:
        return anything(dice)
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = dice.choice(keys)
    if isinstance(document, dict) and dice.random() < 0.15:
        return {name: value for name, value in document.items() if name != key}
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[key] = damage(dice, changed[key])
    return changed


def garble(dice: random.Random, body: bytes) -> bytes:
    where = dice.randrange(len(body) + 1)
    return dice.choice([body[:where], body[:where] + dice.randbytes(3) + body[where:], body[where:], body + body])


def stored(files: Mapping[str, FileEntry | None]) -> Run:
    """Files as a run, checked."""
    (part,) = encode_runs(files, 2**30)
    return open_run(part.reference, part.body)


def encoded(dice: random.Random) -> bytes:
    """The bytes of a document, nearly always of one that has been damaged."""
    document = valid(dice)
    for _ in range(dice.choice([0, 0, 1, 1, 2, 5])):
        document = damage(dice, document)
    body = json.dumps(document).encode()
    return garble(dice, body) if dice.random() < 0.1 else body


def all_files(read: Document) -> Iterator[FileEntry]:
    """What a document says of keys, wherever it says it."""
    updates = [read.update, *(entry.update for entry in read.log)]
    for said in (read.files, *(update.get("files", {}) for update in updates)):
        yield from (one for one in said.values() if one is not None)


def check_values(read: Document) -> None:
    """Inline values are within the limits, and what users are told of them is true."""
    for one in all_files(read):
        body = inline_body(one)
        if body is None:
            assert "value" not in one
            continue
        if "patches" in one:
            assert size_of_value(one) == len(body) and json.loads(body) is not NO_JSON
            continue
        assert len(body) <= limits.INLINE and not nests_deep(body)
        assert json.loads(body) == one["value"] and one.get("sha256") is None
        assert size_of_value(one) == len(body) and len(sha256_of_value(one) or "") == 64


def check_state(view: View) -> None:
    """A state can be written, as settled files and as a run, and read again, whatever has led to it."""
    files = dict(view.items())
    assert not files or dict(stored(files).items()) == files
    assert view.document is not None
    settled = replace(view.document, files=files, log=(), update={}, runs=())
    assert decode(encode(settled, bucket="b", key="m"), bucket="b", key="m", version="v9").files == files


def check_log(slots: list[Document]) -> None:
    """The states of a log are the same, commit by commit, from the beginning and from a checkpoint on."""
    base = empty_document(3)
    view, kept = build_view(base, None, (), {}, 0.0), list[CommitEntry]()
    shown, told = view, dict[str, FileEntry]()
    checkpoint: Document | None = None
    after: list[CommitEntry] = []
    for number, slot in enumerate(slots, 1):
        sequence = number if number % 4 else slot.sequence
        entry = slot_entry(replace(slot, sequence=sequence), number, 1.77e9 + number)
        if is_filler(slot) or entry.runs or judge(view, entry) is not Judgement.COUNTS:
            continue
        view = apply(view, entry)
        kept.append(entry)
        if number % 3:  # a watch is told of one commit or of two
            steps = advance(shown, view, (), lambda _: True, [""]) or []
            changes = {name: said for step in steps for name, said in step.files.items()}
            told, shown = {name: said for name, said in {**told, **changes}.items() if said is not None}, view
            assert told.keys() == set(view.names())
            assert all(is_same(told[name], said) for name, said in view.items())
        if checkpoint is not None:
            after.append(entry)
        elif number > len(slots) // 2:
            files = {name: view.look_up(name) for name, _ in view.items()}
            stamp = checkpoint_stamp(entry)
            checkpoint = replace(base, sequence=number, previous=stamp.version, log=(stamp,), files=files)
            checkpoint = replace(checkpoint, sessions=view.sessions)
            body = encode(checkpoint, bucket="b", key="m")
            assert decode(body, bucket="b", key="m", version="v9") == checkpoint
    assert build_view(base, None, tuple(kept), {}, 0.0).layers == tuple(layer for layer in view.layers if layer)
    if checkpoint is not None:
        assert dict(build_view(checkpoint, None, tuple(after), {}, 0.0).items()) == dict(view.items())
    if kept:
        check_state(view)


def try_one(dice: random.Random, slots: list[Document]) -> str:
    """Read a document, and check what became of it; those that were read gather as slots."""
    body = encoded(dice)
    try:
        read = decode(body, bucket="b", key="m", version="v9")
    except CorruptionError as error:
        assert error.version == "v9"  # noqa: PT017
        return "refused"
    except FormatError:
        return "newer"
    written = encode(read, bucket="b", key="m")
    assert decode(written, bucket="b", key="m", version="v9") == read, "what was read is not what is written"
    check_values(read)
    slots.append(read)
    own: CommitEntry = read.entry("v9", 1.0)
    listed = [*dice.sample(read.log, dice.randrange(len(read.log) + 1)), own]
    listed = list({entry.version: entry for entry in listed}.values())
    ordered = causal_order(store_order(read.log, listed), read.sessions)
    commits = once(ordered, read.sessions)
    log = needed(ordered, commits[len(commits) // 2 :], dice.choice([0.0, math.inf]))
    again = once(causal_order(store_order(log, []), read.sessions), read.sessions)
    assert len({entry.id for entry in again}) == len(again) <= len(log) <= len(ordered)
    held = {reference.sha256: stored({"x": {"version": "1"}}) for reference in read.references()}
    view = build_view(read, "v9", tuple(commits), held, 0.0)
    check_state(view)
    check_state(view.at(1.77e9))
    return "read"


def try_some(dice: random.Random, most: int) -> Iterator[str]:
    """Read some documents of one manifest."""
    slots: list[Document] = []
    for _ in range(most):
        yield try_one(dice, slots)
    check_log(slots)


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "documents", lambda dice, _: try_some(dice, MANIFEST), each=MANIFEST))
