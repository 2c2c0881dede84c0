"""The merge journal (rules R2 to R8): every commit is an object version, and readers merge them.

It needs a bucket with versioning and nothing else: no conditional writes, and no client's clock.
Writers never wait for each other.
"""

from __future__ import annotations

import contextlib
import math
from itertools import takewhile
from typing import Final

from ...errors import ConfigurationError, ConflictError, CorruptionError, FormatError, MPS3Error, UnavailableError
from ...format.document import LIMIT, CommitEntry, Document
from ...format.freshness import Moment, fresh, latest
from ...format.state import EMPTY, View, build_view
from ...storage.protocol import ABSENT, Object, Storage, Stored
from ...support.environment import Environment
from ..attempt import Attempt, OutdatedError, require
from ..compactor import Compactor
from ..document_io import encode_document
from ..order import needed
from ..outcome import CommitOutcome, not_yet, note, outcome_of, settled_sessions, unknown
from ..past import Past
from ..protocol import Retained, Verdict
from ..runs import NAME, MissingRunError, Runs
from ..settle import settle
from ..snapshot import JournalSnapshot
from ..standstill import Standstill
from ..verdicts import Evaluation
from .listing import LISTINGS, VersionListing
from .retention import retained
from .unsettled import OvertakenError, Unsettled

WINDOW: Final = 3.0
"""Seconds that new manifests allow for a version to become visible; recorded in the manifest."""
NULL: Final = "null"
"""How a version is listed that is none."""
PACE: Final = 50
"""Commits a second, of all writers together, above which each writer gathers for longer (R15)."""


