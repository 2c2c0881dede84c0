"""Only type-checked: what results and errors carry, and what a store is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, assert_type

from mps3 import (
    JSON,
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
    LocalStorage,
    LogEntry,
    MemoryStorage,
    MPS3Error,
    PendingChange,
    PendingWrite,
    Reconnect,
    Ref,
    Revision,
    Statistics,
    Status,
    Tally,
    UnavailableError,
    UnknownOutcomeError,
    ValidationError,
    WithdrawnError,
    __version__,
)
from mps3.storage import ABSENT, UNCHANGED, Capabilities, Head, Object, Page, Scan, Storage, Stored, VersionPage
from mps3.types import Delete


def commits(commit: Commit, entry: LogEntry, revision: Revision, file: FileInfo) -> None:
    """What was committed."""
    assert_type(commit.others, tuple[Commit, ...])
    assert_type(commit.manifest.key, str)
    assert_type(commit.manifest.bucket, str | None)
    assert_type(entry.id, str)
    assert_type(entry.session, str)
    assert_type(entry.slot, int | None)
    assert_type(revision.id, str | None)
    assert_type(revision.version, str | None)
    assert_type(revision.time, datetime | None)
    assert_type(file.key, str)
    assert_type(file.version, str)
    assert_type(file.size, int | None)
    assert_type(file.sha256, str | None)
    commit.id = "another"  # type: ignore[misc]


def batches(batch: Batch[JSON], change: Change[int]) -> None:
    """What a watch tells."""
    assert_type(batch.id, str | None)
    assert_type(batch.initial, bool)
    assert_type(batch.end_of_initial, bool)
    assert_type(batch.skipped, bool)
    assert_type(change.key, str)
    assert_type(change.value, int | Delete)
    assert_type(change.version, str | None)
    assert_type(change.pending, bool)


def status(client: MPS3, status: Status, statistics: Statistics) -> None:
    """How things stand."""
    client.go_offline()
    client.go_online()
    client.put("written by", __version__)
    assert_type(status.online, bool)
    assert_type(status.last_contact, datetime | None)
    assert_type(status.last_error, Exception | None)
    assert_type(status.subscriptions, int)
    assert_type(status.manifests, tuple[Ref, ...])
    assert_type(statistics.heard_within, Mapping[float, int])
    counts = [
        statistics.failed_requests,
        statistics.request_retries,
        statistics.bytes_sent,
        statistics.bytes_received,
        statistics.polls,
        statistics.polls_without_news,
        statistics.failed_polls,
        statistics.wake_ups,
        statistics.useful_wake_ups,
        statistics.merged,
        statistics.writes,
        statistics.failed_writes,
        statistics.commits,
        statistics.commits_sent,
        statistics.conflicts,
        statistics.retries,
        statistics.times_offline,
        statistics.pending,
        statistics.subscriptions,
        statistics.buffered,
        statistics.cached_bytes,
    ]
    assert_type(counts, list[int])


def collected(found: Collected, progress: Collecting, tally: Tally) -> None:
    """What collecting came to."""
    assert_type(found.dry_run, bool)
    assert_type(found.manifest, Tally)
    assert_type(found.runs, Tally)
    assert_type(found.foreign, int)
    assert_type(found.bytes, int)
    assert_type([tally.deleted, tally.bytes, tally.kept, tally.kept_bytes], list[int])
    assert_type([progress.deleted, progress.bytes], list[int])
    assert_type(progress.part, Literal["manifest", "runs", "values"])


def reconnected(offer: Reconnect, write: PendingWrite, change: PendingChange) -> None:
    """What can be decided about after a time offline."""
    assert_type(offer.writes, tuple[PendingWrite, ...])
    assert_type(write.made, datetime)
    assert_type(write.changed, bool)
    assert_type(write.keep(), None)
    assert_type(change.value, JSON | Delete)
    assert_type(change.changed, bool)
    assert_type(change.base, str | None)
    assert_type(change.version, str | None)


async def errors(client: MPS3) -> None:
    """One kind for each reaction, and what it is about."""
    try:
        await client.put("k", 1)
    except (ConfigurationError, AccessError, UnavailableError, ConflictError, CorruptionError, FormatError) as error:
        assert_type(error.bucket, str | None)
        assert_type(error.key, str | None)
    except (WithdrawnError, ClosedError, ValidationError, ExpiredError) as error:
        assert_type(error.operation, str | None)
        assert_type(error.version, str | None)
    except UnknownOutcomeError as error:
        assert_type(error.maybe_written, bool)
    except MPS3Error as error:
        raise ConflictError(str(error), bucket="b", key="k", operation="PutObject", version="v") from error


async def stores(local: LocalStorage, memory: MemoryStorage, path: str) -> None:
    """Both are stores; and what a store answers."""
    both: list[Storage] = [local, memory, LocalStorage(path, versioning=False), memory.copy()]
    assert_type(local.clock(), float)
    assert_type(memory.clock(), float)
    for store in both:
        await store.open()
        assert_type(await store.capabilities("b"), Capabilities)
        found = await store.get("b", "k", version="v", if_none_match="e", limit=1)
        if found is not ABSENT and found is not UNCHANGED:
            assert_type(found, Object)
        assert_type(await store.put("b", "k", b"", if_none_match=True, metadata={"a": "b"}), Stored)
        head = await store.head("b", "k")
        if isinstance(head, Head):
            assert_type(head.metadata, Mapping[str, str])
        assert_type(await store.delete("b", "k", version="v"), None)
        assert_type(await store.versions("b", "k"), VersionPage)
        assert_type(await store.list("b", prefix="k"), Page)
        assert_type(await store.scan("b", prefix="k"), Scan)
        await store.aclose()
