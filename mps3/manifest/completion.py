"""Completing commits: their writes are acknowledged or fail, and are removed from the durable outbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from ..content.store import AT_ONCE
from ..errors import MPS3Error, UnavailableError, UnknownOutcomeError
from ..format.document import commit_id
from ..format.file_entry import version_of
from ..format.layers import look_up
from ..format.run import NotAtHandError
from ..format.state import View
from ..journal.at_hand import at_hand
from ..journal.attempt import Attempt
from ..journal.protocol import Journal
from ..journal.run_pieces import Piece
from ..offline.protocol import Refusal
from ..support.gather import gather_bounded
from ..types import Commit
from .context import ManifestContext
from .in_flight import InFlightCommit
from .outbox import Outbox
from .pending import ConflictPolicy, Pending, final_changes, stored_ids
from .pipeline import CommitPipeline
from .rebasing import ValueRebaser
from .session import SessionPool, refusal_of
from .tasks import BackgroundTasks
from .verdicts import PlacedPatch, failures, placed_patches

_log = logging.getLogger("mps3")


class CommitCompletion:
    """Completes the commits of one manifest.

    Args:
        outbox: The writes that are pending.
        pipeline: The commits that are not decided yet.
        session_pool: The sessions of transactions.
        tasks: Where values are fetched that patches apply to.
        rebaser: Stores values that patches have made.
        context: The context of all manifests of a client.
    """

    def __init__(
        self,
        outbox: Outbox,
        pipeline: CommitPipeline,
        session_pool: SessionPool,
        tasks: BackgroundTasks,
        rebaser: ValueRebaser,
        context: ManifestContext,
    ) -> None:
        self._tasks = tasks
        self._rebaser = rebaser
        self._ref = session_pool.ref
        self._outbox = outbox
        self._pipeline = pipeline
        self._session_pool = session_pool
        self._context = context
        self._observer = context.observer

    def acknowledge(self, journal: Journal, commit: InFlightCommit) -> None:
        """Complete a commit that is durable, and counts.

        If a patch in it is of a value that is not at hand, that is fetched first, to know whether the patch applies.
        """
        view = journal.view
        try:
            patches = self._placed(journal, commit, view)
        except NotAtHandError:
            self._judge_later(commit, self._place(journal, commit, view))
            return
        if any(patch.is_stored for patch in patches):
            self._judge_later(commit, self._judge(journal, commit, patches))
        else:
            self._complete(journal, commit, patches, {})

    def _placed(self, journal: Journal, commit: InFlightCommit, view: View) -> list[PlacedPatch]:
        return placed_patches(view, commit.group, commit.attempt.session or journal.session, commit.attempt.sequence)

    def _judge_later(self, commit: InFlightCommit, judging: Coroutine[Any, Any, None]) -> None:
        self._outbox.mark_seen(commit.group, seen=True)
        # At once: the session goes on, and its next commit takes the place of this one on the disk.
        commit.session.record_committed(commit.attempt)
        self._tasks.start(judging, "patches")

    async def _place(self, journal: Journal, commit: InFlightCommit, view: View) -> None:
        """Fetch what was said of the keys of patches, and judge them."""
        tries, held = 0, list[Piece]()
        while True:
            try:
                patches = await at_hand(lambda: self._placed(journal, commit, view), held)
                break
            except UnavailableError:
                tries += 1
                await asyncio.sleep(self._context.environment.backoff(tries))
            except MPS3Error as error:
                # It was replaced and collected meanwhile, or is damaged.
                _log.warning("it is not known whether patches applied: %s", error)
                patches = []
                break
        await self._judge(journal, commit, patches)

    async def _judge(self, journal: Journal, commit: InFlightCommit, patches: list[PlacedPatch]) -> None:
        bodies: dict[str, bytes] = {}
        tries = 0
        left = [patch for patch in patches if patch.is_stored]
        while left:
            results = await gather_bounded(self._body_before, left, AT_ONCE)
            again = []
            for patch, result in zip(left, results, strict=True):
                if isinstance(result, bytes):
                    bodies[patch.name] = result
                elif isinstance(result, UnavailableError):
                    again.append(patch)
                elif isinstance(result, MPS3Error):
                    # The value was replaced and collected meanwhile, or is damaged.
                    _log.warning("it is not known whether a patch applied: %s", result)
                    patches = [one for one in patches if one is not patch]
                else:
                    raise result
            left = again
            if left:
                tries += 1
                await asyncio.sleep(self._context.environment.backoff(tries))
        self._complete(journal, commit, patches, bodies)

    async def _body_before(self, patch: PlacedPatch) -> bytes:
        assert patch.before is not None  # noqa: S101 - it is stored
        return await self._context.contents.fetch(patch.content.bucket, patch.content.key, patch.before)

    def _complete(
        self, journal: Journal, commit: InFlightCommit, patches: list[PlacedPatch], bodies: Mapping[str, bytes]
    ) -> None:
        failed = failures(commit.group, patches, bodies, self._ref, final=journal.kind == "log")
        for pending, error in failed.items():
            if bodies and pending.stored_id is not None:
                pending.keep()  # it was recorded as committed before it was judged
            refusal, _ = self.set_aside([pending], error, None)
            pending.fail(error)
            if pending.stored_id is not None:
                self._context.refused(pending, refusal)
        attempt = commit.attempt
        commit.session.record_committed(attempt)
        if commit.failed is not None:
            for pending in commit.group:
                pending.forget()
        self._release(commit)
        identity = commit_id(attempt.session or journal.session, attempt.sequence)
        versions_of = _versions(journal, commit)
        if patches:
            versions_of = {**versions_of, **{patch.name: version_of(patch.after) for patch in patches}}
        for pending in commit.group:
            # A value that was replaced within its own commit has the version of the value that replaced it.
            if pending.is_large:
                versions = versions_of  # it is alone in its commit, and its keys are labelled as they are named
            else:
                versions = {label: versions_of[name] for name, label in pending.labels.items()}
            if not pending.outcome.done():
                pending.outcome.set_result(Commit(identity, versions, self._ref))
        acknowledged = [pending for pending in commit.group if pending not in failed]
        self._observer.acknowledged(self._ref, identity, attempt, acknowledged)
        for pending, error in failed.items():
            self._observer.refused(self._ref, attempt, [pending], error)
        if attempt.ahead:
            self._pipeline.ahead.append(commit)
            self._outbox.remove_durable(commit.group)
        else:
            self._outbox.remove(commit.group)
        for pending in self._outbox.waiting():
            if not pending.base_versions:
                continue  # nobody asks for them
            if known := {name: versions_of[name] for name in pending.changes if name in versions_of}:
                pending.base_versions.update(known)
                pending.keep_rebased()
        self._rebaser.consider(journal.view, patches)

    def fail(self, commit: InFlightCommit, error: MPS3Error) -> None:
        """Complete a commit that can never succeed, or whose outcome is not known any more."""
        if self._pipeline.sending is commit:
            self._pipeline.sending = None
        self._observer.refused(self._ref, commit.attempt, commit.group, error)
        self.refuse(commit.group, error, commit.attempt)
        if commit.closes is not None:
            late = UnknownOutcomeError(
                f"a transaction does not hold, but a try of it whose answer was lost may still arrive: {error}",
                bucket=self._ref.bucket,
                key=self._ref.key,
                operation="PutObject",
            )
            late.__cause__ = error
            self.fail(commit.closes, late)
        if not error.maybe_written:
            self._release(commit)

    def refuse(self, group: list[Pending], error: MPS3Error, attempt: Attempt | None = None) -> None:
        """Fail writes, set them aside, and show those that are kept to the user."""
        refusal, recorded = self.set_aside(group, error, attempt)
        self._outbox.fail(group, error, recorded)
        for pending in group:
            if pending.stored_id is not None:
                self._context.refused(pending, refusal)

    def set_aside(
        self, group: list[Pending], error: MPS3Error, attempt: Attempt | None
    ) -> tuple[Refusal, asyncio.Future[Any] | None]:
        """Record why writes have failed, so that no later client sends them.

        Returns:
            The record, and a future that is done once it is durable; ``None`` if nothing keeps the writes.
        """
        refusal = refusal_of(error, self._context.environment.now())
        recorded: list[asyncio.Future[None]] = []
        for session in dict.fromkeys(pending.session for pending in group):
            own = [pending for pending in group if pending.session is session]
            if (done := session.set_aside(stored_ids(own), refusal, attempt)) is not None:
                recorded.append(done)
        return refusal, asyncio.gather(*recorded, return_exceptions=True) if recorded else None

    def _release(self, commit: InFlightCommit) -> None:
        """Return a session to the pool, once no try of what was committed with it can hold any more."""
        if any(pending.expect and pending.policy is ConflictPolicy.ONCE for pending in commit.group):
            self._session_pool.release(commit.session)


def _versions(journal: Journal, commit: InFlightCommit) -> dict[str, str | None]:
    """Return the versions of the values in a commit; ``None`` for a deleted key."""
    attempt = commit.attempt
    if attempt.tries == 1 and commit.versions and not commit.renewed:
        return commit.versions
    final = final_changes(commit.group)
    versions = {name: None if content is None else content.version for name, content in final.items()}
    # Of several tries with values stored again, an earlier one may count.
    own = (attempt.session or journal.session, attempt.sequence)
    view = journal.view
    counting = next((one for one in reversed(view.commits) if (one.session, one.sequence) == own), None)
    said = () if counting is None else view.layers_of(counting)
    sent = {} if commit.sent is None else commit.sent.update.get("files", {})
    for name, content in final.items():
        if content is not None:
            try:
                file = look_up(name, said) or sent.get(name) or {}
            except NotAtHandError:
                file = sent.get(name) or {}  # an earlier client has stored so much that it is not at hand
            versions[name] = file.get("version", content.version)
    return versions
