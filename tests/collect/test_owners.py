"""Which manifests a value belongs to, as its metadata say."""

from __future__ import annotations

import pytest
from helpers import AWKWARD_KEYS

from mps3 import Ref
from mps3.content.owner_metadata import owner_metadata, owners_of


@pytest.mark.parametrize("key", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS)
def test_owners_come_back(key):
    refs = (Ref("m", "b"), Ref(key[:100], "other-bucket"))
    says = owner_metadata(refs, "bucket", key)
    assert owners_of(says, "bucket", key) == refs
    assert all(value.isascii() and value.isprintable() and " " not in value for value in says.values())
    assert owners_of(says, "bucket", f"{key}x") == owners_of(says, "other", key) == ()


@pytest.mark.parametrize("names", ["", ",", "b", "b/", "/k", "b/k,", "b/%ff", "b/k,/"])
def test_whatever_else_is_said_is_nobodys(names):
    place = owner_metadata([Ref("m", "b")], "bucket", "key")["mps3place"]
    assert owners_of({"mps3manifests": names, "mps3place": place}, "bucket", "key") == ()


def test_owners_of_earlier_values():
    ref = Ref("m", "b")
    says = owner_metadata([ref], "bucket", "key")
    earlier = {"mps3-manifests": says["mps3manifests"], "mps3-place": says["mps3place"]}
    assert owners_of(earlier, "bucket", "key") == (ref,)
    assert owners_of(earlier, "bucket", "copy") == ()


def test_names_are_identifiers():
    assert all(name.isidentifier() for name in owner_metadata([Ref("m", "b")], "bucket", "key"))


def test_too_many_manifests_are_not_said():
    assert owner_metadata([Ref("m" * 900, "b"), Ref("n" * 900, "b")], "bucket", "key") == {}
