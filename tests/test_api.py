"""The public names: they are what users rely on, so that changing one fails a test."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import pickle
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

import mps3
from mps3 import (
    DELETE,
    MPS3,
    AccessError,
    Batch,
    Change,
    ClosedError,
    Collected,
    Collecting,
    Commit,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    ExpiredError,
    FileInfo,
    FormatError,
    LogEntry,
    MPS3Error,
    Ref,
    Revision,
    Snapshot,
    Status,
    Subscription,
    Tally,
    Typed,
    UnavailableError,
    UnknownOutcomeError,
    ValidationError,
    WithdrawnError,
    Write,
)

KINDS = [
    AccessError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    ExpiredError,
    FormatError,
    UnavailableError,
    UnknownOutcomeError,
    ValidationError,
    WithdrawnError,
]


def test_all_is_exactly_the_public_names():
    public = {
        name
        for name, value in vars(mps3).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert set(mps3.__all__) == public | {"__version__"}
    assert len(set(mps3.__all__)) == len(mps3.__all__)


def test_types_are_checked_of_all_public_names_and_what_they_have():
    """What type checkers look at in `tests/typing` uses each name, and each method and attribute of each class."""
    files = (Path(__file__).parent / "typing").glob("*.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    assert set(mps3.__all__) - {node.id for node in nodes if isinstance(node, ast.Name)} == set()
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {"tell"}  # of `StatusChanges`: for the client alone
    for kind in filter(inspect.isclass, (getattr(mps3, name) for name in mps3.__all__)):
        has = set(dir(kind)) - set(dir(Exception))
        if dataclasses.is_dataclass(kind):
            has |= {field.name for field in dataclasses.fields(kind)}
        assert {name for name in has if not name.startswith("_")} - used == set(), kind


def test_the_promised_names_are_there():
    promised = {"Rejected", "Reconnect", "PendingWrite", "PendingChange", "StatusChanges"}
    promised |= {"MPS3", "Ref", "DELETE", "JSON", "Write", "Commit", "Subscription", "Status", "LocalStorage"}
    promised |= {"Batch", "Change", "Revision", "Snapshot", "Typed"}
    promised |= {kind.__name__ for kind in KINDS} | {"MPS3Error"}
    assert promised <= set(mps3.__all__)


@pytest.mark.parametrize("name", [name for name in mps3.__all__ if inspect.isclass(getattr(mps3, name, None))])
def test_classes_and_their_methods_are_documented(name):
    kind = getattr(mps3, name)
    assert kind.__doc__
    for member, value in vars(kind).items():
        if not member.startswith("_") and (callable(value) or isinstance(value, property | classmethod)):
            assert inspect.getdoc(getattr(kind, member)), f"{name}.{member}"


SIGNATURES = {
    "__init__": "(self, default_bucket, default_manifest='manifest.json', *, s3_config=None, storage=None, poll_interval=1.0, checksums=True, offline=None, online=True)",
    "from_url": "(url, **options)",
    "aclose": "(self)",
    "put": "(self, key, value, *, bucket=None, manifests=None)",
    "put_all": "(self, values, *, bucket=None, manifests=None)",
    "delete": "(self, key, *, bucket=None, manifests=None)",
    "get": "(self, key, default=None, *, bucket=None, manifest=None)",
    "subscribe": "(self, key, default=None, *, bucket=None, manifest=None)",
    "status": "(self)",
    "statistics": "(self)",
    "status_changes": "(self)",
    "go_offline": "(self)",
    "go_online": "(self)",
    "rejected": "(self)",
    "collect": "(self, *, retention=None, dry_run=False, manifest=None, progress=None, rate=None)",
    "keys": "(self, prefix='', *, manifest=None)",
    "get_all": "(self, keys=None, *, prefix=None, manifest=None)",
    "watch": "(self, prefix='', *, manifest=None, since=None)",
    "history": "(self, key, *, limit=None)",
    "log": "(self, prefix='', *, limit=None, manifest=None)",
    "snapshot": "(self, at=None, *, manifest=None)",
    "restore": "(self, key, revision, *, bucket=None, manifest=None)",
    "restore_all": "(self, at, *, prefix='', manifest=None)",
    "typed": "(self, model)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures_hold(name):
    """More keywords may follow; these stay."""
    promised = inspect.signature(eval(f"lambda {SIGNATURES[name][1:-1]}: None"))
    found = inspect.signature(getattr(MPS3, name))
    positional = [each for each in found.parameters.values() if each.kind is not each.KEYWORD_ONLY]
    expected = [each for each in promised.parameters.values() if each.kind is not each.KEYWORD_ONLY]
    assert [(each.name, each.kind, each.default) for each in positional] == [
        (each.name, each.kind, each.default) for each in expected
    ]
    for each in promised.parameters.values():
        assert found.parameters[each.name].default == each.default
        assert found.parameters[each.name].kind == each.kind
    for each in found.parameters.values():
        if each.name not in promised.parameters:
            assert each.kind is each.KEYWORD_ONLY and each.default is not each.empty


def test_what_is_async_and_what_is_not():
    asynchronous = {"__aenter__", "__aexit__", "aclose", "get", "get_all", "keys", "history", "log", "snapshot"}
    asynchronous |= {"restore", "restore_all"}
    asynchronous |= {"collect"}
    for name in ("__aenter__", "__aexit__", *SIGNATURES):
        assert inspect.iscoroutinefunction(getattr(MPS3, name)) is (name in asynchronous), name


def test_what_calls_return():
    assert issubclass(Write, Awaitable)
    assert {"pending", "withdraw", "kept"} <= set(dir(Write))
    assert inspect.iscoroutinefunction(Write.kept)
    assert issubclass(Subscription, AsyncIterator)
    assert {"__aenter__", "__aexit__", "aclose"} <= set(dir(Subscription))
    assert {"keys", "get", "get_all", "id"} <= {*dir(Snapshot), "id"}
    assert {"put", "put_all", "get", "get_all", "subscribe", "watch"} <= set(dir(Typed))


@pytest.mark.parametrize(
    "kind", [Ref, Commit, Status, Collected, Collecting, Tally, Batch, Change, Revision, LogEntry, FileInfo]
)
def test_words_are_frozen(kind):
    assert kind.__dataclass_params__.frozen
    names = {field.name for field in dataclasses.fields(kind)}
    assert (
        names
        >= {
            Ref: {"key", "bucket"},
            Commit: {"id", "versions", "manifest"},
            Status: {"online", "pending", "oldest_pending", "last_contact", "last_error"},
            Collected: {"dry_run", "since", "manifest", "runs", "values", "foreign"},
            Collecting: {"part", "looked_at", "deleted", "bytes"},
            Tally: {"deleted", "bytes", "kept", "kept_bytes"},
            Batch: {"id", "initial", "end_of_initial", "skipped", "changes", "cursor"},
            Change: {"key", "value", "version", "pending"},
            Revision: {"id", "version", "time"},
            LogEntry: {"id", "time", "session", "versions", "slot"},
            FileInfo: {"key", "ref", "version", "size", "sha256"},
        }[kind]
    )


def test_references_are_values():
    assert Ref("k") == Ref("k", None) != Ref("k", "b")
    assert len({Ref("k", "b"), Ref("k", "b")}) == 1
    assert (str(Ref("k")), str(Ref("k", "b"))) == ("k", "s3://b/k")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Ref("k").key = "x"


def test_delete_is_one_of_a_kind():
    assert repr(DELETE) == "DELETE"
    assert copy.deepcopy(DELETE) is DELETE
    assert pickle.loads(pickle.dumps(DELETE)) is DELETE
    assert DELETE is not None


def test_errors_are_in_one_tree():
    found = {value for value in vars(mps3).values() if inspect.isclass(value) and issubclass(value, Exception)}
    assert found == {MPS3Error, *KINDS}
    assert all(kind.__mro__[1] is MPS3Error for kind in KINDS)
    assert MPS3Error.__mro__[1] is Exception


@pytest.mark.parametrize("kind", [MPS3Error, *KINDS])
def test_errors_carry_what_they_are_about_through_a_pickle(kind):
    error = kind("what went wrong", bucket="b", key="k", operation="PutObject", version="v")
    for one in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(one) is kind
        assert str(one) == "what went wrong"
        assert (one.bucket, one.key, one.operation, one.version) == ("b", "k", "PutObject", "v")
    bare = pickle.loads(pickle.dumps(kind("x")))
    assert (bare.bucket, bare.key, bare.operation, bare.version) == (None, None, None, None)


def test_the_version_is_one():
    assert all(part.isdigit() for part in mps3.__version__.split(".")[:2])
