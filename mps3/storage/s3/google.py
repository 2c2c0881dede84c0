"""Create-if-absent on Google Cloud Storage, which has a header of its own for it.

Google ignores ``If-None-Match: *`` of a PUT. It refuses its own header beside any header ``x-amz-…``, and a signature
of AWS is made with such headers. So a PUT with a condition has only headers of Google, and is signed with Google's
algorithm, which is that of AWS with other names. The key, an HMAC key, is the same. All other requests are those of S3.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from botocore import UNSIGNED
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.exceptions import NoCredentialsError

from .vendors import GENERATION

_SIGNER: Final = "mps3-goog4"
_MARK: Final = "mps3_goog4"
_ALGORITHM: Final = "GOOG4-HMAC-SHA256"
_METADATA: Final = "x-amz-meta-"


class GoogleV4Auth(S3SigV4Auth):  # type: ignore[misc, unused-ignore]
    """The signer of the SDK for ``GOOG4-HMAC-SHA256``."""

    def add_auth(self, request: Any) -> None:
        """Sign a request.

        Raises:
            NoCredentialsError: There is no key.
        """
        if self.credentials is None:
            raise NoCredentialsError
        time, payload = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), self.payload(request)
        for name, value in (("x-goog-date", time), ("x-goog-content-sha256", payload)):
            del request.headers[name]
            request.headers[name] = value
        signed = self.headers_to_sign(request)
        names = self.signed_headers(signed)
        canonical = "\n".join(
            (
                request.method.upper(),
                urlsplit(request.url).path,
                self.canonical_query_string(request),
                self.canonical_headers(signed) + "\n",
                names,
                payload,
            )
        )
        scope = (time[:8], "auto", "storage", "goog4_request")
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"GOOG4{self.credentials.secret_key}".encode()
        for part in (*scope, "\n".join((_ALGORITHM, time, "/".join(scope), digest))):
            key = hmac.digest(key, part.encode(), "sha256")
        credential = "/".join((self.credentials.access_key, *scope))
        del request.headers["Authorization"]
        request.headers["Authorization"] = (
            f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
        )

    def headers_to_sign(self, request: Any) -> Any:
        """Return the headers that Google requires to be signed. An intermediary may change the others."""
        headers = super().headers_to_sign(request)
        for name in {*headers.keys()}:
            if not name.startswith(("host", "content-", "x-goog-")):
                del headers[name]
        return headers


def register(events: Any) -> None:
    """Have the conditions of a client's requests sent as Google understands them."""
    AUTH_TYPE_MAPS[_SIGNER] = GoogleV4Auth
    events.register_last("before-call.s3.PutObject", _translate)
    events.register("choose-signer.s3.PutObject", _choose_signer)


def _translate(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    headers = params["headers"]
    if headers.pop("If-None-Match", None) is None:
        return
    for name, value in list(headers.items()):
        if name.lower().startswith("x-amz-"):
            del headers[name]
            if name.lower().startswith(_METADATA):
                headers[f"x-goog-meta-{name[len(_METADATA) :]}"] = value
    headers[GENERATION] = "0"
    context[_MARK] = True
    context.pop("checksum", None)  # the SDK would add its own, in a header of AWS


def _choose_signer(signature_version: Any, context: dict[str, Any], **_: Any) -> str | None:
    unsigned = signature_version is UNSIGNED or context.get("auth_type") == "none"
    return _SIGNER if _MARK in context and not unsigned else None
