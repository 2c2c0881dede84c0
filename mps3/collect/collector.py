"""One garbage collection: open the manifests that own values, then delete what none of them needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timezone

from ..errors import AccessError, ConfigurationError, CorruptionError, FormatError, UnavailableError
from ..manifest.manifest import Manifest
from ..storage.protocol import ABSENT, Storage
from ..support.environment import Environment
from ..types import Ref
from .bucket import Buckets
from .live import LiveVersions
from .options import Options
from .report import Collected, Progress, Tally
from .sweep import Sweep


async def collect(
    storage: Storage,
    environment: Environment,
    ref: Ref,
    opened: Mapping[Ref, Manifest],
    manifest_of: Callable[[Ref], Manifest],
    options: Options,
    progress: Progress | None = None,
) -> Collected:
    """Delete the objects that no state within the retention refers to, of this manifest or of another.

    Args:
        storage: The store.
        environment: The clock and randomness.
        ref: The manifest, with its bucket.
        opened: The manifests that are open.
        manifest_of: Returns a manifest that is neither opened nor started.
        options: The options of the collection.
        progress: Called with the progress.

    Raises:
        MPS3Error: The manifest cannot be read, or something may not be listed, looked at or deleted.
    """
    known: dict[Ref, LiveVersions | None] = {}
    lock = asyncio.Lock()

    async with AsyncExitStack() as stack:

        async def live_of(ref: Ref, *, foreign: bool = False) -> LiveVersions | None:
            if await storage.head(ref.bucket or "", ref.key) is ABSENT:
                return None
            manifest = opened.get(ref)
            if manifest is None or manifest.ended:
                manifest = manifest_of(ref)
                stack.push_async_callback(manifest.aclose)
                await manifest.open()
                manifest.start()
            kept = max(options.retention, options.grace)
            if foreign and manifest.announcer.is_needed:
                return None  # being sure takes a commit to it, which the caller has not allowed
            retained = await manifest.announcer.retained(kept, announce=not options.dry_run)
            return None if retained is None else LiveVersions(ref, retained.moment - options.grace, retained)

        own = ref.bucket or ""

        async def others(ref: Ref) -> LiveVersions | None:
            foreign = ref.bucket != own and ref.bucket not in options.buckets
            async with lock:
                if ref not in known:
                    try:
                        known[ref] = await live_of(ref, foreign=foreign)
                    except (AccessError, ConfigurationError, CorruptionError, FormatError):
                        known[ref] = None  # a manifest that cannot be read may refer to anything
                    except UnavailableError:
                        if not foreign:
                            raise
                        known[ref] = None  # the metadata of a value may name any bucket
            return known[ref]

        live = await live_of(ref)
        if live is None:
            return Collected(options.dry_run, None, Tally(), Tally(), Tally(), 0)
        buckets = Buckets(storage, environment, options.rate)
        also = sorted(options.buckets - {own})
        sweep = Sweep(buckets, live, others, progress, environment, also=also, dry_run=options.dry_run)
        await sweep.run()
        return Collected(
            dry_run=options.dry_run,
            since=datetime.fromtimestamp(live.retained.moment, timezone.utc),
            manifest=sweep.manifest.tally,
            runs=sweep.runs.tally,
            values=sweep.values.tally,
            foreign=sweep.foreign,
            skipped=tuple(sorted(sweep.skipped)),
        )
