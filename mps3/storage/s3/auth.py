"""Requests that an ``httpx.Auth`` authorises instead of the SDK."""

from __future__ import annotations

import copy
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from botocore.exceptions import HTTPClientError, TokenRetrievalError

from ...errors import ConfigurationError
from ...types import Auth
from .transport import ERROR_HEAD_BYTES, ResponseLimit

_LIBRARIES: Final = ("httpx2", "httpx")
_TARGET_EXTENSIONS: Final = ("target", "aiobotocore_raw_proxy_target")
"""The extensions in which the SDK puts the target of a request: for the store itself, and for a proxy."""
_ORIGINAL: Final = "mps3"
_ESCAPED_DOTS: Final = {".": "%2E", "..": "%2E%2E"}
_UNESCAPED_DOTS: Final = {escaped: dots for dots, escaped in _ESCAPED_DOTS.items()}


def auth_session_class(auth: Auth) -> type:
    """Return a session class for the SDK that sends through httpx, with ``auth``.

    Raises:
        ConfigurationError: httpx is not installed, or ``auth`` is not an ``httpx.Auth``.
    """
    from aiobotocore import httpxsession  # noqa: PLC0415 - only `auth` needs it

    native = getattr(httpxsession, "httpx", None)
    if native is None:
        raise ConfigurationError(
            "`auth` sends requests through httpx, which is not installed: pip install 'mps3[auth]'"
        )
    # The SDK warns once that it prefers httpx2, but the choice is the user's.
    httpxsession._LEGACY_HTTPX_WARNED = True  # noqa: SLF001
    flow = _with_marked_errors(_native(auth, native), native)
    streamed: ContextVar[bool] = ContextVar("mps3_streamed")
    bound_response = _response_hook(native, streamed)

    class AuthHTTPSession(httpxsession.HttpxSession):  # type: ignore[misc, unused-ignore]
        async def _get_session(self, *args: Any) -> Any:
            client = await super()._get_session(*args)
            if client.auth is not flow:
                client.auth = flow
                client.event_hooks = {
                    "request": [_request_hook(client.timeout.as_dict())],
                    "response": [bound_response],
                }
                client.follow_redirects = False
                client.headers["Accept-Encoding"] = "identity"
            return client

        async def send(self, request: Any) -> Any:
            streamed.set(request.stream_output)
            try:
                answer = await super().send(_with_escaped_dots(request))
            except HTTPClientError as error:
                failure = error.kwargs.get("error")
                if isinstance(failure, _AuthError):
                    raise failure.as_sdk_error() from failure.__cause__
                raise
            if request.stream_output:
                _rewind(answer.raw, native)
            return answer

    return AuthHTTPSession


# Paths: libraries normalize them, but `a/../b` is a valid key ---------------------------------------------------------


def _with_escaped_dots(request: Any) -> Any:
    """Return the request with segments of dots escaped, so that no library removes them.

    An auth that signs the decoded path then signs the right one.
    """
    path, mark, query = request.url.partition("?")
    escaped_request = copy.copy(request)
    escaped_request.url = _replace_segments(path, _ESCAPED_DOTS) + mark + query
    return escaped_request


def _replace_segments(path: str, segments: dict[str, str]) -> str:
    return "/".join(segments.get(segment, segment) for segment in path.split("/"))


def _request_hook(timeout: dict[str, Any]) -> Callable[[Any], Awaitable[None]]:
    """Return a hook for each request before it is sent, including the requests of the auth itself."""

    async def on_request(request: Any) -> None:
        """Send the request to the target of ``auth``; to the SDK's exact target if ``auth`` has not changed it."""
        extensions = {"timeout": timeout, **request.extensions}
        url = request.url
        for name in _TARGET_EXTENSIONS:
            target = extensions.pop(name, None)
            if target is None:
                continue
            if _ORIGINAL not in extensions:
                parts = urlsplit(target.decode())
                extensions[_ORIGINAL] = (parts.path, parts.query, type(url)(target.decode()))
            path, query, original = extensions[_ORIGINAL]
            normalized = url.raw_path.partition(b"?")[0]
            if normalized == original.raw_path.partition(b"?")[0]:
                normalized = _replace_segments(path, _UNESCAPED_DOTS).encode()
            asked = query.encode() if url.query == original.query else url.query
            extensions[name] = normalized + (b"?" + asked if asked else b"")
        request.extensions = extensions

    return on_request


# Responses: their size must be bounded --------------------------------------------------------------------------------


