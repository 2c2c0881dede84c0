"""The classification of failures: each error of the SDK becomes an error of `mps3.errors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from ...errors import AccessError, ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ..failure import Failure, MalformedResponseError
from ..protocol import KeyRefusedError
from .advice import (
    ACCOUNT_CODES,
    EXPIRED_CODES,
    KEYS_ARE_PATHS,
    UNKNOWN_CODES,
    is_over_quota,
    redirect_advice,
    refusal_advice,
    tls_advice,
    too_large_advice,
)
from .redaction import error_text, redact
from .request import S3Request
from .responses import why_not_s3

_THROTTLED: Final = {
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
}
_REFUSED: Final = {
    "AccessDenied",
    "Forbidden",
    "UnauthorizedAccess",
    *ACCOUNT_CODES,
    *EXPIRED_CODES,
    *UNKNOWN_CODES,
}
_SKEWED: Final = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_DAMAGED: Final = {"BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"}
_IN_PROGRESS: Final = {"ConditionalRequestConflict", "OperationAborted"}
_ELSEWHERE: Final = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "Redirect",
    "TemporaryRedirect",
}
_MALFORMED: Final = {400, 405, 411, 414, 415, 421, 426, 431, 501, 505}
_NO_PLACE: Final = {
    # of Versity S3 Gateway, SeaweedFS and MinIO
    "DirectoryObjectContainsData",
    "ExistingObjectIsDirectory",
    "ExistingObjectIsFile",
    "ObjectParentIsFile",
    "XMinioInvalidObjectName",
    "XMinioInvalidResourceName",
    "XMinioParentIsObject",
}
# A request whose signature is wrong, with the session token in it.
_REPEATED: Final = ("CanonicalRequest", "CanonicalRequestBytes", "StringToSign", "StringToSignBytes")
_TOO_LARGE: Final = {"EntityTooLarge", "MaxMessageLengthExceeded", "RequestEntityTooLarge"}

_CREDENTIALS: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.NoAuthTokenError,
    sdk.TokenRetrievalError,
    sdk.RefreshWithMFAUnsupportedError,
    sdk.SSOError,
)
_NETWORK: Final = (sdk.HTTPClientError, sdk.MetadataRetrievalError, aiohttp.ClientError, OSError, TimeoutError)
_MALFORMED_RESPONSE: Final = (
    sdk.IncompleteReadError,
    sdk.ChecksumError,
    sdk.FlexibleChecksumError,
    ResponseParserError,
    MalformedResponseError,
)


def classify_error(error: Exception, request: S3Request) -> Failure:
    """Classify an error that the SDK raised for a request. Remove from it what a store repeats of the request."""
    if isinstance(error, sdk.ClientError):
        for name in _REPEATED:
            error.response.get("Error", {}).pop(name, None)
        if error.operation_name != request.operation:
            return _classify_credentials(error, request)
        return _classify_response(error, request)
    if isinstance(error, _CREDENTIALS):
        why = f"no usable credentials ({error_text(error)}). Check the credentials"
        return request.failure(AccessError, why, no_effect=True)
    if isinstance(error, _MALFORMED_RESPONSE):
        return _classify_malformed(error, request)
    if isinstance(error, (sdk.ConnectionError, *_NETWORK)):
        return _classify_network(error, request)
    if isinstance(error, (sdk.BotoCoreError, ValueError, TypeError)):
        return request.failure(ConfigurationError, error_text(error), no_effect=True)
    return request.failure(UnavailableError, f"{type(error).__name__} in the SDK")


def is_malformed(error: Exception) -> bool:
    """Whether a response was damaged in transit, or is not one of the store."""
    return isinstance(error, _MALFORMED_RESPONSE)


def is_unreadable(error: Exception) -> bool:
    """Whether the SDK could not read what a server sent as a response of HTTP."""
    inner = getattr(error, "kwargs", {}).get("error")
    return isinstance(error, sdk.HTTPClientError) and (
        isinstance(inner, aiohttp.ClientResponseError) or type(inner).__name__ == "RemoteProtocolError"  # httpx
    )


def code_of(error: sdk.ClientError) -> str:
    """Return the error code of a response, such as ``NoSuchKey``; its status if it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: sdk.ClientError) -> int:
    """Return the HTTP status of a response."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_absent(error: sdk.ClientError, request: S3Request) -> bool:
    """Whether a response says that the object or version does not exist, and not that the bucket does not."""
    if why_not_s3(error.response) is not None:
        return False  # the response is not one of the store
    code, status = code_of(error), status_of(error)
    if code in {"NoSuchKey", "NoSuchVersion"} or (status == 404 and code != "NoSuchBucket"):
        return True
    if request.version is None:
        return False
    # The version is a delete marker, or an invalid version id.
    argument = str(error.response.get("Error", {}).get("ArgumentName", "")).lower()
    return status == 405 or (code == "InvalidArgument" and argument == "versionid")


def is_unchanged(error: sdk.ClientError) -> bool:
    """Whether a response to a read with If-None-Match says that the object still has the ETag.

    S3Proxy before Azure answers 412, as to a write.
    """
    return status_of(error) == 304 or (status_of(error) == 412 and code_of(error) == "PreconditionFailed")


def is_behind_end(error: sdk.ClientError) -> bool:
    """Whether a response says that the object ends before the part that was asked for."""
    return status_of(error) == 416 and why_not_s3(error.response) is None


def is_unsigned(error: sdk.ClientError) -> bool:
    """Whether a response has a status but no error code of S3. Any intermediary may have sent it."""
    return code_of(error) in {"", "Unknown", str(status_of(error))}


def refuses_checksum(error: sdk.ClientError) -> bool:
    """Whether a store refuses the header with the checksum."""
    if status_of(error) == 501:
        return True
    said = str(error.response.get("Error", {})).lower()
    return code_of(error) in {"InvalidRequest", "InvalidArgument"} and ("checksum" in said or "md5" in said)


def demands_checksum(error: sdk.ClientError) -> bool:
    """Whether a store requires a checksum, or Content-MD5, as with object lock."""
    if status_of(error) not in {400, 403, 411, 412, 422}:
        return False
    code, message = code_of(error), _message(error).lower()
    if code in {"MissingContentMD5", "MissingDigest"}:
        return True
    named = "content-md5" in message or "x-amz-checksum" in message or "x-amz-sdk-checksum" in message
    return named and any(word in message for word in ("required", "missing", "must", "need"))


def _classify_response(error: sdk.ClientError, request: S3Request) -> Failure:
    status = status_of(error)
    failure = _classify_status(error, request)
    if 300 <= status < 500 and status != 408 and code_of(error) != "RequestTimeout":
        return replace(failure, no_effect=True)  # a refused request has no effect
    return failure


def _classify_status(error: sdk.ClientError, request: S3Request) -> Failure:
    code, status = code_of(error), status_of(error)
    said, message = _summary(error), _message(error)
    if why_not_s3(error.response) is not None:
        return _classify_intermediary(error, request)
    if code == "NoSuchBucket":
        return request.failure(ConfigurationError, f'there is no bucket "{request.bucket}". Create it first')
    if code in _SKEWED:
        return request.failure(AccessError, f"{said}. Set this machine's clock")
    if code in _ELSEWHERE or 300 <= status < 400 or (status == 400 and _is_of_another_region(error, request)):
        return _redirected(said, error, request)
    if code in _NO_PLACE:
        return request.failure(KeyRefusedError, f"{said}. {KEYS_ARE_PATHS}", no_effect=True)
    if request.conditional and (status in {409, 412} or code in _IN_PROGRESS):
        return request.failure(ConflictError, f"the condition did not hold ({said})")
    if status == 429 or (code in _THROTTLED and status in {400, 503}):
        why = f"the store asks to slow down ({said})"
        return request.failure(UnavailableError, why, transient=True, no_effect=True)
    if code in _IN_PROGRESS:
        return request.failure(UnavailableError, said, transient=True, no_effect=True)
    if code in _DAMAGED:
        return request.failure(UnavailableError, f"damaged in transit ({said})", transient=True, no_effect=True)
    if code == "InvalidObjectState":
        return request.failure(ConfigurationError, f"{said}. The object is archived: restore it first")
    if status == 413 or code in _TOO_LARGE:
        return request.failure(ConfigurationError, too_large_advice(said, request))
    if demands_checksum(error):
        why = f"{said}. The bucket takes an object only with a checksum, as with object lock, and refused those sent"
        return request.failure(ConfigurationError, why)
    if code in _REFUSED or status in {401, 403}:
        return request.failure(AccessError, f"{said}. {refusal_advice(code, status, message, request)}")
    if is_over_quota(code, message):
        kind = UnavailableError if status >= 500 else ConfigurationError
        why = f"{said}. {refusal_advice(code, status, message, request)}"
        return request.failure(kind, why, transient=status >= 500)
    if status == 501 or code == "NotImplemented":
        return request.failure(ConfigurationError, f"the store cannot do this ({said})", no_effect=True)
    if status >= 500 or status == 408 or code == "RequestTimeout" or status < 300:
        return request.failure(UnavailableError, said, transient=True)
    return request.failure(ConfigurationError, said)


def _classify_intermediary(error: sdk.ClientError, request: S3Request) -> Failure:
    """Classify an error that comes from an intermediary, not from the store."""
    status, why = status_of(error), why_not_s3(error.response)
    if 300 <= status < 400:
        return _redirected(f"status {status}", error, request)
    if status in {401, 403, 407, 451}:
        hint = "An intermediary before the store refuses the request. Check the credentials, and endpoint_url"
        return request.failure(AccessError, f"{status}: {why}. {hint}")
    if status == 413:
        return request.failure(ConfigurationError, too_large_advice(f"{status}: {why}", request))
    said = f"{status}: {why}. Check endpoint_url"
    if status in _MALFORMED:
        return request.failure(ConfigurationError, said)
    if status >= 500:
        said += _unknown_effect(request)
    return request.failure(UnavailableError, said, transient=True)


def _redirected(said: str, error: sdk.ClientError, request: S3Request) -> Failure:
    """Classify a redirect, which the client does not follow.

    On first contact, the settings are wrong. Once the store has answered for the bucket, the settings are right, and
    the redirect most likely comes from a captive portal, so it is temporary.
    """
    why = redirect_advice(said, _headers(error), _error(error), request)
    if request.reached and 300 <= status_of(error) < 400:
        return request.failure(UnavailableError, why, transient=True)
    return request.failure(ConfigurationError, why)


def _classify_credentials(error: sdk.ClientError, request: S3Request) -> Failure:
    """Classify an error of the service that provides the credentials. The store has received nothing."""
    said = f"{redact(error.operation_name)}: {_summary(error)}"
    if status_of(error) >= 500 or status_of(error) == 429 or code_of(error) in _THROTTLED:
        why = f"no credentials at the moment ({said})"
        return request.failure(UnavailableError, why, transient=True, no_effect=True)
    return request.failure(AccessError, f"no usable credentials ({said}). Check the credentials", no_effect=True)


def _classify_malformed(error: Exception, request: S3Request) -> Failure:
    """Classify a response that is incomplete or not of S3, although its status is a success."""
    # The parser's message repeats the whole body.
    why = "it is not XML of S3" if isinstance(error, ResponseParserError) else error_text(error)
    why = f"the response was damaged: {why}{_unknown_effect(request)}"
    return request.failure(UnavailableError, why, transient=True)


def _unknown_effect(request: S3Request) -> str:
    return ". It is unknown whether it took effect" if request.writes else ""


def _classify_network(error: Exception, request: S3Request) -> Failure:
    inner = getattr(error, "kwargs", {}).get("error", error)
    if isinstance(inner, MalformedResponseError):
        return _classify_malformed(inner, request)
    if isinstance(error, sdk.SSLError):
        return request.failure(UnavailableError, tls_advice(error_text(inner)), no_effect=True)
    if isinstance(inner, ValueError):
        return request.failure(ConfigurationError, error_text(inner), no_effect=True)
    why = f"{type(error).__name__} ({error_text(inner)})" if inner is not error else error_text(error)
    return request.failure(UnavailableError, why, transient=True, no_effect=_never_sent(error, inner))


def _never_sent(error: Exception, inner: object) -> bool:
    """Whether no connection was made, so that the store has received nothing."""
    # The SDK also raises a connection error when an existing connection breaks.
    return (
        isinstance(inner, aiohttp.ClientConnectorError)
        or (isinstance(error, sdk.ConnectTimeoutError) and isinstance(inner, aiohttp.ClientError))
        or type(inner).__name__ in {"ConnectError", "ConnectTimeout", "PoolTimeout"}  # httpx
    )


def _error(error: sdk.ClientError) -> Mapping[str, Any]:
    found: Mapping[str, Any] = error.response.get("Error") or {}
    return found


def _headers(error: sdk.ClientError) -> Mapping[str, Any]:
    found: Mapping[str, Any] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
    return found


def _is_of_another_region(error: sdk.ClientError, request: S3Request) -> bool:
    """Whether the response to a HEAD, which has no body, names another region."""
    region = _headers(error).get("x-amz-bucket-region")
    return request.operation == "HeadObject" and bool(region) and region != request.region


def _message(error: sdk.ClientError) -> str:
    return str(_error(error).get("Message") or "")


def _summary(error: sdk.ClientError) -> str:
    status, code, message = str(status_of(error)), redact(code_of(error)), redact(_message(error))
    return (status if code in {"", status} else f"{status} {code}") + (f": {message}" if message else "")


def setup_error(error: Exception) -> MPS3Error:
    """Return the error for an exception that the SDK raised when the client was created."""
    if isinstance(error, _CREDENTIALS):
        return AccessError(f"no usable credentials ({error_text(error)}). Check the credentials")
    if isinstance(error, (sdk.ConnectionError, *_NETWORK)):
        return UnavailableError(f"the client could not be created: {error_text(error)}")
    return ConfigurationError(f"s3_config is wrong: {error_text(error)}")
