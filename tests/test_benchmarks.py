"""The benchmarks count right, judge right and write their page; how long anything takes is not looked at."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import former
import pytest
from bars import bars
from dataset import MILLION, Names, entry_bytes, names
from keys_page import arithmetic, few
from meter import LISTING_XML, VERSION_XML, MeteredStorage, Tally
from page import dollars, parts, write
from processes import DistantStorage, UnfinishedError, apart, isolated, served
from results import JOURNALS, Results, Row, named
from scenarios import collection, contention, keys, merging, operations, resources, sizes, wakes
from virtual import Place
from wire import CountingProxy

from mps3 import MPS3, ConflictError, MemoryStorage, UnavailableError
from mps3.storage import ABSENT, UNCHANGED, Object

# Forks, of a process in which a former test may have left an idle thread.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


async def test_the_meter_charges_bodies_and_listings():
    meter = MeteredStorage(MemoryStorage())
    stored = await meter.put("bucket", "key", b"12345")
    await meter.get("bucket", "key")
    assert await meter.get("bucket", "key", if_none_match=stored.etag) is UNCHANGED
    assert await meter.get("bucket", "manifest.json") is ABSENT
    await meter.put("bucket", "manifest.json.runs/0", b"123")
    await meter.versions("bucket", "key")
    with pytest.raises(ConflictError):
        await meter.put("bucket", "key", b"1", if_none_match=True)
    tally = meter.take()
    assert meter.take().count() == 0
    assert tally.count() == 7
    assert tally.select("PUT", "value", 200).up == 5
    assert tally.select("PUT", "run").up == 3
    assert tally.count("PUT", status=412) == 1
    assert tally.select("GET", "value").down == 5
    assert tally.count("GET", "value", 304) == tally.count("GET", "manifest", 404) == 1
    assert tally.select("LIST").down == LISTING_XML + VERSION_XML
    assert Tally(tally.rows()).rows() == tally.rows()
    assert (tally + tally).bodies == 2 * tally.bodies
    assert tally.bodies_as_s3 == tally.bodies


async def test_methods_that_a_storage_need_not_have_are_counted_too():
    class More(MemoryStorage):
        async def sweep(self, bucket: str) -> str:
            return bucket

    meter = MeteredStorage(More())
    assert await meter.sweep("bucket") == "bucket"
    assert meter.take().count("OTHER") == 1
    assert meter.opened == 0


@pytest.mark.server
async def test_the_proxy_counts_what_the_meter_counts(bucket, s3_config, complete_listings):
    async with (
        CountingProxy(s3_config["endpoint_url"]) as proxy,
        MPS3(
            bucket, s3_config=s3_config | {"endpoint_url": proxy.url}, journal="merge", poll_interval=60, inline=0
        ) as client,
    ):
        await client.put("key", "value")
        proxy.meter.take()
        await client.put("key", "other")
        tally = proxy.meter.take()
    assert tally.count("PUT", "value") == tally.count("PUT", "manifest") == tally.count("LIST", "manifest") == 1
    assert tally.select("PUT", "value").up == len(b'"other"')
    assert tally.select("LIST").listed == 2
    assert tally.select().heads > 3 * 100
    assert proxy.max_keys >= 2


def test_time_is_virtual_and_goes_on():
    place = Place(latency=0.03)

    async def main() -> float:
        await asyncio.sleep(3600)
        return place._now()

    assert place.run(main) + 3600 <= place.run(main)


@pytest.mark.parametrize(("journal", "requests"), [("log", ["PUT"]), ("merge", ["PUT", "LIST"])])
def test_a_put_costs_requests_of_the_latency_each(journal, requests):
    place, keys = Place(journal, latency=0.03), names(10)
    row = sizes.put(place, keys, 20)
    assert [row.tally.count(kind, "manifest") for kind in requests] == [20] * len(requests)
    assert row.facts["requests, median"] == len(requests)
    assert row.seconds / row.operations == pytest.approx(0.03 * len(requests), rel=0.2)
    assert dollars(row) == pytest.approx(5 * row.per_operation())


@pytest.mark.parametrize("journal", JOURNALS)
def test_the_operations_are_counted_and_judged(journal, monkeypatch):
    monkeypatch.setattr(operations, "KEYS", 20)
    monkeypatch.setattr(operations, "MANY", 50)
    results = Results()
    results.add(*operations.at_the_seam(Place(journal)), operations.after_single_puts(Place(journal), 30))
    assert {row.scenario for row in results.rows} == {*operations.OPERATIONS, "get_all after single puts"}
    assert results.find("awaited put").facts["round trips"] == pytest.approx(1 if journal == "log" else 2)
    judged = {bar.what: bar.found[journal] for bar in bars(results, 10)}
    (update,) = [found for what, found in judged.items() if what.startswith("`update`")]
    assert update.holds is (journal == "log")
    assert update.verdict == ("within the bar" if journal == "log" else "")


def test_writers_contend_take_turns_and_are_slowed_down():
    results = Results()
    results.add(contention.turns(Place(), 6), contention.paced(Place(), 1, 4), contention.at_the_seam(Place(), 4, 3))
    assert results.find("turns").per_operation() == 1
    assert results.find("paced of 1").facts["commits a second"] > 20
    row = results.find("contention of 4")
    assert row.facts["lost"] == 0
    assert row.facts["PUTs"] >= 1
    assert row.facts["median"] <= row.facts["p95"]


async def test_a_paced_store_refuses_what_comes_too_soon():
    storage = contention.PacedStorage(MemoryStorage())
    await storage.put("bucket", "key", b"1")
    await storage.put("bucket", "other", b"1")
    with pytest.raises(UnavailableError, match="429"):
        await storage.put("bucket", "key", b"2")


@pytest.mark.parametrize("journal", JOURNALS)
def test_scenarios_run_and_are_judged(journal):
    place, keys = Place(journal), names(10)
    results = Results()
    results.add(sizes.put(place, keys, 5), sizes.put_all(place, keys, 10, 2), sizes.cold_open(place, keys))
    results.add(sizes.change(place, keys), sizes.idle(place, keys, 1), contention.at_the_seam(place, 3, 2))
    assert results.find("put_all of 10").tally.count("PUT", "manifest") == 2  # small values are in the commits
    judged = {bar.what: bar.found[journal] for bar in bars(results, 10)}
    (change,) = [found for what, found in judged.items() if what.startswith("a change")]
    assert change.measured == ("1 GET" if journal == "log" else "1 GET, 1 listing")
    assert any(found.verdict == "NOT MEASURED" for found in judged.values())


def test_a_missed_bar_is_called_so():
    results = Results()
    results.add(Row("memory", 10, facts={"MB": 251.0}), Row("open", 10, tally=Tally([("GET", "run", 200, 61, 0, 0)])))
    results.skip(named("loop stops", "log"), 10, "no time")
    found = [bar.found["log"] for bar in bars(results, 10)]
    judged = {one.measured: one.verdict for one in found}
    assert judged["MB 251.0"] == "misses it"
    assert judged["no time"] == "NOT MEASURED"


def test_entries_are_as_long_as_they_are_stored():
    keys = names(300)
    place = Place("merge")

    async def main() -> int:
        async with place.client(place.meter()) as client:
            await client.put_all(dict.fromkeys(keys, 123456))
        found = await place.storage.get("bucket", "manifest.json")
        assert isinstance(found, Object)
        return len(found.body)

    assert entry_bytes(keys) == pytest.approx(place.run(main), rel=0.05)


def test_keys_are_made_when_they_are_asked_for():
    some = names(1_000)
    assert len(set(some)) == len(some) == 1_000
    assert isinstance(some[:10], Names)
    assert list(some[:10]) == [some[place] for place in range(10)]
    assert sum(name.startswith(some.prefix(100)) for name in some) == 100
    assert names(MILLION + 10)[5] == names(MILLION)[5]


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_few_of_many_keys_are_read_and_judged(journal, monkeypatch):
    monkeypatch.setattr("mps3.journal.run_pieces.PREFETCH", 1_000)
    monkeypatch.setattr("mps3.journal.run_reader.SMALL", 1_000)
    monkeypatch.setattr(keys, "COLD", 2)
    monkeypatch.setattr(keys, "ABSENT", 5)
    place, some = Place(journal), names(3_000)

    async def fill() -> None:
        async with place.client(place.meter()) as client:
            for start in range(0, len(some), 1_000):
                await client.put_all(dict.fromkeys(some[start : start + 1_000], 7))

    place.run(fill)
    results = Results()
    results.add(keys.settle(place, some), keys.shape(place, some), keys.opening(place, some), keys.get(place, some))
    results.add(keys.absent(place, some), keys.page(place, some), *keys.prefix(place, some))
    shape = results.find("shape").facts
    assert shape["entries"] >= len(some) - keys.SETTLING
    assert shape["parts"] >= shape["runs"] >= 1
    get = results.find("get")
    assert get.operations == 2
    assert get.tally.count("GET", "run") >= 2
    assert results.find("get_all of a prefix").facts["values"] == keys.VALUES
    assert results.find("get_all of numbers").facts["values"] == 1_000
    judged = {bar.what: bar.found[journal] for bar in bars(results, 3_000)}
    found = [one for what, one in judged.items() if "in an idle store" in what]
    assert len(found) == 4
    assert all(one.judged and one.holds is not None for one in found)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, which tells how much memory it takes")
def test_two_runs_are_merged_in_another_process():
    row = merging.merge(300_000, 60)
    assert row.facts["MB merged"] >= 0.6
    assert 0.5 < row.facts["MB stored"] / row.facts["MB merged"] < 1
    assert row.facts["MB more at the peak"] >= 0
    results = Results()
    results.add(row)
    (bar,) = [bar for bar in bars(results, 10) if bar.what.startswith("merging two runs")]
    assert bar.found["log"].judged


def test_what_was_before_stands_beside_what_is_now():
    before = former.find("opening", "log", 1_000_000)
    assert before is not None
    assert before.requests == 16
    assert former.find("opening", "log", 7) is None
    results = Results()
    results.add(
        Row("opening", 1_000_000, tally=Tally([("GET", "run", 200, 3, 0, 500_000)])),
        Row("memory of one key", 1_000_000, facts={"MB": 1.5}),
        Row("load", 1_000_000, facts={"CPU, seconds": 6.5, "written, of the entries": 1.0}),
        *(
            Row(
                "put",
                count,
                tally=Tally([("PUT", "manifest", 200, 1, sent, 0)]),
                facts={"requests, median": 1.0, "bytes sent, median": float(sent)},
            )
            for count, sent in ((10, 100), (1_000_000, 301))
        ),
    )
    table = few(results)
    assert "| opening | log | 1,000,000 | 16 | 78.1 MB | 3 | 500.0 kB |" in table
    assert "| 81.4 MB |  | 1.5 MB |" in table
    assert "| 6.90 s | 0 | 6.50 s |" in table
    judged = {bar.what: bar.found["log"] for bar in bars(results, 1_000_000)}
    (fast,) = [found for what, found in judged.items() if "CPU that it took before the blocks" in what]
    assert fast.verdict == "within the bar"
    (grown,) = [found for what, found in judged.items() if what.startswith("bytes sent by an awaited put")]
    assert grown.measured == "301 B, 3.01x"
    assert grown.verdict == "misses it"


def test_more_keys_are_computed_from_those_measured():
    results = Results()
    for count, objects in ((1_000_000, 40), (10_000_000, 400)):
        facts = {
            "runs": 1,
            "parts": objects,
            "entries": count,
            "bytes of indexes": 2 * count,
            "bytes of blocks": 10 * count,
        }
        results.add(
            Row("shape", count, facts={**facts, "bytes of references": 300 * objects}),
            Row("opening", count, tally=Tally([("GET", "run", 200, 3, 0, 500_000 + 300 * objects)])),
            Row("memory of one key", count, facts={"MB": objects / 40}),
            Row("get", count, tally=Tally([("GET", "run", 200, 3, 0, 70_000)])),
        )
    lines = {line.split(" | ")[0].strip("| "): line for line in arithmetic(results).splitlines()}
    assert "| 3 | 3 | 4 | 4 |" in lines["opening: requests"]  # a checkpoint of more than a megabyte is asked for twice
    assert "| 40 | 400 | 4,000 | 40,000 |" in lines["objects of runs"]
    assert "| yes | yes | yes | **no** |" in lines["a manifest may name so many (at most 10,000)"]
    assert "| 1 MB | 10 MB | 100 MB | 1,000 MB |" in lines["a client that has read one key: memory"]
    assert arithmetic(Results()).startswith("Not measured")


def test_work_elsewhere_comes_back_or_says_why_not():
    assert isolated(lambda: 7, 10) == 7
    with pytest.raises(UnfinishedError, match="not finished"):
        isolated(partial(time.sleep, 60), 0.1)
    with pytest.raises(UnfinishedError, match="ZeroDivisionError"):
        isolated(lambda: 1 / 0, 10)
    assert apart(partial(divmod, 7, 2), 30) == (3, 1)


async def test_the_heart_notices_who_holds_up_the_loop():
    heart = resources.Heart()
    heart.start()
    await asyncio.sleep(0.01)
    heart.take()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    await asyncio.sleep(0.01)
    worked, wall = heart.take()
    assert 0.09 < worked <= wall
    time.sleep(0.1)
    await asyncio.sleep(0.01)
    slept, wall = heart.take()
    assert slept < 0.09 < wall
    heart.stop()


@pytest.mark.parametrize("journal", JOURNALS)
def test_collecting_takes_what_is_old_and_leaves_what_is_needed(journal, monkeypatch):
    monkeypatch.setattr(collection, "COMMITS", 60)
    monkeypatch.setattr(collection, "BETWEEN", 30_000.0)
    place, keys = Place(journal), names(20)

    async def fill() -> None:
        async with place.client(place.meter(), inline=0) as client:
            await client.put_all(dict.fromkeys(keys, "loaded"))

    place.run(fill)
    results = Results()
    results.add(collection.collect(place, keys))
    (bar,) = [bar for bar in bars(results, 20) if bar.what.startswith("collecting")]
    assert bar.found[journal].verdict == "within the bar"
    row = results.find("collection")
    assert row.tally.count("DELETE") == row.facts["deleted"] > 20
    assert row.tally.count("HEAD") >= row.facts["value versions before"] - row.facts["value versions after"]
    assert row.tally.select("LIST").down > VERSION_XML * row.facts["value versions before"]


@pytest.mark.parametrize("journal", JOURNALS)
def test_wake_ups_and_views_are_measured_and_judged(journal, monkeypatch):
    monkeypatch.setattr(wakes, "HOUR", 600.0)
    monkeypatch.setattr(wakes, "QUERIES", 20)
    monkeypatch.setattr(wakes, "COMMITS", 5)
    monkeypatch.setattr(wakes, "WARMING", 2)
    results = Results()
    results.add(wakes.heard(Place(journal), 20), wakes.idle(Place(journal)), wakes.lied_to(Place(journal), 2))
    results.add(wakes.lost(Place(journal), 40))
    for count in (10, 20):
        place, keys = Place(journal), names(count)

        async def fill(place: Place = place, keys: list[str] = keys) -> None:
            async with place.client(place.meter()) as client:
                await client.put_all(dict.fromkeys(keys, "loaded"))

        place.run(fill)
        results.add(wakes.view(place, keys))
    judged = {bar.what: bar.found[journal] for bar in bars(results, 20)}
    found = [one for what, one in judged.items() if "wake-up" in what]
    assert len(found) == 4 and all(one.holds for one in found if one.judged)
    assert any(what.startswith("a view of all keys") for what in judged)
    assert results.find("view").facts["queries that yielded"] == 1


async def test_a_store_in_another_process_is_the_same_store():
    storage = MemoryStorage()
    large = b"x" * 100_000
    await storage.put("bucket", "large", large)
    with served(storage) as path:
        distant = DistantStorage(path)
        await distant.open()
        found = await distant.get("bucket", "large")
        assert found.body == large
        with pytest.raises(ConflictError):
            await distant.put("bucket", "large", large, if_none_match=True)
        await distant.put("bucket", "large", large[1:])
        assert (await distant.get("bucket", "large")).body == large[1:]
        distant._listening.cancel()
        distant._writer.close()
        await distant._writer.wait_closed()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, which tells how much memory it takes")
def test_a_client_in_another_process_opens_what_is_here():
    place, keys = Place(), names(5_000)  # of few keys a process may keep all in memory that it has already

    async def fill() -> None:
        async with place.client(place.meter(), inline=0) as client:
            await client.put_all(dict.fromkeys(keys, "loaded"))

    place.run(fill)
    row = resources.memory(place, keys, 60)
    assert 0 < row.facts["MB"] <= row.facts["MB at the peak"]


def test_the_page_keeps_what_stands_around_the_parts(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    results = Results()
    results.add(
        Row(
            "put",
            10,
            tally=Tally([("PUT", "value", 200, 2, 10, 0), ("LIST", "manifest", 200, 1, 0, 900)]),
            facts={"requests, median": 3.0, "bytes sent, median": 10.0},
        )
    )
    results.skip(named("memory", "log"), None, "a | in a reason")
    said = parts(results, bars(results, 10), command="a command", store="nothing", latency=0.03)
    write(page, said)
    once = page.read_text(encoding="utf-8")
    assert "a command" in once
    assert "2 PUT, 1 listing" in once
    assert "a \\| in a reason" in once
    assert once.startswith("# Performance")
    write(page, said)
    assert page.read_text(encoding="utf-8") == once
    with pytest.raises(ValueError, match="other"):
        write(page, {"other": ""})


def test_the_plot_is_whole_in_itself(tmp_path):
    pytest.importorskip("matplotlib")
    from plot import draw, draw_keys  # noqa: PLC0415

    results = Results()
    results.add(*(Row("put", keys, tally=Tally([("PUT", "value", 200, 1, 10, 0)])) for keys in (10, 100)))
    draw(results, tmp_path / "a.svg")
    draw(results, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    results.add(Row("opening", 10), Row("memory of one key", 10, facts={"MB": 1.0}))
    draw_keys(results, tmp_path / "c.svg")
    assert "<svg" in (tmp_path / "c.svg").read_text(encoding="utf-8")
