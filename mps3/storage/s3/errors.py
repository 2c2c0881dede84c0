"""What failures of S3 mean: each error of the SDK becomes one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from ...errors import AccessError, ConfigurationError, ConflictError, MPS3Error, UnavailableError
from .answers import why_not_s3
from .listing import MalformedResponseError
from .refusals import ACCOUNT, EXPIRED, UNKNOWN, insecure, over_quota, redirect_advice, remedy, too_large
from .request import Failure, S3Request
from .wording import clean, words

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
_REFUSED: Final = {"AccessDenied", "Forbidden", "UnauthorizedAccess", *ACCOUNT, *EXPIRED, *UNKNOWN}
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
    """Say what an error of the SDK means.

    Args:
        error: Whatever the SDK raised.
        request: What was asked of the store when it did.
    """
    if isinstance(error, sdk.ClientError):
        if error.operation_name != request.operation:
            return _classify_credentials(error, request)
        return _classify_answer(error, request)
    if isinstance(error, _CREDENTIALS):
        why = f"no usable credentials ({words(error)}). Check the credentials"
        return Failure(request.error(AccessError, why), no_effect=True)
    if isinstance(error, _MALFORMED_RESPONSE):
        return _damaged(error, request)
    if isinstance(error, (sdk.ConnectionError, *_NETWORK)):
        return _classify_network(error, request)
    if isinstance(error, (sdk.BotoCoreError, ValueError, TypeError)):
        return Failure(request.error(ConfigurationError, words(error)), no_effect=True)
    return Failure(request.error(UnavailableError, f"{type(error).__name__} in the SDK"))


def is_malformed(error: Exception) -> bool:
    """Whether an answer arrived that is not what the store has sent."""
    return isinstance(error, _MALFORMED_RESPONSE)


def code_of(error: sdk.ClientError) -> str:
    """The error code of an answer, such as ``NoSuchKey``; its status if it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: sdk.ClientError) -> int:
    """The HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_absent(error: sdk.ClientError, request: S3Request) -> bool:
    """Whether an answer says that there is no such object or version, rather than no such bucket."""
    if why_not_s3(error.response) is not None:
        return False  # whoever says so is not the store
    code, status = code_of(error), status_of(error)
    if code in {"NoSuchKey", "NoSuchVersion"} or (status == 404 and code != "NoSuchBucket"):
        return True
    if request.version is None:
        return False
    # A delete marker, or what cannot be a version of this store.
    argument = str(error.response.get("Error", {}).get("ArgumentName", "")).lower()
    return status == 405 or (code == "InvalidArgument" and argument == "versionid")


def is_unsigned(error: sdk.ClientError) -> bool:
    """Whether an answer has only a status, and no error code of S3: anything on the way may have given it."""
    return code_of(error) in {"", "Unknown", str(status_of(error))}


def refuses_checksum(error: sdk.ClientError) -> bool:
    """Whether a store does not take the header with a checksum."""
    if status_of(error) == 501:
        return True
    said = str(error.response.get("Error", {})).lower()
    return code_of(error) in {"InvalidRequest", "InvalidArgument"} and ("checksum" in said or "md5" in said)


def demands_checksum(error: sdk.ClientError) -> bool:
    """Whether a store takes no object without a checksum, or not without Content-MD5, as with object lock."""
    if status_of(error) not in {400, 403, 411, 412, 422}:
        return False
    code, message = code_of(error), _message(error).lower()
    if code in {"MissingContentMD5", "MissingDigest"}:
        return True
    named = "content-md5" in message or "x-amz-checksum" in message or "x-amz-sdk-checksum" in message
    return named and any(word in message for word in ("required", "missing", "must", "need"))


def _classify_answer(error: sdk.ClientError, request: S3Request) -> Failure:
    status = status_of(error)
    failure = _classify_status(error, request)
    if 300 <= status < 500 and status != 408 and code_of(error) != "RequestTimeout":
        return replace(failure, no_effect=True)  # whoever refuses has written nothing
    return failure


def _classify_status(error: sdk.ClientError, request: S3Request) -> Failure:
    code, status = code_of(error), status_of(error)
    said, message = _said(error), _message(error)
    if why_not_s3(error.response) is not None:
        return _classify_intermediary(error, request)
    if code == "NoSuchBucket":
        return Failure(request.error(ConfigurationError, f'there is no bucket "{request.bucket}". Create it first'))
    if code in _SKEWED:
        return Failure(request.error(AccessError, f"{said}. Set this machine's clock"))
    if code in _ELSEWHERE or 300 <= status < 400 or (status == 400 and _is_of_another_region(error, request)):
        return _redirected(said, error, request)
    if request.conditional and (status in {404, 409, 412} or code in _IN_PROGRESS):
        return Failure(request.error(ConflictError, f"the condition did not hold ({said})"))
    if status == 429 or (code in _THROTTLED and status in {400, 503}):
        slower = request.error(UnavailableError, f"the store asks to slow down ({said})")
        return Failure(slower, transient=True, no_effect=True)
    if code in _IN_PROGRESS:
        return Failure(request.error(UnavailableError, said), transient=True, no_effect=True)
    if code in _DAMAGED:
        return Failure(request.error(UnavailableError, f"damaged on its way ({said})"), transient=True, no_effect=True)
    if code == "InvalidObjectState":
        return Failure(request.error(ConfigurationError, f"{said}. The object is archived: restore it first"))
    if status == 413 or code in _TOO_LARGE:
        return Failure(request.error(ConfigurationError, too_large(said, request)))
    if demands_checksum(error):
        why = f"{said}. The bucket takes an object only with a checksum, as with object lock, and refused those sent"
        return Failure(request.error(ConfigurationError, why))
    if code in _REFUSED or status in {401, 403}:
        return Failure(request.error(AccessError, f"{said}. {remedy(code, status, message, request)}"))
    if over_quota(code, message):
        kind = UnavailableError if status >= 500 else ConfigurationError
        return Failure(
            request.error(kind, f"{said}. {remedy(code, status, message, request)}"), transient=status >= 500
        )
    if status == 501 or code == "NotImplemented":
        return Failure(request.error(ConfigurationError, f"the store cannot do this ({said})"), no_effect=True)
    if status >= 500 or status == 408 or code == "RequestTimeout" or status < 300:
        return Failure(request.error(UnavailableError, said), transient=True)
    return Failure(request.error(ConfigurationError, said))


def _classify_intermediary(error: sdk.ClientError, request: S3Request) -> Failure:
    """An error that does not come from the store, but from something that stands before it."""
    status, why = status_of(error), why_not_s3(error.response)
    if 300 <= status < 400:
        return _redirected(f"status {status}", error, request)
    if status in {401, 403, 407, 451}:
        hint = "Whoever stands before the store refuses the request. Check the credentials, and endpoint_url"
        return Failure(request.error(AccessError, f"{status}: {why}. {hint}"))
    if status == 413:
        return Failure(request.error(ConfigurationError, too_large(f"{status}: {why}", request)))
    said = f"{status}: {why}. Check endpoint_url"
    if status in _MALFORMED:
        return Failure(request.error(ConfigurationError, said))
    return Failure(request.error(UnavailableError, said + (_doubt(request) if status >= 500 else "")), transient=True)


def _redirected(said: str, error: sdk.ClientError, request: S3Request) -> Failure:
    """Classify an answer that names another place, where the client does not go.

    On first contact the settings are wrong. Once the store has answered for the bucket, the settings are right, and
    the redirect most likely comes from a captive portal, which goes away.
    """
    why = redirect_advice(said, _headers(error), _error(error), request)
    if request.reached and 300 <= status_of(error) < 400:
        return Failure(request.error(UnavailableError, why), transient=True)
    return Failure(request.error(ConfigurationError, why))


def _classify_credentials(error: sdk.ClientError, request: S3Request) -> Failure:
    """The store was not asked yet: whoever gives out credentials refused, or did not answer."""
    said = f"{clean(error.operation_name)}: {_said(error)}"
    if status_of(error) >= 500 or status_of(error) == 429 or code_of(error) in _THROTTLED:
        why = f"no credentials at the moment ({said})"
        return Failure(request.error(UnavailableError, why), transient=True, no_effect=True)
    return Failure(request.error(AccessError, f"no usable credentials ({said}). Check the credentials"), no_effect=True)


def _damaged(error: Exception, request: S3Request) -> Failure:
    """An answer that is not whole, or none of S3, though its status says that all is well."""
    # What the SDK says of what it cannot parse is all of it.
    why = "it is no XML that S3 would send" if isinstance(error, ResponseParserError) else words(error)
    return Failure(request.error(UnavailableError, f"the answer was damaged: {why}{_doubt(request)}"), transient=True)


def _doubt(request: S3Request) -> str:
    return ". Whether it took effect is not known" if request.writes else ""


def _classify_network(error: Exception, request: S3Request) -> Failure:
    inner = getattr(error, "kwargs", {}).get("error", error)
    if isinstance(inner, MalformedResponseError):
        return _damaged(inner, request)
    if isinstance(error, sdk.SSLError):
        return Failure(request.error(UnavailableError, insecure(words(inner))), no_effect=True)
    if isinstance(inner, ValueError):
        return Failure(request.error(ConfigurationError, words(inner)), no_effect=True)
    why = f"{type(error).__name__} ({words(inner)})" if inner is not error else words(error)
    return Failure(request.error(UnavailableError, why), transient=True, no_effect=_never_sent(error, inner))


def _never_sent(error: Exception, inner: object) -> bool:
    """Whether no connection was made, so that the store has heard nothing."""
    # The SDK calls it a connection error as well when an existing connection breaks.
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
    """Whether the answer to a HEAD, which has no body, says where the bucket is instead."""
    region = _headers(error).get("x-amz-bucket-region")
    return request.operation == "HeadObject" and bool(region) and region != request.region


def _message(error: sdk.ClientError) -> str:
    return str(_error(error).get("Message") or "")


def _said(error: sdk.ClientError) -> str:
    status, code, message = str(status_of(error)), clean(code_of(error)), clean(_message(error))
    return (status if code in {"", status} else f"{status} {code}") + (f": {message}" if message else "")


def setup_error(error: Exception) -> MPS3Error:
    """What an error means that comes before the first request.

    Args:
        error: Whatever the SDK raised when the client was made.
    """
    if isinstance(error, _CREDENTIALS):
        return AccessError(f"no usable credentials ({words(error)}). Check the credentials")
    if isinstance(error, (sdk.ConnectionError, *_NETWORK)):
        return UnavailableError(f"the client could not be made: {words(error)}")
    return ConfigurationError(f"s3_config is wrong: {words(error)}")
