"""Runs for tests, written and opened as clients do it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mps3.format import block
from mps3.format.block import Block
from mps3.format.run import Run, open_run
from mps3.format.run_index import RunIndex
from mps3.format.run_merge import merged_lines
from mps3.format.run_reference import RunReference
from mps3.format.run_writer import RunWriter, WrittenPart, encode_runs


def runs_of(files: Mapping[str, Any], most: int = 2**30) -> list[Run]:
    """The parts of a run, each held as a whole."""
    return opened(encode_runs(files, most))


def run_of(files: Mapping[str, Any]) -> Run:
    """A run of one part, held as a whole."""
    (run,) = runs_of(files)
    return run


def opened(parts: Iterable[WrittenPart]) -> list[Run]:
    """What was written, verified and held as a whole."""
    return [open_run(part.reference, part.body) for part in parts]


def hold(held: dict[str, Run], parts: Iterable[WrittenPart]) -> tuple[RunReference, ...]:
    """Add what was written to the runs that are held, by their SHA-256, and return how it is named."""
    runs = opened(parts)
    held.update((run.sha256, run) for run in runs)
    return tuple(run.reference for run in runs)


def merge(runs: Sequence[Run], most: int = 2**30, **how: Any) -> list[WrittenPart]:
    """What several runs become."""
    writer = RunWriter(most)
    return [*writer.add(*merged_lines(runs, **how)), *writer.end()]


@contextmanager
def small_blocks(size: int = 100):
    """Blocks that end after a few lines."""
    with patch.object(block, "BLOCK", size):
        yield


class SomePieces:
    """The pieces of a run, of which only some are at hand.

    Args:
        run: The run, held as a whole.
        numbers: The blocks that are at hand.
        index: Whether the index is.
    """

    def __init__(self, run: Run, numbers: Iterable[int] = (), *, index: bool = True) -> None:
        self._all = run.pieces
        self.numbers = set(numbers)
        self.has_index = index

    def index(self) -> RunIndex | None:
        return self._all.index() if self.has_index else None

    def block(self, number: int) -> Block | None:
        return self._all.block(number) if number in self.numbers else None


def partly(run: Run, numbers: Iterable[int] = (), *, index: bool = True) -> tuple[Run, SomePieces]:
    """A run of which only some pieces are at hand."""
    pieces = SomePieces(run, numbers, index=index)
    return Run(run.reference, pieces), pieces
