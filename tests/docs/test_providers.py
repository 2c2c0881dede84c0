"""The tables of docs/providers.md say what the records of the doctor say."""

from __future__ import annotations

import pytest
from docs.providers_table import PAGE, filled_in

from mps3.doctor.known.records import known_stores
from mps3.storage.s3 import vendors

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


def test_the_tables_are_those_of_the_records():
    page = PAGE.read_text(encoding="utf-8")
    assert filled_in(page) == page, "run: python tests/docs/providers_table.py"


def test_every_row_says_how_it_is_known():
    for store in known_stores():
        assert store.tried is not None or store.source, store.name


def test_every_vendor_with_settings_of_its_own_is_in_the_other_table():
    section = PAGE.read_text(encoding="utf-8").split("## What is set by default")[1].split("\n## ")[0]
    ordinary = vendors.Vendor("", "")
    for vendor in vendors._KNOWN:
        settings = (vendor.addressing, vendor.region, bool(vendor.headers), "region>" in vendor.host)
        if settings != (ordinary.addressing, None, False, False):
            assert vendor.name.split(" ")[0] in section, vendor.name
