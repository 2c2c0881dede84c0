"""The result of a call that writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import ClosedError, MPS3Error, WithdrawnError, doubted
from ..manifest.manifest import Manifest
from ..manifest.pending import Pending
from ..types import Commit

_log = logging.getLogger("mps3")


class Write(Awaitable[Commit]):
    """A write that is visible in this client, and is on its way to the store.

    Await it to wait until it is durable; a failure is raised. Cancelling the await does not cancel the write. A failure
    that no caller awaits is logged.
    """

    def __init__(self, parts: Sequence[tuple[Manifest, Pending]], description: str) -> None:
        self._parts = parts
        self._description = description
        self._awaiting = 0
        for _, part in parts:
            part.outcome.add_done_callback(partial(self._report, part))

    def __await__(self) -> Generator[Any, Any, Commit]:
        """Wait until the write is durable and its position in the order of commits is final.

        Raises:
            MPS3Error: The write failed, and is no longer visible in this client.
        """
        return self._wait().__await__()

    async def _wait(self) -> Commit:
        self._check()
        self._awaiting += 1
        try:
            commits = [await asyncio.shield(part.outcome) for _, part in self._parts]
        except MPS3Error as error:
            if len(self._parts) > 1 and any(part.sent or _is_committed(part) for _, part in self._parts):
                raise doubted(error) from error.__cause__
            raise
        finally:
            self._awaiting -= 1
        return replace(commits[0], others=tuple(commits[1:])) if len(commits) > 1 else commits[0]

    async def kept(self) -> None:
        """Wait until the write survives a crash of this process and a power failure.

        With ``offline=DIRECTORY`` that is when the directory has recorded it, which needs no network; without, when it
        is committed. Cancelling the await does not cancel the write.

        Raises:
            MPS3Error: The write could not be recorded, or it failed. A write that could not be recorded is still sent
                to the store while this process runs.
        """
        self._check()
        for _, part in self._parts:
            if part.kept is None or part.outcome.done():
                await self._wait_for(part)
            else:
                await asyncio.shield(part.kept)

    async def _wait_for(self, part: Pending) -> Commit:
        self._awaiting += 1
        try:
            return await asyncio.shield(part.outcome)
        finally:
            self._awaiting -= 1

    @property
    def pending(self) -> bool:
        """Whether the write has neither become durable nor failed yet."""
        return any(not part.outcome.done() for _, part in self._parts)

    def withdraw(self) -> bool:
        """Withdraw the write, unless it has been sent.

        Returns:
            True if it had not been sent, and now never is. A write to several manifests is withdrawn only if no
            part of it has been sent.

        Raises:
            ConfigurationError: The client is in another event loop.
        """
        self._check()
        if any(part.outcome.done() or part.sent for _, part in self._parts):
            return False
        return all(manifest.withdraw(part) for manifest, part in self._parts)

    def _check(self) -> None:
        if self.pending:  # the outcome may be read in any event loop
            for manifest, _ in self._parts:
                manifest.affinity.check()

    def _report(self, part: Pending, outcome: asyncio.Future[Commit]) -> None:
        if outcome.cancelled():
            return
        error = outcome.exception()
        if error is None or self._awaiting or isinstance(error, WithdrawnError):
            return
        if isinstance(error, ClosedError) and (part.safe or part.fleeting):
            return  # the next client sends it, or it is a renewal of a presence
        _log.error("%s failed: %s", self._description, error, exc_info=error)

    def __repr__(self) -> str:
        return f"<{self._description}, {'pending' if self.pending else 'done'}>"


def _is_committed(part: Pending) -> bool:
    return part.outcome.done() and not part.outcome.cancelled() and part.outcome.exception() is None
