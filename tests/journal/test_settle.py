"""Which sessions a document remembers, and for how long."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from mps3.format.commit_age import LATENESS
from mps3.format.document import CommitEntry, Document
from mps3.format.state import EMPTY
from mps3.journal import settle

WINDOW = 3.0
MOST = 4


class Nothing:
    """Neither stores nor merges runs."""

    async def apply(self, files, stack, expired, *, quiet=False):
        return files, stack, None


@pytest.fixture(autouse=True)
def few():
    with patch.object(settle, "SESSIONS", MOST):
        yield


async def settled(base, names, now):
    entries = [CommitEntry(name, 1, f"version of {name}", 1.0, None, {}) for name in names]
    into = await settle.settle(base, entries, EMPTY, None, Nothing(), now=now)
    return Document("merge", WINDOW, "s", 1, None, {}, sessions=into.sessions, recent=into.recent)


def empty():
    return Document("merge", WINDOW, "s", 1, None, {})


async def test_without_late_repetitions_the_last_ones_are_remembered():
    document = await settled(empty(), "abcdef", None)
    assert (list(document.sessions), document.recent) == (list("cdef"), ())


async def test_few_sessions_need_no_marks():
    document = await settled(empty(), "abcd", 1000.0)
    assert (list(document.sessions), document.recent) == (list("abcd"), ())


async def test_no_session_is_forgotten_while_a_repetition_may_count():
    document, now = empty(), 1000.0
    for number in range(100):
        document = await settled(document, [f"s{number}"], now + number)
    assert len(document.sessions) == 100


async def test_what_is_older_is_forgotten_and_no_more_is_kept_than_that():
    document, settled_at, horizon = empty(), {}, LATENESS + 3 * WINDOW
    for number in range(400):
        now = 1000.0 + 10 * number
        document = await settled(document, [f"s{number}"], now)
        settled_at[f"s{number}"] = now
        young = {name for name, moment in settled_at.items() if moment > now - horizon}
        assert young <= document.sessions.keys()
        assert len(document.recent) <= settle.MARKS + 2
    oldest = min(settled_at[name] for name in document.sessions)
    assert now - oldest <= horizon * (1 + 2 / settle.MARKS)


async def test_busy_sessions_do_not_keep_the_others_from_being_forgotten():
    document, now = empty(), 1000.0
    for number in range(400):
        now = 1000.0 + 10 * number
        document = await settled(document, [f"s{number}", "busy"], now)
    assert "busy" in document.sessions
    assert len(document.sessions) <= (LATENESS + 3 * WINDOW) / 10 * (1 + 2 / settle.MARKS) + 2


async def test_marks_that_nobody_can_have_written_do_no_harm():
    base = Document(
        "merge", WINDOW, "s", 1, None, {}, sessions=dict.fromkeys("abcdef", 1), recent=((0.0, 10**9),) * 1000
    )
    document = await settled(base, "x", 10_000.0)
    assert list(document.sessions) == list("abcdefx")
    assert len(document.recent) <= 4 * settle.MARKS + 1
