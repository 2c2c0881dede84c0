"""Requests that somebody else authorises: any ``httpx.Auth``, between the SDK and the network."""

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
_TARGETS: Final = ("target", "aiobotocore_raw_proxy_target")
"""Where the SDK leaves the target of a request: for the store itself, and for a proxy before it."""
_WORDS: Final = "mps3"
_DOTS: Final = {".": "%2E", "..": "%2E%2E"}
_NO_DOTS: Final = {escaped: dots for dots, escaped in _DOTS.items()}


def auth_session_class(auth: Auth) -> type:
    """A session class for the SDK that sends through httpx, and lets ``auth`` see and change each request.

    Raises:
        ConfigurationError: There is no httpx, or ``auth`` is none of its.
    """
    from aiobotocore import httpxsession  # noqa: PLC0415 - only who uses `auth` needs it

    native = getattr(httpxsession, "httpx", None)
    if native is None:
        raise ConfigurationError(
            "`auth` sends requests through httpx, which is not installed: pip install 'mps3[auth]'"
        )
    # The SDK would rather have httpx2, and says so once; that is the user's to choose.
    httpxsession._LEGACY_HTTPX_WARNED = True  # noqa: SLF001
    flow = _guarded(_native(auth, native), native)
    streamed: ContextVar[bool] = ContextVar("mps3_streamed")
    bound = _bound(native, streamed)

    class AuthHTTPSession(httpxsession.HttpxSession):  # type: ignore[misc, unused-ignore]
        async def _get_session(self, *args: Any) -> Any:
            client = await super()._get_session(*args)
            if client.auth is not flow:
                client.auth = flow
                client.event_hooks = {"request": [_aim(client.timeout.as_dict())], "response": [bound]}
                client.follow_redirects = False
                client.headers["Accept-Encoding"] = "identity"
            return client

        async def send(self, request: Any) -> Any:
            streamed.set(request.stream_output)
            try:
                return await super().send(_untidied(request))
            except HTTPClientError as error:
                failure = error.kwargs.get("error")
                if isinstance(failure, _AuthError):
                    raise failure.verdict() from failure.__cause__
                raise

    return AuthHTTPSession


# Paths: libraries tidy them, but `a/../b` is a key like any other -----------------------------------------------------


def _untidied(request: Any) -> Any:
    """The request with segments that are dots written so that no library takes them for directories.

    Whoever signs the decoded path then signs the right one.
    """
    path, mark, query = request.url.partition("?")
    untidied = copy.copy(request)
    untidied.url = _replaced(path, _DOTS) + mark + query
    return untidied


def _replaced(path: str, segments: dict[str, str]) -> str:
    return "/".join(segments.get(segment, segment) for segment in path.split("/"))


def _aim(timeout: dict[str, Any]) -> Callable[[Any], Awaitable[None]]:
    """What to do with each request before it leaves, also with those that an auth makes itself."""

    async def aim(request: Any) -> None:
        """Send the request where ``auth`` wants it, or else to the SDK's very words."""
        extensions = {"timeout": timeout, **request.extensions}
        url = request.url
        for name in _TARGETS:
            target = extensions.pop(name, None)
            if target is None:
                continue
            if _WORDS not in extensions:
                parts = urlsplit(target.decode())
                extensions[_WORDS] = (parts.path, parts.query, type(url)(target.decode()))
            path, query, original = extensions[_WORDS]
            tidy = url.raw_path.partition(b"?")[0]
            if tidy == original.raw_path.partition(b"?")[0]:
                tidy = _replaced(path, _NO_DOTS).encode()
            asked = query.encode() if url.query == original.query else url.query
            extensions[name] = tidy + (b"?" + asked if asked else b"")
        request.extensions = extensions

    return aim


# Answers: of any length, if nobody looks ------------------------------------------------------------------------------


def _bound(native: Any, streamed: ContextVar[bool]) -> Callable[[Any], Awaitable[None]]:
    """What to do with each answer before anybody reads it.

    Args:
        native: The library that receives it.
        streamed: Whether what is asked for is an object, which its reader bounds.
    """

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

    async def bound(response: Any) -> None:
        if streamed.get() and response.status_code < 300:
            return  # also when the auth made a request of its own of the SDK's
        if _WORDS in response.request.extensions:
            # Nobody asked for it, and a small answer could become a very large one.
            response.headers.pop("content-encoding", None)
        response.stream = Bounded(response.stream, response.status_code)

    return bound


# What goes wrong in an auth -------------------------------------------------------------------------------------------


class _AuthError(Exception):
    """Carries what an auth raised through the SDK."""

    def verdict(self) -> Exception:
        """What the SDK would have raised for such a failure. What the auth said may hold secrets: only its type."""
        cause = self.__cause__
        words = f"it raised {type(cause).__name__}"
        status = getattr(getattr(cause, "response", None), "status_code", 0)
        network = [library.TransportError for library in _loaded()]
        if status >= 500 or status == 429 or isinstance(cause, (OSError, aiohttp.ClientError, *network)):
            return ConnectionError(f"`auth` did not get through: {words}")
        refused: Exception = TokenRetrievalError(provider="`auth`", error_msg=words)
        return refused


def _guarded(auth: Any, native: Any) -> Any:
    """The same auth, whose failures can be told from those of the network."""

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


# Two libraries: httpx and its fork have the same words, but not the same types ----------------------------------------


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
        """Read when the auth reads it, and else left to the SDK."""

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
