"""A pending write: one write to one manifest, until it is durable or has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, Self

import orjson

from ..content.many import ManyValues
from ..content.patch import PendingPatch, add_steps
from ..content.value import PendingValue
from ..errors import MPS3Error
from ..format import limits
from ..format.operations import Step
from ..format.schema import NOTHING
from ..journal.attempt import Attempt
from ..offline.protocol import StoredChange, StoredWrite
from ..types import UNCHECKED, Commit, Ref
from .session import Session, time_of

QUEUED: Final = "queued"
"""Its values are not stored yet."""
READY: Final = "ready"
"""Its values are stored."""
SENT: Final = "sent"
"""It is in a commit that may have been sent."""
SEEN: Final = "seen"
"""Sent, and part of the resolved state, although it is not acknowledged: commits of other clients may follow it."""


class ConflictPolicy(Enum):
    """What happens when a transaction conflicts with another client's commit."""

    RERUN = "rerun"
    """It fails at once, and its caller makes another try."""
    ONCE = "once"
    """It fails as soon as the conflict is certain."""
    CONCLUDE = "conclude"
    """It is not tried again; its caller has to know for certain whether one of its tries was committed."""


@dataclass(frozen=True, slots=True)
class ResendIdentity:
    """The identity under which a group of writes may have been sent, and must be sent again.

    Attributes:
        sequence: Its sequence in its session.
        tries: How often it may have been written.
        witnesses: As in `Attempt`.
        named: As in `Attempt`.
    """

    sequence: int
    tries: int
    witnesses: Mapping[str, int] | None = None
    named: frozenset[tuple[str, str]] = frozenset()


