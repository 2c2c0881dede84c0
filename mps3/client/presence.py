"""Who is here: keys that expire unless they are put again and again, and a view of them that is live."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self

import orjson

from ..errors import ClosedError, MPS3Error
from ..support.environment import Environment
from ..support.loop_affinity import LoopAffinity
from ..types import DELETE, JSON, Batch, Ref
from .member import Member
from .reads import Reads
from .subscription import Subscription
from .write import Write

EXPIRES_IN: Final = 60.0
"""Seconds after which somebody who says nothing more is gone, unless told otherwise."""
BEATS: Final = 3
"""Renewals within that time: two may be lost before anybody notices."""

_log = logging.getLogger("mps3")


class Presence(AsyncIterator[Mapping[str, JSON]]):
    """What ``presence`` returns: use it as an async context manager to be here, iterate it to see who is.

    Inside of ``async with``, a key says that this member is here. It is put anew at least three times in the time after
    which it would vanish by itself, as it does when this process ends or loses the network. Leaving deletes it.

    Iterating gives everyone who is here now, as a read-only mapping of members to their infos, this one included; and
    again after each change. That somebody is still here is no change. Whoever only wants to see who is here names no
    member, and may iterate without ``async with``.

    Attributes:
        members: Who is here, as far as it was iterated.
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
        self._own: Member | None = None
        self._beating: asyncio.Task[None] | None = None
        self._watch: Subscription[Batch[JSON]] | None = None
        self._here: dict[str, JSON] = {}
        self._told: bytes | None = None
        self._ended = False

    # Being here

    async def __aenter__(self) -> Self:
        """Be here from now on.

        Raises:
            ClosedError: The client is not open.
        """
        if self._ended or self._beating is not None:
            raise ClosedError("this presence was used before: make a new one")
        if self._member is not None:
            own = self._own = Member(
                self._client,
                self._environment,
                self._key,
                self._manifest,
                expires_in=self._expires_in,
                every=self._every,
                poll_interval=self._client._interval,  # noqa: SLF001 - a part of the client
            )
            own.arrive(self._info)
            self._beating = asyncio.create_task(self._beat(own), name=f"mps3 presence {self._key}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Be here no more, and end the iteration. It does not wait until the others know."""
        if self._ended:
            return
        self._affinity.check()
        self._ended = True
        try:
            if self._beating is not None:
                self._beating.cancel()
                await asyncio.gather(self._beating, return_exceptions=True)
                # Where the client is closed, the key expires.
                with contextlib.suppress(ClosedError):
                    if self._own is not None:
                        self._own.leave(self._info)
        finally:
            if self._watch is not None:
                await self._watch.aclose()

    def update(self, info: JSON) -> Write:
        """Say something else of this member.

        Args:
            info: Any JSON value.

        Returns:
            Something to await, or not, as with `MPS3.put`.

        Raises:
            TypeError: It is not JSON, or this presence is not inside of ``async with``, or of no member.
            ClosedError: The client is not open.
        """
        if self._own is None or self._beating is None or self._ended:
            raise TypeError("there is nobody here to say something of: name a member, and use `async with`")
        before, self._info = self._info, info
        try:
            return self._own.put(info)
        except BaseException:
            self._info = before
            raise

    @property
    def _key(self) -> str:
        return f"{self._prefix}{self._member}"

    async def _beat(self, own: Member) -> None:
        while True:
            try:
                await own.due()
                own.put(self._info)
            except ClosedError:
                return
            except MPS3Error as error:
                _log.error("%s cannot be renewed: %s", self._key, error)

    # Who is here

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Mapping[str, JSON]:
        """Wait until somebody comes, goes or changes.

        Raises:
            MPS3Error: It can never be known again, as with `MPS3.watch`.
        """
        if self._ended:
            raise StopAsyncIteration
        self._affinity.check()
        if self._watch is None:
            self._watch = self._client.watch(self._prefix, manifest=self._manifest)
        while True:
            batch = await anext(self._watch)
            for change in batch.changes:
                member = change.key.removeprefix(self._prefix)
                if change.value is DELETE:
                    self._here.pop(member, None)
                else:
                    self._here[member] = change.value
            if batch.initial and not batch.end_of_initial:
                continue
            present = dict(self._here)
            if self._member is not None and self._beating is not None:
                present[self._member] = self._info  # to itself it is here, though the others may not see it now
            here = dict(sorted(present.items()))
            told = orjson.dumps(here)  # in which True is not 1
            if told != self._told:
                self._told, self.members = told, MappingProxyType(here)
                return self.members

    def __repr__(self) -> str:
        who = "nobody" if self._member is None else self._member
        return f"<Presence of {who} in {self._prefix!r}>"
