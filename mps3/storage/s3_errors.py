"""What failures of S3 mean: each error of the SDK becomes one of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import aiohttp
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from mps3.errors import AccessError, ConfigurationError, ConflictError, MPS3Error, UnavailableError
from mps3.storage.s3_listing import GarbledError


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of the store.

    Attributes:
        operation: As S3 names it, such as ``PutObject``.
        action: The permission that it takes, such as ``s3:PutObject``.
        bucket: The bucket.
        key: The key, if it is about one.
        version: The version, if it is about one.
        conditional: Whether it is a write with a condition.
        repeatable: Whether it may be repeated though it may have taken effect.
    """

    operation: str
    action: str
    bucket: str
    key: str | None = None
    version: str | None = None
    conditional: bool = False
    repeatable: bool = True

    def __str__(self) -> str:
        target = f"s3://{self.bucket}" + (f"/{_printable(self.key)}" if self.key is not None else "")
        return f"{self.operation} of {target}" + (f" (version {self.version})" if self.version else "")

    def error(self, kind: type[MPS3Error], why: str) -> MPS3Error:
        """An error about this request.

        Args:
            kind: Its class.
            why: What happened, and what can be done about it.
        """
        return kind(
            f"{self} failed: {why}",
            bucket=self.bucket,
            key=self.key,
            operation=self.operation,
            version=self.version,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """What is to be done about a failure.

    Attributes:
        error: What the caller is told.
        passing: Whether another attempt may succeed soon.
        harmless: Whether the request has certainly had no effect.
    """

    error: MPS3Error
    passing: bool = False
    harmless: bool = False


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
    "AccountProblem",
    "AllAccessDisabled",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
}
_EXPIRED: Final = {"ExpiredToken", "TokenRefreshRequired"}
_SKEWED: Final = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_DAMAGED: Final = {"BadDigest", "IncompleteBody", "InvalidDigest", "XAmzContentSHA256Mismatch"}
_IN_PROGRESS: Final = {"ConditionalRequestConflict", "OperationAborted"}
_ELSEWHERE: Final = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}

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
_GARBLED: Final = (
    sdk.IncompleteReadError,
    sdk.ChecksumError,
    sdk.FlexibleChecksumError,
    ResponseParserError,
    GarbledError,
)


def judge(error: Exception, request: Request) -> Failure:
    """Say what an error of the SDK means.

    Args:
        error: Whatever the SDK raised.
        request: What was asked of the store when it did.
    """
    if isinstance(error, sdk.ClientError):
        return _judge_answer(error, request)
    if isinstance(error, _CREDENTIALS):
        return Failure(request.error(AccessError, f"no usable credentials ({_words(error)}). Check the credentials"))
    if isinstance(error, _GARBLED):
        return Failure(
            request.error(UnavailableError, f"the answer was damaged ({type(error).__name__})"), passing=True
        )
    if isinstance(error, (sdk.ConnectionError, *_NETWORK)):
        return _judge_network(error, request)
    if isinstance(error, (sdk.BotoCoreError, ValueError, TypeError)):
        return Failure(request.error(ConfigurationError, _words(error)))
    return Failure(request.error(UnavailableError, f"{type(error).__name__} in the SDK"))


def is_garbled(error: Exception) -> bool:
    """Whether an answer arrived that is not what the store has sent."""
    return isinstance(error, _GARBLED)


def code_of(error: sdk.ClientError) -> str:
    """The error code of an answer, such as ``NoSuchKey``; its status if it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: sdk.ClientError) -> int:
    """The HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_absent(error: sdk.ClientError, request: Request) -> bool:
    """Whether an answer says that there is no such object or version, rather than no such bucket."""
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
    return code_of(error) in {"InvalidRequest", "InvalidArgument"} and "checksum" in str(error.response).lower()


