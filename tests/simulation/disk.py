"""A disk in memory that survives the processes that use it: what `mps3.offline.directory` is to real ones."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mps3.offline.protocol import (
    DirectoryOwner,
    Done,
    Forget,
    Keep,
    Operation,
    Replace,
    Send,
    Sent,
    SetAside,
    StoredSession,
    StoredWrite,
)
from mps3.types import Ref

from .loop import PROCESS, Process

NEVER = 4e9
"""When a write that never expires was made, in seconds since 1970."""


@dataclass
class Outbox:
    """One outbox, and the process that holds its lock."""

    owner: Process | None
    sessions: dict[str, tuple[Ref, int]] = field(default_factory=dict)
    rows: dict[int, tuple[str, StoredWrite]] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)

    def free(self) -> bool:
        return self.owner is None or self.owner.dead


@dataclass
class Disk:
    """All that one device keeps."""

    dice: random.Random
    slowest: float = 0.02
    outboxes: list[Outbox] = field(default_factory=list)
    states: dict[Ref, tuple[float, bytes]] = field(default_factory=dict)
    objects: dict[tuple[str, str, str], bytes] = field(default_factory=dict)

    async def turn(self) -> None:
        """Wait for the disk. A process that dies meanwhile has written nothing."""
        await asyncio.sleep(self.dice.random() * self.slowest)
        process = PROCESS.get()
        if process is not None and process.dead:
            raise asyncio.CancelledError


class SimDirectory:
    """The directory as one process sees it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.cache = SimCache(disk)

    async def open(self, owner: DirectoryOwner) -> tuple[SimShelf, Sequence[SimShelf]]:
        await self._disk.turn()
        process = PROCESS.get()
        own = Outbox(process)
        free = [outbox for outbox in self._disk.outboxes if outbox.free()]
        for outbox in free:
            outbox.owner = process
        self._disk.outboxes.append(own)
        return SimShelf(self._disk, own), [SimShelf(self._disk, outbox, inherited=True) for outbox in free]

    async def aclose(self) -> None:
        pass


class SimShelf:
    """An outbox as its owner sees it."""

    def __init__(self, disk: Disk, outbox: Outbox, *, inherited: bool = False) -> None:
        self._disk = disk
        self._outbox = outbox
        self._inherited = inherited

    @property
    def last_id(self) -> int:
        return max(self._outbox.rows, default=0)

    def now(self) -> float:
        # The checker does not know that what expired before it was sent is not sent any more: here it never does.
        return -math.inf if self._inherited else asyncio.get_running_loop().time()

    async def sessions(self) -> Sequence[StoredSession]:
        await self._disk.turn()
        outbox = self._outbox
        return [
            StoredSession(ref, name, sequence, outbox.sent.get(name), [replace(row, made=NEVER) for row in rows])
            for name, (ref, sequence) in outbox.sessions.items()
            if (rows := [row for _, (session, row) in sorted(outbox.rows.items()) if session == name])
        ]

    async def write(self, operations: Sequence[Operation]) -> None:
        await self._disk.turn()
        for operation in operations:
            self._carry_out(operation)

    def _carry_out(self, operation: Operation) -> None:
        outbox = self._outbox

        def change(ids: Sequence[int], **members: Any) -> None:
            for number in ids:
                if number in outbox.rows:
                    session, row = outbox.rows[number]
                    outbox.rows[number] = session, replace(row, **members)

        match operation:
            case Keep(manifest, session, row):
                outbox.sessions.setdefault(session, (manifest, 0))
                outbox.rows[row.id] = session, row
            case Replace(number, changes):
                change([number], changes=changes)
            case Forget(ids):
                for number in ids:
                    outbox.rows.pop(number, None)
            case Send(session, ids, sent):
                outbox.sent[session] = sent
                outbox.sessions[session] = outbox.sessions[session][0], sent.sequence
                change(ids, sequence=sent.sequence)
            case Done(session, sequence):
                for number, (its, row) in list(outbox.rows.items()):
                    if its == session and row.sequence == sequence:
                        del outbox.rows[number]
                if session in outbox.sent and outbox.sent[session].sequence == sequence:
                    del outbox.sent[session]
            case SetAside(ids, refusal):
                change(ids, sequence=None, refusal=refusal)

    async def aclose(self) -> None:
        await self._disk.turn()
        self._outbox.owner = None
        if not self._outbox.rows and self._outbox in self._disk.outboxes:
            self._disk.outboxes.remove(self._outbox)


class SimCache:
    """The cache as one process sees it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def state(self, manifest: Ref) -> bytes | None:
        await self._disk.turn()
        return self._disk.states.get(manifest, (0.0, None))[1]

    async def keep_state(self, manifest: Ref, state: bytes, stamp: float, runs: Sequence[tuple[str, str]]) -> None:
        await self._disk.turn()
        if stamp >= self._disk.states.get(manifest, (stamp, b""))[0]:
            self._disk.states[manifest] = stamp, state

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        return self._disk.objects.get((bucket, key, version))

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        process = PROCESS.get()
        if process is None or not process.dead:
            self._disk.objects[bucket, key, version] = body