class Pending:
    """One write to one manifest, until it is durable or has failed.

    Args:
        changes: The manifest's names of keys, and their new values; ``None`` deletes.
        labels: The same names as the user knows them.
        places: The buckets and keys that they stand for.
        made: When it was made, by this machine's clock.
        session: The session under whose name it is committed.
        announces_collection: Whether it only announces a collection.
        expect: The versions that keys must have for it to be committed: then it is a transaction, with a session
            that nothing else uses at the same time.
        policy: What happens when a transaction conflicts.
        fleeting: Whether it is of no use once this client has ended: then it is not kept.

    Attributes:
        outcome: The commit it became part of, or why it did not.
        stage: How far it has come: `QUEUED`, `READY`, `SENT` or `SEEN`.
        base_versions: The versions of its keys that were known when it was made: what it may replace.
        kept: Done once it is kept durably; ``None`` if it is not kept.
        stored_id: The id under which it is kept.
        resend_as: The identity under which an earlier client may have sent it.
        last_collection: The last collection that was known before its values were stored.
        attempt: The attempt in the journal of a transaction that was tried.
        arrived: Done when a transaction is in the store, and holds as far as can be seen.
        overwritten: Keys of an arrived transaction that later commits of other clients have changed.
        lapsed: Keys that it deletes because they expired before it could be sent; not if another client
            has changed them since it was made.
    """

    __slots__ = (
        "_changes",
        "_is_patch",
        "announces_collection",
        "arrived",
        "attempt",
        "base_versions",
        "expect",
        "fleeting",
        "kept",
        "labels",
        "lapsed",
        "last_collection",
        "made",
        "outcome",
        "overwritten",
        "places",
        "policy",
        "resend_as",
        "session",
        "stage",
        "stored_id",
        "void",
    )

    def __init__(
        self,
        changes: Mapping[str, PendingValue | None],
        labels: Mapping[str, str],
        places: Mapping[str, tuple[str, str]],
        made: datetime,
        session: Session,
        *,
        announces_collection: bool = False,
        expect: Mapping[str, str | None] = NOTHING,
        policy: ConflictPolicy = ConflictPolicy.ONCE,
        fleeting: bool = False,
    ) -> None:
        self.changes = changes
        self.labels = labels
        self.places = places
        self.made = made
        self.session = session
        self.base_versions: dict[str, str | None] = {}
        self.kept: asyncio.Future[None] | None = None
        self.stored_id: int | None = None
        self.resend_as: ResendIdentity | None = None
        self.outcome: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        self.stage = QUEUED
        self.announces_collection = announces_collection
        self.last_collection: str | None = None
        self.expect = expect
        self.policy = policy
        self.fleeting = fleeting
        self.lapsed: frozenset[str] = frozenset()
        self.void: frozenset[PendingPatch] = frozenset()
        self.attempt: Attempt | None = None
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.overwritten: frozenset[str] = frozenset()
        # Mark the exception as retrieved: `Write` reports failures that are not awaited.
        self.outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())

    @classmethod
    def of(cls, stored: StoredWrite, session: Session) -> Self:
        """Return a write that an earlier client has kept."""
        pending = cls(
            _contents_of(stored, session.manifest),
            {name: change.label for name, change in stored.changes.items()},
            {name: (change.bucket, change.key) for name, change in stored.changes.items()},
            time_of(stored.made),
            session,
            expect={name: change.expect for name, change in stored.changes.items() if change.expect is not UNCHECKED},
        )
        pending.base_versions = {name: change.base for name, change in stored.changes.items()}
        pending.stored_id = stored.id
        pending.kept = asyncio.get_running_loop().create_future()
        pending.kept.set_result(None)
        return pending

    @property
    def changes(self) -> Mapping[str, PendingValue | None]:
        """The manifest's names of keys, and their new values; ``None`` deletes."""
        return self._changes

    @changes.setter
    def changes(self, changes: Mapping[str, PendingValue | None]) -> None:
        self._changes = changes
        self._is_patch = not isinstance(changes, ManyValues) and any(map(_is_partial, changes.values()))

    @property
    def is_large(self) -> bool:
        """Whether it changes so many keys that it becomes a commit of its own."""
        return isinstance(self.changes, ManyValues)

    @property
    def is_patch(self) -> bool:
        """Whether it says of a key how its value changes, instead of what it becomes."""
        return self._is_patch

    @property
    def reruns(self) -> bool:
        """Whether its caller makes another try of it after a conflict."""
        return self.policy is ConflictPolicy.RERUN

    @property
    def sent(self) -> bool:
        """Whether it may have left this client."""
        return self.stage in (SENT, SEEN)

    @property
    def ready(self) -> bool:
        """Whether its values are stored, and it is known whether it is kept."""
        return self.stage == READY and (self.kept is None or self.kept.done())

    @property
    def safe(self) -> bool:
        """Whether it is kept durably."""
        return self.kept is not None and self.kept.done() and not self.kept.cancelled() and not self.kept.exception()

    @property
    def maybe_written(self) -> bool:
        """Whether it may have reached the store, or another client may still send it."""
        tried = self.attempt is not None and self.attempt.doubtful
        return self.sent or self.resend_as is not None or self.safe or tried

    def keep(self) -> None:
        """Start to keep it durably, if its session does that and it is not fleeting."""
        if self.session.outbox_queue is None:
            return
        if not self.fleeting and (kept := self.session.keep(self.made, self._stored())) is not None:
            self.stored_id, self.kept = kept

    def keep_under_new_name(self) -> None:
        """Keep it under the name that its session has now, and no longer under the earlier one."""
        if (earlier := self.stored_id) is not None:
            self.keep()
            self.session.forget(earlier)

    def keep_replaced(self) -> None:
        """Keep the changes that it has now in place of the earlier ones."""
        if self.stored_id is not None and (kept := self.session.replace(self.stored_id, self._stored())) is not None:
            self.kept = kept

    def keep_rebased(self) -> None:
        """Keep which versions it may replace now: a later client needs them if the write expires."""
        expires = any(content is not None and content.expires_in is not None for content in self.changes.values())
        if expires and self.stored_id is not None:
            self.session.replace(self.stored_id, self._stored())

    def forget(self) -> None:
        """Stop keeping it."""
        if self.stored_id is not None:
            self.session.forget(self.stored_id)

    def fail(self, error: MPS3Error) -> None:
        """Fail it: it did not happen, and will not, unless the error says that it may have been written."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def _stored(self) -> dict[str, StoredChange]:
        return {
            name: StoredChange(
                *self.places[name],
                self.labels[name],
                None if content is None else content.body,
                self.base_versions.get(name),
                self.expect.get(name, UNCHECKED),
                None if content is None else content.expires_in,
                content is not None and content.inline,
                isinstance(content, PendingPatch),
            )
            for name, content in self.changes.items()
        }


def _is_partial(content: PendingValue | None) -> bool:
    return content is not None and (isinstance(content, PendingPatch) or content.rebases is not None)


def final_changes(group: Sequence[Pending]) -> Mapping[str, PendingValue | None]:
    """Return the changes of several writes as one: the last change of a key wins."""
    if len(group) == 1:
        return group[0].changes
    changes: dict[str, PendingValue | None] = {}
    patches: dict[str, list[PendingPatch]] = {}
    for pending in group:
        if not pending.is_patch:
            changes.update(pending.changes)
            continue
        for name, content in pending.changes.items():
            if isinstance(content, PendingPatch):
                if not isinstance(changes.get(name), PendingPatch):
                    patches[name] = []
                patches[name].append(content)
            changes[name] = content
    for name, several in patches.items():
        if changes[name] is several[-1]:
            changes[name] = several[-1].after(*several[:-1])
    return changes


def joint(group: Sequence[Pending]) -> int:
    """Return how many of these writes, from the first on, can be one commit.

    What a commit says of a key is a value or a patch, so a patch does not follow a value of the same key. It has one
    expiry, so patches with different ones are not joined: one that does not apply must not change the expiry. And the
    patches of one commit have limits.
    """
    if not any(pending.is_patch for pending in group):
        return len(group)
    said: dict[str, _JointPatch | None] = {}
    for place, pending in enumerate(group):
        for name, content in pending.changes.items():
            if isinstance(content, PendingPatch):
                whole = said.setdefault(name, _JointPatch(content.expires_in))
                if whole is None or (whole.steps and whole.expires_in != content.expires_in):
                    return place
                whole.add(content)
                if place and (whole.size > limits.PATCH or len(whole.steps) > limits.STEPS):
                    return place
            elif content is not None and content.rebases is not None and name in said:
                return place
            else:
                said[name] = None
        patches = [whole for whole in said.values() if whole is not None]
        if place and (len(patches) > limits.MANY or sum(whole.size for whole in patches) > limits.PATCHES):
            return place
    return len(group)


class _JointPatch:
    """The patches of one key in one commit, and how large they are together.

    Attributes:
        expires_in: The expiry of each of them.
        steps: Their steps.
        size: The bytes of those.
    """

    __slots__ = ("_sizes", "expires_in", "size", "steps")

    def __init__(self, expires_in: float | None) -> None:
        self.expires_in = expires_in
        self.steps: list[Step] = []
        self.size = 1
        self._sizes: list[int] = []

    def add(self, content: PendingPatch) -> None:
        """Add a patch."""
        start = add_steps(self.steps, content.steps)
        self.size -= sum(self._sizes[start:])
        self._sizes[start:] = [len(orjson.dumps(step)) + 1 for step in self.steps[start:]]
        self.size += sum(self._sizes[start:])


def stored_ids(group: Iterable[Pending]) -> tuple[int, ...]:
    """Return the ids of the writes among these that are kept."""
    return tuple(pending.stored_id for pending in group if pending.stored_id is not None)


def _contents_of(stored: StoredWrite, manifest: Ref) -> dict[str, PendingValue | None]:
    """Return the values of a kept write, to be stored again."""
    return {
        name: None if change.body is None else _content_of(change, change.body, manifest)
        for name, change in stored.changes.items()
    }


def _content_of(change: StoredChange, body: bytes, manifest: Ref) -> PendingValue:
    if change.patch:
        return PendingPatch(change.bucket, change.key, body, (manifest,), change.expires_in)
    return PendingValue(change.bucket, change.key, body, (manifest,), change.expires_in, inline=change.inline)
