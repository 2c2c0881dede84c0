"""Nesting: no transaction may begin within another."""

from __future__ import annotations

from contextvars import ContextVar

_inside: ContextVar[Nesting | None] = ContextVar("mps3 transaction", default=None)


class Nesting:
    """Marks that a transaction is running, in this task and in the tasks that are started within it, until `end`.

    A task that runs longer than the transaction may begin others then.
    """

    def __init__(self) -> None:
        self._ended = False
        before: Nesting | None = _inside.get()
        while before is not None and before._ended:  # noqa: SLF001 - its own
            before = before._before  # noqa: SLF001
        self._before: Nesting | None = before
        _inside.set(self)

    def end(self) -> None:
        """Mark that the transaction is over."""
        self._ended = True
        if _inside.get() is self:  # it may end in another task than it began in
            _inside.set(self._before)

    @staticmethod
    def refuse() -> None:
        """Check that no transaction is running in this task.

        Raises:
            RuntimeError: One is.
        """
        nesting = _inside.get()
        while nesting is not None:
            if not nesting._ended:  # noqa: SLF001 - its own
                raise RuntimeError("a transaction is under way in this task: use its own methods, not the client's")
            nesting = nesting._before  # noqa: SLF001
