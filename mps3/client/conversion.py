"""Conversion of values to and from types, by pydantic or msgspec.

Neither package is required by this library. Pydantic models need pydantic and ``msgspec.Struct`` types need msgspec;
for other types, such as dataclasses, pydantic is used if it is installed, and otherwise msgspec.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any, Protocol, cast

import orjson

from ..errors import ConfigurationError, ValidationError
from ..types import JSON


class Converter(Protocol):
    """Converts values of one type. A value that does not fit raises a ``ValueError`` or a ``TypeError``."""

    def load(self, value: JSON) -> Any:
        """Return the value for JSON."""
        ...

    def dump(self, value: Any) -> JSON:
        """Return the JSON for a value."""
        ...


class _Pydantic:
    def __init__(self, pydantic: ModuleType, model: Any) -> None:
        self._adapter = pydantic.TypeAdapter(model)

    def load(self, value: JSON) -> Any:
        # Only from JSON text does pydantic convert strings to dates and arrays to tuples.
        return self._adapter.validate_json(orjson.dumps(value))

    def dump(self, value: Any) -> JSON:
        checked = self._adapter.validate_python(value)
        return cast("JSON", self._adapter.dump_python(checked, mode="json", by_alias=True))


class _Msgspec:
    def __init__(self, msgspec: ModuleType, model: Any) -> None:
        self._msgspec = msgspec
        self._model = model
        msgspec.json.Decoder(model)  # raises an error if the type is invalid

    def load(self, value: JSON) -> Any:
        return self._msgspec.convert(value, self._model)

    def dump(self, value: Any) -> JSON:
        built = self._msgspec.to_builtins(value)
        self._msgspec.convert(built, self._model)
        return cast("JSON", built)


def converter(model: Any) -> Converter:
    """Return a converter for a type. A `ConfigurationError` is raised if no package for it is installed."""
    packages = {base.__module__.partition(".")[0] for base in getattr(model, "__mro__", ())}
    if "msgspec" in packages:
        choices = ["msgspec"]
    elif "pydantic" in packages or hasattr(model, "__pydantic_validator__"):
        choices = ["pydantic"]
    else:
        choices = ["pydantic", "msgspec"]
    refused: list[Exception] = []
    for name in choices:
        package = _package(name)
        if package is None:
            continue
        try:
            return _Pydantic(package, model) if name == "pydantic" else _Msgspec(package, model)
        except Exception as error:  # noqa: BLE001 - each package has its own errors
            refused.append(error)
    if refused:
        message = f"{type_name(model)} is not a type that can be converted: {refused[0]}"
        raise ConfigurationError(message) from refused[0]
    raise ConfigurationError(
        f"values of the type {type_name(model)} need {' or '.join(choices)}, which is not installed: "
        f"pip install {choices[-1]}"
    )


@cache
def _package(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def type_name(model: Any) -> str:
    """Return the name of a type, for messages."""
    return getattr(model, "__qualname__", None) or repr(model)


class Conversion:
    """Converts the values of keys. Its errors name the key."""

    def __init__(self, model: Any) -> None:
        self._converter = converter(model)
        self._model = model

    def load(self, key: str, value: JSON) -> Any:
        """Return the value for stored JSON, or raise a `ValidationError`."""
        try:
            return self._converter.load(value)
        except (ValueError, TypeError) as error:
            raise ValidationError(
                f"the value of {key!r} does not fit {type_name(self._model)}: {error}", key=key, operation="GetObject"
            ) from error

    def dump(self, key: str, value: Any) -> JSON:
        """Return the JSON to store for a value, or raise a `ValidationError`."""
        try:
            return self._converter.dump(value)
        except (ValueError, TypeError) as error:
            raise self._unfit(f"the value for {key!r}", key, error) from error

    def check_patched(self, key: str, value: JSON) -> None:
        """Check the JSON that a patch makes of a stored value, or raise a `ValidationError`."""
        try:
            self._converter.load(value)
        except (ValueError, TypeError) as error:
            raise self._unfit(f"what the patch makes of {key!r}", key, error) from error

    def _unfit(self, what: str, key: str, error: Exception) -> ValidationError:
        message = f"{what} does not fit {type_name(self._model)}: {error}"
        return ValidationError(message, key=key, operation="PutObject")
