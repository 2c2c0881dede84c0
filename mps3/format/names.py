"""Names of keys: what users may say, what a manifest calls them, and back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, cast

from ..errors import ConfigurationError, CorruptionError
from ..types import Ref
from . import limits

SUFFIX: Final = ".runs/"
"""What the names of a manifest's runs have after its own."""
LOG_SUFFIX: Final = ".log/"
"""What the names of its slots and checkpoints have after its own."""
LONGEST: Final = limits.KEY
LONGEST_MANIFEST: Final = LONGEST - len(SUFFIX) - 64 - 33
"""What leaves room for the names of its runs."""
_SCHEME: Final = "s3://"


def check_key(key: object, what: str = "key", longest: int = LONGEST) -> str:
    """Refuse what S3 does not take as an object key.

    Raises:
        TypeError: It is not a text.
        ValueError: It is empty, too long, or not Unicode.
    """
    if not isinstance(key, str):
        raise TypeError(f"a {what} is a str or a Ref, not {type(key).__qualname__}")
    if not key:
        raise ValueError(f"a {what} cannot be empty")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the {what} {key!r} has a lone surrogate, which UTF-8 cannot hold") from None
    if size > longest:
        raise ValueError(f"the {what} {key[:40]!r}… has {size} bytes of UTF-8; at most {longest} are possible")
    return key


def check_bucket(bucket: object) -> str:
    """Refuse what cannot be the name of a bucket.

    Raises:
        TypeError: It is not a text.
        ValueError: It is empty, too long, has a slash, is a dot or two, or is not Unicode.
    """
    if not isinstance(bucket, str):
        raise TypeError(f"a bucket is a str, not {type(bucket).__qualname__}")
    if not _is_bucket(bucket):
        raise ValueError(f"{bucket[:300]!r} is not the name of a bucket")
    return bucket


def check_buckets(buckets: object) -> frozenset[str]:
    """The names of some buckets.

    Raises:
        TypeError: It is not a collection of texts.
        ValueError: One of them cannot be the name of a bucket.
    """
    if isinstance(buckets, str) or not isinstance(buckets, Iterable):
        raise TypeError("buckets is a list of the names of buckets; put the one in brackets")
    return frozenset(check_bucket(bucket) for bucket in buckets)


def _is_bucket(bucket: str) -> bool:
    if not bucket or "/" in bucket or bucket in (".", ".."):
        return False
    try:
        return len(bucket.encode()) <= limits.BUCKET
    except UnicodeEncodeError:
        return False


def name_in(manifest: Ref, bucket: str, key: str) -> str:
    """What a manifest calls a key: the key itself, or a URL where that would not be unambiguous."""
    if bucket == manifest.bucket and not key.startswith(_SCHEME):
        return key
    return f"{_SCHEME}{bucket}/{key}"


def are_plain(manifests: Iterable[Ref], bucket: str, keys: Collection[object]) -> bool:
    """Return whether all of many keys of a bucket are valid, and named as they are, as nearly all keys are.

    Args:
        manifests: The manifests whose own objects no key may have, with their buckets.
        bucket: The bucket.
        keys: The keys.
    """
    if set(map(type, keys)) != {str}:
        return False
    texts = cast("Collection[str]", keys)
    # The beginning of a key is where a text begins; a key with such a mark itself is looked at more closely.
    together = "\0" + "\0".join(texts)
    try:
        together.encode()
    except UnicodeEncodeError:
        return False
    own = {manifest.key for manifest in manifests if manifest.bucket == bucket}
    prefixes = (_SCHEME, *(key + suffix for key in own for suffix in (SUFFIX, LOG_SUFFIX)))
    lengths = list(map(len, texts))
    return (
        min(lengths) > 0
        and max(lengths) <= LONGEST // 4  # so many characters have at most four times as many bytes
        and own.isdisjoint(texts)
        and not any("\0" + prefix in together for prefix in prefixes)
    )


def is_own(manifest: Ref, bucket: str, key: str) -> bool:
    """Whether the manifest itself is kept at a place, or one of its runs."""
    return bucket == manifest.bucket and (
        key == manifest.key or key.startswith((manifest.key + SUFFIX, manifest.key + LOG_SUFFIX))
    )


