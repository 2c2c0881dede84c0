"""Resolving a manifest with the merge journal: when its versions are listed, and what they say (R3, R6)."""

from __future__ import annotations

import contextlib
import math
from typing import Final

from ...errors import CorruptionError, FormatError, UnavailableError
from ...format.commit_age import Moment
from ...format.document import LIMIT, CommitEntry, Document
from ...format.state import EMPTY, View, build_view
from ...storage.protocol import ABSENT, Object, Storage, Stored, Version
from ...support.environment import Environment
from ..at_hand import at_hand, until_at_hand
from ..attempt import Attempt
from ..base import WINDOW, BaseJournal
from ..past import Past
from ..run_pieces import Piece, RunReading
from ..run_reader import MissingRunError
from ..runs import NAME
from ..snapshot import JournalSnapshot
from .advance import advance_view
from .listing import NULL, VersionListing
from .pace import pace
from .tidying import Tidying
from .unsettled import MOST_READS, OvertakenError, Unsettled
from .validation import Evaluation
from .versioned_past import VersionedPast

STAMP: Final = 0.002
"""Seconds after which a store whose time stamps are not whole seconds gives another one."""


class MergeResolver(BaseJournal):
    """The reading half of the merge journal.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket, which must have versioning enabled.
        key: Its key.
        environment: Time, chance and names.
        window: Seconds; what a new manifest is created with. An existing one says its own.
    """

    kind: Final = "merge"

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        key: str,
        environment: Environment,
        *,
        window: float = WINDOW,
        reading: RunReading | None = None,
    ) -> None:
        super().__init__(storage, bucket, key, environment, window=window, reading=reading)
        self._view = EMPTY
        self._etag: str | None = None
        self._unsettled = Unsettled(self.kind, storage, bucket, key, self._runs)
        self._tidying = Tidying(self._compactor, environment, self._session)
        self._tentative = EMPTY
        self._ordered: list[CommitEntry] = []
        self._judged = Evaluation((), ())
        # Since when this client has known of transactions, by its clock.
        self._known_since: dict[str, float] = {}
        self._decides_at = math.inf
        self._audit_at = math.inf
        self._listed: dict[str, Version] = {}
        self._listed_nothing = False
        self._newest_stamp = -math.inf
        self._behind_since: float | None = None
        self._top: str | None = None
        self._clock: float | None = None
        self._looked_at = -math.inf
        # The bytes of the last document that was sent.
        self._sent = 0

    @property
    def view(self) -> View:
        """The newest state that was resolved."""
        return self._view

    @property
    def position(self) -> str | None:
        """The newest version that was resolved."""
        return self._view.head

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

    @property
    def past(self) -> Past:
        """What came before."""
        return VersionedPast(self._storage, self._bucket, self._key, self.kind, self._runs)

    def is_usurped(self, attempt: Attempt) -> bool:  # noqa: ARG002 - tries may arrive late
        """Return whether somebody else has used the identity of a doubtful commit, so that no try of it can count."""
        return False

    def _now(self) -> Moment:
        return Moment(self._environment.monotonic(), self._clock)

    def shows(self, attempt: Attempt) -> bool:
        """Whether the place of an acknowledged commit is part of `view`: none is acknowledged before."""
        return not attempt.ahead

    def is_void(self, attempt: Attempt) -> bool:
        """Whether an acknowledged commit does not count: it was seen to."""
        return attempt.ahead

    def is_beyond(self, position: str) -> bool:
        """As `Journal.is_beyond`: a position is a version of the manifest."""
        return position != self._view.head and all(commit.version != position for commit in self._view.commits)

    async def resolve(self, until: str | None = None) -> bool:  # noqa: ARG002 - a poll finds all there is
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

    def save(self) -> JournalSnapshot:
        """Return what another journal of this manifest can go on from."""
        return JournalSnapshot.of(self.kind, self._view, self._etag, self._newest_stamp)

    async def restore(self, saved: JournalSnapshot) -> None:
        """Go on from what a journal of this manifest had resolved."""
        self._view = self._tentative = await saved.view(self._runs)
        self._etag = saved.etag
        self._newest_stamp = saved.stamp
        if saved.document is not None:
            self._window = saved.document.window
        self._audit_at = self._environment.monotonic()  # whatever was due

    def _audit_due(self) -> bool:
        return self._environment.monotonic() >= self._audit_at

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
            self._storage,
            self._bucket,
            self._key,
            page=min(1000, 8 + len(self._view.commits) * 9 // 8),
            known=self._listed,
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
        if found is not None and found.version is not None and not await self._runs.etags.contradict(found):
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
        tries: int = MOST_READS,
    ) -> bool:
        """Resolve the state at the newest version listed (R3). Set all that is remembered, at once, or nothing."""
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
        stamps = [version.modified for version in listing.versions]
        stamp, known_since = max(stamps), self._known(ordered)
        judged, held = await self._unsettled.judge(document, ordered, stamps)
        wait = pace(judged.counting, stamp, document.window, self._sent)
        shown, before = judged.shown, self._view
        pieces: list[Piece] = []
        view = await at_hand(
            lambda: advance_view(before, document, newest.version, shown, wait, judged.undecided), pieces
        )
        if view is None:
            view = await until_at_hand(
                lambda: self._runs.work(
                    lambda _: build_view(document, newest.version, shown, held, wait, before, judged.undecided),
                    NAME * sum(len(commit.files) for commit in shown),
                ),
                pieces,
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
        tentative = view
        if judged.undecided:
            tentative = await at_hand(
                lambda: build_view(document, newest.version, judged.counting, held, wait, view), pieces
            )
        self._decides_at = min(
            (known_since[one.version] + _longest(one, document) for one in judged.undecided), default=math.inf
        )
        # A commit may arrive as part of the settled files, too.
        changed = newest.version != self._view.head or view.commits != self._view.commits
        top = listing.versions[0]
        self._etag = etag if top is newest else top.etag
        self._top = top.version
        self._looked(listing, started)
        self._window = document.window
        self._newest_stamp = stamp
        self._listed = {version.version: version for version in listing.versions if version.version != NULL}
        self._unsettled.keep(entries, listing)
        self._ordered = ordered
        self._judged = judged
        self._known_since = known_since
        self._view, self._tentative = view, tentative
        return changed

    def _known(self, ordered: list[CommitEntry]) -> dict[str, float]:
        """Return since when the transactions among some commits have been known, by this client's clock."""
        now = self._environment.monotonic()
        return {one.version: self._known_since.get(one.version, now) for one in ordered if one.is_transaction}

    def _looked(self, listing: VersionListing, started: float) -> None:
        """Remember when it was, by the store's clock and by this client's, that no version was newer than these."""
        stamps = [version.modified for version in listing.versions]
        self._clock = None if listing.answered is None else max([listing.answered, *stamps])
        self._looked_at = started

    def _goes_back(self, view: View, stamp: float, window: float) -> bool:
        """Return whether this is an older state than was shown (R13).

        Not for ever: a session may be unknown because it was forgotten, and a commit that nobody
        acknowledged may have become visible so late that others settled past it.
        """
        last = {commit.session: commit.sequence for commit in self._view.commits}
        known = all(view.has(session, sequence) for session, sequence in last.items())
        if known or stamp >= self._newest_stamp + window:
            self._behind_since = None
            return False
        if self._behind_since is None:
            self._behind_since = self._environment.monotonic()
        return self._environment.monotonic() < self._behind_since + window


def _longest(transaction: CommitEntry, document: Document) -> float:
    """Return the seconds after which a new version has a time stamp that decides on a transaction."""
    return document.window + (1 if transaction.modified % 1 == 0 else STAMP)
