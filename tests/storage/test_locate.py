"""The storage that a URL names."""

from __future__ import annotations

import pytest

from mps3 import ConfigurationError, LocalStorage, MemoryStorage
from mps3.storage.lazy import LazyStorage
from mps3.storage.locate import locate
from mps3.storage.url import Location, parse
from mps3.support.environment import Environment


@pytest.mark.parametrize(
    ("url", "kind"),
    [("s3://bucket", LazyStorage), ("file:///some/dir", LocalStorage), ("memory:of-this-test", MemoryStorage)],
)
def test_each_scheme_of_a_url_has_a_storage(url, kind):
    assert isinstance(locate(parse(url), Environment()), kind)


def test_a_scheme_without_a_storage_is_refused():
    with pytest.raises(ConfigurationError, match="no storage for the scheme 'ftp'"):
        locate(Location("ftp", "bucket", "manifest.json"), Environment())
