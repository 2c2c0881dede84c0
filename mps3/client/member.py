"""The key of a present member, which several clients may renew."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..content.value import PendingValue
from ..errors import MPS3Error
from ..format.file_entry import FileEntry, expires_of
from ..format.names import name_in
from ..format.run import NotAtHandError
from ..manifest.listeners import Listener
from ..manifest.manifest import Manifest
from ..support.environment import Environment, wait_for_event
from ..types import DELETE, JSON, Ref
from .write import Write
from .writes import Writes

REMEMBERED_VALUES: Final = 8
"""Own values that are remembered: more than can be in the store before the next renewal replaces them."""
SHORTEST_INTERVAL: Final = 1.0
"""Seconds between renewals at least, for a key that disappears repeatedly; a quarter of the interval if shorter."""
HANDOVER: Final = 5.0
"""Seconds, besides some polls, until the key expires when one of several clients leaves: the others renew it before."""
HANDOVER_POLLS: Final = 3


class Member:
    """A member that one client announces. Other clients may announce it, too: a phone, or another tab.

    Args:
        expires_in: Seconds after which the key expires unless it is renewed.
        every: Seconds between renewals at most.
        poll_interval: Seconds between polls of the other clients, which are assumed to be like this one.
    """

    def __init__(
        self,
        client: Writes,
        environment: Environment,
        key: str,
        manifest: str | Ref | None,
        *,
        expires_in: float,
        every: float,
        poll_interval: float,
    ) -> None:
        self._client = client
        self._environment = environment
        self._key = key
        self._manifests = None if manifest is None else [manifest]
        self._ref, place, literal = client._resolve(key, None, manifest)  # noqa: SLF001 - part of the client
        self._name = name_in(self._ref, place, literal)
        self._expires_in = expires_in
        self._every = every
        self._handover = min(expires_in, HANDOVER + HANDOVER_POLLS * poll_interval)
        self._listener = Listener()
        self._listening: Manifest | None = None
        self._write: Write | None = None
        self._own: deque[PendingValue] = deque(maxlen=REMEMBERED_VALUES)
        self._put_at = 0.0
        self._due_at = 0.0
        self._others_expire_at = 0.0

    def arrive(self, info: JSON) -> None:
        """Put the key and renew it from now on."""
        self._client._check_open()  # noqa: SLF001 - part of the client
        self._client._manifest(self._ref)  # noqa: SLF001 - opens it
        self._look_up()
        self.put(info)

    def put(self, info: JSON) -> Write:
        """Put the key with an info."""
        self._put_at = self._environment.monotonic()
        self._schedule()
        write = self._send(info, self._expires_in)
        self._listen()
        return write

    def _schedule(self) -> None:
        # Random, so that clients that started together do not renew together.
        self._due_at = self._environment.monotonic() + self._every * self._environment.random.uniform(0.8, 1.0)

    def _send(self, info: JSON, seconds: float) -> Write:
        write = self._client._write(  # noqa: SLF001 - part of the client
            {self._key: info}, None, self._manifests, "presence", seconds, fleeting=True
        )
        self._write = write
        for _, part in write._parts:  # noqa: SLF001 - part of the client
            self._own.extend(content for content in part.changes.values() if content is not None)
        return write

    async def wait_until_due(self) -> None:
        """Wait until the key has to be put again."""
        while True:
            await wait_for_event(self._listener.changed, max(0.0, self._due_at - self._environment.monotonic()))
            self._listener.changed.clear()
            if await self._must_renew():
                self._due_at = min(self._due_at, self._put_at + min(SHORTEST_INTERVAL, self._every / 4))
            if self._environment.monotonic() >= self._due_at:
                # The expiry of a pending write counts from its arrival at the store: a newer write would not be later.
                if self._write is None or not self._write.pending:
                    return
                self._schedule()

    def leave(self, info: JSON) -> None:
        """Delete the key, or let it expire soon if other clients announce the same member."""
        if self._write is not None:
            self._write.withdraw()
        found = self._look_up()
        try:
            if found is None or not (isinstance(found, PendingValue) or self._is_own(found)):
                return  # another client has put it since, and deletes it
            if self._environment.monotonic() < self._others_expire_at:
                self._send(info, self._handover)
            else:
                self._client._write(  # noqa: SLF001 - part of the client
                    {self._key: DELETE}, None, self._manifests, "presence", fleeting=True
                )
        finally:
            if self._listening is not None:
                self._listening.listeners.remove(self._name, self._listener)

    def _listen(self) -> Manifest | None:
        """Listen to the changes of the key. Does not reopen a manifest that has ended: the next renewal does."""
        manifest = self._client._manifests.get(self._ref)  # noqa: SLF001 - part of the client
        if manifest is None or manifest.ended:
            return None
        if manifest is not self._listening:
            self._listening = manifest
            manifest.listeners.add(self._name, self._listener)
        return manifest

    def _look_up(self) -> PendingValue | FileEntry | None:
        """Look the key up, and note until when a value of another client is valid."""
        manifest = self._listen()
        if manifest is None:
            return None
        try:
            return self._note_others(manifest.look_up(self._name))
        except NotAtHandError:
            return None  # it is none that this client has put lately

    def _note_others(self, found: PendingValue | FileEntry | None) -> PendingValue | FileEntry | None:
        if found is not None and not isinstance(found, PendingValue) and not self._is_own(found):
            self._others_expire_at = self._environment.monotonic() + self._expires_in
        return found

    def _is_own(self, file: FileEntry) -> bool:
        return any(content.version == file["version"] for content in self._own)

    async def _must_renew(self) -> bool:
        """Return whether the key is absent or expires before the next renewal, because another client has left."""
        manifest = self._listen()
        try:
            found = None if manifest is None else self._note_others(await manifest.find(self._name))
        except MPS3Error:
            return False  # when it is due, it is renewed
        if self._write is None or self._write.pending or isinstance(found, PendingValue) or self._failed():
            return False
        if self._listening is None or self._listening.ended:
            return False
        if found is None:
            return True
        if self._is_own(found):
            return False
        ends = expires_of(found)
        return ends is not None and ends < self._listening.time() + self._every

    def _failed(self) -> bool:
        parts = self._write._parts if self._write is not None else ()  # noqa: SLF001 - part of the client
        return any(part.outcome.cancelled() or part.outcome.exception() is not None for _, part in parts)
