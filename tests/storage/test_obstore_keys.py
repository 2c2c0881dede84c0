"""The names of objects on services that obstore reaches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mps3.storage.obstore.keys import folder_of, key_of, name_of
from mps3.testing.conformance.objects import AWKWARD, CONTROL

KEYS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("/.%2FEe\\ "), min_size=1, max_size=12)


@pytest.mark.parametrize("key", ["manifest.json", "docs/a b+c&=?#é.json", "k@mps3-0123", "a.b/c", ".hidden", "日本語"])
def test_a_usual_key_is_its_own_name(key):
    assert name_of(key) == key


@pytest.mark.parametrize("key", [*AWKWARD, *CONTROL])
def test_every_key_comes_back(key):
    assert key_of(name_of(key)) == key


@given(KEYS)
def test_any_key_has_a_name_that_services_take(key):
    name = name_of(key)
    assert key_of(name) == key
    assert not any(part in ("", ".", "..") or part.endswith(".") for part in name.split("/"))
    assert "\\" not in name and all(" " <= letter != "\x7f" for letter in name)


@given(KEYS, KEYS)
def test_no_two_keys_have_one_name(one, other):
    assert (name_of(one) == name_of(other)) == (one == other)


@given(KEYS, KEYS)
def test_a_listing_reads_the_folder_that_has_all_keys_with_a_prefix(prefix, rest):
    folder = folder_of(prefix)
    assert not folder or name_of(prefix + rest).startswith(f"{folder}/")


@pytest.mark.parametrize("name", ["50%.json", "a%2eb", "a%41", "a//b", "%ff", "%2F%2F", "."])
def test_what_others_have_made_under_another_name_has_no_key(name):
    assert key_of(name) is None
