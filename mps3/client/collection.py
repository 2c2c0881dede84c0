"""Garbage collection, as a call of a client."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from ..collect.collector import collect
from ..collect.options import GRACE
from ..collect.options import options as collecting
from ..collect.report import Collected, Progress
from ..types import Ref
from .core import ClientCore


class Collection(ClientCore):
    """The call that collects garbage."""

    async def collect(
        self,
        *,
        retention: float | timedelta | None = None,
        grace: float | timedelta = GRACE,
        dry_run: bool = False,
        manifest: str | Ref | None = None,
        progress: Progress | None = None,
        rate: float | None = None,
        buckets: Iterable[str] = (),
    ) -> Collected:
        """Delete what no state of a manifest names any more: old versions of it, its unused runs, and old values.

        It may be cancelled at any time, and goes on where it was when it is called again. Nobody has to wait
        for it, and any number of clients may do it at once. Values are deleted that were written for this
        manifest, and that no other manifest needs; everything else in the bucket is left alone.

        Args:
            retention: Seconds, or a timedelta: everything is kept that a state younger than this names. The
                client's own ``retention`` if ``None``.
            grace: Seconds, or a timedelta: nothing younger is deleted. At least 20 minutes; what is more is for
                peace of mind.
            dry_run: Delete nothing, and say what would be deleted.
            manifest: The manifest; the default manifest if ``None``.
            progress: Called now and then with how far it has come.
            rate: The most objects a second to look at and delete, one by one.
            buckets: Other buckets than the manifest's own, in which values of this manifest are looked for and
                deleted, too, and whose manifests may be told of it. What a manifest or an object says is not enough:
                whoever may write it would decide where this client deletes.

        Returns:
            What was deleted, and what was kept.

        Raises:
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest is not one, so nobody knows what it needs.
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        self._check_open()
        how = collecting(
            retention=self._retention if retention is None else retention,
            grace=grace,
            dry_run=dry_run,
            rate=rate,
            buckets=buckets,
        )
        ref = self._default if manifest is None else self._manifest_ref(manifest)
        return await collect(self._switch, self._environment, ref, self._manifests, self._make_manifest, how, progress)
