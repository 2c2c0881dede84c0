"""The services: what they are called, which settings they have, and what names of metadata they take."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_HYPHENS: Final = str.maketrans("-_", "_-")
_ETAG: Final = re.compile(r'"0x[0-9A-Fa-f]{1,20}"\Z')
_TICKS: Final = re.compile(r'"?0x([0-9A-Fa-f]{15,16})"?\Z')
_EPOCH: Final = 621_355_968_000_000_000  # ticks of a tenth of a microsecond, from year 1 to 1970


@dataclass(frozen=True)
class Provider:
    """A service.

    Attributes:
        scheme: The scheme of its URLs.
        name: What it is called.
        container: What it calls a bucket.
        endpoint: The names of the setting with its address; the first one is obstore's own.
        permissions: The permission that an operation needs.
        identifiers: Whether names of metadata are identifiers, so that they have no hyphens.
        in_url: The settings that a URL may have: none is a secret.
    """

    scheme: str
    name: str
    container: str
    endpoint: tuple[str, ...] = ()
    permissions: Mapping[str, str] = field(default_factory=dict)
    identifiers: bool = False
    in_url: tuple[str, ...] = ()

    def address(self, config: Mapping[str, Any]) -> str | None:
        """Return the address of the service, from the settings and the environment."""
        if self.scheme == "gs":
            return setting(config, *self.endpoint) or "https://storage.googleapis.com"
        if self.scheme != "az":
            return None
        account = setting(config, "account_name", "azure_storage_account_name")
        if is_true(setting(config, "use_emulator", "azure_storage_use_emulator")):
            emulator = os.environ.get("AZURITE_BLOB_STORAGE_URL", "http://127.0.0.1:10000")
            return f"{emulator.rstrip('/')}/{account or 'devstoreaccount1'}"
        fabric = is_true(setting(config, "use_fabric_endpoint", "azure_use_fabric_endpoint"))
        domain = "fabric.microsoft.com" if fabric else "core.windows.net"
        return setting(config, *self.endpoint) or (f"https://{account}.blob.{domain}" if account else None)

    def has_answered(self, etag: str | None, version: str | None) -> bool:
        """Whether an answer has the identifiers that the service gives to each object.

        obstore follows redirects, and takes any page with an ETag for an object, or for the answer to a PUT.
        """
        if self.scheme == "gs":
            return version is not None and version.isascii() and version.isdigit()
        return self.scheme != "az" or _ETAG.match(etag or "") is not None

    def stamp(self, etag: str | None, version: str | None) -> float | None:
        """Return the time that the identifiers of a new object seem to have, in seconds since 1970.

        Google's generations count microseconds, and Azure's ETags ticks. Neither is documented, so the caller compares
        it with the store's time.
        """
        if self.scheme == "gs" and version is not None and version.isascii() and version.isdigit():
            return int(version[:20]) / 1e6
        ticks = _TICKS.match(etag or "") if self.scheme == "az" else None
        return None if ticks is None else (int(ticks[1], 16) - _EPOCH) / 1e7

    def metadata_name(self, name: str) -> str:
        """Return the name of metadata as the service has it, or from there back."""
        return name.translate(_HYPHENS) if self.identifiers else name


def setting(config: Mapping[str, Any], *names: str) -> str | None:
    """Return a setting by any of its names, from ``config`` or, in capitals, from the environment."""
    given = {name.lower(): value for name, value in config.items()}
    found = next((given[name] for name in names if given.get(name)), None)
    found = found or next((os.environ[name.upper()] for name in names if os.environ.get(name.upper())), None)
    return None if found is None else str(found)


def is_true(value: str | None) -> bool:
    """Whether a setting is on, as obstore reads it."""
    return value is not None and value.lower() in {"1", "true", "on", "yes", "y"}


GOOGLE: Final = Provider(
    scheme="gs",
    name="Google Cloud Storage",
    container="bucket",
    endpoint=("base_url", "google_base_url"),
    permissions={
        "GetObject": "storage.objects.get, and storage.objects.list, without which an absent object is refused",
        "HeadObject": "storage.objects.get",
        "PutObject": "storage.objects.create, and storage.objects.delete to replace an object",
        "DeleteObject": "storage.objects.delete",
        "ListObjectsV2": "storage.objects.list",
    },
    in_url=("endpoint_url", "service_account", "application_credentials", "skip_signature"),
)

AZURE: Final = Provider(
    scheme="az",
    name="Azure Blob Storage",
    container="container",
    endpoint=("endpoint", "azure_storage_endpoint", "azure_endpoint"),
    permissions=dict.fromkeys(("GetObject", "HeadObject", "ListObjectsV2"), "Storage Blob Data Reader")
    | dict.fromkeys(("PutObject", "DeleteObject"), "Storage Blob Data Contributor"),
    identifiers=True,
    in_url=(
        "endpoint_url",
        "account_name",
        "tenant_id",
        "client_id",
        "authority_host",
        "credential_type",
        "federated_token_file",
        "object_id",
        "use_azure_cli",
        "use_emulator",
        "use_fabric_endpoint",
        "skip_signature",
    ),
)

PROVIDERS: Final = {provider.scheme: provider for provider in (GOOGLE, AZURE)}
