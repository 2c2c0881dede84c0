"""Positional arguments: which of them is the URL of a store, and which parameters the others are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

_SCHEMES: Final = ("s3:", "gs:", "az:", "file:", "memory:")
_URL: Final = re.compile(r"\s*(?:(s3|gs|az|file|memory):|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_EXAMPLES: Final = "s3://bucket/manifest.json or file:///some/directory"


def no_store() -> click.UsageError:
    """Return the error for a command that is not told which store to use."""
    return click.UsageError(f"which store? Its URL comes first, or is in MPS3_URL: {_EXAMPLES}")


def looks_like_url(word: str) -> bool:
    """Return whether a word looks like a URL, of a store or of something else."""
    return _URL.match(word) is not None


@dataclass(frozen=True, slots=True)
class Positionals:
    """The arguments that a command takes besides the URL of the store, as in ``KEY [VALUE]`` or ``KEY...``.

    Attributes:
        needed: Names of the required arguments.
        optional: Names of the optional arguments.
        many: Whether the last one may be repeated; its value is a list then.
        creates: Whether a key that does not exist is created.
    """

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    many: bool
    creates: bool = False

    @classmethod
    def read(cls, usage: str, *, creates: bool = False) -> Positionals:
        """Parse a usage line."""
        parts = usage.split()
        names = [part.strip("[].").lower() for part in parts]
        needed = sum(not part.startswith("[") for part in parts)
        return cls(tuple(names[:needed]), tuple(names[needed:]), usage.endswith("..."), creates)

    def split(self, words: Sequence[str], url: str | None) -> tuple[str | None, dict[str, Any]]:
        """Return the URL, and the other arguments by their names.

        The first word is the URL if it looks like one, unless ``--url`` is given, or the word is needed for a required
        argument and the environment has a URL. If the command takes no other argument, it is the URL in any case. A
        URL that is not one of a store is refused, and not taken for a prefix.

        Args:
            words: The words on the command line.
            url: The value of ``--url``.

        Raises:
            click.UsageError: There are too few words, or too many; one of them is not UTF-8; or the first one is a URL
                of something else.
        """
        left = list(words)
        default = os.environ.get("MPS3_URL")
        if url is None and left:
            spare = len(left) > len(self.needed) or not default
            alone = not self.needed and not self.optional
            if alone or (spare and looks_like_url(left[0])):
                url = left.pop(0)
                if not alone:
                    _check_scheme(url)
            elif (self.optional or self.creates) and len(left) == len(self.needed) and looks_like_url(left[0]):
                # If the key was forgotten, this must not write to the store that the environment names.
                name = self.needed[0].upper()
                raise click.UsageError(f"{name} is missing; for one that looks like a URL, give the store with --url")
        if url is None:
            url = default
        if len(left) < len(self.needed):
            missing = " and ".join(name.upper() for name in self.needed[len(left) :])
            raise click.UsageError(f"{missing} is missing")
        names = self.needed + self.optional
        if len(left) > len(names) and not self.many:
            if url is None:
                raise no_store()
            raise click.UsageError(f"unexpected argument {left[len(names)]!r}")
        found: dict[str, Any] = dict.fromkeys(names)
        found.update(zip(names, left, strict=False))
        if self.many:
            found[names[-1]] = left[len(names) - 1 :]
        for name in found.keys() & {"key", "prefix"}:
            _check_text(name, found[name])
        return url, found


def _check_text(name: str, given: str | list[str] | None) -> None:
    for word in given if isinstance(given, list) else filter(None, [given]):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"{name.upper()} {word!r} is not UTF-8, as all keys are") from None


def _check_scheme(url: str) -> None:
    found = _URL.match(url)
    if found is None or found[1] is None:
        raise click.UsageError(
            f"which store? {url!r} is not the URL of one: {_EXAMPLES}; for a key or a prefix that looks like a URL, "
            "give the store with --url"
        )


def rejoin_urls(words: Sequence[str]) -> list[str]:
    """Return the words with each URL in one piece: bash splits them at each ``:`` and ``=``. Pure."""
    found: list[str] = []
    for word in words:
        before = found[-1] if found else ""
        begun = f"{before}:" in _SCHEMES and word == ":"
        in_url = before.startswith(_SCHEMES) and (word == "=" or before.endswith((":", "=")))
        if begun or in_url:
            found[-1] += word
        else:
            found.append(word)
    return found
