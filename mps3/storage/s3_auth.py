"""Requests that somebody else authorises: any ``httpx.Auth``, between the SDK and the network."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlsplit

from mps3.errors import ConfigurationError
from mps3.types import Auth

_LIBRARIES = ("httpx2", "httpx")


def authorised_session(auth: Auth) -> type:
    """A session class for the SDK that sends through httpx, and lets ``auth`` see and change each request.

    Raises:
        ConfigurationError: There is no httpx, or ``auth`` is none of its.
    """
    try:
        from aiobotocore._httpx import httpx as native  # noqa: PLC0415 - only who uses `auth` needs it
        from aiobotocore.httpxsession import HttpxSession  # noqa: PLC0415
    except ImportError:
        native = None
    if native is None:
        raise ConfigurationError(
            "`auth` sends requests through httpx, which is not installed: pip install 'mps3[auth]'"
        )
    flow = _native(auth, native)

    class Session(HttpxSession):  # type: ignore[misc, unused-ignore]
        def __init__(self, *args: Any, **options: Any) -> None:
            with warnings.catch_warnings():
                # The SDK would rather have httpx2; that is the user's to choose.
                warnings.simplefilter("ignore", DeprecationWarning)
                super().__init__(*args, **options)

        async def _get_session(self, *args: Any) -> Any:
            client = await super()._get_session(*args)
            if client.auth is not flow:
                client.auth = flow
                client.event_hooks = {"request": [_aim]}
            return client

    return Session


async def _aim(request: Any) -> None:
    """Send the request where ``auth`` wants it, or else to the SDK's very words.

    The SDK fixes the target, because a library that tidies paths would change keys such as ``a/../b``.
    """
    target = request.extensions.get("target")
    if target is None:
        return
    parts = urlsplit(target.decode())
    if type(request.url)(target.decode()) == request.url:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        request.extensions = {**request.extensions, "target": path.encode()}
    else:
        request.extensions = {name: value for name, value in request.extensions.items() if name != "target"}


def _native(auth: Auth, native: Any) -> Any:
    if isinstance(auth, native.Auth):
        return auth
    for name in _LIBRARIES:
        library = sys.modules.get(name)
        if library is not None and library is not native and isinstance(auth, library.Auth):
            return _adapt(auth, library, native)
    raise ConfigurationError(f"`auth` is an httpx.Auth, not a {type(auth).__qualname__}")


def _adapt(auth: Auth, foreign: Any, native: Any) -> Any:
    """The same auth for the other library: httpx and its fork have the same words, but not the same types."""

    class Adapted(native.Auth):  # type: ignore[misc, unused-ignore]
        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            own = foreign.Request(
                request.method, str(request.url), headers=request.headers.raw, content=await request.aread()
            )
            flow = auth.async_auth_flow(own)
            try:
                outgoing = await anext(flow, None)
                while outgoing is not None:
                    response = yield _convert(outgoing, own, request, native)
                    answer = foreign.Response(
                        response.status_code,
                        headers=response.headers.raw,
                        content=await response.aread(),
                        request=outgoing,
                    )
                    try:
                        outgoing = await flow.asend(answer)
                    except StopAsyncIteration:
                        outgoing = None
            finally:
                await flow.aclose()

    return Adapted()


def _convert(outgoing: Any, own: Any, request: Any, native: Any) -> Any:
    if outgoing is not own:
        return native.Request(
            outgoing.method, str(outgoing.url), headers=outgoing.headers.raw, content=outgoing.content
        )
    request.method = own.method
    if str(own.url) != str(request.url):
        request.url = native.URL(str(own.url))
    request.headers = native.Headers(own.headers.raw)
    return request
