"""The conditional journal (rules R9 and R10): compare-and-swap on one object.

One document, one linear history. It needs a store that enforces conditions on a PUT, and no versions.
"""

from __future__ import annotations

import math
from typing import Final

from ..errors import ConfigurationError, ConflictError, CorruptionError, MPS3Error, UnavailableError
from ..format.commit_age import Moment
from ..format.document import LIMIT, CommitEntry, Document, commit_id
from ..format.file_entry import expires_of
from ..format.schema import whole_milliseconds
from ..format.state import View, build_view, needed_runs
from ..storage.etags import bare, strong
from ..storage.protocol import ABSENT, UNCHANGED, Absence, Object, Storage, Stored
from ..storage.verification import read_verified
from ..support.environment import Environment
from . import stall_detector
from .attempt import Attempt, OutdatedError, require
from .base import MOST_READS, WINDOW, BaseJournal
from .conditional_retention import retained, settleable
from .document_io import read_document
from .order import once
from .outcome import CommitOutcome, not_yet, outcome_of, remembered, settled_sessions, shows, unknown
from .probe import require_conditions
from .protocol import Retained, Verdict
from .runs import NAME, MissingRunError
from .settle import settle
from .snapshot import JournalSnapshot

KEPT: Final = 128
"""Commits that the log holds at least, so that a lost answer can be recognised."""
LARGE_KEPT: Final = 16
"""Large changes among them at the most: each is an object of its own, which whoever opens has to fetch."""
RESOLUTION: Final = 0.001
"""Seconds between two moments that documents can tell apart."""


