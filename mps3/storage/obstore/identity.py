"""The identity of the store of a service. It does not import obstore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..s3.identity import normalize_endpoint
from .provider import Provider


def obstore_identity(provider: Provider, config: Mapping[str, Any]) -> str:
    """Return the scheme and the normalized address, without credentials; on Azure the account is in the address."""
    address = provider.address(config)
    return f"{provider.scheme} {normalize_endpoint(address) if address else 'unknown'}"
