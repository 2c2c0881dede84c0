"""Values of a type of the user's own, converted and checked by pydantic or msgspec, whichever is there.

Neither is required, and nothing is checked by hand here: for a pydantic model it is pydantic, for a
`msgspec.Struct` it is msgspec, and for a dataclass, a ``TypedDict`` or any other annotation, pydantic if it is
installed and else msgspec.
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
    """Converts values of one type. Both calls raise a ``ValueError`` or a ``TypeError`` for what does not fit."""

    def load(self, value: JSON) -> Any:
        """Make one of JSON."""
        ...

    def dump(self, value: Any) -> JSON:
        """Make JSON of one."""
        ...


class _Pydantic:
    def __init__(self, pydantic: ModuleType, model: Any) -> None:
        self._adapter = pydantic.TypeAdapter(model)

    def load(self, value: JSON) -> Any:
        # As JSON, in which a date is a text and a tuple an array.
        return self._adapter.validate_json(orjson.dumps(value))

    def dump(self, value: Any) -> JSON:
        checked = self._adapter.validate_python(value)
        return cast("JSON", self._adapter.dump_python(checked, mode="json", by_alias=True))


class _Msgspec:
    def __init__(self, msgspec: ModuleType, model: Any) -> None:
        self._msgspec = msgspec
        self._model = model
        msgspec.json.Decoder(model)  # which refuses what is no type

    def load(self, value: JSON) -> Any:
        return self._msgspec.convert(value, self._model)

    def dump(self, value: Any) -> JSON:
        made = self._msgspec.to_builtins(value)
        self._msgspec.convert(made, self._model)
        return cast("JSON", made)


def converter(model: Any) -> Converter:
    """What converts values of a type.

    Raises:
        ConfigurationError: The package that can is not installed, or none can.
    """
    kind = getattr(model, "__mro__", ())
    packages = {part.__module__.partition(".")[0] for part in kind}
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
        except Exception as error:  # noqa: BLE001 - each package has its own
            refused.append(error)
    if refused:
        raise ConfigurationError(f"{type_name(model)} is not a type that can be converted: {refused[0]}") from refused[
            0
        ]
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
    """Converts the values of keys, and says of which one it is that does not fit.

    Args:
        model: The type.
    """

    def __init__(self, model: Any) -> None:
        self._converter = converter(model)
        self._model = model

    def load(self, key: str, value: JSON) -> Any:
        """The value that is stored.

        Raises:
            ValidationError: It does not fit.
        """
        try:
            return self._converter.load(value)
        except (ValueError, TypeError) as error:
            raise ValidationError(
                f"the value of {key!r} does not fit {type_name(self._model)}: {error}", key=key, operation="GetObject"
            ) from error

    def dump(self, key: str, value: Any) -> JSON:
        """The value to store.

        Raises:
            ValidationError: It does not fit.
        """
        try:
            return self._converter.dump(value)
        except (ValueError, TypeError) as error:
            raise ValidationError(
                f"the value for {key!r} does not fit {type_name(self._model)}: {error}", key=key, operation="PutObject"
            ) from error
