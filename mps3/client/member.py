"""One key that says that somebody is here: put again and again, and not taken from others who put it too."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..content.value import PendingValue
from ..format.file_entry import FileEntry, expires_of
from ..format.names import name_in
from ..manifest.listeners import Listener
from ..manifest.manifest import Manifest
from ..support.environment import Environment, wait_for_event
from ..types import DELETE, JSON, Ref
from .write import Write
from .writes import Writes

OWN: Final = 8
"""Values of its own that a member remembers: more than can be in the store and not replaced yet."""
SOONEST: Final = 1.0
"""Seconds between two renewals at the least, of somebody whose key vanishes again and again; a quarter of a beat if
that is shorter."""
FAREWELL: Final = 5.0
"""Seconds that a key stays when one of several clients leaves, besides some polls: for the others to put it again."""
POLLS: Final = 3


class Member:
    """Somebody who is here, by one client. The same one may be here by several: a tablet and a phone, or two tabs.

    Args:
        client: The client.
        environment: Time and chance.
        key: What says that somebody is here.
        manifest: The manifest that names it; the default manifest if ``None``.
        expires_in: Seconds after which the key vanishes unless it is put again.
        every: Seconds between two renewals at the most.
        poll_interval: Seconds until others have looked, at the most, as far as that is known.
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
        self._ref, place, literal = client._resolve(key, None, manifest)  # noqa: SLF001 - a part of the client
        self._name = name_in(self._ref, place, literal)
        self._expires_in = expires_in
        self._every = every
        self._farewell = min(expires_in, FAREWELL + POLLS * poll_interval)
        self._listener = Listener()
        self._listening: Manifest | None = None
        self._write: Write | None = None
        self._own: deque[PendingValue] = deque(maxlen=OWN)
        self._put_at = 0.0
        self._next = 0.0
        self._others_until = 0.0

    def arrive(self, info: JSON) -> None:
        """Be here from now on."""
        self._client._check_open()  # noqa: SLF001 - a part of the client
        self._client._manifest(self._ref)  # noqa: SLF001 - opens it, if need be
        self._look()
        self.put(info)

    def put(self, info: JSON) -> Write:
        """Say that somebody is here, and what the others are to know."""
        self._put_at = self._environment.monotonic()
        self._wait_for_beat()
        write = self._send(info, self._expires_in)
        self._listen()
        return write

    def _wait_for_beat(self) -> None:
        # Not all who came at once, to the beat.
        self._next = self._environment.monotonic() + self._every * self._environment.random.uniform(0.8, 1.0)

    def _send(self, info: JSON, seconds: float) -> Write:
        write = self._client._write(  # noqa: SLF001 - a part of the client
            {self._key: info}, None, self._manifests, "presence", seconds, fleeting=True
        )
        self._write = write
        for _, part in write._parts:  # noqa: SLF001 - ours
            self._own.extend(content for content in part.changes.values() if content is not None)
        return write

    async def due(self) -> None:
        """Wait until it is time to put it again."""
        while True:
            await wait_for_event(self._listener.changed, max(0.0, self._next - self._environment.monotonic()))
            self._listener.changed.clear()
            if self._missed():
                self._next = min(self._next, self._put_at + min(SOONEST, self._every / 4))
            if self._environment.monotonic() >= self._next:
                # One that waits for the store counts from when it gets there: another would not be newer.
                if self._write is None or not self._write.pending:
                    return
                self._wait_for_beat()

    def leave(self, info: JSON) -> None:
        """Be here no more, but leave the key to others by whom the same one is here."""
        if self._write is not None:
            self._write.withdraw()
        found = self._look()
        try:
            if found is None or not (isinstance(found, PendingValue) or self._is_own(found)):
                return  # or others have put it since, and it ends with them
            if self._environment.monotonic() < self._others_until:
                self._send(info, self._farewell)
            else:
                self._client._write(  # noqa: SLF001 - a part of the client
                    {self._key: DELETE}, None, self._manifests, "presence", fleeting=True
                )
        finally:
            if self._listening is not None:
                self._listening.listeners.remove(self._name, self._listener)

    def _listen(self) -> Manifest | None:
        """Hear of the key's changes. One that has ended is not made anew for that: the next renewal does it."""
        manifest = self._client._manifests.get(self._ref)  # noqa: SLF001 - a part of the client
        if manifest is None or manifest.ended:
            return None
        if manifest is not self._listening:
            self._listening = manifest
            manifest.listeners.add(self._name, self._listener)
        return manifest

    def _look(self) -> PendingValue | FileEntry | None:
        """What there is of the key. If it is of others, they have been here until now at least."""
        manifest = self._listen()
        if manifest is None:
            return None
        found = manifest.look_up(self._name)
        if found is not None and not isinstance(found, PendingValue) and not self._is_own(found):
            self._others_until = self._environment.monotonic() + self._expires_in
        return found

    def _is_own(self, file: FileEntry) -> bool:
        return any(content.version == file["version"] for content in self._own)

    def _missed(self) -> bool:
        """Whether the key is gone, or is to go before it would be put again: another client has left."""
        found = self._look()
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
        parts = self._write._parts if self._write is not None else ()  # noqa: SLF001 - ours
        return any(part.outcome.cancelled() or part.outcome.exception() is not None for _, part in parts)
