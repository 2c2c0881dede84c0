"""The client."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar, overload

from ..collect.options import seconds
from ..format.names import check_key
from ..observability.statistics import Statistics
from ..types import JSON, Ref, Status
from .conversion import Conversion
from .lifecycle import Lifecycle
from .pages import check_page
from .presence import EXPIRES_IN, RENEWALS, Presence
from .status_changes import StatusChanges
from .time_to_live import seconds_to_live
from .transactions import Transactions
from .typed import Typed
from .view import View

T = TypeVar("T")


class MPS3(Transactions, Lifecycle):
    """A shared, live, durable key-value store in a bucket.

    Use it as an async context manager, one for the whole process.

    Args:
        default_bucket: The bucket of keys and manifests that name none.
        default_manifest: The key of the manifest that groups the keys, or a `Ref` to one in another bucket. The first
            write creates it.
        s3_config: Keyword arguments of aiobotocore's ``create_client("s3")``, such as ``endpoint_url``,
            ``region_name`` and ``aws_access_key_id``. Settings that are not given come from the environment and the
            profiles, as with other S3 tools.
        storage: A store to use instead of S3, such as ``LocalStorage(path)``.
        auth: An ``httpx.Auth`` that authorises the requests, which the SDK then does not sign. Needs the extra
            ``mps3[auth]``.
        journal: How commits are ordered. ``"log"`` needs a store that enforces create-if-absent, ``"merge"`` a bucket
            with versioning. ``"auto"`` follows the manifest. If there is none yet, it takes the log journal where the
            store permits it, with versioning or without, and otherwise the merge journal.
        poll_interval: Seconds between polls for changes. Each interval is shortened at random by up to a fifth, so
            that clients do not poll at the same time.
        wake: Something that can push, such as ``mps3.wake.redis("redis://localhost")``: clients tell each other through
            it that they have committed. What it says is only a hint to poll; the store remains the only truth. If
            ``None``, clients of one `LocalStorage` or `MemoryStorage` on one machine still hear each other at once.
        idle_poll_interval: Seconds between polls while wake-ups are known to work. If ``None``, it is 30 times
            ``poll_interval`` with ``wake``, and otherwise ``poll_interval``; see also `from_url`.
        inline: Bytes of the largest value, as JSON, that becomes part of its commit, in the manifest, instead of an
            object of its own: at most 65,536; 0 for none. A value for which a bucket was named is always an object.
        checksums: Whether SHA-256 checksums are sent, recorded and verified.
        offline: A local directory that keeps pending writes and a cache of values when the process ends. Any number
            of clients can share it. It must not be on a network file system.
        cache_bytes: The maximum size of the cached values in that directory, in bytes.
        prefetch: Bytes: the list of keys of a manifest that has no more is read whole when it is opened, and kept in
            memory; of a larger one, parts are read when a call needs them. ``None`` for 4 MiB, which are some 100,000
            keys or more; ``math.inf`` for always, such as for a client that must have all keys while it is offline.
        memory_bytes: The maximum size of such parts that are kept in memory, in bytes, for all manifests; ``None`` for
            40 MiB.
        online: Whether to use the network from the start; see `go_online`. ``False`` needs ``offline``.
        on_reconnect: Called with a `Reconnect` before pending writes are sent after a time without the store, if other
            clients have changed some of their keys. It may be a coroutine function. The writes wait until it returns.
            If it raises an exception, it is called again later.
        retention: Seconds, or a timedelta: garbage collection keeps all states that are younger.
        collect_every: Seconds, or a timedelta, between garbage collections of the default manifest in the background;
            ``None`` for no collections. It suffices that a few of the clients collect.
        collect_buckets: The ``buckets`` of these collections; see `collect`.
        hooks: Callables that receive each `mps3.observability.events.Event` in the event loop, and should return
            quickly. The first exception of a hook is logged.
        environment: The source of time, random numbers and unique names, for simulations.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has an invalid value.
        ConfigurationError: Arguments contradict each other.
    """

    def typed(self, model: type[T]) -> Typed[T]:
        """Return a view of this client for values of one type, such as a pydantic model or a msgspec struct.

        Dataclasses, ``TypedDict`` and other annotations need pydantic or msgspec to be installed.

        Args:
            model: The type. Values are converted to it when they are read, and checked when they are written.

        Raises:
            ConfigurationError: The package that converts the type is not installed.
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
        """Announce that a member is present, and list the members that are; see `Presence`.

        Each renewal costs a `put` (a PUT and a listing), and is a change for every watch of the manifest. It
        shares a commit with other writes of that moment.

        Args:
            prefix: The prefix of the keys, such as ``room/1``: they are ``room/1/<member>``.
            member: The member to announce; ``None`` to only list the others.
            info: Any JSON value that the others see.
            expires_in: Seconds, or a timedelta, after which a member that is not renewed is absent.
            every: Seconds, or a timedelta, between renewals at most; a third of ``expires_in`` if ``None``.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument is empty or too long, or ``every`` is not less than ``expires_in``.
            ClosedError: The client is not open.
        """
        self._check_open()
        prefix = prefix if check_key(prefix, "prefix").endswith("/") else f"{prefix}/"
        if member is not None:
            check_key(prefix + check_key(member, "member"))
        lifetime = seconds_to_live(expires_in) or EXPIRES_IN
        interval = lifetime / RENEWALS if every is None else seconds(every, "every")
        if not 0 < interval < lifetime:
            raise ValueError(f"every is a positive number below expires_in ({lifetime:g} s), not {interval:g}")
        return Presence(
            self,
            self._environment,
            self._affinity,
            prefix,
            member,
            info,
            expires_in=lifetime,
            every=interval,
            manifest=manifest,
        )

    @overload
    def view(self, prefix: str = "", *, limit: int | None = None, manifest: str | Ref | None = None) -> View[JSON]: ...

    @overload
    def view(
        self, prefix: str = "", *, type: type[T], limit: int | None = None, manifest: str | Ref | None = None
    ) -> View[T]: ...

    def view(
        self,
        prefix: str = "",
        *,
        type: Any = None,  # noqa: A002 - the plainest name
        limit: int | None = None,
        manifest: str | Ref | None = None,
    ) -> View[Any]:
        """Return a live, read-only mapping of the keys with a prefix and their values; see `View`.

        Args:
            prefix: The prefix. A key in another bucket than the default is ``s3://bucket/key``.
            type: The type of the values, as with `typed`; JSON if ``None``.
            limit: The maximum number of keys. A view of more ends with a `ConfigurationError`, before it fills the
                memory.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            ValueError: ``limit`` is not positive.
            ConfigurationError: The package that converts the type is not installed.
            ClosedError: The client is not open.
        """
        self._check_open()
        check_page(limit, None)
        if not isinstance(prefix, str):
            raise TypeError(f"prefix is a text, not {prefix.__class__.__qualname__}")
        conversion = None if type is None else Conversion(type)
        return View(lambda: self.watch(prefix, manifest=manifest), prefix, limit, conversion, self._views)

    def status(self) -> Status:
        """Return the status of the client.

        Raises:
            ConfigurationError: The client is open in another event loop or thread.
        """
        self._affinity.check_synchronous()
        oldest = [time for manifest in self._manifests.values() if (time := manifest.oldest_pending) is not None]
        return Status(
            online=self._connection.is_online,
            pending=sum(manifest.pending for manifest in self._manifests.values()),
            last_contact=self._connection.last_contact,
            last_error=self._connection.last_error or self._connection.retried_error,
            subscriptions=sum(len(manifest.listeners) for manifest in self._manifests.values()),
            manifests=tuple(self._manifests),
            oldest_pending=min(oldest, default=None),
        )

    def store_time(self) -> datetime | None:
        """Return the time of the store's clock as derived from its responses, without a request; ``None`` if unknown.

        It is never ahead of the store's clock, and behind it at most by the duration of a request and by the rounding
        of the response.

        Raises:
            ClosedError: The client is not open.
            ConfigurationError: The client is open in another event loop or thread.
        """
        self._check_open()
        now = self._clocked.time.now()
        return None if now == -math.inf else datetime.fromtimestamp(now, timezone.utc)

    def statistics(self) -> Statistics:
        """Return the statistics of the client.

        Raises:
            ConfigurationError: The client is open in another event loop or thread.
        """
        self._affinity.check_synchronous()
        manifests = self._manifests.values()
        return self._observer.counters.statistics(
            pending=sum(manifest.pending for manifest in manifests),
            subscriptions=sum(len(manifest.listeners) for manifest in manifests),
            buffered=sum(manifest.listeners.buffered for manifest in manifests),
            cached_bytes=self._contents.cached_bytes,
        )

    def status_changes(self) -> StatusChanges:
        """Iterate over the status: the present one, and the newest one after each change, until the client closes.

        A later ``last_contact`` alone is not a change.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        return self._connection.watchers.add(self.status, self._affinity)

    def go_offline(self) -> None:
        """Send no more requests until `go_online`. Requests that have been sent are completed.

        Reads and subscriptions use the values that are known here, and writes wait.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        self._switch.shut = True
        for manifest in self._manifests.values():
            manifest.pause()
        self._connection.switched()

    def go_online(self) -> None:
        """Use the network again, immediately.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        self._switch.shut = False
        for manifest in self._manifests.values():
            manifest.hurry()
        self._connection.switched()
