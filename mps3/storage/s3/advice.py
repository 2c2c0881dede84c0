"""Advice for the messages of errors: which credentials, policies, quotas or addresses to change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .redaction import MAX_INPUT, public_url, redact
from .request import S3Request

EXPIRED_CODES: Final = {
    "ExpiredToken",
    "ExpiredTokenException",
    "ExpiredTokenId",
    "RequestExpired",
    "TokenExpired",
    "TokenRefreshRequired",
}
UNKNOWN_CODES: Final = {
    "AuthFailure",
    "CredentialsNotSupported",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidCredentials",
    "InvalidIdentityToken",
    "InvalidSecurity",
    "InvalidToken",
    "InvalidTokenId",
    "MissingAuthenticationToken",
    "MissingSecurityHeader",
    "NoSuchAccessKey",
    "SignatureDoesNotMatch",
    "Unauthorized",
    "UnrecognizedClientException",
}
ACCOUNT_CODES: Final = {"AccountProblem", "AllAccessDisabled", "InvalidPayer", "NotSignedUp", "UserSuspended"}
KEYS_ARE_PATHS: Final = (
    "The store keeps objects in directories, so it cannot hold a key and another one below it, such as a and a/b, nor "
    "some keys at all: use another key"
)

_ACTION: Final = re.compile(
    r"not authorized to perform: ([\w-]{1,40}:[\w*]{1,80})(?: on resource: \"?([^\s\"]{1,1100}))?"
)
_POLICY: Final = re.compile(r"explicit deny in an? ([a-z][a-z -]{1,60}? policy|[a-z][a-z -]{1,60})")


def refusal_advice(code: str, status: int, message: str, request: S3Request) -> str:
    """Return what to do about a response that refuses a request."""
    message = message[:MAX_INPUT]
    lower = message.lower()
    if code in EXPIRED_CODES or (
        "expired" in lower and ("token" in lower or "credential" in lower or "session" in lower)
    ):
        return "The credentials have expired: renew them"
    if is_over_quota(code, message):
        return "The quota is used up: raise it, or delete what is not needed"
    if code in ACCOUNT_CODES:
        return "The account itself is refused: ask the operator of the store"
    if code == "ObjectLocked" or "object lock" in lower or "worm protected" in lower:
        return "Object lock protects it until its retention is over"
    denied, resource = _denied_action(message, request)
    if code.startswith("KMS.") and denied == request.action:
        return (
            "The bucket's encryption key refuses it. If it is enabled, allow kms:GenerateDataKey and kms:Decrypt on it"
        )
    if "explicit deny" in lower:
        policy = _POLICY.search(message)
        by = f" ({redact(policy[1])})" if policy else ""
        return f"A policy denies {denied} on {resource} explicitly{by}: change that policy, no other can allow it"
    if status == 401 or code in UNKNOWN_CODES or _is_about_token(lower):
        return "The store does not know these credentials. Check the credentials"
    hint = ""
    if request.operation == "GetObject" and denied == request.action:
        hint = f"; and s3:ListBucket on arn:aws:s3:::{request.bucket}, without which S3 says this of absent objects too"
    return f"Allow {denied} on {resource}{hint}"


def is_over_quota(code: str, message: str) -> bool:
    """Whether a response says that a quota is used up."""
    return (
        "quota" in code.lower()
        or code in {"InsufficientStorage", "StorageFull", "XMinioStorageFull", "storage_cap_exceeded"}
        or "cap exceeded" in message.lower()
        or "quota exceeded" in message.lower()
    )


def _is_about_token(message: str) -> bool:
    return "token" in message and any(word in message for word in ("invalid", "not valid", "malformed", "unknown"))


def _denied_action(message: str, request: S3Request) -> tuple[str, str]:
    """Return the action and the resource that a response names, which may be those of an encryption key."""
    found = _ACTION.search(message)
    if found is None or found[1] == request.action:
        return request.action, request.resource
    return found[1], redact(found[2]) if found[2] else "it"


def redirect_advice(said: str, headers: Mapping[str, Any], error: Mapping[str, Any], request: S3Request) -> str:
    """Return the message about a redirect, which the client does not follow."""
    region = redact(str(headers.get("x-amz-bucket-region") or error.get("Region") or ""))[:64]
    target = str(headers.get("location") or error.get("Endpoint") or "")
    to = f" to {public_url(target).partition('?')[0]}" if target else ""
    where = f'. The bucket is in region "{region}"' if region else ""
    return (
        f"{said}: the store sends the request{to or ' elsewhere'}, and redirects are not followed{where}. "
        f"Check region_name ({request.region or 'none'}) and endpoint_url ({request.endpoint or 'none'}) in s3_config"
    )


def too_large_advice(said: str, request: S3Request) -> str:
    """Return the message about a request that is too large."""
    if request.size is None:
        return f"{said}. The request is larger than the store, or a proxy before it, accepts"
    return f"{said}. The object has {request.size:,} bytes, which is more than the store, or a proxy before it, accepts"


def tls_advice(reason: str) -> str:
    """Return the message about a TLS connection that failed."""
    lower = reason.lower()
    advice = ""
    if any(word in lower for word in ("self-signed", "self signed", "issuer certificate", "first certificate")):
        advice = (
            ". To trust that certificate, name a file with it or with the certificate of its authority: AWS_CA_BUNDLE "
            "in the environment, or verify in s3_config"
        )
    elif "mismatch" in lower or "not valid for" in lower:
        advice = ". Check the host in endpoint_url"
    elif "expired" in lower or "not yet valid" in lower:
        advice = ". Check the store's certificate, and this machine's clock"
    elif "wrong version number" in lower or "record layer" in lower or "http request" in lower:
        advice = ". Check whether endpoint_url must begin with http:// instead"
    return f"no secure connection ({reason}){advice}"
