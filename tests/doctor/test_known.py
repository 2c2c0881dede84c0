"""What the doctor says of a store that is known, and that everything that ships about stores is valid."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from in_memory_s3 import InMemoryS3

from mps3 import LocalStorage, MemoryStorage
from mps3.cli import main
from mps3.doctor.comparison import Observed, compare_with
from mps3.doctor.diagnosis import diagnose
from mps3.doctor.findings import Comparison, Diagnosis, Finding
from mps3.doctor.known import records
from mps3.doctor.known.records import KnownStore, known_stores, parse_record
from mps3.storage import Capabilities
from mps3.storage.s3 import vendors
from mps3.storage.s3.server_headers import NAMES
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment

CHECKS = ("ETags", "polling", "describing", "checksums", "keys", "conditions")


def bucket_record(**findings: bool | None) -> dict[str, Any]:
    """What a trial found in a bucket in which all is well, but for these findings."""
    good = dict.fromkeys(CHECKS, True) | {"checksums": None} | findings
    return {
        "doctor": {
            "ready": True,
            "journal": "log",
            "findings": {what: {"good": how, "result": "as it was then"} for what, how in good.items()},
        }
    }


def record(**members: Any) -> dict[str, Any]:
    return {
        "name": "Teststore",
        "order": 1,
        "recognised": {"headers": {"server": r"Teststore/\d+"}},
        "endpoint": "your own",
        "versioning": True,
        "create_if_absent": {"plain": True, "versioned": False},
        "source": "documentation",
        "notes": ["It was made for tests."],
        "tried": None,
    } | members


def trial(**buckets: Any) -> dict[str, Any]:
    return {"version": "1.2", "date": "2026-11-27", "command": "nox -s store -- teststore", "buckets": buckets}


def tried(**buckets: Any) -> dict[str, Any]:
    return record(tried=trial(**buckets))


@pytest.fixture
def known(monkeypatch):
    """Makes these the records of all stores."""

    def make(*documents: dict[str, Any]) -> tuple[KnownStore, ...]:
        stores = tuple(parse_record(document) for document in documents)
        monkeypatch.setattr("mps3.doctor.comparison.known_stores", lambda: stores)
        return stores

    return make


async def examine(storage: Any) -> Diagnosis:
    await storage.open()
    try:
        return await diagnose(
            storage, "bucket", "manifest.json", journal="auto", poll_interval=1.0, environment=Environment()
        )
    finally:
        await storage.aclose()


async def comparison(server: InMemoryS3) -> Comparison:
    async with server:
        found = await examine(S3Storage(server.s3_config))
    assert found.known is not None
    return found.known


def server(says: str = "Teststore/1", **options: Any) -> InMemoryS3:
    return InMemoryS3(says={"Server": says}, versioning="Off", **options)


# What is said ---------------------------------------------------------------------------------------------------------


async def test_as_it_was_tried(known):
    known(tried(plain=bucket_record()))
    found = await comparison(server())
    assert (found.store, found.recognised_by, found.headers) == ("Teststore", "responses", {"server": "Teststore/1"})
    assert (found.tried_version, found.tried_date) == ("1.2", "2026-11-27")
    assert (found.differences, found.advice, found.notes) == ([], "", ("It was made for tests.",))


async def test_a_store_that_does_less(known):
    known(tried(plain=bucket_record()))
    found = await comparison(server(conditions=False))
    assert [(one.what, one.worse) for one in found.differences] == [("create-if-absent", True)]
    assert "does less than is known" in found.advice


async def test_a_store_that_does_more(known):
    known(tried(plain=bucket_record(conditions=False)))
    found = await comparison(server())
    assert [(one.what, one.worse) for one in found.differences] == [("create-if-absent", False)]
    assert "Another version" in found.advice


async def test_a_proxy_that_changes_etags(known):
    known(tried(plain=bucket_record()))
    found = await comparison(server(etag_of_get=lambda etag: f"W/{etag}"))
    assert [(one.what, one.worse) for one in found.differences] == [("ETags", True)]
    assert "weak" in found.differences[0].found


async def test_each_kind_of_bucket_is_compared_with_its_own(known):
    known(tried(plain=bucket_record(), versioned=bucket_record(conditions=None)))
    versioned = InMemoryS3(says={"Server": "Teststore/1"}, conditions=False)
    assert (await comparison(versioned)).differences == []
    assert [one.what for one in (await comparison(server(conditions=False))).differences] == ["create-if-absent"]


async def test_a_kind_of_bucket_that_was_not_tried_is_compared_with_what_is_documented(known):
    known(tried(plain=bucket_record()))
    assert (await comparison(InMemoryS3(says={"Server": "Teststore/1"}, conditions=False))).differences == []
    found = await comparison(InMemoryS3(says={"Server": "Teststore/1"}))
    assert [one.what for one in found.differences] == ["create-if-absent"]


async def test_by_documentation(known):
    known(record())
    found = await comparison(server())
    assert (found.tried_version, found.tried_date, found.source) == (None, None, "documentation")
    assert found.differences == []


async def test_versions_that_were_not_known_of(known):
    known(record(versioning=False))
    found = await comparison(InMemoryS3(says={"Server": "Teststore/1"}))
    assert ("versioning", "enabled") in [(one.what, one.found) for one in found.differences]


async def test_versions_that_are_missing(known):
    known(record())
    observed = Observed(Capabilities("off", versionable=False), creates=True)
    found = compare_with(known(record()), "unknown", {"server": "Teststore/1"}, observed, [])
    assert [(one.what, one.worse) for one in found.differences] == [("versioning", True)]


async def test_a_bucket_whose_versioning_is_suspended_is_of_neither_kind(known):
    observed = Observed(Capabilities("suspended"), creates=False)
    assert compare_with(known(record()), "", {"server": "Teststore/1"}, observed, []).differences == []


async def test_a_permission_that_is_missing_is_no_difference(known):
    stores = known(tried(plain=bucket_record()))
    findings = [Finding("describing", False, "403"), Finding("conditions", False, "403")]
    observed = Observed(Capabilities("off"), creates=None)
    assert compare_with(stores, "", {"server": "Teststore/1"}, observed, findings).differences == []


async def test_nothing_is_known(known):
    known(record())
    found = await comparison(server("Otherstore/1"))
    assert (found.store, found.differences, found.headers) == (None, [], {"server": "Otherstore/1"})


async def test_the_endpoint_counts_more_than_headers(known):
    vendor = record(name="Vendor", recognised={"vendor": "Vendor"}, order=2)
    stores = known(record(), vendor)
    found = compare_with(stores, "Vendor", {"server": "Teststore/1"}, Observed(), [])
    assert (found.store, found.recognised_by) == ("Vendor", "endpoint")


async def test_more_headers_that_match_count_more(known):
    both = record(name="Both", order=2, recognised={"headers": {"server": "Test.*", "x-trans-id": "tx.*"}})
    stores = known(record(), both)
    assert compare_with(stores, "", {"server": "Teststore/1", "x-trans-id": "tx1"}, Observed(), []).store == "Both"
    assert compare_with(stores, "", {"server": "Teststore/1"}, Observed(), []).store == "Teststore"
    assert compare_with(stores, "", {"server": "my Teststore/1"}, Observed(), []).store is None


@pytest.mark.parametrize("kind", ["memory", "local"])
async def test_memory_and_directories_are_no_stores_to_be_recognised(kind, tmp_path):
    storage = MemoryStorage(versioning=False) if kind == "memory" else LocalStorage(tmp_path, versioning=False)
    assert (await examine(storage)).known is None


# The command ----------------------------------------------------------------------------------------------------------


async def said(server: InMemoryS3, capsys: Any, form: str) -> str:
    async with server:
        url = "s3://bucket/m?" + urlencode(server.s3_config)
        assert await asyncio.to_thread(main, ["doctor", form, url]) in (0, 1)
    return capsys.readouterr().out


async def test_for_people(known, capsys):
    known(tried(plain=bucket_record()))
    text = await said(server(), capsys, "--no-json")
    assert "as known of Teststore, tried with version 1.2 on 2026-11-27 (nox -s store -- teststore)\n" in text
    assert "  It was made for tests.\n  its responses say server: Teststore/1\n" in text
    text = await said(server(conditions=False), capsys, "--no-json")
    assert "warning: different from what is known of Teststore, tried with" in text
    assert "  create-if-absent: known is that the store enforces it; here: the store does not enforce it\n" in text
    assert "Find out why before you rely on this bucket" in text


async def test_for_people_of_a_store_that_was_not_tried(known, capsys):
    known(record())
    assert "as known of Teststore, by documentation, and not tried\n" in await said(server(), capsys, "--no-json")
    assert "nothing is known of this store\n" in await said(server("x"), capsys, "--no-json")


async def test_for_programs(known, capsys):
    known(tried(plain=bucket_record()))
    found = json.loads(await said(server(conditions=False), capsys, "--json"))["known"]
    assert (found["store"], found["tried_version"]) == ("Teststore", "1.2")
    assert [one["what"] for one in found["differences"]] == ["create-if-absent"]


@pytest.mark.parametrize("form", ["--json", "--no-json"])
async def test_what_a_hostile_server_says_of_itself(known, capsys, form):
    known(record(recognised={"headers": {"server": r"(?s:.*)"}}))
    wild = "S\x9b2Jready\u202e https://user:secret@host/?token=secret " + "y" * 3000
    text = await said(server(wild), capsys, form)
    assert "secret" not in text and "y" * 100 not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text)


# What ships -----------------------------------------------------------------------------------------------------------

FILES = sorted(Path(records.__file__).parent.glob("*.json"))


def test_every_file_is_a_record():
    stores = known_stores()
    assert len(stores) == len(FILES) > 15
    assert len({store.name for store in stores}) == len(stores)


def test_every_vendor_is_known_and_no_other():
    named = {store.vendor for store in known_stores()} - {None}
    assert named == {vendor.name for vendor in vendors._KNOWN}


def test_the_headers_of_a_record_are_remembered_ones():
    assert {name for store in known_stores() for name in store.headers} <= {*NAMES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_was_tried_was_recognised_by_what_it_said(path):
    """Where the trial kept the headers of the store's responses, they show which store it is, and no other."""
    store = parse_record(json.loads(path.read_text(encoding="utf-8")))
    for bucket in () if store.tried is None else store.tried.buckets.values():
        said = bucket.results["doctor"].get("headers")
        if store.headers and said:
            assert compare_with(known_stores(), "unknown", said, Observed(), []).store == store.name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "not an object"),
        (record(name=1), "name is no str"),
        (record(order=True), "order is no int"),
        (record(more=1), "nothing is known of more"),
        (record(source=None), "source is no str"),
        ({name: value for name, value in record().items() if name != "endpoint"}, "endpoint is missing"),
        (record(recognised={"host": "x"}), "recognised: nothing is known of host"),
        (record(recognised={"headers": {"server": "("}}), "missing \\)"),
        (record(create_if_absent={"plain": "yes"}), "plain is no bool"),
        (record(words={"endpoint": "x"}), "words: nothing is known of endpoint"),
        (record(notes=[1]), "notes: not only strings"),
        (record(tried=trial(other={})), "other is no kind of bucket"),
        (record(tried=trial() | {"date": "today"}), "not a date"),
        (record(tried=trial(plain={"doctor": {"ready": True}})), "findings is missing"),
    ],
)
def test_what_is_no_record_is_refused(wrong, message):
    with pytest.raises((ValueError, re.error), match=message):
        parse_record(wrong)