class ConditionalJournal(BaseJournal):
    """Compare-and-swap on one object.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        environment: Time, chance and names.
        trusted: Whether the store was seen to enforce conditions.
        window: Seconds that the log reaches back at least; what a new manifest is created with.
    """

    kind: Final = "conditional"

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        key: str,
        environment: Environment,
        *,
        trusted: bool = False,
        window: float = WINDOW,
    ) -> None:
        super().__init__(storage, bucket, key, environment, window=window, unique=environment.name)
        self._modified = -math.inf
        self._behind_since = math.inf
        self._trusted = trusted

    @property
    def tentative(self) -> View:
        """The same: nothing becomes visible late."""
        return self._view

    @property
    def decides_at(self) -> float:
        """Nothing is left to be decided later."""
        return math.inf

    def verdict(self, attempt: Attempt) -> Verdict:
        """How a transaction stands: it is there, or it is not, or it is the head and came too late to count."""
        if self.fate(attempt) in (CommitOutcome.LANDED, CommitOutcome.SETTLED):
            return Verdict.COMMITTED
        return Verdict.ABORTED if self._is_head(attempt) else Verdict.UNKNOWN

    def fate(self, attempt: Attempt) -> CommitOutcome:
        """What became of a commit whose answer was lost, by what was read last."""
        return outcome_of(self._view, self._author(attempt), attempt)

    def may_arrive(self, attempt: Attempt) -> bool:
        """Whether a try that was never answered may still arrive: the manifest is what that one was made upon."""
        return attempt.earlier or self._etag in attempt.bases

    def counting(self, attempt: Attempt) -> CommitEntry | None:
        """The commit, as long as the log has it."""
        return next((entry for entry in self._view.commits if self._is_own(entry, attempt)), None)

    @property
    def clock(self) -> float | None:
        """Nothing here depends on it: a collection is announced by a commit (R17)."""
        return None

    def _now(self) -> Moment:
        document = self._view.document
        return Moment(self._environment.monotonic(), collected=None if document is None else document.collected)

    async def resolve(self) -> bool:
        """Look for what others committed: one conditional GET."""
        gone: str | None = None
        while True:
            found = await self._look()
            if found is None:
                return False
            document, etag, modified = found
            try:
                return await self._advance(document, etag, modified)
            except MissingRunError:
                if etag == gone:
                    raise  # it is still what the manifest says
                gone = etag

    async def _look(self) -> tuple[Document, str | None, float | None] | None:
        async def ask() -> Object | Absence:
            return await self._storage.get(self._bucket, self._key, if_none_match=self._etag, limit=LIMIT)

        return await read_verified(ask, self._read)

    async def _read(self, found: Object | Absence) -> tuple[Document, str | None, float | None] | None:
        """Make something of an answer to `_look`."""
        if found is UNCHANGED:
            return None
        if found is ABSENT:
            if self._view.head is None:
                return None
            raise CorruptionError(
                f"the manifest s3://{self._bucket}/{self._key} was deleted: restore it, or use another manifest",
                bucket=self._bucket,
                key=self._key,
                operation="GetObject",
            )
        assert isinstance(found, Object)  # noqa: S101 - tells the type checker what is left
        document = await read_document(
            self.kind,
            self._runs,
            found.body,
            bucket=self._bucket,
            key=self._key,
            version=found.version or found.etag,
            known={commit.version: commit for commit in self._view.commits},
        )
        return document, found.etag, found.modified

    async def append(self, attempt: Attempt) -> None:
        """Try to commit (R9). A successful PUT is the acknowledgement.

        Raises:
            ConflictError: Somebody else committed first; call again with the same attempt.
            ConfigurationError: It is refused again and again though nobody else has committed.
        """
        try:
            await self._append(attempt)
        except OutdatedError:
            raise
        except ConflictError as error:
            await self._not_moved(attempt, error)
            raise
        self._acknowledged()

    async def _not_moved(self, attempt: Attempt, conflict: ConflictError) -> None:
        """A commit was refused: if that is not because others commit, find out why, and give up in the end."""
        self._stalls.failed(self._etag, conflict)
        try:
            if self._stalls.suspicious:
                await require_conditions(self._storage, self._bucket, self._key, self._environment)
            if self._stalls.is_hopeless():
                raise ConfigurationError(
                    f"the store has refused {self._stalls.failures} commits to s3://{self._bucket}/{self._key} in "
                    f"{self._stalls.lasted:.0f} s because the manifest had changed, but shows that it has not: "
                    "something between this client and the store changes ETags, or answers in place of the store with "
                    "what is old. Let it pass answers on as they are, or use a bucket with versioning enabled",
                    bucket=self._bucket,
                    key=self._key,
                    operation="PutObject",
                )
        except ConfigurationError as error:
            self._stalls.moved()  # the next commit is tried anew
            error.maybe_written = attempt.unanswered > 0
            raise error from conflict

    async def _append(self, attempt: Attempt) -> None:
        if attempt.doubtful:
            await self.resolve()
            if self.is_usurped(attempt):
                raise self._conflict()
            if self._has_arrived(attempt):
                return
        if attempt.closes and self._view.has(self._author(attempt), attempt.sequence - 1):
            return  # the transaction that it should end has arrived
        if not self._trusted:
            await require_conditions(self._storage, self._bucket, self._key, self._environment)
            self._trusted = True
        require(attempt, self._view, self._bucket, self._key)
        document, body = await self._begin_try(attempt)
        try:
            stored = await self._put(attempt, body)
        except UnavailableError:
            # Some stores answer whoever loses a race with a server error: then there is a winner to see.
            if not await self.resolve():
                raise
            if not self.is_usurped(attempt) and self._has_arrived(attempt):
                return
            raise self._conflict() from None
        if stored.etag is None:
            await self.resolve()  # a store that keeps the ETag to itself until it is asked
            if not self._view.has(self._author(attempt), attempt.sequence):
                raise UnavailableError(
                    f"nobody knows whether s3://{self._bucket}/{self._key} was written: the store sent no ETag, and "
                    "the commit is not there",
                    bucket=self._bucket,
                    key=self._key,
                    operation="PutObject",
                    maybe_written=True,
                )
            return
        if document.until is not None and not _in_time(stored.modified, document.until - self._window):
            await self.resolve()  # the stamp that everybody sees decides whether it counts
            return
        try:
            await self._advance(document, stored.etag, stored.modified)
        except MissingRunError:
            await self.resolve()  # others have gone on meanwhile, and collected

    def is_usurped(self, attempt: Attempt) -> bool:
        """Whether somebody else has committed under the identity of a commit, or beyond it in its session."""
        return self._view.is_usurped(self._author(attempt), attempt.sequence, attempt.is_forged) or (
            not attempt.unanswered and self._is_overtaken(attempt)
        )

    def _is_overtaken(self, attempt: Attempt) -> bool:
        """Whether its session was settled beyond a commit that is under way, and nothing shows the commit.

        A session makes one commit at a time, and at most what ends a transaction after it. So somebody else has used
        its name, and what is settled says nothing of the commit.
        """
        settled = settled_sessions(self._view).get(self._author(attempt), -1)
        return not attempt.earlier and settled > attempt.sequence + 1 and not shows(self._view, attempt.named)

    def _has_arrived(self, attempt: Attempt) -> bool:
        """Whether a commit is part of the state.

        Raises:
            UnknownOutcomeError: Nobody can tell any more.
        """
        match self.fate(attempt):
            case CommitOutcome.SETTLED if self._is_overtaken(attempt):
                raise unknown(self._bucket, self._key)
            case CommitOutcome.SETTLED | CommitOutcome.LANDED:
                return True
            case CommitOutcome.UNKNOWN:
                raise unknown(self._bucket, self._key)
            case CommitOutcome.NOT_YET:
                not_yet(attempt, remembered(self._view))
                return False

    def save(self) -> JournalSnapshot:
        """What another journal of this manifest can go on from."""
        return JournalSnapshot.of(self.kind, self._view, self._etag, self._modified)

    async def restore(self, saved: JournalSnapshot) -> None:
        """Go on from what a journal of this manifest had read or written."""
        self._view = await saved.view(self._runs)
        self._etag = saved.etag
        self._modified = saved.stamp
        if saved.document is not None:
            self._window = saved.document.window

    async def _put(self, attempt: Attempt, body: bytes) -> Stored:
        base, before = self._etag, attempt.doubtful
        attempt.doubtful = True
        attempt.bases.append(base)
        attempt.unanswered += 1
        try:
            if base is None:
                stored = await self._storage.put(self._bucket, self._key, body, if_none_match=True)
            else:
                stored = await self._storage.put(self._bucket, self._key, body, if_match=strong(base))
        except UnavailableError:
            raise
        except MPS3Error as error:
            if not error.maybe_written:
                # A lost answer may look like a conflict (R9).
                attempt.doubtful = before or isinstance(error, ConflictError)
                attempt.answered(base)
            raise
        attempt.answered(base)
        return stored

    def _conflict(self) -> ConflictError:
        return ConflictError(
            f"somebody else committed to s3://{self._bucket}/{self._key} first",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
        )

    async def _advance(self, document: Document, etag: str | None, modified: float | None) -> bool:
        if etag is None:
            raise ConfigurationError(
                f"the store sends no ETag for s3://{self._bucket}/{self._key}, so no condition can be made of it: "
                "use a bucket with versioning enabled",
                bucket=self._bucket,
                key=self._key,
            )
        # The clock of a store that does not tell stands still until it does.
        stamp = max((modified or self._modified, *(entry.modified for entry in document.log)))
        head = bare(etag)
        # To the precision that documents keep, so that a stamp is the same wherever it comes from.
        own = document.entry(head, whole_milliseconds(stamp) / 1000 if math.isfinite(stamp) else 0.0)
        # A transaction that was stored when what it had read had expired changes nothing (R19).
        said = (own,) if modified is None or document.counts(modified) else ()
        commits = tuple(once((*document.log, *said), document.sessions))
        held = await self._runs.load(needed_runs(document, commits))
        before = self._view
        view = await self._runs.work(
            lambda _: build_view(document, head, commits, held, 0.0, before),
            NAME * sum(len(commit.files) for commit in commits),
        )
        last = self._view.commits[-1:]
        if (modified is None or modified <= self._modified) and any(
            not view.has(commit.session, commit.sequence) for commit in last
        ):
            raise self._went_back()
        self._behind_since = math.inf
        changed = head != self._view.head
        self._view, self._etag, self._modified, self._window = view, etag, stamp, document.window
        return changed

    def _went_back(self) -> MPS3Error:
        """Return what to say of a state that is older than the last one: it may pass, but not for ever."""
        now = self._environment.monotonic()
        self._behind_since = min(self._behind_since, now)
        if now - self._behind_since < stall_detector.OLD:
            return UnavailableError(
                f"the store answered with an older state of s3://{self._bucket}/{self._key} than before",
                bucket=self._bucket,
                key=self._key,
                operation="GetObject",
            )
        return ConfigurationError(
            f"s3://{self._bucket}/{self._key} has been an older state than this client has seen for "
            f"{now - self._behind_since:.0f} s: somebody has put an old manifest in its place, or something between "
            "this client and the store answers for it. Open a new client to go on from the older state",
            bucket=self._bucket,
            key=self._key,
            operation="GetObject",
        )

    async def _compose(self, attempt: Attempt) -> Document:
        view, base = self._view, self._view.document
        if base is not None and base.collected != attempt.collected:
            raise self._conflict()  # R17: its values may be gone
        if base is None:
            return self._first_document(attempt)
        settled = settleable(view.commits, self._window, KEPT, LARGE_KEPT)
        into = await settle(base, settled, view, self._runs, self._compactor)
        return self._next_document(
            attempt,
            base,
            into,
            # What came too late to count is left out, as if it had never been.
            previous=view.commits[-1].version if view.commits else view.head,
            log=view.commits[len(settled) :],
            until=self._until(attempt),
            collected=commit_id(self._author(attempt), attempt.sequence) if attempt.fence else base.collected,
        )

    def _until(self, attempt: Attempt) -> float | None:
        """The last moment at which nothing has expired that a transaction was made from, by the store's clock."""
        files = (self._view.look_up(name) for name, version in attempt.expect.items() if version is not None)
        ends = [moment for file in files if (moment := expires_of(file)) is not None]
        return min(ends) - RESOLUTION if ends else None

    async def retained(self, seconds: float) -> Retained | None:
        """What collecting leaves alone: what the newest document says, its log included. There is no older one."""
        for _ in range(MOST_READS - 1):
            try:
                return await retained(self._view, self._runs, seconds)
            except MissingRunError:
                if not await self.resolve():
                    raise
        return await retained(self._view, self._runs, seconds)


def _in_time(answered: float | None, until: float) -> bool:
    """Whether what was stored before an answer was stored in time, however far the clocks of nodes are apart."""
    return answered is not None and answered <= until
