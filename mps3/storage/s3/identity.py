"""The identity of the store of an S3 configuration. It loads the SDK only if the endpoint is not given."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_AWS: Final = re.compile(r"(?:.*\.)?s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?\Z")
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = "127.0.0.1"


def s3_identity(s3_config: Mapping[str, Any]) -> str:
    """Return the normalized endpoint, without credentials.

    Raises:
        MPS3Error: The configuration cannot be read.
    """
    endpoint, region = s3_config.get("endpoint_url"), s3_config.get("region_name")
    if not endpoint:
        from .client import configured_endpoint  # noqa: PLC0415 - imports the SDK, which reads its profiles
        from .errors import setup_error  # noqa: PLC0415

        try:
            endpoint, region = configured_endpoint(s3_config)
        except Exception as error:
            raise setup_error(error) from error
    return f"s3 {normalize_endpoint(str(endpoint)) if endpoint else _aws_partition(str(region or ''))}"


def normalize_endpoint(endpoint: str) -> str:
    """Return an endpoint as ``host``, ``host:port`` or ``host/path``.

    The scheme and its default port are dropped, because a server is the same with and without encryption.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        port = parts.port
    except ValueError:
        port = None
    host = _normalize_host(parts.hostname or "")
    if match := _AWS.match(host):
        return _aws_partition(_region_in(host), china=match[1] is not None)
    path = "/".join(piece for piece in unquote(parts.path).split("/") if piece)
    shown = host if port in (None, _PORTS.get(parts.scheme.lower())) else f"{host}:{port}"
    return f"{shown}/{path}" if path else shown


def _normalize_host(host: str) -> str:
    host = host.lower().rstrip(".")
    if host == "localhost":
        return _LOOPBACK
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if address == ipaddress.IPv6Address(1):
            return _LOOPBACK
        return f"[{address}]" if address.version == 6 else str(address)
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _aws_partition(region: str, *, china: bool = False) -> str:
    """Return the endpoint of a partition of AWS, in which the names of buckets are unique in all regions."""
    if china or region.startswith("cn-"):
        return "s3.amazonaws.com.cn"
    match = re.match(r"(us-gov|us-iso[a-z]*|eu-isoe|eusc)-", region)
    return f"s3.{match[1]}.amazonaws.com" if match else "s3.amazonaws.com"


def _region_in(host: str) -> str:
    match = re.search(r"[.-](us-gov-[a-z0-9-]+)", host)
    return match[1] if match else ""
