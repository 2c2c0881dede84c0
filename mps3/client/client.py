"""The client: what users call."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from ..collect.options import seconds
from ..format.names import check_key
from ..observability.statistics import Statistics
from ..types import JSON, Ref, Status
from .lifecycle import Lifecycle
from .presence import BEATS, EXPIRES_IN, Presence
from .reads import Reads
from .status_changes import StatusChanges
from .time_to_live import seconds_to_live
from .transactions import Transactions
from .typed import Typed

T = TypeVar("T")


class MPS3(Reads, Transactions, Lifecycle):
    """A shared, live, durable key-value store in a bucket.

    Use it as an async context manager, one for the whole process.

    Args:
        default_bucket: The bucket of keys and manifests that name none.
        default_manifest: The key of the manifest that groups the keys, or a `Ref` to one in
            another bucket. It is created by the first write.
        s3_config: Keyword arguments for the S3 client, as aiobotocore's ``create_client("s3")`` takes
            them: ``endpoint_url``, ``region_name``, ``aws_access_key_id`` and so on. Without it
            everything comes from the environment and the profiles, as with other S3 tools.
        storage: Another kind of store than S3, such as ``LocalStorage(path)``.
        auth: Any ``httpx.Auth``, which then authorises the requests: they leave unsigned by the SDK, and
            pass through it. Needs the extra ``mps3[auth]``.
        journal: How commits get their order: ``"merge"`` needs a bucket with versioning, ``"conditional"`` a
            store that enforces conditional writes. ``"auto"`` follows the manifest, or else the bucket.
        poll_interval: Seconds between two looks for changes, while nothing happens. Each comes up to a fifth sooner,
            so that not all clients look at the same moment.
        inline: Bytes of the largest value, as JSON, that becomes part of its commit, in the manifest, instead of an
            object of its own: at most 65,536; 0 for none. A value for which a bucket was named is always an object.
        checksums: Whether SHA-256 checksums are sent, recorded and verified.
        offline: A directory of this machine for what is to outlive the process: pending writes, and a cache of
            what was read. Any number of clients may share it. It must not be on a network file system.
        cache_bytes: How large the cached values may be together.
        online: Whether to use the network from the start; see `go_online`. ``False`` needs ``offline``.
        on_reconnect: Called with a `Reconnect` after a time without the store, before pending writes go out, if
            others have changed some of their keys meanwhile. Writes wait until it returns, or what it returns has
            been awaited. If it raises, they go on waiting, and it is called again.
        retention: Seconds, or a timedelta: how far back collecting keeps all states.
        collect_every: Seconds, or a timedelta: about how often the default manifest is collected in the
            background. ``None``, the default, for never. One client in a few is enough.
        collect_buckets: The ``buckets`` of these collections; see `collect`.
        hooks: Callables that receive each `mps3.observability.events.Event`, at once: a hook should return soon. If one
            raises, that is logged once.
        environment: Where time, chance and names come from; for simulations.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has an impossible value.
        ConfigurationError: Arguments contradict each other.
    """

    def typed(self, model: type[T]) -> Typed[T]:
        """This client, for values of one type: a pydantic model, a msgspec struct, a dataclass or the like.

        A dataclass or a ``TypedDict`` needs pydantic or msgspec to be installed, whichever you like.

        Args:
            model: The type. Values that are read become such; values that are written have to be such.

        Raises:
            ConfigurationError: The package that knows such a type is not installed.
        """
        return Typed(self, model)

    def presence(
        self,
        prefix: str,
        member: str | None = None,
        info: JSON = None,
        *,
        expires_in: float | timedelta = EXPIRES_IN,
        every: float | timedelta | None = None,
        manifest: str | Ref | None = None,
    ) -> Presence:
        """Be among those who are here, and see who is: see `Presence`.

        Being here costs a `put` (a PUT and a listing) for each renewal, and everyone who looks at the same
        manifest sees each as a change. Renewals go out in one commit with what else is written at that moment.

        Args:
            prefix: What to be in, such as ``room/1``: the keys are ``room/1/<member>``.
            member: Who is here; ``None`` to see only who else is.
            info: Any JSON value: what the others are to know.
            expires_in: Seconds, or a timedelta, after which somebody who says nothing more is gone.
            every: Seconds, or a timedelta, between two renewals at the most; a third of ``expires_in`` if ``None``.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            TypeError: The prefix or the member is not a text, or a time is not one.
            ValueError: One of them is empty or too long, or ``every`` is not less than ``expires_in``.
            ClosedError: The client is not open.
        """
        self._check_open()
        prefix = prefix if check_key(prefix, "prefix").endswith("/") else f"{prefix}/"
        if member is not None:
            check_key(prefix + check_key(member, "member"))
        span = seconds_to_live(expires_in) or EXPIRES_IN
        beat = span / BEATS if every is None else seconds(every, "every")
        if not 0 < beat < span:
            raise ValueError(f"every is a positive number of seconds, less than expires_in ({span:g}), not {beat:g}")
        return Presence(
            self, self._environment, self._home, prefix, member, info, expires_in=span, every=beat, manifest=manifest
        )

    def status(self) -> Status:
        """How this client is doing.

        Raises:
            ConfigurationError: It is open in another event loop, or in another thread.
        """
        self._home.check_glance()
        oldest = [made for manifest in self._manifests.values() if (made := manifest.oldest_pending) is not None]
        return Status(
            online=self._connection.is_online,
            pending=sum(manifest.pending for manifest in self._manifests.values()),
            last_contact=self._connection.last_contact,
            last_error=self._connection.last_error,
            subscriptions=sum(len(manifest.listeners) for manifest in self._manifests.values()),
            manifests=tuple(self._manifests),
            oldest_pending=min(oldest, default=None),
        )

    def store_time(self) -> datetime | None:
        """What time it is at the store, as far as its answers tell; ``None`` if they do not. It makes no request.

        It is never ahead of the store's clock, and behind it by no more than an answer took, and was rounded.

        Raises:
            ClosedError: The client is not open.
            ConfigurationError: It is open in another event loop, or in another thread.
        """
        self._check_open()
        now = self._clocked.time.now()
        return None if now == -math.inf else datetime.fromtimestamp(now, timezone.utc)

    def statistics(self) -> Statistics:
        """What this client has done so far, in numbers.

        Raises:
            ConfigurationError: It is open in another event loop, or in another thread.
        """
        self._home.check_glance()
        manifests = self._manifests.values()
        return self._observer.counters.statistics(
            pending=sum(manifest.pending for manifest in manifests),
            subscriptions=sum(len(manifest.listeners) for manifest in manifests),
            buffered=sum(manifest.listeners.buffered for manifest in manifests),
            cached_bytes=self._contents.cached_bytes,
        )

    def status_changes(self) -> StatusChanges:
        """The status now, and then the newest one after each change, until the client closes.

        That there was another contact is no change by itself.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        return self._connection.watchers.add(self.status, self._home)

    # Offline and online

    def go_offline(self) -> None:
        """Make no request from now on, until `go_online`. Those under way are finished.

        Reads and subscriptions go on with what is known, and writes wait.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        self._switch.shut = True
        for manifest in self._manifests.values():
            manifest.pause()
        self._connection.switched()

    def go_online(self) -> None:
        """Use the network again, at once.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        self._switch.shut = False
        for manifest in self._manifests.values():
            manifest.hurry()
        self._connection.switched()
