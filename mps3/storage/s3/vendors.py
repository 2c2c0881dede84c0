"""The vendors of S3-compatible services, and their default settings.

A default is here only if the vendor documents it, or if many users of the SDK reported the problem. Settings of the
user take precedence. The features of a vendor are not here, because the client detects them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

IF_NONE_MATCH: Final = "If-None-Match"
GENERATION: Final = "x-goog-if-generation-match"


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor.

    Attributes:
        name: Its name.
        host: A pattern of the hosts of its endpoints, without a bucket. A group ``region`` is the region that
            requests are signed for.
        addressing: The addressing style; ``None`` leaves it to the SDK.
        sdk_checksums: Whether the SDK may add its own checksums to requests, as it does since early 2025.
        region: The region that requests are signed for, if the host does not name it.
        headers: Additional headers of every request.
        create_header: The header of a PUT that creates an object only if there is none.
        limits: Notes for users of this library, one sentence each.
        versions: Whether its buckets support versioning. Only the advice of errors uses it.
        exclusive: Whether it promises that only one of several clients creates an object, so that nobody tries.
    """

    name: str
    host: str
    addressing: Literal["path", "virtual"] | None = "path"
    sdk_checksums: bool = False
    region: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    create_header: str = IF_NONE_MATCH
    limits: tuple[str, ...] = ()
    versions: bool = True
    exclusive: bool = False

    def region_of(self, endpoint_url: str) -> str | None:
        """Return the region to sign for, if the vendor requires one."""
        match = self.match(endpoint_url)
        return self.region if match is None else match.groupdict().get("region") or self.region

    def match(self, endpoint_url: str) -> re.Match[str] | None:
        """Match the host of an endpoint."""
        try:
            host = urlsplit(endpoint_url).hostname or ""
        except ValueError:
            return None  # the SDK raises a better error
        return re.search(rf"(?:^|\.){self.host}$", host)


AWS: Final = Vendor("AWS S3", r"amazonaws\.com(?:\.cn)?", addressing=None, sdk_checksums=True, exclusive=True)
S3_EXPRESS: Final = Vendor(
    "AWS S3 Express One Zone",
    r"s3express-[a-z0-9-]+\.[a-z0-9-]+\.amazonaws\.com",
    addressing=None,
    sdk_checksums=True,
    limits=("Directory buckets keep no versions.", "Listings are in no order."),
    versions=False,
    exclusive=True,
)
GENERIC: Final = Vendor("unknown", r"(?!)")
"""Path-style addressing without checksums of the SDK, which most servers support."""

_KNOWN: Final = (
    S3_EXPRESS,
    AWS,
    Vendor(
        "Cloudflare R2",
        r"r2\.cloudflarestorage\.com",
        region="auto",
        limits=(
            "R2 keeps no versions.",
            "About one write a second to each key, which does not limit the log journal.",
        ),
        versions=False,
        exclusive=True,
    ),
    Vendor(
        "Backblaze B2",
        r"s3\.(?P<region>[a-z0-9-]+)\.backblazeb2\.com",
        limits=(
            "B2 has no conditional writes: the bucket needs versioning, which new ones have.",
            "SHA-256 headers are refused; Content-MD5 takes their place after the first.",
        ),
    ),
    Vendor(
        "Google Cloud Storage",
        r"storage\.googleapis\.com",
        create_header=GENERATION,
        exclusive=True,
        limits=(
            "Create-if-absent has a header of Google's own, and is signed with Google's algorithm.",
            "About one write a second to each key, which limits the merge journal, but not the log journal.",
        ),
    ),
    Vendor(
        "DigitalOcean Spaces",
        r"[a-z0-9-]+\.digitaloceanspaces\.com",
        limits=(
            "Versioning is switched on through the API only.",
            "Requests are limited for each address, Space and object; see its page of limits.",
        ),
    ),
    Vendor(
        "Wasabi",
        r"s3\.(?:(?P<region>[a-z0-9-]+)\.)?wasabisys\.com",
        limits=("What is deleted is billed for a minimum time, and every commit is a version.",),
    ),
    Vendor(
        "Tigris",
        r"(?:fly\.storage\.tigris\.dev|t3\.storage\.dev)",
        addressing="virtual",
        region="auto",
        # Buckets of the default location are otherwise only eventually consistent between regions.
        headers={"X-Tigris-Consistent": "true"},
    ),
    Vendor("OVHcloud", r"s3\.(?P<region>[a-z0-9-]+)\.(?:io|perf)\.cloud\.ovh\.(?:net|us)"),
    Vendor("Scaleway", r"s3\.(?P<region>[a-z0-9-]+)\.scw\.cloud"),
)


def vendor_of(endpoint_url: str | None) -> Vendor:
    """Return the vendor of an endpoint. ``None`` is the SDK's default, AWS."""
    if endpoint_url is None:
        return AWS
    return next((vendor for vendor in _KNOWN if vendor.match(endpoint_url)), GENERIC)
