"""The classification of failures: each exception of obstore becomes an error of `mps3.errors`.

obstore has the status and the answer only in the text of an exception, which ends with Rust's debug form of the cause.
That form escapes line feeds, so no answer of a server can imitate a line of it. What it does not say is taken for a
failure that may have had an effect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ...errors import AccessError, ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ..failure import Failure, MalformedResponseError
from ..s3.redaction import error_text, redact
from .request import Request

_DEBUG: Final = "\n\nDebug source:\n"
_MOST: Final = 20_000
_STATUS: Final = re.compile(r"^ {1,80}status: (\d{3}),$", re.MULTILINE)
_PART: Final = re.compile(r"^ {1,80}code: \"(\d{3})\",$", re.MULTILINE)  # of a batch
_KIND: Final = re.compile(r"^ {1,80}kind: (Connect|Request|Timeout|Interrupted|Unknown|Decode),$", re.MULTILINE)
_TOKEN: Final = re.compile(
    r"^ {1,80}source: (?:TokenRe|OpenCred|DecodeCred|AzureCli|FederatedToken|InvalidAccessKey)", re.MULTILINE
)
# Azurite answers 206 for an empty object, with "bytes 0--1/0".
_TOO_SHORT: Final = re.compile(
    r"^ {1,80}source: (?:StartTooLarge \{|ParseContentRange \{\n {1,80}value: \"[^\"\n]{1,80}/0\",$)", re.MULTILINE
)
_WHOLE: Final = re.compile(r"^ {1,80}source: NotPartial,$", re.MULTILINE)
_QUOTED: Final = re.compile(r'"([^"\\\n]{3,200})"')
_TLS: Final = re.compile(r"error: (Invalid\w{1,40})\(\s{1,200}(\w{1,60})")
_ANSWER: Final = re.compile(r"non-2xx status code: \d{3}[^:]{0,60}: ")
_CODE: Final = re.compile(r"<Code>([\w.]{1,80})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<\r\n]{0,500})")

ABSENT_CODES: Final = {"NoSuchKey", "BlobNotFound"}
_NO_BUCKET: Final = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
_REFUSED_FOR_NOW: Final = {"SlowDown", "ServerBusy", "TooManyRequests"}
_NOT_NOW: Final = {"AccountBeingCreated", "ContainerBeingDeleted", "OperationAborted"}
_KEPT: Final = {"BlobImmutableDueToPolicy", "BlobNotOverwritable", "RetentionPolicyNotMet", "ObjectUnderActiveHold"}
_NO_BLOB: Final = {"SnapshotsPresent", "BlobArchived", "BlobBeingRehydrated", "InvalidBlobType", "LeaseIdMissing"}


@dataclass(frozen=True, slots=True)
class Report:
    """What the text of an exception says.

    Attributes:
        status: The status of the answer; 0 without one.
        code: The service's error code; empty without one.
        message: The service's message, redacted.
        kind: How the request failed, if there is no answer: Connect, Timeout and others; empty if it is not known.
        is_page: Whether the answer is a web page.
        about_credentials: Whether the request was for credentials, and the service itself has received nothing.
    """

    status: int
    code: str
    message: str
    kind: str
    is_page: bool
    about_credentials: bool

    def __str__(self) -> str:
        said = f"{self.status} {self.code}".strip()
        return f"{said}: {self.message}" if self.message else said


def report_of(error: BaseException) -> Report:
    """Return what an exception of obstore says."""
    text = str(error)
    shown, mark, debug = text.rpartition(_DEBUG)
    shown, debug = (shown if mark else text)[:_MOST], debug[:_MOST] if mark else ""
    status, kind = _STATUS.search(debug) or _PART.search(debug), _KIND.search(debug)
    begun = _ANSWER.search(shown)
    answer = shown[begun.end() :][:4000] if begun and status else ""
    code, message = _CODE.search(answer), _MESSAGE.search(answer)
    return Report(
        status=int(status[1]) if status else _STATUSES.get(type(error).__name__, 0),
        code=code[1] if code else "",
        message=redact(message[1]) if message else "",
        kind=kind[1] if kind and not status else "",
        is_page="<html" in answer.lower() or "<!doctype html" in answer.lower(),
        about_credentials=_TOKEN.search(debug) is not None,
    )


_STATUSES: Final = {
    "AlreadyExistsError": 409,
    "FileNotFoundError": 404,
    "NotModifiedError": 304,
    "PermissionDeniedError": 403,
    "PreconditionError": 412,
    "UnauthenticatedError": 401,
}


class Unread(Enum):
    """Why a part of an object was not read."""

    BEHIND_END = "behind the end"
    WHOLE = "the whole object came"


def unread_part(error: BaseException) -> Unread | None:
    """Return why a part of an object was not read; ``None`` if an exception says something else."""
    report, debug = report_of(error), str(error).rpartition(_DEBUG)[2][:_MOST]
    if (report.status == 416 and not report.is_page) or _TOO_SHORT.search(debug):
        return Unread.BEHIND_END
    return Unread.WHOLE if _WHOLE.search(debug) else None


def is_named(error: BaseException, *names: str) -> bool:
    """Whether an exception is one of obstore with one of these names."""
    return type(error).__name__ in names and type(error).__module__.startswith("obstore")


def classify_error(error: Exception, request: Request) -> Failure:
    """Classify an exception that obstore raised for a request."""
    if isinstance(error, MPS3Error):
        return Failure(error)
    if isinstance(error, MalformedResponseError):
        return _malformed(str(error), request)
    if isinstance(error, (ValueError, TypeError)) or is_named(
        error, "InvalidPathError", "UnknownConfigurationKeyError", "NotSupportedError"
    ):
        return request.failure(ConfigurationError, _first_line(error), no_effect=True)
    report = report_of(error)
    if report.about_credentials:
        return _credentials(report, error, request)
    if report.status:
        return _answered(report, request)
    if report.kind:
        why = f"{_KINDS[report.kind]} ({_cause(error) or report.kind})"
        return request.failure(UnavailableError, why, transient=True, no_effect=report.kind == "Connect")
    return _malformed(_first_line(error), request)


_KINDS: Final = {
    "Connect": "no connection",
    "Request": "the connection broke",
    "Timeout": "no answer in time",
    "Interrupted": "the connection broke",
    "Unknown": "the connection failed",
    "Decode": "the answer was damaged",
}


def _answered(report: Report, request: Request) -> Failure:
    status, code, provider = report.status, report.code, request.provider
    if 300 <= status < 400:
        # As on S3: once the settings are known to be right, it comes from a captive portal, and goes away.
        why = f"the answer is a redirect ({report}). Check the endpoint"
        kind = UnavailableError if request.reached else ConfigurationError
        return request.failure(kind, why, transient=request.reached, no_effect=True)
    if report.is_page:
        return _intermediary(report, request)
    if code in _NO_BUCKET or (status == 404 and code not in ABSENT_CODES):
        why = f'there is no {provider.container} "{request.bucket}" ({report}). Create it first'
        return request.failure(ConfigurationError, why, no_effect=True)
    if status == 429 or code in _REFUSED_FOR_NOW:
        why = f"the store asks to slow down ({report})"
        return request.failure(UnavailableError, why, transient=True, no_effect=True)
    if code in _KEPT:
        why = f"{report}. A retention policy forbids it: mps3 overwrites and deletes objects"
        return request.failure(ConfigurationError, why, no_effect=True)
    if code in _NO_BLOB:
        return request.failure(ConfigurationError, f"{report}", no_effect=True)
    if request.conditional and status in {409, 412} and code not in _NOT_NOW:
        return request.failure(ConflictError, f"the condition did not hold ({report})", no_effect=True)
    if status in {409, 412}:
        return request.failure(UnavailableError, str(report), transient=True, no_effect=True)
    if status in {401, 403}:
        needed = provider.permissions.get(request.operation)
        why = f"{report}. Check the credentials" + (f", and that they permit {needed}" if needed else "")
        return request.failure(AccessError, why, no_effect=True)
    if status >= 500 or status == 408 or status < 300:
        return request.failure(UnavailableError, str(report), transient=True)
    return request.failure(ConfigurationError, str(report), no_effect=True)


def _intermediary(report: Report, request: Request) -> Failure:
    """Classify an answer that is a web page, so it does not come from the store."""
    said = f"{report.status}: a web page came instead of an answer of {request.provider.name}"
    if report.status in {401, 403, 407, 451}:
        return request.failure(AccessError, f"{said}. An intermediary refuses the request", no_effect=True)
    if 400 <= report.status < 500 and report.status not in {404, 408, 429}:
        return request.failure(ConfigurationError, f"{said}. Check the endpoint", no_effect=True)
    return request.failure(UnavailableError, f"{said}. Check the endpoint{_unknown(request)}", transient=True)


def _credentials(report: Report, error: Exception, request: Request) -> Failure:
    """Classify a failure to get credentials. The store has received nothing."""
    said = str(report) if report.status else _first_line(error)
    if report.status >= 500 or (report.status in {0, 408, 429} and report.kind):
        why = f"no credentials at the moment ({said}). If it stays so, check where they come from"
        return request.failure(UnavailableError, why, transient=True, no_effect=True)
    return request.failure(AccessError, f"no usable credentials ({said}). Check the credentials", no_effect=True)


def _malformed(why: str, request: Request) -> Failure:
    why = f"the answer was damaged, or is not one of {request.provider.name}: {why}{_unknown(request)}"
    return request.failure(UnavailableError, why, transient=True)


def _unknown(request: Request) -> str:
    return ". It is unknown whether it took effect" if request.writes else ""


def _cause(error: BaseException) -> str:
    """Return what Rust says of a connection that failed."""
    debug = str(error).rpartition(_DEBUG)[2][:_MOST]
    kind = _KIND.search(debug)
    rest = debug[kind.end() :] if kind else ""
    tls = _TLS.search(rest)
    return redact(", ".join([*_QUOTED.findall(rest), *([f"TLS: {tls[1]}, {tls[2]}"] if tls else [])]))


def _first_line(error: BaseException) -> str:
    text = str(error).partition(_DEBUG)[0]
    return redact(text) or error_text(error)


def setup_error(error: Exception) -> MPS3Error:
    """Return the error for an exception that obstore raised when a store was made."""
    if isinstance(error, MPS3Error):
        return error
    return ConfigurationError(f"the settings of the store are wrong: {_first_line(error)}")