class Names:
    """The valid names of keys in one manifest: those that a write through the public API makes.

    Args:
        manifest: The manifest, with its bucket.
    """

    def __init__(self, manifest: Ref) -> None:
        self._manifest = manifest
        self._prefixes = (_SCHEME, manifest.key + SUFFIX, manifest.key + LOG_SUFFIX)

    def prefixes_to_check(self) -> tuple[str, ...]:
        """Return the prefixes of all names that may be invalid, except for those that are empty or too long."""
        return (*self._prefixes, self._manifest.key)

    def __contains__(self, name: str) -> bool:
        if len(name) <= limits.KEY // 4 and not name.startswith(self._prefixes) and name != self._manifest.key:
            return name != ""
        own = self._manifest.bucket or ""
        bucket, key = own, name
        if name.startswith(_SCHEME):
            bucket, _, key = name.removeprefix(_SCHEME).partition("/")
            if bucket == own and not key.startswith(_SCHEME):
                return False  # the key itself is its name
        fits = key != "" and len(key.encode()) <= limits.KEY
        return fits and _is_bucket(bucket) and not is_own(self._manifest, bucket, key)

    def invalid(self, names: Iterable[str]) -> list[str]:
        """Return the invalid ones among some names."""
        return [name for name in names if name not in self]


def check_not_own(manifest: Ref, bucket: str, key: str) -> None:
    """Refuse a value at a place where the manifest itself is kept.

    Raises:
        ConfigurationError: It is such a place.
    """
    if is_own(manifest, bucket, key):
        raise ConfigurationError(
            f"the key {key!r} is where the manifest s3://{bucket}/{manifest.key} is kept: choose another key",
            bucket=bucket,
            key=key,
        )


class Naming:
    """What the keys of a manifest are called by its users: a key of another bucket is ``s3://bucket/key``.

    Args:
        manifest: The manifest, with its bucket.
        default: The bucket of keys that name none.
    """

    def __init__(self, manifest: Ref, default: str) -> None:
        self._manifest = manifest
        self._default = default

    def place(self, name: str) -> tuple[str, str]:
        """The bucket and the key that the manifest means by a name.

        Raises:
            CorruptionError: It means none.
        """
        if not name.startswith(_SCHEME):
            return self._manifest.bucket or self._default, name
        bucket, _, key = name.removeprefix(_SCHEME).partition("/")
        if not bucket or not key:
            raise CorruptionError(
                f"the manifest s3://{self._manifest.bucket}/{self._manifest.key} names {name!r}, which is no key",
                bucket=self._manifest.bucket,
                key=self._manifest.key,
            )
        return bucket, key

    def elsewhere(self, names: Iterable[str], allowed: Collection[str]) -> list[str]:
        """Those among some names that stand for keys in other buckets than the manifest's, and than those allowed."""
        own = self._manifest.bucket or self._default
        places = ((name, self.place(name)[0]) for name in names)
        return [name for name, bucket in places if bucket != own and bucket not in allowed]

    def label(self, name: str) -> str:
        """What users call it.

        Raises:
            CorruptionError: It is no name.
        """
        bucket, key = self.place(name)
        return key if bucket == self._default else f"{_SCHEME}{bucket}/{key}"

    @property
    def keeps_order(self) -> bool:
        """Whether names are in the order of their labels: these are the names."""
        return self._manifest.bucket == self._default

    def prefixes(self, prefix: str) -> list[str]:
        """What all names begin with whose label begins with ``prefix``. Other names may begin so, too."""
        found = {prefix, f"{_SCHEME}{self._default}/{prefix}"}
        if self._manifest.bucket != self._default:
            own = f"{_SCHEME}{self._manifest.bucket}/"
            if prefix.startswith(own):
                found.add(prefix.removeprefix(own))
            elif own.startswith(prefix):
                found.add("")
        return sorted(one for one in found if not any(one != other and one.startswith(other) for other in found))

    def matches(self, prefix: str) -> Callable[[str], bool]:
        """Whether the label of a name begins with ``prefix``."""
        if not prefix and self._manifest.bucket == self._default:
            return lambda _: True
        return lambda name: self.label(name).startswith(prefix)
