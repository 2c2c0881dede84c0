"""What can be done about an answer that refuses: which of credentials, policies, quotas and addresses is to change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .request import S3Request
from .wording import READ, clean, printable, public_url

EXPIRED: Final = {
    "ExpiredToken",
    "ExpiredTokenException",
    "ExpiredTokenId",
    "RequestExpired",
    "TokenExpired",
    "TokenRefreshRequired",
}
UNKNOWN: Final = {
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
ACCOUNT: Final = {"AccountProblem", "AllAccessDisabled", "InvalidPayer", "NotSignedUp", "UserSuspended"}

_ACTION: Final = re.compile(
    r"not authorized to perform: ([\w-]{1,40}:[\w*]{1,80})(?: on resource: \"?([^\s\"]{1,1100}))?"
)
_POLICY: Final = re.compile(r"explicit deny in an? ([a-z][a-z -]{1,60}? policy|[a-z][a-z -]{1,60})")


def remedy(code: str, status: int, message: str, request: S3Request) -> str:
    """What to do about an answer that says no.

    Args:
        code: Its code, such as ``AccessDenied``.
        status: Its HTTP status.
        message: What else it says.
        request: What was asked.
    """
    message = message[:READ]
    lower = message.lower()
    if code in EXPIRED or ("expired" in lower and ("token" in lower or "credential" in lower or "session" in lower)):
        return "The credentials have expired: renew them"
    if over_quota(code, message):
        return "The quota is used up: have it raised, or delete what nobody needs"
    if code in ACCOUNT:
        return "The account itself is refused: ask whoever runs the store"
    if code == "ObjectLocked" or "object lock" in lower or "worm protected" in lower:
        return "Object lock keeps it until its retention is over"
    denied, resource = _named(message, request)
    if "explicit deny" in lower:
        policy = _POLICY.search(message)
        by = f" ({clean(policy[1])})" if policy else ""
        return f"A policy denies {denied} on {resource} explicitly{by}: change that policy, for no other can allow it"
    if code in UNKNOWN or _of_token(lower):
        return "The store does not know these credentials. Check the credentials"
    if status == 401:
        return "Whoever answers does not know who asks. Check the credentials"
    hint = ""
    if request.operation == "GetObject" and denied == request.action:
        hint = f"; and s3:ListBucket on arn:aws:s3:::{request.bucket}, without which S3 says this of absent objects too"
    return f"Allow {denied} on {resource}{hint}"


def over_quota(code: str, message: str) -> bool:
    """Whether an answer says that there is no room."""
    return (
        "quota" in code.lower()
        or code in {"InsufficientStorage", "StorageFull", "XMinioStorageFull", "storage_cap_exceeded"}
        or "cap exceeded" in message.lower()
        or "quota exceeded" in message.lower()
    )


def _of_token(message: str) -> bool:
    return "token" in message and any(word in message for word in ("invalid", "not valid", "malformed", "unknown"))


def _named(message: str, request: S3Request) -> tuple[str, str]:
    """The action and the resource that an answer names, which may be those of a key that encrypts."""
    found = _ACTION.search(message)
    if found is None or found[1] == request.action:
        return request.action, request.resource
    return found[1], clean(found[2]) if found[2] else "it"


def redirect_advice(said: str, headers: Mapping[str, Any], error: Mapping[str, Any], request: S3Request) -> str:
    """What to say of an answer that sends the client somewhere else, where it does not go.

    Args:
        said: What the answer says.
        headers: Its headers.
        error: What the SDK made of its body.
        request: What was asked.
    """
    region = printable(str(headers.get("x-amz-bucket-region") or error.get("Region") or ""))[:64]
    target = str(headers.get("location") or error.get("Endpoint") or "")
    to = f" to {public_url(target).partition('?')[0]}" if target else ""
    where = f'. The bucket is in region "{region}"' if region else ""
    return (
        f"{said}: the store sends the request{to or ' elsewhere'}, and redirects are not followed{where}. "
        f"Check region_name ({request.region or 'none'}) and endpoint_url ({request.endpoint or 'none'}) in s3_config"
    )


def too_large(said: str, request: S3Request) -> str:
    """What to say of an answer that something is too large."""
    if request.size is None:
        return f"{said}. The request is larger than the store, or what stands before it, takes"
    return (
        f"{said}. The object has {request.size:,} bytes, which is more than the store, or what stands before it, takes"
    )


def insecure(words: str) -> str:
    """What to say of a TLS connection that failed.

    Args:
        words: Why.
    """
    lower = words.lower()
    if any(word in lower for word in ("self-signed", "self signed", "issuer certificate", "first certificate")):
        return (
            f"no secure connection ({words}). If that certificate is to be trusted, name a file with it or with that "
            "of its authority: AWS_CA_BUNDLE in the environment, or verify in s3_config"
        )
    if "mismatch" in lower or "not valid for" in lower:
        return f"no secure connection ({words}). Check the host in endpoint_url"
    if "expired" in lower or "not yet valid" in lower:
        return f"no secure connection ({words}). Check the store's certificate, and this machine's clock"
    if "wrong version number" in lower or "record layer" in lower or "http request" in lower:
        return f"no secure connection ({words}). Check whether endpoint_url is to begin with http:// instead"
    return f"no secure connection ({words})"
