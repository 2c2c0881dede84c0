"""The manifest document: pure, so most of it is said as properties."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace
from datetime import datetime, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mps3 import Ref
from mps3.errors import ConfigurationError, CorruptionError, FormatError
from mps3.format.document import LIMIT, CommitEntry, Document, visible_before
from mps3.format.document_codec import decode, encode
from mps3.format.names import Names
from mps3.format.run_reference import RunReference
from mps3.format.schema import DEEPEST, format_time, whole_milliseconds

PLACE = {"bucket": "bucket", "key": "manifest.json"}
SHA256 = "0123456789abcdef" * 4

words = st.text(min_size=1, max_size=8)
# A name that no key has, such as "s3://", is left out by readers, and refused by writers: other tests are about these.
names = words.filter(lambda name: name in Names(Ref("manifest.json", "bucket")))
whole = st.integers(0, 2**53 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
json_bodies = json_values.map(orjson.dumps)


def extras(*known: str) -> st.SearchStrategy[dict]:
    return st.dictionaries(words.filter(lambda name: name not in known), json_values, max_size=2)


def file_entries(*, patch: bool = False) -> st.SearchStrategy[dict]:
    hashes = st.sampled_from([SHA256, "f" * 64]) | (st.none() if patch else st.nothing())
    sizes = whole | (st.none() if patch else st.nothing())
    return st.builds(
        lambda extra, known: {**extra, **known},
        extras("version", "sha256", "size", "expires", "value", "patch", "patches", "rebases", "base"),
        st.fixed_dictionaries({"version": words}, optional={"sha256": hashes, "size": sizes}),
    )


files = st.dictionaries(names, st.none() | file_entries(), max_size=3)
updates = st.builds(
    lambda extra, changes: {**extra, "files": changes},
    extras("files", "runs", "expect"),
    st.dictionaries(names, st.none() | file_entries(patch=True), max_size=3),
)
moments = st.integers(0, 253_402_300_799_999).map(lambda milliseconds: milliseconds / 1000)
ENTRY = ("session", "sequence", "version", "modified", "previous", "update")
entries = st.builds(
    CommitEntry,
    session=words,
    sequence=whole,
    version=words,
    modified=moments,
    previous=st.none() | words,
    update=updates,
    extra=extras(*ENTRY),
)
RUN = ("key", "sha256", "entries", "bytes", "index", "first", "last")
runs = st.builds(
    lambda sizes, keys, more: RunReference(
        sha256=SHA256, size=sizes[1], index=sizes[0], first=keys[0], last=keys[1], **more
    ),
    st.lists(whole.filter(bool), min_size=2, max_size=2, unique=True).map(sorted),
    st.tuples(words, words).map(sorted),
    st.fixed_dictionaries(
        {"key": words, "entries": whole},
        optional={"expires": moments, "continues": st.booleans(), "extra": extras(*RUN, "expires", "continues")},
    ),
)


@st.composite
def logs(draw) -> tuple[CommitEntry, ...]:
    """Entries that often have the session of the one before, and are often based on it."""
    log: list[CommitEntry] = []
    for one in draw(st.lists(entries, max_size=4)):
        if log and draw(st.booleans()):
            one = replace(one, session=log[-1].session)
        if log and draw(st.booleans()):
            one = replace(one, previous=log[-1].version)
        log.append(one)
    return tuple(log)


DOCUMENT = (
    "mps3",
    "journal",
    "window",
    "session",
    "sequence",
    "previous",
    "update",
    "log",
    "files",
    "sessions",
    "runs",
)
documents = st.builds(
    Document,
    journal=st.sampled_from(["merge", "log"]),
    window=st.integers(1, 86_400) | st.floats(0.001, 86_400),
    session=words,
    sequence=whole,
    previous=st.none() | words,
    update=updates,
    log=logs(),
    files=files,
    sessions=st.dictionaries(words, whole, max_size=3),
    runs=st.lists(runs, max_size=2).map(tuple),
    recent=st.lists(st.tuples(st.integers(0, 2_000_000_000).map(float), whole), max_size=3).map(tuple),
    extra=extras(*DOCUMENT, "attempt", "until", "collected", "expired", "recent"),
)


def raw() -> dict:
    """A document as it stands in the bucket, with something at every level."""
    return {
        "mps3": 2,
        "journal": "merge",
        "window": 3,
        "session": "s",
        "sequence": 4,
        "previous": "v3",
        "update": {"files": {"a": {"version": "1", "sha256": SHA256, "size": 2}, "b": None}},
        "log": [
            {
                "session": "t",
                "sequence": 3,
                "version": "v3",
                "modified": "2026-01-02T03:04:05.678Z",
                "previous": None,
                "update": {"files": {"c": {"version": "2", "sha256": None}}},
            }
        ],
        "files": {"d": {"version": "3", "size": 0}, "e": None},
        "sessions": {"t": 2},
        "runs": [
            {
                "key": "manifest.json.runs/x",
                "sha256": SHA256,
                "entries": 1,
                "bytes": 10,
                "index": 4,
                "first": "a",
                "last": "b",
                "expires": 1.5,
                "continues": True,
            }
        ],
    }


def read(document: object, version: str | None = "VERSION") -> Document:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return decode(body, version=version, **PLACE)


def paths(value: object, path: tuple = ()) -> list[tuple]:
    found = [path]
    if isinstance(value, dict):
        found += [one for name, inner in value.items() for one in paths(inner, (*path, name))]
    elif isinstance(value, list):
        found += [one for index, inner in enumerate(value) for one in paths(inner, (*path, index))]
    return found


PATHS = paths(raw())


def replaced(path: tuple, value: object) -> object:
    if not path:
        return value
    document = copy.deepcopy(raw())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@given(documents)
def test_what_is_written_is_read(document):
    assert decode(encode(document, **PLACE), version="v", **PLACE) == document


def test_unknown_members_are_kept_at_every_level():
    document = raw()
    places = [
        document,
        document["update"],
        document["update"]["files"]["a"],
        document["log"][0],
        document["log"][0]["update"],
        document["log"][0]["update"]["files"]["c"],
        document["files"]["d"],
        document["runs"][0],
    ]
    for number, place in enumerate(places):
        place["future"] = {"number": number, "list": [None, {"deep": True}]}
    assert orjson.loads(encode(read(document), **PLACE)) == document


def test_a_document_reads_as_the_protocol_says():
    document = read(raw())
    assert (document.journal, document.window, document.session, document.sequence) == ("merge", 3, "s", 4)
    (entry,) = document.log
    assert entry.id == "t.3"
    assert entry.modified == 1767323045.678
    assert entry.files == {"c": {"version": "2", "sha256": None}}
    own = document.entry("v4", 5.0)
    assert (own.id, own.version, own.previous, own.modified) == ("s.4", "v4", "v3", 5.0)


def test_until_when_it_counts():
    document = read(raw() | {"until": "2026-01-31T12:00:00.500Z", "collected": "s.1"})
    moment = datetime(2026, 1, 31, 12, tzinfo=timezone.utc).timestamp() + 0.5
    assert document.until == moment and document.collected == "s.1"
    assert document.counts(moment) and not document.counts(moment + 0.001)
    assert read(raw()).counts(moment) and read(raw()).collected is None
    again = json.loads(encode(document, bucket="b", key="k"))
    assert (again["until"], again["collected"]) == ("2026-01-31T12:00:00.500Z", "s.1")
    assert not {"until", "collected"} & json.loads(encode(read(raw()), bucket="b", key="k")).keys()


@pytest.mark.parametrize(
    "members", [{"until": 5}, {"until": "soon"}, {"until": "2026-01-31T12:00:00"}, {"collected": ""}, {"collected": 1}]
)
def test_a_deadline_that_is_none_is_refused(members):
    with pytest.raises(CorruptionError, match=next(iter(members))):
        read(raw() | members)


def test_an_entry_leaves_out_what_follows_from_the_one_before_it():
    log = tuple(CommitEntry("s" * 32, number, f"v{number}", 1.0, f"v{number - 1}", {}) for number in range(1, 4))
    document = Document("merge", 3.0, "t", 1, "v3", {}, log=log)
    first, *others = json.loads(encode(document, **PLACE))["log"]
    assert first["session"] == "s" * 32 and first["previous"] == "v0"
    assert all(not one.keys() & {"session", "previous"} for one in others)
    other = replace(log[2], session="u", previous="v1")
    for expected in ((*log[:2], other), (log[0], other, log[1])):
        assert read(json.loads(encode(replace(document, log=expected), **PLACE))).log == expected


def test_the_parts_that_may_be_missing():
    document = raw()
    for name in ("log", "files", "sessions", "runs", "previous"):
        del document[name]
    found = read(document)
    assert (found.log, found.files, found.sessions, found.runs, found.previous) == ((), {}, {}, (), None)
    assert read(raw() | {"update": {}}).entry("v", 0).files == {}


DELETED = object()
MALFORMED = [
    *((path, value) for path in PATHS if path in [(), ("update",), ("files",), ("sessions",)] for value in ([], 1, "x")),
    *((("log",), value) for value in (None, {}, "x", 1)),
    *((("runs",), value) for value in (None, {}, "x", 1)),
    *((("log", 0), value) for value in (None, [], "x", 1)),
    *((("runs", 0), value) for value in (None, [], "x", 1)),
    *((("mps3",), value) for value in (None, 0, -1, 1.0, True, "1", [1])),
    *((("journal",), value) for value in (None, "", "Merge", 1, [])),
    *((("window",), value) for value in (None, 0, -1, True, "3", 86_401, 1e300)),
    *((("session",), value) for value in (None, "", 1, [])),
    *((("sequence",), value) for value in (None, -1, 1.0, "1", True, 2**53)),
    *((("previous",), value) for value in ("", 1, [])),
    *((("update",), value) for value in (None, {"files": None}, {"files": []}, {"files": 1})),
    *((("update", "files", "a"), value) for value in ([], 1, "x", {}, {"size": 1}, {"version": None})),
    *((("update", "files", "a", "version"), value) for value in (None, "", 1, [])),
    *((("update", "files", "a", "sha256"), value) for value in ("", SHA256[1:], SHA256.upper(), SHA256 + "\n", 1)),
    *((("update", "files", "a", "size"), value) for value in (-1, 1.5, "1", True, 2**53)),
    *((("log", 0, "session"), value) for value in (None, "", 1)),
    *((("log", 0, "sequence"), value) for value in (None, -1, "1", 0.5)),
    *((("log", 0, "version"), value) for value in (None, "", 1)),
    *((("log", 0, "modified"), value) for value in (None, "", 1, "yesterday", "2026-01-02T03:04:05", "2026-13-01T00:00:00Z")),
    *((("log", 0, "previous"), value) for value in ("", 1)),
    *((("log", 0, "update"), value) for value in (None, [], {"files": []})),
    *((("log", 0, "update", "files", "c", "version"), value) for value in (None, 1)),
    *((("files", "d"), value) for value in ([], 1, "x", {})),
    *((("files", "d", "version"), value) for value in (None, "", 1)),
    *((("files", "d", "size"), value) for value in (None, -1)),
    *((("files", "d", "sha256"), value) for value in (None, "x")),
    *((("files",), value) for value in ({"": {"version": "1"}}, None)),
    *((("sessions",), value) for value in ({"t": None}, {"t": -1}, {"t": "1"}, {"t": True}, None)),
    *((("recent",), value) for value in (None, {}, [1], [[]], [["2026-01-02T03:04:05Z"]], [["yesterday", 1]])),
    *((("recent",), [["2026-01-02T03:04:05Z", value]]) for value in (-1, "1", True, None)),
    *((("runs", 0, "key"), value) for value in (None, "", 1)),
    *((("runs", 0, "sha256"), value) for value in (None, "", "x")),
    *((("runs", 0, "entries"), value) for value in (None, -1, "1")),
    *((("runs", 0, "bytes"), value) for value in (None, -1, "1", 3, 4)),
    *((("runs", 0, "index"), value) for value in (None, -1, "1", 0, 10, 1.5)),
    *((("runs", 0, "first"), value) for value in (None, "", 1, "bb")),
    *((("runs", 0, "last"), value) for value in (None, "", 1, "A")),
    *((("runs", 0, "expires"), value) for value in (-1, "2026-01-02T03:04:05Z", True, 1e300)),
    *((("runs", 0, "continues"), value) for value in (None, 1, "true")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), MALFORMED, ids=str)
def test_malformed_shapes_are_refused_whole(path, value):
    with pytest.raises(CorruptionError, match="VERSION") as caught:
        read(replaced(path, value))
    error = caught.value
    assert (error.bucket, error.key, error.version) == ("bucket", "manifest.json", "VERSION")
    assert "s3://bucket/manifest.json" in str(error)


@pytest.mark.parametrize(
    "path",
    [
        *[(name,) for name in ("mps3", "journal", "window", "session", "sequence", "update")],
        *[("log", 0, name) for name in ("session", "sequence", "version", "modified", "update")],
        *[("runs", 0, name) for name in RUN],
        ("files", "d", "version"),
    ],
    ids=str,
)
def test_missing_members_are_refused(path):
    document = raw()
    place = document
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    with pytest.raises(CorruptionError, match="VERSION"):
        read(document)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"not json",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"mps3": NaN}',
        b'"mps3"',
        orjson.dumps(raw())[:-1],
    ],
)
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(CorruptionError, match="VERSION"):
        read(body)


@pytest.mark.parametrize("number", [3, 4, 2**60])
def test_a_newer_format_is_refused_whatever_its_shape(number):
    for document in ({"mps3": number}, raw() | {"mps3": number, "log": "elsewhere now"}):
        with pytest.raises(FormatError, match=r"VERSION.*newer mps3") as caught:
            read(document)
        assert caught.value.version == "VERSION"


@given(st.sampled_from(PATHS), json_values)
def test_any_change_is_refused_or_can_be_written_again(path, value):
    try:
        document = read(replaced(path, value))
    except (CorruptionError, FormatError):
        return
    assert decode(encode(document, **PLACE), version="v", **PLACE) == document


@given(st.binary(max_size=50) | json_bodies)
def test_any_bytes_are_refused(body):
    with pytest.raises((CorruptionError, FormatError)):
        read(body)


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+23:59",
        "0500-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "2026-01-02T03:04:05.678901Z",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59.999999-23:59",
    ],
)
def test_any_time_is_refused_or_can_be_written_again(moment):
    try:
        document = read(replaced(("log", 0, "modified"), moment))
    except CorruptionError:
        return
    again = decode(encode(document, **PLACE), version="v", **PLACE)
    assert abs(again.log[0].modified - document.log[0].modified) < 0.001


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 50_000_000, id="open"),
        pytest.param(b"[" * 25_000_000 + b"]" * 25_000_000, id="closed"),
        pytest.param(b'{"a":' * 10_000_000, id="objects"),
        pytest.param(b"[" * (LIMIT // 2) + b"]" * (LIMIT // 2), id="within the limit"),
        pytest.param(b'{"mps3":2,"x":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", id="in a member"),
    ],
)
def test_nested_brackets_are_refused_quickly(body):
    started = time.perf_counter()
    with pytest.raises(CorruptionError, match="VERSION") as caught:
        read(body)
    assert time.perf_counter() - started < 1
    assert len(str(caught.value)) < 1000


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("path", [("x",), ("update", "x"), ("update", "files", "a", "x"), ("log", 0, "x"), ("log", 0, "update", "x"), ("files", "d", "x"), ("runs", 0, "x")], ids=str)  # fmt: skip
def test_unknown_members_nest_so_deep_and_no_deeper(path):
    kept = read(replaced(path, nested(DEEPEST)))
    assert decode(encode(kept, **PLACE), version="v", **PLACE) == kept
    with pytest.raises(CorruptionError, match="deep"):
        read(replaced(path, nested(DEEPEST + 1)))


def test_an_error_does_not_repeat_a_document():
    with pytest.raises(CorruptionError) as caught:
        read(replaced(("files",), {"k" * 1_000_000: 1}))
    assert len(str(caught.value)) < 1000


def test_nobody_writes_what_nobody_reads():
    document = read(raw())
    huge = Document(**{name: getattr(document, name) for name in DOCUMENT if name != "mps3"}, extra={"x": "y" * LIMIT})
    with pytest.raises(ConfigurationError, match=r"s3://bucket/manifest\.json"):
        encode(huge, **PLACE)


@given(st.floats(0, 4e9))
def test_a_time_is_kept_to_the_millisecond_and_never_later(seconds):
    document = replaced(("log", 0, "modified"), format_time(seconds))
    kept = read(document).log[0].modified
    assert kept == whole_milliseconds(seconds) / 1000
    assert -1e-6 < seconds - kept < 0.001 + 1e-6


@given(st.integers(0, 10**7), st.integers(1, 10**4), st.integers(0, 10**7), st.booleans())
def test_what_is_stamped_before_that_was_stored_more_than_a_window_ago(stored, window, other, seconds):
    """Times in milliseconds; a store with whole seconds rounds them down."""
    stamp, listed = (moment - moment % 1000 if seconds else moment for moment in (stored, other))
    before = visible_before(stamp / 1000, window / 1000)
    if listed / 1000 < before - 1e-9:
        assert other <= stored - window


@pytest.mark.parametrize(("stamp", "before"), [(100.0, 96.0), (100.5, 97.25), (0.5, -2.75)])
def test_only_stamps_of_whole_seconds_are_rounded(stamp, before):
    assert visible_before(stamp, 3.25) == pytest.approx(before)
