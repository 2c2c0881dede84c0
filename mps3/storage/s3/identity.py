"""Which store an S3 configuration names, however its endpoint is spelled. Loads the SDK only if it has to."""

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
    """Which store it is: its endpoint without what may be spelled in several ways, and without credentials.

    Args:
        s3_config: Keyword arguments of ``create_client("s3")``, and ``profile_name``.

    Raises:
        MPS3Error: The configuration cannot be read.
    """
    endpoint, region = s3_config.get("endpoint_url"), s3_config.get("region_name")
    if not endpoint:
        from .client import configured  # noqa: PLC0415 - the SDK, which alone knows its profiles
        from .errors import setup_error  # noqa: PLC0415

        try:
            endpoint, region = configured(s3_config)
        except Exception as error:
            raise setup_error(error) from error
    return f"s3 {normalize_endpoint(str(endpoint)) if endpoint else _aws(str(region or ''))}"


def normalize_endpoint(endpoint: str) -> str:
    """An endpoint in one spelling: ``host``, ``host:port`` or ``host/path``.

    The scheme does not count, nor does the port that goes with it: a server is the same with and without encryption.

    Args:
        endpoint: A URL.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        port = parts.port
    except ValueError:
        port = None
    host = _normal_host(parts.hostname or "")
    if match := _AWS.match(host):
        return _aws(_region_in(host), china=match[1] is not None)
    path = "/".join(piece for piece in unquote(parts.path).split("/") if piece)
    shown = host if port in (None, _PORTS.get(parts.scheme.lower())) else f"{host}:{port}"
    return f"{shown}/{path}" if path else shown


def _normal_host(host: str) -> str:
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


def _aws(region: str, *, china: bool = False) -> str:
    """The names of buckets are unique in a partition of AWS, whatever the region."""
    if china or region.startswith("cn-"):
        return "s3.amazonaws.com.cn"
    match = re.match(r"(us-gov|us-iso[a-z]*|eu-isoe|eusc)-", region)
    return f"s3.{match[1]}.amazonaws.com" if match else "s3.amazonaws.com"


def _region_in(host: str) -> str:
    match = re.search(r"[.-](us-gov-[a-z0-9-]+)", host)
    return match[1] if match else ""