def _response_hook(native: Any, streamed: ContextVar[bool]) -> Callable[[Any], Awaitable[None]]:
    """Return a hook that bounds each response, except for an object (``streamed``), whose reader bounds it."""

    class Bounded(native.AsyncByteStream):  # type: ignore[misc, unused-ignore]
        def __init__(self, stream: Any, status: int) -> None:
            self._stream = stream
            self._status = status

        async def __aiter__(self) -> AsyncIterator[bytes]:
            budget, empty = ResponseLimit(self._status), True
            async for chunk in self._stream:
                if not budget.accepts(chunk):
                    if empty:
                        yield chunk[:ERROR_HEAD_BYTES]
                    return
                yield chunk
                empty = False

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def on_response(response: Any) -> None:
        if streamed.get() and response.status_code < 300:
            return  # also if the auth has replaced the request
        if _ORIGINAL in response.request.extensions:
            # The request accepts no encoding, and a small response could expand to a very large one.
            response.headers.pop("content-encoding", None)
        response.stream = Bounded(response.stream, response.status_code)

    return on_response


def _rewind(response: Any, native: Any) -> None:
    """Let the body of an object be read once more, if an auth that needs the bodies of all responses has read it."""
    if response.is_stream_consumed:
        response.stream = native.ByteStream(response.content)
        response.is_stream_consumed = response.is_closed = False


# Errors of an auth ----------------------------------------------------------------------------------------------------


class _AuthError(Exception):
    """Carries an error of an auth through the SDK."""

    def as_sdk_error(self) -> Exception:
        """Return the error that the SDK would raise. It names only the type, because the message may hold secrets."""
        cause = self.__cause__
        reason = f"it raised {type(cause).__name__}"
        status = getattr(getattr(cause, "response", None), "status_code", 0)
        network = [library.TransportError for library in _loaded()]
        if status >= 500 or status == 429 or isinstance(cause, (OSError, aiohttp.ClientError, *network)):
            return ConnectionError(f"`auth` could not connect: {reason}")
        refused: Exception = TokenRetrievalError(provider="`auth`", error_msg=reason)
        return refused


def _with_marked_errors(auth: Any, native: Any) -> Any:
    """Return the same auth, whose errors are distinct from those of the network."""

    class Guarded(native.Auth):  # type: ignore[misc, unused-ignore]
        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            flow = auth.async_auth_flow(request)
            response = None
            try:
                while True:
                    try:
                        outgoing = await flow.asend(response)
                    except StopAsyncIteration:
                        return
                    except Exception as error:
                        raise _AuthError from error
                    response = yield outgoing
            finally:
                await flow.aclose()

    return Guarded()


# Two libraries: httpx and its fork have the same names, but distinct types --------------------------------------------


def _loaded() -> list[Any]:
    return [library for name in _LIBRARIES if (library := sys.modules.get(name)) is not None]


def _native(auth: Auth, native: Any) -> Any:
    if isinstance(auth, native.Auth):
        return auth
    for library in _loaded():
        if library is not native and isinstance(auth, library.Auth):
            return _adapt(auth, library, native)
    raise ConfigurationError(f"`auth` is an httpx.Auth, not a {type(auth).__qualname__}")


def _adapt(auth: Auth, foreign: Any, native: Any) -> Any:
    class Body(foreign.AsyncByteStream):  # type: ignore[misc, unused-ignore]
        """A body that is read only if the auth reads it."""

        def __init__(self, response: Any) -> None:
            self._response = response

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield await self._response.aread()

    class Adapted(native.Auth):  # type: ignore[misc, unused-ignore]
        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            own = foreign.Request(
                request.method, str(request.url), headers=request.headers.raw, content=await request.aread()
            )
            flow = auth.async_auth_flow(own)
            answer = None
            try:
                while True:
                    try:
                        outgoing = await flow.asend(answer)
                    except StopAsyncIteration:
                        return
                    response = yield await _converted(outgoing, own, request, native)
                    headers = [pair for pair in response.headers.raw if pair[0].lower() != b"content-encoding"]
                    answer = foreign.Response(
                        response.status_code, headers=headers, stream=Body(response), request=outgoing
                    )
            finally:
                await flow.aclose()

    return Adapted()


async def _converted(outgoing: Any, own: Any, request: Any, native: Any) -> Any:
    if outgoing is not own:
        content = await outgoing.aread()
        return native.Request(outgoing.method, str(outgoing.url), headers=outgoing.headers.raw, content=content)
    request.method = own.method
    if str(own.url) != str(request.url):
        request.url = native.URL(str(own.url))
    request.headers = native.Headers(own.headers.raw)
    return request
