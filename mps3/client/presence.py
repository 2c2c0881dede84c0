"""Presence: keys that expire unless a client renews them, and a live view of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self

import orjson

from ..errors import ClosedError, ExpiredError, MPS3Error
from ..support.environment import Environment
from ..support.loop_affinity import LoopAffinity
from ..types import DELETE, JSON, Batch, Ref
from .member import Member
from .reads import Reads
from .subscription import Subscription
from .write import Write

EXPIRES_IN: Final = 60.0
"""The default of the seconds after which a member that is not renewed is absent."""
RENEWALS: Final = 3
"""The default number of renewals in that time: two of them may be lost."""

_log = logging.getLogger("mps3")


class Presence(AsyncIterator[Mapping[str, JSON]]):
    """What ``presence`` returns: an async context manager that announces a member, and an iterator over the members.

    Inside ``async with``, a key announces that the member is present. The client renews the key at least three times
    before it would expire. The key expires when the process ends or loses the network, and is deleted at the end of the
    block.

    Iterating returns the present members, including this one, as a read-only mapping of members to their infos, and
    again after each change. A renewal is not a change. Without a member the presence only lists the others, and can be
    iterated without ``async with``.

    Attributes:
        members: The members that the iteration returned last.
    """

    def __init__(
        self,
        client: Reads,
        environment: Environment,
        affinity: LoopAffinity,
        prefix: str,
        member: str | None,
        info: JSON,
        *,
        expires_in: float,
        every: float,
        manifest: str | Ref | None,
    ) -> None:
        self.members: Mapping[str, JSON] = MappingProxyType({})
        self._client = client
        self._environment = environment
        self._affinity = affinity
        self._prefix = prefix
        self._member = member
        self._info = info
        self._expires_in = expires_in
        self._every = every
        self._manifest = manifest
        self._renewed: Member | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._watch: Subscription[Batch[JSON]] | None = None
        self._present: dict[str, JSON] = {}
        self._last: bytes | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        """Announce the member.

        Raises:
            ClosedError: The client is not open.
        """
        if self._ended or self._renewing is not None:
            raise ClosedError("this presence was used before: create a new one")
        if self._member is not None:
            member = self._renewed = Member(
                self._client,
                self._environment,
                self._key,
                self._manifest,
                expires_in=self._expires_in,
                every=self._every,
                poll_interval=self._client._poll_interval,  # noqa: SLF001 - part of the client
            )
            member.arrive(self._info)
            self._renewing = asyncio.create_task(self._renew(member), name=f"mps3 presence {self._key}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Withdraw the member, and end the iteration. Does not wait until the others see it."""
        if self._ended:
            return
        self._affinity.check()
        self._ended = True
        try:
            if self._renewing is not None:
                self._renewing.cancel()
                await asyncio.gather(self._renewing, return_exceptions=True)
                # If the client is closed, the key expires.
                with contextlib.suppress(ClosedError):
                    if self._renewed is not None:
                        self._renewed.leave(self._info)
        finally:
            if self._watch is not None:
                await self._watch.aclose()

    def update(self, info: JSON) -> Write:
        """Change the info of the member.

        Args:
            info: Any JSON value.

        Returns:
            A `Write`, as from `MPS3.put`.

        Raises:
            TypeError: ``info`` is not JSON, or the presence has no member or is not inside ``async with``.
            ClosedError: The client is not open.
        """
        if self._renewed is None or self._renewing is None or self._ended:
            raise TypeError("no member is present here: name a member, and use `async with`")
        before, self._info = self._info, info
        try:
            return self._renewed.put(info)
        except BaseException:
            self._info = before
            raise

    @property
    def _key(self) -> str:
        return f"{self._prefix}{self._member}"

    async def _renew(self, member: Member) -> None:
        while True:
            try:
                await member.wait_until_due()
                member.put(self._info)
            except ClosedError:
                return
            except MPS3Error as error:
                _log.error("%s cannot be renewed: %s", self._key, error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Mapping[str, JSON]:
        """Wait until the members or their infos change.

        Raises:
            MPS3Error: A permanent error, as from `MPS3.watch`.
        """
        if self._ended:
            raise StopAsyncIteration
        self._affinity.check()
        if self._watch is None:
            self._watch = self._client.watch(self._prefix, manifest=self._manifest)
        while True:
            try:
                batch = await anext(self._watch)
            except ExpiredError:
                # It was not iterated for so long that nobody knows what has changed since.
                self._watch = self._client.watch(self._prefix, manifest=self._manifest)
                self._present.clear()
                continue
            for change in batch.changes:
                member = change.key.removeprefix(self._prefix)
                if change.value is DELETE:
                    self._present.pop(member, None)
                else:
                    self._present[member] = change.value
            if batch.initial and not batch.end_of_initial:
                continue
            present = dict(self._present)
            if self._member is not None and self._renewing is not None:
                present[self._member] = self._info  # even if its key has expired
            members = dict(sorted(present.items()))
            encoded = orjson.dumps(members)  # in which True is not 1
            if encoded != self._last:
                self._last, self.members = encoded, MappingProxyType(members)
                return self.members

    def __repr__(self) -> str:
        return f"<Presence of {self._member} in {self._prefix!r}>"
