"""The call that collects garbage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from ..collect.collector import collect
from ..collect.options import GRACE, options
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
        """Delete what no retained state of a manifest needs: old versions of it, unused runs, and old values.

        Only values that were written for this manifest and that no other manifest needs are deleted. The collection
        runs beside reads and writes, and any number of clients may run it at once. It can be cancelled at any time; the
        next call resumes it.

        Args:
            retention: Seconds, or a timedelta: states that are younger are retained. The client's ``retention`` if
                ``None``.
            grace: Seconds, or a timedelta: no younger object is deleted. At least 20 minutes.
            dry_run: Report what would be deleted, without deleting it.
            manifest: The manifest; the default manifest if ``None``.
            progress: Called from time to time with the progress.
            rate: The maximum number of objects per second that are read and deleted.
            buckets: Buckets besides the manifest's own in which its values are searched for and deleted, and whose
                manifests may be notified. The client does not take buckets from manifests or objects: anyone who can
                write those could then choose where it deletes.

        Returns:
            What was deleted, and what was kept.

        Raises:
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest is damaged.
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        self._check_open()
        checked = options(
            retention=self._retention if retention is None else retention,
            grace=grace,
            dry_run=dry_run,
            rate=rate,
            buckets=buckets,
        )
        ref = self._manifest_ref(manifest)
        return await collect(
            self._switch, self._environment, ref, self._manifests, self._make_manifest, checked, progress
        )
