"""The merge journal (rules R2 to R8): every commit is an object version, and readers merge them.

It needs a bucket with versioning and nothing else: no conditional writes, and no client's clock.
Writers never wait for each other.
"""

from __future__ import annotations

import math
from itertools import takewhile

from ...errors import ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ...format.commit_age import max_commit_age, refresh_age
from ...format.document import CommitEntry, Document, visible_before
from ...storage.protocol import Stored
from ..attempt import Attempt, OutdatedError, require
from ..document_io import encode_document
from ..outcome import CommitOutcome, not_yet, note, outcome_of, settled_sessions, unknown
from ..protocol import Retained, TransactionStatus
from ..settle import settle
from .listing import NULL
from .order import needed
from .resolver import MergeResolver
from .retention import retained
from .unsettled import OvertakenError


class MergeJournal(MergeResolver):
    """Read-time merging over object versions."""

    async def append(self, attempt: Attempt) -> None:
        """Try to commit (R2), and acknowledge (R8)."""
        try:
            await self._append(attempt)
        except OutdatedError:
            raise
        except (ConflictError, UnavailableError) as error:
            self._not_moved(attempt, error)
            raise
        self._stalls.moved()
        self._runs.named()
        self._compactor.consider(self._view)
        self._tidying.committed(self._view, attempt.update, last=self._is_head(attempt))

    @property
    def tidies_at(self) -> float:
        """When to call `tidy`, by this client's clock; infinite if there is nothing to be tidied."""
        return self._tidying.due_at(self._view)

    def tidy(self) -> bool:
        """Go on leaving few runs, since nobody commits; return whether that takes another commit, whatever it says."""
        return self._tidying.step(self._view)

    def _not_moved(self, attempt: Attempt, failure: ConflictError | UnavailableError) -> None:
        """Give up if commits were stored again and again and do not count, or are not listed."""
        late = isinstance(failure, ConflictError)
        if failure.version is None or (not late and any(one.version == failure.version for one in self._ordered)):
            return  # it may not have been stored, or it is there
        self._stalls.failed((attempt.session, attempt.sequence, late), failure)
        slow = late and self._stalls.pace > refresh_age()
        if not self._stalls.is_hopeless(may_be_old=not late, slow=slow):
            return
        if slow:
            why = (
                "each so long after its values were stored, or the manifest was read, that none counts: this client "
                "takes minutes for that, again and again; store less at once"
            )
        elif late:
            why = (
                "each with a time stamp that is minutes later than the store's clock was when it was sent, so that "
                "none counts: the clocks of the store's nodes are too far apart"
            )
        else:
            why = (
                "but its listing of versions shows none of them: something between this client and the store answers "
                "in place of the store with what is old, or the listing does not work"
            )
        failures = self._stalls.failures
        self._stalls.moved()  # the next commit is tried anew
        raise ConfigurationError(
            f"the store took a commit to s3://{self._bucket}/{self._key} {failures} times, {why}",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject" if late else "ListObjectVersions",
            version=failure.version,
            maybe_written=attempt.unanswered > 0 or not late,
        ) from failure

    async def _append(self, attempt: Attempt) -> None:
        if attempt.doubtful:
            await self._look()
            holds = not attempt.is_transaction or self.status_of(attempt) in (
                TransactionStatus.OPEN,
                TransactionStatus.COMMITTED,
            )
            if self._is_head(attempt) and holds:
                return
            if self._is_settled(attempt) and not self._may_be_passed(attempt):
                return
        if attempt.is_transaction:
            status = self.status_of(attempt)
            if status is TransactionStatus.COMMITTED:
                return
            if status is not TransactionStatus.OPEN:
                await require(attempt, self._tentative, self._bucket, self._key)
        if self._environment.monotonic() - self._looked_at > refresh_age():
            await self._look()
        elif self._view.head is None:
            await self.resolve()  # not over one that somebody created meanwhile, with the other journal perhaps
        document, body = await self._begin_try(attempt)
        attempt.until = document.until
        started = self._environment.monotonic()
        stored = await self._put(attempt, body)
        slow = self._too_slow(self._environment.monotonic() - started)
        if stored.version is None:
            self._looked_at = -math.inf  # no other commit before it is known what there is now
            raise self._without_versions(stored=True)
        await self._look(own=(stored, document))
        if self._unsettled.is_late(stored.version):
            raise ConflictError(
                f"a commit to s3://{self._bucket}/{self._key} came so late that what it is made of may have been "
                "collected; it is made again",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                version=stored.version,
            )
        counting = self.counting(attempt)
        if counting is not None and attempt.is_forged(counting):
            attempt.tries, attempt.doubtful = 0, False
            attempt.sent_updates.clear()
            raise ConflictError(
                f"somebody else has made a commit to s3://{self._bucket}/{self._key} in the name of this client; it is "
                "made again under another one",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                version=counting.version,
            )
        if not self._is_head(attempt) and (slow or not self._in_time(attempt, stored.version)):
            raise UnavailableError(
                f"s3://{self._bucket}/{self._key} took so long to store a commit that others may already "
                "have moved on; it is written again",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                version=stored.version,
            )

    def _is_head(self, attempt: Attempt) -> bool:
        return self._view.document is not None and self._is_own(self._view.document, attempt)

    async def _begin_try(self, attempt: Attempt) -> tuple[Document, bytes]:
        """Return the document to be written for a commit, and its bytes."""
        note(attempt, self._view)
        attempt.tries += 1
        attempt.update = await self._runs.by_reference(attempt.update, self._view.commits)
        attempt.note_sent(attempt.update)
        document = await self._compose(attempt)
        return document, await encode_document(document, self._runs, bucket=self._bucket, key=self._key)

    async def _put(self, attempt: Attempt, body: bytes) -> Stored:
        before, attempt.doubtful = attempt.doubtful, True
        attempt.unanswered += 1
        self._sent = len(body)
        try:
            stored = await self._storage.put(self._bucket, self._key, body)
        except UnavailableError:
            raise
        except MPS3Error as error:
            if not error.maybe_written:
                attempt.doubtful = before
                attempt.unanswered -= 1
            raise
        attempt.unanswered -= 1
        return stored

    def _may_be_passed(self, attempt: Attempt) -> bool:
        """Return whether a settled commit is repeated (R8): who did not see it may have settled past it.

        Only as long as the try before counts, though: by then its session may have been forgotten (R23).
        """
        if attempt.is_transaction or attempt.until is None or self._clock is None:
            return False
        return self._clock < attempt.until

    def _is_settled(self, attempt: Attempt) -> bool:
        """Return whether a commit landed, and others have settled it.

        Raises:
            UnknownOutcomeError: Nobody can tell whether it has landed.
        """
        found = self.outcome(attempt)
        if found is CommitOutcome.UNKNOWN:
            raise unknown(self._bucket, self._key)
        if found is CommitOutcome.NOT_YET:
            # What becomes visible late has its place behind what is settled.
            not_yet(attempt, settled_sessions(self._view))
        return found is CommitOutcome.SETTLED

    def outcome(self, attempt: Attempt) -> CommitOutcome:
        """Return what became of a commit whose answer was lost, by what was resolved last."""
        if self.counting(attempt) is not None:
            return CommitOutcome.LANDED
        return outcome_of(self._view, self._author(attempt), attempt)

    def may_arrive(self, attempt: Attempt) -> bool:
        """Return whether a try that was never answered may still arrive."""
        return attempt.unanswered > 0

    def status_of(self, attempt: Attempt) -> TransactionStatus:
        """Return how a transaction stands, by what was resolved."""
        if outcome_of(self._view, self._author(attempt), attempt) in (CommitOutcome.LANDED, CommitOutcome.SETTLED):
            return TransactionStatus.COMMITTED
        own = {entry.version for entry in self._judged.relevant if self._is_own(entry, attempt)}
        if any(entry.version in own for entry in self._judged.counting):
            return TransactionStatus.OPEN
        if not own:
            return TransactionStatus.UNKNOWN
        return (
            TransactionStatus.FAILING
            if any(one.version in own for one in self._judged.undecided)
            else TransactionStatus.ABORTED
        )

    def counting(self, attempt: Attempt) -> CommitEntry | None:
        """Return the version of a commit that counts, as long as it is listed."""
        return next((one for one in reversed(self._judged.counting) if self._is_own(one, attempt)), None)

    def _too_slow(self, seconds: float) -> bool:
        return seconds > self._window / 2

    def _in_time(self, attempt: Attempt, version: str) -> bool:
        """Return whether no writer can have settled past the commit without seeing it, by the store's stamps (R8).

        Whoever did not see it builds on versions no newer than the newest one listed now, and settles
        (R7) only what is a window older than that.
        """
        since = self._newest_stamp - self._window
        if self.outcome(attempt) is CommitOutcome.SETTLED:
            return self._unsettled.lists(version, since)
        # A transaction is there whether it holds or not.
        return any(
            self._is_own(commit, attempt) and commit.modified >= since
            for commit in reversed(self._judged.relevant if attempt.is_transaction else self._view.commits)
        )

    async def _compose(self, attempt: Attempt) -> Document:
        """Return the next document (R2)."""
        view, base = self._view, self._view.document
        if base is None or view.head is None:
            return Document(
                journal=self.kind,
                window=self._window,
                session=self._author(attempt),
                sequence=attempt.sequence,
                previous=None,
                update=attempt.update,
                attempt=attempt.tries,
                until=self._until(attempt),
            )
        # What was stored without a version would be replaced by another one without, which would follow itself.
        replaceable = NULL in {view.head, *(commit.version for commit in view.commits)}
        if replaceable and (await self._storage.capabilities(self._bucket)).versioning != "enabled":
            raise self._without_versions(stored=False)
        # A log without a commit is one whose head repeats a settled one; readers still need its stamp.
        relevant = self._judged.relevant
        log = relevant or (base.entry(view.head, self._newest_stamp),)
        bound = visible_before(log[-1].modified, base.window)
        # A transaction is shown when it cannot be contested any more; whoever watches should still find it in the log.
        longer = bound - base.window
        settled = list(takewhile(lambda commit: commit.modified < (longer if commit.is_transaction else bound), log))
        unsettled = log[len(settled) :]
        if relevant and len(relevant) < len(self._ordered):
            unsettled = needed(self._ordered, unsettled, longer)
        holding = {entry.version for entry in self._judged.counting} if settled else ()
        counting = [commit for commit in settled if commit.version in holding or not relevant]
        now = max([entry.modified for entry in log])
        into = await settle(base, counting, view, self._runs, self._compactor, now=now)
        return Document(
            journal=self.kind,
            window=base.window,
            session=self._author(attempt),
            sequence=attempt.sequence,
            previous=log[-1].version,
            update=attempt.update,
            log=unsettled,
            files=into.files,
            sessions=into.sessions,
            recent=into.recent,
            runs=into.runs,
            attempt=attempt.tries,
            until=self._until(attempt),
            collected=base.collected,
            expired=into.expired,
            extra=base.extra,
        )

    def _without_versions(self, *, stored: bool) -> ConfigurationError:
        return ConfigurationError(
            f"bucket {self._bucket} no longer keeps versions: enable versioning again, or commits to "
            f"s3://{self._bucket}/{self._key} overwrite each other",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
            maybe_written=stored,
        )

    async def retained(self, seconds: float, *, announced: bool = False) -> Retained | None:  # noqa: ARG002 - it needs no announcement
        """Return what collecting leaves alone."""
        try:
            return await retained(self._unsettled, self._listing, self._view, seconds)
        except OvertakenError:
            raise UnavailableError(
                f"old versions of s3://{self._bucket}/{self._key} are deleted faster than they can be read",
                bucket=self._bucket,
                key=self._key,
                operation="GetObject",
            ) from None

    def _until(self, attempt: Attempt) -> float | None:
        """R16: until when what the commit is made of cannot have been collected, by the store's clock."""
        if self._clock is None:
            return None
        until = min(self._clock, math.inf if attempt.stored is None else attempt.stored) + max_commit_age()
        if attempt.until is not None and self.outcome(attempt) is CommitOutcome.SETTLED:
            return min(until, attempt.until)  # its session may be forgotten after that (R23)
        return until
