"""A check of the certificate files. The SDK reads them at the first request, and its error does not name the file."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from ...errors import ConfigurationError


def check_certificates(session: Any, options: Mapping[str, Any]) -> None:
    """Read the certificate files of a client. It blocks.

    Raises:
        ConfigurationError: A file cannot be read. The error names the file and its setting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in _bundles(session, options):
        try:
            context.load_verify_locations(path)
        except (OSError, ValueError, TypeError) as error:
            raise _unreadable(path, name, error) from error
    given = getattr(options.get("config"), "client_cert", None)
    if given:
        files = (given,) if isinstance(given, str) else given
        try:
            context.load_cert_chain(*files)
        except (OSError, ValueError, TypeError) as error:
            raise _unreadable(" and ".join(map(str, files)), "client_cert", error) from error


def _bundles(session: Any, options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings and paths of CA bundles, in the SDK's order of precedence."""
    verify = options.get("verify")
    if verify is not None:
        return [] if isinstance(verify, bool) else [("verify in s3_config", verify)]
    configured = session.get_config_variable("ca_bundle")
    if configured is not None:
        return [("AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "ca_bundle in the profile", configured)]
    requests = os.environ.get("REQUESTS_CA_BUNDLE")
    return [("REQUESTS_CA_BUNDLE", requests)] if requests else []


def _unreadable(path: object, name: str, error: Exception) -> ConfigurationError:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError):
        why = "it holds no certificate in PEM format"
    return ConfigurationError(f"the certificates in {str(path)!r} ({name}) cannot be read: {why}")
