"""The comparison of what the doctor finds with what is known of the store. Pure, except for reading the records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ..storage.protocol import Capabilities
from .findings import Comparison, Difference, Finding
from .known.records import BucketKind, KnownStore, known_stores

# What depends on the store, and not on permissions, the network, or a manifest that is there already.
_COMPARED: Final = (
    "ETags",
    "polling",
    "describing",
    "listing in pages",
    "checksums",
    "keys",
    "long keys",
    "keys below keys",
    "listing beside longer keys",
)

_ENFORCED: Final = {True: "the store enforces it", False: "the store does not enforce it"}
_WENT: Final = {True: "it works", False: "it fails", None: "it works only in part, or not at all"}

_ADVICE: Final = (
    "A client uses what it finds. Another version of the store, or a proxy before it, may be the reason: compare the "
    "versions, and run the doctor without the proxy."
)
_ADVICE_IF_WORSE: Final = (
    "The store does less than is known of it. Find out why before you rely on this bucket: another version, or a proxy "
    "before it? Clients that reach the store another way may find something else."
)


@dataclass(slots=True)
class Observed:
    """What the doctor has found of the store itself, for as far as it has come.

    Attributes:
        capabilities: What the store says of versioning.
        creates: Whether it enforces create-if-absent; ``None`` if that could not be tried.
    """

    capabilities: Capabilities | None = None
    creates: bool | None = None

    @property
    def kind(self) -> BucketKind | None:
        """The kind of the bucket; ``None`` if it is of neither kind, because versioning is suspended."""
        versioning = None if self.capabilities is None else self.capabilities.versioning
        return "plain" if versioning == "off" else "versioned" if versioning == "enabled" else None


async def compare(
    vendor: str, headers: Mapping[str, str], observed: Observed, findings: Iterable[Finding]
) -> Comparison:
    """Recognise the store, and compare it with what is known of it.

    Args:
        vendor: The name of the vendor, as far as the endpoint tells.
        headers: What the server says of itself.
        observed: What the doctor has found of the store.
        findings: The results of its checks.
    """
    return compare_with(await asyncio.to_thread(known_stores), vendor, headers, observed, findings)


def compare_with(
    stores: Iterable[KnownStore],
    vendor: str,
    headers: Mapping[str, str],
    observed: Observed,
    findings: Iterable[Finding],
) -> Comparison:
    """As `compare`, with these records."""
    store, by = _recognise(tuple(stores), vendor, headers)
    if store is None:
        return Comparison(headers=dict(headers))
    differences = list(_differences(store, observed, findings))
    tried = store.tried
    return Comparison(
        store=store.name,
        recognised_by=by,
        tried_version=None if tried is None else tried.version,
        tried_date=None if tried is None else tried.date,
        command=None if tried is None else tried.command,
        source=store.source if tried is None else "",
        notes=store.notes,
        headers=dict(headers),
        differences=differences,
        advice="" if not differences else _ADVICE_IF_WORSE if any(one.worse for one in differences) else _ADVICE,
    )


def _recognise(
    stores: tuple[KnownStore, ...], vendor: str, headers: Mapping[str, str]
) -> tuple[KnownStore | None, str | None]:
    """Return the store, and how it was recognised. The host of an endpoint is harder to imitate than a header."""
    for store in stores:
        if store.vendor is not None and store.vendor == vendor:
            return store, "endpoint"
    matching = [(count, store) for store in stores if (count := store.recognised_by(headers))]
    if not matching:
        return None, None
    return max(matching, key=lambda found: found[0])[1], "responses"


def _differences(store: KnownStore, observed: Observed, findings: Iterable[Finding]) -> Iterable[Difference]:
    capabilities, kind = observed.capabilities, observed.kind
    if capabilities is not None:
        if store.versioning is False and capabilities.versioning != "off":
            yield Difference("versioning", "buckets keep no versions", capabilities.versioning, worse=False)
        if store.versioning is True and not capabilities.versionable:
            yield Difference("versioning", "buckets can keep versions", "the store says that they cannot", worse=True)
    if kind is None:
        return
    known = store.creates(kind)
    if known is not None and observed.creates is not None and known != observed.creates:
        found = observed.creates
        yield Difference("create-if-absent", _ENFORCED[known], _ENFORCED[found], worse=not found)
    tried = None if store.tried is None else store.tried.buckets.get(kind)
    if tried is None:
        return
    for finding in findings:
        before = tried.findings.get(finding.what)
        # What fails here may lack a permission, and is reported anyway.
        if finding.what in _COMPARED and finding.what in tried.findings and finding.good not in (before, False):
            yield Difference(finding.what, _WENT[before], finding.result, worse=before is True)