class MergeJournal:
    """Read-time merging over object versions.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket, which must have versioning enabled.
        key: Its key.
        environment: Time, chance and names.
        window: Seconds; what a new manifest is created with. An existing one says its own.
    """

    kind: Final = "merge"

    def __init__(
        self, storage: Storage, bucket: str, key: str, environment: Environment, *, window: float = WINDOW
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._environment = environment
        self._window = window
        self._session = environment.name()
        self._runs = Runs(storage, bucket, key, self._now)
        self._compactor = Compactor(self._runs, environment)
        self._unsettled = Unsettled(self.kind, storage, bucket, key, self._runs)
        self._view = EMPTY
        self._tentative = EMPTY
        self._ordered: list[CommitEntry] = []
        self._judged = Evaluation((), ())
        # Since when this client has known of transactions, by its clock.
        self._known_since: dict[str, float] = {}
        self._decides_at = math.inf
        self._etag: str | None = None
        self._audit_at = math.inf
        self._listed_nothing = False
        self._newest_stamp = -math.inf
        self._behind_since: float | None = None
        self._top: str | None = None
        self._clock: float | None = None
        self._looked_at = -math.inf
        self._standstill = Standstill(environment, f"s3://{bucket}/{key}")

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        return self._session

    @property
    def view(self) -> View:
        """The newest state that was resolved."""
        return self._view

    @property
    def tentative(self) -> View:
        """The same with the transactions that are not decided yet, as they stand now."""
        return self._tentative

    @property
    def decides_at(self) -> float:
        """When another commit would decide on a transaction, by this client's clock."""
        return self._decides_at

    @property
    def clock(self) -> float | None:
        """The store's clock when its versions were listed last."""
        return self._clock

    def _now(self) -> Moment:
        return Moment(self._environment.monotonic(), self._clock)

    @property
    def past(self) -> Past:
        """What came before."""
        return Past(self._storage, self._bucket, self._key, self.kind, self._runs)

    async def resolve(self) -> bool:
        """Look for what others committed: one conditional GET when there is nothing new."""
        try:
            found = await self._storage.get(self._bucket, self._key, if_none_match=self._etag, limit=LIMIT)
        except CorruptionError:
            return (
                await self._look()
            )  # it is too large; the version that is listed tells whether that is so in the store
        if found is ABSENT:
            return await self._absent()
        # What was stored while the bucket kept no versions has no version, and can be replaced.
        if isinstance(found, Object) and (found.version is None or found.version != self._top):
            return await self._look(found=found)
        if isinstance(found, Object):
            self._etag = found.etag  # the listing spells it differently
        # R6: a version that became visible late, behind the head, changes no ETag.
        return self._audit_due() and await self._look()

    async def append(self, attempt: Attempt) -> None:
        """Try to commit (R2), and acknowledge (R8)."""
        try:
            await self._append(attempt)
        except OutdatedError:
            raise
        except (ConflictError, UnavailableError) as error:
            self._not_moved(attempt, error)
            raise
        self._standstill.moved()
        self._runs.named()
        self._compactor.consider(self._view)

    async def aclose(self) -> None:
        """Stop what is done in the background."""
        await self._compactor.aclose()

    def _not_moved(self, attempt: Attempt, failure: ConflictError | UnavailableError) -> None:
        """A commit was stored and does not count, or is not listed: give up if that is so again and again."""
        late = isinstance(failure, ConflictError)
        if failure.version is None or (not late and any(one.version == failure.version for one in self._ordered)):
            return  # it may not have been stored, or it is there
        self._standstill.failed((attempt.session, attempt.sequence, late), failure)
        if not self._standstill.is_hopeless(may_be_old=not late):
            return
        if late:
            why = (
                "each with a time stamp that is minutes later than the store's clock was when it was sent, so that "
                "none counts: the clocks of the store's nodes are too far apart"
            )
        else:
            why = (
                "but its listing of versions shows none of them: something between this client and the store answers "
                "in place of the store with what is old, or the listing does not work"
            )
        failures = self._standstill.failures
        self._standstill.moved()  # the next commit is tried anew
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
            holds = not attempt.is_transaction or self.verdict(attempt) in (Verdict.OPEN, Verdict.COMMITTED)
            if self._is_head(attempt) and holds:
                return
            if self._is_settled(attempt):
                return
        if attempt.is_transaction:
            verdict = self.verdict(attempt)
            if verdict is Verdict.COMMITTED:
                return
            if verdict is not Verdict.OPEN:
                require(attempt, self._tentative, self._bucket, self._key)
        if self._environment.monotonic() - self._looked_at > fresh():
            await self._look()
        elif self._view.head is None:
            await self.resolve()  # not over one that somebody created meanwhile, with the other journal perhaps
        note(attempt, self._view)
        attempt.tries += 1
        attempt.update = await self._runs.by_reference(attempt.update, self._view.commits)
        attempt.said.append(attempt.update)
        document = await self._compose(attempt)
        body = await encode_document(document, self._runs, bucket=self._bucket, key=self._key)
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
            attempt.said.clear()
            raise ConflictError(
                f"somebody else has made a commit to s3://{self._bucket}/{self._key} in the name of this client; it is "
                "made again under another one",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                version=counting.version,
            )
        if not self._is_head(attempt) and (slow or not self._in_time(attempt)):
            raise UnavailableError(
                f"s3://{self._bucket}/{self._key} took so long to store a commit that others may already "
                "have moved on; it is written again",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                version=stored.version,
            )

    async def _put(self, attempt: Attempt, body: bytes) -> Stored:
        before, attempt.doubtful = attempt.doubtful, True
        attempt.unanswered += 1
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

    def _is_settled(self, attempt: Attempt) -> bool:
        """Whether a commit landed so long ago that nobody can move past it.

        Raises:
            UnknownOutcomeError: Nobody can tell whether it has landed.
        """
        found = self.fate(attempt)
        if found is CommitOutcome.UNKNOWN:
            raise unknown(self._bucket, self._key)
        if found is CommitOutcome.NOT_YET:
            # What becomes visible late has its place behind what is settled.
            not_yet(attempt, settled_sessions(self._view))
        return found is CommitOutcome.SETTLED

    def fate(self, attempt: Attempt) -> CommitOutcome:
        """What became of a commit whose answer was lost, by what was resolved last."""
        if self.counting(attempt) is not None:
            return CommitOutcome.LANDED
        return outcome_of(self._view, self._author(attempt), attempt)

    def may_arrive(self, attempt: Attempt) -> bool:
        """Whether a try that was never answered may still arrive."""
        return attempt.unanswered > 0

    def verdict(self, attempt: Attempt) -> Verdict:
        """How a transaction stands, by what was resolved."""
        if outcome_of(self._view, self._author(attempt), attempt) in (CommitOutcome.LANDED, CommitOutcome.SETTLED):
            return Verdict.COMMITTED
        own = {entry.version for entry in self._judged.relevant if self._is_own(entry, attempt)}
        if any(entry.version in own for entry in self._judged.counting):
            return Verdict.OPEN
        if not own:
            return Verdict.UNKNOWN
        return Verdict.FAILING if any(one.version in own for one in self._judged.undecided) else Verdict.ABORTED

    def counting(self, attempt: Attempt) -> CommitEntry | None:
        """The version of a commit that counts, as long as it is listed."""
        return next((entry for entry in self._judged.counting if self._is_own(entry, attempt)), None)

    def _is_own(self, entry: CommitEntry, attempt: Attempt) -> bool:
        return (entry.session, entry.sequence) == (self._author(attempt), attempt.sequence)

    def save(self) -> JournalSnapshot:
        """What another journal of this manifest can go on from."""
        return JournalSnapshot.of(self.kind, self._view, self._etag, self._newest_stamp)

    async def restore(self, saved: JournalSnapshot) -> None:
        """Go on from what a journal of this manifest had resolved."""
        self._view = self._tentative = await saved.view(self._runs)
        self._etag = saved.etag
        self._newest_stamp = saved.stamp
        if saved.document is not None:
            self._window = saved.document.window
        self._audit_at = self._environment.monotonic()  # whatever was due

    def _too_slow(self, seconds: float) -> bool:
        return seconds > self._window / 2

    def _audit_due(self) -> bool:
        return self._environment.monotonic() >= self._audit_at

    def _author(self, attempt: Attempt) -> str:
        return attempt.session or self._session

    def _is_head(self, attempt: Attempt) -> bool:
        head = self._view.document
        return head is not None and (head.session, head.sequence) == (self._author(attempt), attempt.sequence)

    def _in_time(self, attempt: Attempt) -> bool:
        """R8, by the store's stamps: whether no writer can have settled past the commit without seeing it.

        Whoever did not see it builds on versions no newer than the newest one listed now, and settles
        (R7) only what is a window older than that.
        """
        # A transaction is there whether it holds or not.
        return any(
            self._is_own(commit, attempt) and commit.modified >= self._newest_stamp - self._window
            for commit in (self._judged.relevant if attempt.is_transaction else self._view.commits)
        )

    async def _absent(self) -> bool:
        if self._view.head is None and self._listed_nothing:
            return False
        listing, started = self._listing(), self._environment.monotonic()
        await listing.back_to(math.inf)
        if listing.newest is not None:
            return await self._resolve(listing, {}, started)
        if self._view.head is not None:
            raise self._unsettled.deleted(None)
        self._listed_nothing = True  # which also shows that listing is permitted
        self._looked(listing, started)
        return False

    def _listing(self) -> VersionListing:
        return VersionListing(
            self._storage, self._bucket, self._key, page=min(1000, 8 + len(self._view.commits) * 9 // 8)
        )

    async def _look(self, *, found: Object | None = None, own: tuple[Stored, Document] | None = None) -> bool:
        """List the versions, and resolve from the newest.

        Args:
            found: What a GET of the manifest returned.
            own: What this client has just written.
        """
        known: dict[str, tuple[Document, str | None]] = {}
        if self._view.head not in (None, NULL) and self._view.document is not None:
            known[str(self._view.head)] = self._view.document, self._etag
        if own is not None and own[0].version is not None:
            known[own[0].version] = own[1], own[0].etag
        if found is not None and found.version is not None:
            # If it arrived damaged, the version that is listed is read, as often as it takes to be certain of that.
            with contextlib.suppress(CorruptionError, FormatError):
                known[found.version] = await self._unsettled.decode(found, found.version), found.etag
        listing, started = self._listing(), self._environment.monotonic()
        latest = next(reversed(known.values()), None)
        await listing.back_to(self._unsettled.bound(*latest) if latest else -math.inf)
        return await self._resolve(listing, known, started)

    async def _resolve(
        self,
        listing: VersionListing,
        known: dict[str, tuple[Document, str | None]],
        started: float,
        tries: int = LISTINGS,
    ) -> bool:
        """R3: the state at the newest version listed. Sets all that is remembered, at once, or nothing."""
        if not tries:
            raise UnavailableError(
                f"s3://{self._bucket}/{self._key} changes faster than its versions can be listed and read",
                bucket=self._bucket,
                key=self._key,
                operation="ListObjectVersions",
            )
        try:
            return await self._resolve_from(listing, known, started, tries)
        except (OvertakenError, MissingRunError) as error:
            # This client has slept, and what was listed then has been collected.
            again, later = self._listing(), self._environment.monotonic()
            await again.back_to(math.inf)
            if isinstance(error, MissingRunError) and again.versions[:1] == listing.versions[:1]:
                raise  # no: it is still what the manifest says
            return await self._resolve(again, known, later, tries - 1)

    async def _resolve_from(
        self, listing: VersionListing, known: dict[str, tuple[Document, str | None]], started: float, tries: int
    ) -> bool:
        head = await self._unsettled.head(listing, known)
        if head is None:
            if self._view.head is None:
                self._looked(listing, started)  # all came too late, and there is nothing to build on
            return False
        newest, document, etag = head
        bound = self._unsettled.bound(document, newest.version)
        await listing.back_to(bound)
        if listing.torn:
            known = {**known, newest.version: (document, etag)}
            started = self._environment.monotonic()
            return await self._resolve(await listing.again(bound), known, started, tries - 1)
        entries, ordered = await self._unsettled.context(document, newest, listing, bound)
        stamp = max(version.modified for version in listing.versions)
        known_since = self._known(ordered)
        judged, held = await self._unsettled.judge(document, ordered, stamp)
        pace = self._pace(judged.counting, stamp, document.window)
        shown, before = judged.shown, self._view
        view = await self._runs.work(
            lambda _: build_view(document, newest.version, shown, held, pace, before, judged.undecided),
            NAME * sum(len(commit.files) for commit in shown),
        )
        if self._goes_back(view, stamp, document.window):
            raise UnavailableError(
                f"the store answered with an older state of s3://{self._bucket}/{self._key} than before",
                bucket=self._bucket,
                key=self._key,
                operation="ListObjectVersions",
                version=newest.version,
            )
        if newest.version != self._view.head or listing.versions[0].version != self._top:
            # Also above a head that came too late (R16): what takes its place may become visible behind it.
            self._audit_at = self._environment.monotonic() + document.window
        elif self._audit_due():
            self._audit_at = math.inf
        self._decides_at = min(
            (known_since[one.version] + _longest(one, document) for one in judged.undecided), default=math.inf
        )
        # A commit may arrive as part of the settled files, too.
        changed = newest.version != self._view.head or [commit.version for commit in view.commits] != [
            commit.version for commit in self._view.commits
        ]
        top = listing.versions[0]
        self._etag = etag if top is newest else top.etag
        self._top = top.version
        self._looked(listing, started)
        self._window = document.window
        self._newest_stamp = stamp
        self._unsettled.keep(entries, listing)
        self._ordered = ordered
        self._judged = judged
        self._known_since = known_since
        self._view = self._tentative = view
        if judged.undecided:
            self._tentative = build_view(document, newest.version, judged.counting, held, pace, view)
        return changed

    def _known(self, ordered: list[CommitEntry]) -> dict[str, float]:
        """Since when the transactions among some commits have been known, by this client's clock."""
        now = self._environment.monotonic()
        return {one.version: self._known_since.get(one.version, now) for one in ordered if one.is_transaction}

    def _looked(self, listing: VersionListing, started: float) -> None:
        """Remember when it was, by the store's clock and by this client's, that no version was newer than these."""
        stamps = (version.modified for version in listing.versions)
        self._clock = None if listing.answered is None else max(listing.answered, *stamps, -math.inf)
        self._looked_at = started

    def _goes_back(self, view: View, stamp: float, window: float) -> bool:
        """R13: whether this is an older state than was shown.

        Not for ever: a session may be unknown because it was forgotten, and a commit that nobody
        acknowledged may have become visible so late that others settled past it.
        """
        known = all(view.has(commit.session, commit.sequence) for commit in self._view.commits)
        if known or stamp >= self._newest_stamp + window:
            self._behind_since = None
            return False
        if self._behind_since is None:
            self._behind_since = self._environment.monotonic()
        return self._environment.monotonic() < self._behind_since + window

    def _pace(self, commits: tuple[CommitEntry, ...], newest: float, window: float) -> float:
        recent = list(takewhile(lambda commit: commit.modified >= newest - window, reversed(commits)))
        if len(recent) <= PACE * window:
            return 0.0
        return len({commit.session for commit in recent}) / PACE

    async def _compose(self, attempt: Attempt) -> Document:
        """R2: the next document."""
        view, base = self._view, self._view.document
        if base is None or view.head is None:
            return Document(
                journal="merge",
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
        bound = math.floor(log[-1].modified - base.window)
        # A transaction is shown when it cannot be contested any more; whoever watches should still find it in the log.
        longer = bound - base.window
        settled = list(takewhile(lambda commit: commit.modified < (longer if commit.is_transaction else bound), log))
        unsettled = needed(self._ordered, log[len(settled) :], longer) if relevant else log
        holding = {entry.version for entry in self._judged.counting}
        counting = [commit for commit in settled if commit.version in holding or not relevant]
        now = max(entry.modified for entry in log)
        into = await settle(base, counting, view, self._runs, self._compactor, now=now)
        return Document(
            journal="merge",
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

    async def retained(self, seconds: float) -> Retained | None:
        """What collecting leaves alone."""
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
        return min(self._clock, math.inf if attempt.stored is None else attempt.stored) + latest()


def _longest(transaction: CommitEntry, document: Document) -> float:
    """Seconds after which a new version has a time stamp that decides on a transaction; stamps may be whole seconds."""
    return document.window + 1 - transaction.modified % 1
