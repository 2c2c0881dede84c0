"""How much time writers leave between their commits (R15)."""

from __future__ import annotations

import pytest

from mps3.format.document import CommitEntry
from mps3.journal.merge.pace import ROOM, pace

WINDOW = 3.0


def commits(number: int, writers: int = 1, *, within: float = WINDOW) -> list[CommitEntry]:
    return [
        CommitEntry(f"s{n % writers}", n, f"v{n}", 100 + within * n / number, None, {}) for n in range(1, number + 1)
    ]


@pytest.mark.parametrize(
    ("number", "writers", "sent", "seconds"),
    [
        (0, 1, 0, 0.0),
        (75, 1, ROOM, 0.0),
        (150, 1, 0, pytest.approx(1 / 300, rel=0.05)),
        (300, 1, 0, pytest.approx(1 / 100, rel=0.05)),
        (80, 1, ROOM, pytest.approx(1 / 100, rel=0.05)),
        (3000, 1, 0, 1 / 50),
        (149, 2, 10 * ROOM, 0.0),
        (152, 2, 0, 2 / 50),
        (152, 30, 0, 30 / 50),
    ],
)
def test_the_pace(number, writers, sent, seconds):
    assert pace(commits(number, writers), 100 + WINDOW, WINDOW, sent) == seconds


def test_what_is_older_than_the_window_does_not_count():
    assert pace(commits(400, within=4 * WINDOW), 100 + 4 * WINDOW, WINDOW, 0) < 1 / 400
    assert pace(commits(400, 2, within=4 * WINDOW), 100 + 4 * WINDOW, WINDOW, 0) == 0


def test_all_writers_together_make_some_fifty_commits_a_second():
    for writers in (2, 5, 20):
        assert writers / pace(commits(1000, writers), 100 + WINDOW, WINDOW, 0) == pytest.approx(50)
