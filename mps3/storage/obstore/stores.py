"""The stores of obstore: one for each bucket, as obstore wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from ...errors import ConfigurationError
from ..s3.redaction import has_credentials
from .provider import Provider, setting

CONNECT_TIMEOUT: Final = timedelta(seconds=5)
READ_TIMEOUT: Final = timedelta(seconds=15)
_RETRY_WITHIN: Final = timedelta(seconds=20)


@dataclass(frozen=True)
class StoreFactory:
    """Makes the stores of one service.

    Attributes:
        provider: The service.
        config: The settings of obstore. They may hold secrets, so the ``repr`` omits them.
        client_options: The settings of obstore's HTTP client.
        credential_provider: Returns credentials, as obstore describes it.
        timeout: The most seconds of one request.
    """

    provider: Provider
    config: Mapping[str, Any] = field(repr=False)
    client_options: Mapping[str, Any] = field(repr=False)
    credential_provider: Any = field(repr=False)
    timeout: float

    def make(self, bucket: str, *, retries: int = 0) -> Any:
        """Make the store of a bucket. It may read files, so it runs in a thread.

        obstore repeats no request by itself, unless ``retries`` says so: it would take a create whose answer was lost
        for one that came too late.

        Raises:
            ConfigurationError: obstore is not installed, or refuses the settings.
        """
        try:
            from obstore import store as obstore  # noqa: PLC0415 - it is an extra
        except ImportError as error:
            raise ConfigurationError(
                f'{self.provider.scheme}:// needs the package obstore: pip install "mps3[obstore]"'
            ) from error
        kind: Any = obstore.GCSStore if self.provider.scheme == "gs" else obstore.AzureStore
        return kind(
            bucket,
            config=dict(self.config),
            client_options=self._client_options(),
            retry_config={"max_retries": retries, "retry_timeout": _RETRY_WITHIN},
            credential_provider=self.credential_provider,
        )

    def _client_options(self) -> dict[str, Any]:
        address = self.provider.address(self.config) or ""
        options: dict[str, Any] = {
            "timeout": timedelta(seconds=self.timeout),
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
        }
        if address.lower().startswith("http://"):
            options["allow_http"] = True  # who names such an address means it
        return {**options, **self.client_options}

    def check(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ConfigurationError: They are refused.
        """
        endpoint = setting(self.config, *self.provider.endpoint)
        if endpoint is not None and has_credentials(endpoint):
            raise ConfigurationError("the endpoint has a user or a password in it: give credentials as settings")
        if self.provider.scheme == "az" and self.provider.address(self.config) is None:
            raise ConfigurationError(
                "which account? Set account_name in the URL or in storage_options, or AZURE_STORAGE_ACCOUNT_NAME"
            )


def translated(provider: Provider, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the names of obstore: ``endpoint_url`` is called the same for all stores here."""
    return {provider.endpoint[0] if name == "endpoint_url" else name: value for name, value in options.items()}
