"""A world in which everyone takes themselves for one of very many writers, and three ways to break what they do then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import PropertyMock, patch

from mps3.format.document import commit_id
from mps3.journal.log import blind, tail
from mps3.journal.log.blind import BlindWriter
from mps3.journal.log.contention import Crowd
from mps3.journal.log.journal import LogJournal
from mps3.manifest.committer import Committer
from mps3.manifest.manifest import Manifest
from mps3.manifest.outbox import Outbox
from mps3.manifest.pending import final_changes

EVERY = 8
"""Slots from one checkpoint to the next, so that the few commits of a history have some."""
OTHERS = 3
"""Slots that others are taken to create meanwhile, so that some of the first free ones are left free."""


@contextmanager
def among_many() -> Iterator[None]:
    """Whatever may be written blindly is, and holes are left."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(Crowd, "is_dense", new_callable=PropertyMock, return_value=True))
        stack.enter_context(patch.object(Crowd, "others", new_callable=PropertyMock, return_value=OTHERS))
        for module in (blind, tail):
            stack.enter_context(patch.object(module, "EVERY", EVERY))
        stack.enter_context(patch.object(blind, "MAKING", 1))
        yield


def add_ahead(manifest: Manifest, values: dict[str, str], ids: list[str], versions: list[str]) -> None:
    """Add to a state what is shown above it: what was acknowledged before the state has it."""
    journal = manifest._state.require_journal()
    for commit in manifest._pipeline.ahead:
        attempt = commit.attempt
        if journal.shows(attempt):
            continue
        ids.append(commit_id(attempt.session or journal.session, attempt.sequence))
        versions.append(str(attempt.slot))
        for key, content in final_changes(commit.group).items():
            if content is None:
                values.pop(key, None)
            else:
                values[key] = json.loads(content.body)["write"]


@contextmanager
def counts_beyond_holes() -> Iterator[None]:
    """L12: a commit is acknowledged whether or not all slots below it exist."""

    async def unseen(self: BlindWriter, slot: int) -> None:
        self._survey.know(slot)

    with patch.object(BlindWriter, "_close_holes", unseen):
        yield


@contextmanager
def takes_ahead_for_read() -> Iterator[None]:
    """L12: what was acknowledged ahead of the state is taken for a read of everything before it."""
    append = LogJournal.append

    async def forgetting(self: LogJournal, attempt: Any) -> None:
        await append(self, attempt)
        attempt.ahead = False

    with (
        patch.object(LogJournal, "append", forgetting),
        patch.object(Committer, "_may_be_blind", lambda self, commit: not any(p.is_patch for p in commit.group)),
    ):
        yield


@contextmanager
def shows_no_own_writes() -> Iterator[None]:
    """L12: an acknowledged write is not shown until the state has it."""
    with patch.object(Outbox, "remove_durable", Outbox.remove), patch.object(Outbox, "forget", lambda *arguments: None):
        yield
