"""What a server says of itself in the headers of its responses, for people who want to know which server it is.

Any server or proxy can say anything there. So only a few headers are remembered, they are shown short and redacted, and
no request depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from .redaction import redact

NAMES: Final = (
    "server",
    "via",
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amzn-requestid",
    "x-powered-by",
    "x-trans-id",
)
"""The headers that are remembered: they name the server, or their form shows which server made them."""
MAX_LENGTH: Final = 100
"""The most characters of a value that are shown."""


class ServerHeaders:
    """The headers of the last response of a server that is not a failure of the server itself.

    Attributes:
        seen: Each header of `NAMES` that the response had, in lower case, with its value as the server sent it.
    """

    def __init__(self) -> None:
        self.seen: Mapping[str, str] = MappingProxyType({})

    def register(self, events: Any) -> None:
        """Have the responses that a client receives recorded here."""
        events.register("before-parse.s3", self._on_response)

    def _on_response(self, response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] < 500:  # others may be those of a proxy
            headers = response_dict["headers"]
            self.seen = MappingProxyType({name: str(headers[name]) for name in NAMES if headers.get(name)})

    def described(self) -> dict[str, str]:
        """Return the headers, redacted and cut, so that they are safe to print."""
        return {name: redact(value)[:MAX_LENGTH] for name, value in self.seen.items()}
