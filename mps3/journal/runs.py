"""Where settled files go when there are too many for the document: immutable segments."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Final

from ..document import Files, RunReference
from ..errors import CorruptionError
from ..state import Run, decode_run, encode_run
from ..storage import Object, Storage

SUFFIX: Final = ".runs/"
SPILL: Final = 64 * 2**10
"""Settled files of more bytes than this go into a run."""


class Runs:
    """The runs of one manifest: each is stored once, fetched once, and verified when read.

    Args:
        storage: Where they are kept.
        bucket: The manifest's bucket.
        manifest: The manifest's key.
    """

    def __init__(self, storage: Storage, bucket: str, manifest: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._prefix = manifest + SUFFIX
        self._held: dict[str, Run] = {}

    async def load(self, references: Iterable[RunReference]) -> tuple[Run, ...]:
        """The runs that a document names; those not held yet are fetched at once. Others are let go."""
        references = tuple(references)
        missing = {reference.sha256: reference for reference in references if reference.sha256 not in self._held}
        fetched = await asyncio.gather(*(self._fetch(reference) for reference in missing.values()))
        held = {**self._held, **{run.reference.sha256: run for run in fetched}}
        self._held = {reference.sha256: held[reference.sha256] for reference in references}
        return tuple(self._held[reference.sha256] for reference in references)

    async def save(self, files: Files) -> Run:
        """Store ``files`` as a run. Whoever saves the same writes the same object."""
        body = encode_run(files)
        digest = hashlib.sha256(body)
        name = digest.hexdigest()
        if name in self._held:
            return self._held[name]
        reference = RunReference(self._prefix + name, name, len(files), len(body))
        await self._storage.put(self._bucket, reference.key, body, sha256=digest.digest())
        run = Run(reference, dict(files))
        self._held[name] = run
        return run

    async def _fetch(self, reference: RunReference) -> Run:
        if not reference.key.startswith(self._prefix):
            raise self._corrupt(reference, "it is not among the runs of its manifest")
        found = await self._storage.get(self._bucket, reference.key, limit=reference.size)
        if not isinstance(found, Object):
            raise self._corrupt(reference, "it is missing")
        if hashlib.sha256(found.body).hexdigest() != reference.sha256:
            raise self._corrupt(reference, "its content does not have the SHA-256 that the manifest names")
        try:
            return Run(reference, decode_run(found.body))
        except ValueError as error:
            raise self._corrupt(reference, f"it is malformed: {error}") from error

    def _corrupt(self, reference: RunReference, why: str) -> CorruptionError:
        return CorruptionError(
            f"cannot read the run s3://{self._bucket}/{reference.key}: {why}",
            bucket=self._bucket,
            key=reference.key,
            operation="GetObject",
        )