def _judge_answer(error: sdk.ClientError, request: Request) -> Failure:
    code, status = code_of(error), status_of(error)
    said = _said(error)
    if code == "NoSuchBucket":
        return Failure(request.error(ConfigurationError, f'there is no bucket "{request.bucket}". Create it first'))
    if code in _SKEWED:
        return Failure(request.error(AccessError, f"{said}. Set this machine's clock"))
    if request.conditional and (status in {404, 409, 412} or code in _IN_PROGRESS):
        return Failure(request.error(ConflictError, f"the condition did not hold ({said})"))
    if status == 429 or (code in _THROTTLED and status in {400, 503}):
        slower = request.error(UnavailableError, f"the store asks to slow down ({said})")
        return Failure(slower, passing=True, harmless=True)
    if code in _IN_PROGRESS or status == 307:
        return Failure(request.error(UnavailableError, said), passing=True, harmless=True)
    if code in _DAMAGED:
        return Failure(request.error(UnavailableError, f"damaged on its way ({said})"), passing=True, harmless=True)
    if code == "InvalidObjectState":
        return Failure(request.error(ConfigurationError, f"{said}. The object is archived: restore it first"))
    if code in _REFUSED or status in {401, 403}:
        return Failure(request.error(AccessError, f"{said}. {_remedy(code, request)}"))
    if status == 501 or code == "NotImplemented":
        return Failure(request.error(ConfigurationError, f"the store cannot do this ({said})"))
    if status >= 500 or status == 408 or code == "RequestTimeout" or status < 300:
        return Failure(request.error(UnavailableError, said), passing=True)
    if code in _ELSEWHERE or status < 400:
        return Failure(request.error(ConfigurationError, f"{said}. Check region_name and endpoint_url in s3_config"))
    return Failure(request.error(ConfigurationError, said))


def _judge_network(error: Exception, request: Request) -> Failure:
    inner = getattr(error, "kwargs", {}).get("error", error)
    if isinstance(error, sdk.SSLError):
        return Failure(request.error(UnavailableError, f"no secure connection ({_words(inner)})"), harmless=True)
    if isinstance(inner, ValueError):
        return Failure(request.error(ConfigurationError, _words(inner)))
    why = f"{type(error).__name__} ({_words(inner)})" if inner is not error else _words(error)
    return Failure(request.error(UnavailableError, why), passing=True, harmless=_never_sent(error, inner))


def _never_sent(error: Exception, inner: object) -> bool:
    """Whether no connection was made, so that the store has heard nothing."""
    # The SDK calls it a connection error as well when an existing connection breaks.
    return (
        isinstance(inner, aiohttp.ClientConnectorError)
        or (isinstance(error, sdk.ConnectTimeoutError) and isinstance(inner, aiohttp.ClientError))
        or type(inner).__name__ in {"ConnectError", "ConnectTimeout", "PoolTimeout"}  # httpx
    )


def _remedy(code: str, request: Request) -> str:
    if code in _EXPIRED:
        return "The credentials have expired: renew them"
    if code in {"SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "InvalidSecurity"}:
        return "Check the credentials"
    about_bucket = request.key is None or request.action.startswith("s3:List")
    resource = f"arn:aws:s3:::{request.bucket}" + ("" if about_bucket else f"/{_printable(request.key or '')}")
    hint = ""
    if request.operation == "GetObject":
        hint = f"; and s3:ListBucket on arn:aws:s3:::{request.bucket}, without which S3 says this of absent objects too"
    return f"Allow {request.action} on {resource}{hint}"


# Words for people -----------------------------------------------------------------------------------------------------

_SECRETS: Final = (
    (re.compile(r"(\w+://)[^/@\s]*@"), r"\1"),
    (re.compile(r"(\w+://[^\s?\"']*)\?[^\s\"']*"), r"\1"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b"), "…"),
    (re.compile(r"(?i)\b(authorization|credential|signature|token|secret)(\s*[=:]\s*)[^\s,;]+"), r"\1\2…"),
)
_LONGEST: Final = 300


def _said(error: sdk.ClientError) -> str:
    message = _clean(str(error.response.get("Error", {}).get("Message") or ""))
    return f"{status_of(error)} {code_of(error)}" + (f": {message}" if message else "")


def _words(error: object) -> str:
    return _clean(str(error)) or type(error).__name__


def _clean(text: str) -> str:
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return _printable(" ".join(text.split()))[:_LONGEST].rstrip(". ")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def setup_error(error: Exception) -> MPS3Error:
    """What an error means that comes before the first request.

    Args:
        error: Whatever the SDK raised when the client was made.
    """
    if isinstance(error, _CREDENTIALS):
        return AccessError(f"no usable credentials ({_words(error)}). Check the credentials")
    if isinstance(error, (sdk.ConnectionError, *_NETWORK)):
        return UnavailableError(f"the client could not be made: {_words(error)}")
    return ConfigurationError(f"s3_config is wrong: {_words(error)}")
