"""The numbers on the pages are those of the program: counted at the seam, in virtual time, and found on the page.

A figure that drifts fails here. What takes too long to count again is checked against the table that a benchmark wrote.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import costs
import pytest

from mps3 import MPS3, Increment, MemoryStorage
from mps3.testing import FaultyStorage, VirtualClock, VirtualEnvironment, VirtualLoop
from mps3.testing.faulty import Operation

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
KINDS: dict[str, tuple[Operation, ...]] = {
    "PUT": ("PutObject",),
    "listing": ("ListObjects", "ListObjectVersions"),
    "GET": ("GetObject",),
}
PRICES = {"PUT": 5e-6, "listing": 5e-6, "GET": 0.4e-6}
LATENCY = 0.03
NEVER = 80_000.0
"""Seconds between two looks, where looks are not to be counted."""

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests")


class Place:
    """A store in memory whose requests take as long as those of the page on costs, and its clients."""

    def __init__(self, journal: Literal["merge", "log"] = "merge", *, whole_seconds: bool = False) -> None:
        now = VirtualClock().time
        clock = (lambda: float(int(now()))) if whole_seconds else now
        self.journal: Literal["merge", "log"] = journal
        self.store = FaultyStorage(MemoryStorage(versioning=journal == "merge", clock=clock))
        self.store.delay(LATENCY)
        self._seeds = iter(range(1000))

    def client(self, **options: Any) -> MPS3:
        environment = VirtualEnvironment(seed=next(self._seeds))
        return MPS3("bucket", storage=self.store, journal=self.journal, environment=environment, **options)

    @asynccontextmanager
    async def warm(self, **options: Any):
        """A client that has written, and heard of nothing for a while, and does not look by itself."""
        async with self.client(poll_interval=NEVER) as client:
            await client.put_all({"k": 0, "other": 0})
            await client.get("k")
        async with self.client(**{"poll_interval": NEVER} | options) as client:
            assert await client.get("k") == 0
            yield client

    def counts(self) -> dict[str, int]:
        return {kind: sum(map(self.store.count, operations)) for kind, operations in KINDS.items()}

    async def spent(self, doing: Awaitable[Any]) -> dict[str, int]:
        """The requests of something."""
        before = self.counts()
        await doing
        return {kind: count - before[kind] for kind, count in self.counts().items() if count > before[kind]}


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scenario())


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A page without line breaks."""
    return " ".join(page(name).split())


def rows(name: str) -> list[list[str]]:
    """The cells of all tables of a page."""
    lines = [line for line in page(name).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def row(name: str, label: str, nth: int = 0) -> list[str]:
    return [cells for cells in rows(name) if cells[0] == label][nth]


def requests(cell: str) -> dict[str, int]:
    """What a cell says of requests, by kind."""
    said = re.findall(r"([\d,]+) (PUT|listing|GET)", cell)
    return {kind: int(count.replace(",", "")) for count, kind in said}


def price(made: dict[str, int]) -> float:
    return sum(PRICES[kind] * count for kind, count in made.items())


def dollars(cell: str) -> float:
    """What a cell says that one operation costs."""
    found = re.match(r"\$([\d.]+)(?: a (thousand|million))?$", cell)
    assert found, cell
    return float(found[1]) / {None: 1, "thousand": 1e3, "million": 1e6}[found[2]]


# What the page on costs says of one operation ---------------------------------------------------------------------------------------


async def a_put(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(client.put("k", 2))


async def a_large_put(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(client.put("k", "x" * 1023))


async def a_put_all(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(client.put_all({f"k{number}": number for number in range(100)}))


async def a_thousand_puts(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(asyncio.gather(*(client.put(f"k{number}", number) for number in range(1000))))


async def an_update(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(client.update("k", lambda value: value + 1))


async def a_patch(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", {"n": 1})
        return await place.spent(client.patch("k", {"n": Increment(1), "title": "x"}))


async def a_patch_of_a_large_value(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("large", {"n": 1, "text": "x" * 2000})
    async with place.warm() as client:
        return await place.spent(client.increment("large", path="/n"))


async def a_patch_all(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(client.patch_all({f"k{number}": {"n": Increment(1)} for number in range(100)}))


async def a_thousand_increments(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        await client.put("k", 1)
        return await place.spent(asyncio.gather(*(client.increment("k") for _ in range(1000))))


async def a_get(place: Place) -> dict[str, int]:
    async with place.warm() as client:
        return await place.spent(client.get("k"))


async def a_change(place: Place) -> dict[str, int]:
    async with place.warm() as client, place.warm(poll_interval=1) as reader:
        values = reader.subscribe("k")
        assert await anext(values) == 0
        await client.put("k", 1)
        return await place.spent(anext(values))


async def in_the_past(
    place: Place, commits: int, ask: Callable[[MPS3, dict[int, Any]], Awaitable[Any]]
) -> dict[str, int]:
    """Ask a client that has just opened, after so many commits."""
    return await asked(place, await committed(place, commits), ask)


async def committed(place: Place, commits: int) -> dict[int, Any]:
    """Make so many commits, each five seconds after the last."""
    made = {}
    async with place.client(poll_interval=NEVER) as client:
        for number in range(commits):
            made[number] = await client.put("k", number)
            await asyncio.sleep(5)
    return made


async def asked(
    place: Place, made: dict[int, Any], ask: Callable[[MPS3, dict[int, Any]], Awaitable[Any]]
) -> dict[str, int]:
    """The requests of what is asked of a client that has just opened."""
    async with place.client(poll_interval=NEVER) as client:
        await client.get("k")
        return await place.spent(ask(client, made))


OPERATIONS: dict[str, Callable[[Place], Awaitable[dict[str, int]]]] = {
    "`put`, awaited": a_put,
    "`put` of more than 1 KiB, awaited": a_large_put,
    "`put_all` of 100 keys": a_put_all,
    "1,000 `put` at once": a_thousand_puts,
    "`patch` or `increment`, awaited": a_patch,
    "`patch` of a value of more than 1 KiB that is not in memory": a_patch_of_a_large_value,
    "`patch_all` of 100 keys": a_patch_all,
    "1,000 `increment` of one key at once": a_thousand_increments,
    "`update`": an_update,
    "`get` of a known value": a_get,
    "a change, for each client that subscribes to it": a_change,
    "`history(key, limit=5)`": lambda place: in_the_past(place, 1000, lambda client, _: client.history("k", limit=5)),
    "`history` of a key, over 1,000 commits": lambda place: in_the_past(
        place, 1000, lambda client, _: client.history("k")
    ),
    "`get(at=…)`, 500 commits ago": lambda place: in_the_past(
        place, 1000, lambda client, made: client.get("k", at=made[500].id)
    ),
}
JOURNALS: dict[Literal["merge", "log"], int] = {"log": 0, "merge": 1}
"""The order in which the page on costs has the journals: the columns of one operation, and the tables of an hour."""
OTHERS = {
    "`watch`, for each commit under its prefix": "in words: what it adds to a change",
    "`presence`, for each renewal (200 an hour)": "by the hour, below",
    "an idle client, whatever it subscribes to": "by the hour, below",
}


def of_one(label: str, journal: Literal["merge", "log"]) -> tuple[str, str]:
    """What the page on costs says of one operation: its requests and its price."""
    cells, column = row("docs/costs.md", label), 1 + 2 * JOURNALS[journal]
    return cells[column], cells[column + 1]


def of_an_hour(label: str | None, journal: Literal["merge", "log"]) -> list[str]:
    """The row of the page on costs for an hour."""
    assert label is not None
    return row("docs/costs.md", label, JOURNALS[journal])


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("label", OPERATIONS)
def test_the_requests_of_an_operation_are_those_that_are_made(label, journal):
    made = run(lambda: OPERATIONS[label](Place(journal)))
    said, costing = of_one(label, journal)
    assert made == requests(said), f"the page says {said}"
    assert dollars(costing) == pytest.approx(price(made), rel=0.02)


def test_the_page_has_the_journals_in_their_order():
    heads = [cells for cells in rows("docs/costs.md") if any("journal" in cell for cell in cells)]
    one, *hours = [[cell for cell in cells if "journal" in cell] for cells in heads[:1]] + [
        cells[:1] for cells in heads if cells[1] == "requests an hour"
    ]
    assert one == [f"{journal} journal: requests" for journal in JOURNALS]
    assert hours == [[f"{journal} journal"] for journal in JOURNALS]


def test_the_page_has_no_cost_that_nobody_counts():
    section = page("docs/costs.md").split("## One operation")[1].split("##")[0]
    labels = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    assert [label for label in labels if label] == [label for label in labels if label in OPERATIONS or label in OTHERS]


def test_the_past_costs_little_for_what_is_recent_and_for_one_moment():
    """Of 2,500 commits: the last five, and one in the middle, by its id and by its time."""

    async def last_five(client: MPS3, made: Any) -> None:
        found = await client.history("k", limit=5)
        assert [one.id for one in found] == [made[number].id for number in range(2499, 2494, -1)]

    async def at_a_commit(client: MPS3, made: Any) -> None:
        assert await client.get("k", at=made[1250].id) == 1250

    async def at_a_time(client: MPS3, made: Any) -> None:
        (last,) = await client.history("k", limit=1)
        moment = last.time - timedelta(seconds=5.09 * 1249)
        assert await client.get("k", at=moment) in range(1240, 1261)

    async def all_three() -> None:
        place = Place()
        made = await committed(place, 2500)
        for ask, gets in ((last_five, 6), (at_a_commit, 40), (at_a_time, 30)):
            spent = await asked(place, made, ask)
            assert spent["GET"] <= gets
            assert spent["listing"] <= 5

    run(all_three)


def test_the_page_on_keys_says_what_the_past_costs():
    """With the counts of the page on costs, which are counted above."""
    log, merge = (prose("docs/keys.md").partition(f"With the *{one} journal*, ")[2] for one in JOURNALS)
    history, five, moment = (
        f"{requests(of_one(label, 'log')[0])['GET']:,}"
        for label in (
            "`history` of a key, over 1,000 commits",
            "`history(key, limit=5)`",
            "`get(at=…)`, 500 commits ago",
        )
    )
    assert f"over 1,000 commits takes {history} GETs" in log
    assert f"changes with each commit take {five}." in log
    assert f"{moment} GETs for a commit that 500 commits have followed, and a dozen for a time" in log
    whole = requests(of_one("`history` of a key, over 1,000 commits", "merge")[0])["GET"]
    assert f"{whole:,} for the history over 1,000 such commits" in merge
    assert f"a listing and {requests(of_one('`history(key, limit=5)`', 'merge')[0])['GET']} GETs" in merge


def test_a_time_of_the_past_costs_a_dozen_gets_with_the_log_journal():
    async def counted(commits: int) -> int:
        place, found = Place("log"), 0
        made = await committed(place, commits)

        async def at_a_time(client: MPS3, _: Any) -> None:
            nonlocal found
            (last,) = await client.history("k", limit=1)
            before = place.counts()["GET"]
            moment = last.time - timedelta(seconds=5.04 * (commits // 2))
            assert abs(await client.get("k", at=moment) - commits // 2) < 20
            found = place.counts()["GET"] - before

        await asked(place, made, at_a_time)
        return found

    assert all(run(lambda commits=commits: counted(commits)) <= 20 for commits in (200, 1000))


def test_a_watch_that_continues_costs_what_the_page_says():
    """Of the hundred commits since: one GET each, and some more; with the merge journal far fewer for many."""

    async def counted(journal: Literal["merge", "log"], since: int) -> int:
        place = Place(journal)
        made = await committed(place, 500)
        spent = await asked(place, made, lambda client, made: anext(client.watch(since=made[499 - since].id)))
        return spent["GET"]

    assert 100 <= run(lambda: counted("log", 100)) <= 130
    assert 200 <= run(lambda: counted("merge", 400)) <= 250


# What the pages say of time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole_seconds", [False, True])
def test_a_transaction_takes_three_to_five_seconds_with_the_merge_journal(whole_seconds):
    async def seconds() -> list[float]:
        place, took = Place(whole_seconds=whole_seconds), []
        async with place.warm(poll_interval=1) as client:
            for _ in range(10):
                before = asyncio.get_running_loop().time()
                await client.update("k", lambda value: value + 1)
                took.append(asyncio.get_running_loop().time() - before)
                await asyncio.sleep(17.37)
        return took

    assert all(3 <= each <= 5 for each in run(seconds))
    assert "with the merge journal five and three to five seconds" in row("docs/migrating.md", "scripts")[1]
    assert "3 to 5 s" in row("docs/transactions.md", "merge journal")[2]
    for file in PAGES:
        text = " ".join(file.read_text(encoding="utf-8").split())
        for said in re.findall(
            r"transactions?(?:(?!\. |\|).){0,80}(?:takes?|until) (?!\d+ commits)[^.|]{0,40}? seconds", text
        ):
            assert re.search(r"3 to 5 seconds|window", said), (file.name, said)


def test_the_audit_comes_with_the_first_look_after_three_seconds():
    async def seconds() -> list[float]:
        place, took = Place(), []
        async with place.warm(poll_interval=1) as client:
            await asyncio.sleep(30)
            for _ in range(10):
                await client.put("k", 1)
                before, listed = asyncio.get_running_loop().time(), place.counts()["listing"]
                while place.counts()["listing"] == listed:
                    await asyncio.sleep(0.01)
                took.append(asyncio.get_running_loop().time() - before)
                await asyncio.sleep(17.37)
                assert place.counts()["listing"] == listed + 1  # and no more
        return took

    assert all(3 - 2 * LATENCY <= each <= 4.1 for each in run(seconds))
    assert "with its first look after three seconds without another" in prose("docs/costs.md")


def test_presence_renews_200_times_an_hour():
    async def renewals() -> int:
        place = Place()
        async with place.client() as client, client.presence("room", "ann") as here:
            await anext(here)
            before = client.statistics().commits
            await asyncio.sleep(3600)
            return client.statistics().commits - before

    assert run(renewals) == pytest.approx(200, abs=6)
    assert row("docs/costs.md", "`presence`, for each renewal (200 an hour)")
    people = 10
    assert f"make {200 * people:,} renewals an hour" in prose("docs/costs.md")


@pytest.mark.parametrize(
    ("journal", "lifetime", "said"), [("log", 20, 3), ("log", 60, 1), ("merge", 20, 7), ("merge", 60, 2.3)]
)
def test_a_tab_that_is_open_day_and_night_costs_what_the_guide_says(journal, lifetime, said):
    async def hour() -> dict[str, int]:
        place = Place(journal)
        async with place.client() as client, client.presence("room/", "ann", expires_in=lifetime) as here:
            looking = asyncio.create_task(anext(here))
            await asyncio.sleep(60)
            made = await place.spent(asyncio.sleep(3600))
            looking.cancel()
        return made

    idle = requests(of_an_hour(costs.idle.__doc__, journal)[1])
    assert 720 * (price(run(hour)) - price(idle)) == pytest.approx(said, rel=0.15)
    text = prose("docs/guide-web.md")
    assert "$3 a month (a PUT and some looks each time, and checkpoints) on top" in text
    assert "With the merge journal it is $7 a month (a PUT, two listings and some looks each time)" in text
    assert "it is a third of that" in text


def test_many_puts_of_a_fresh_client_ask_once_for_versioning():
    async def asked() -> int:
        place = Place()
        async with place.client() as client:
            before = place.store.count("GetBucketVersioning")
            await asyncio.gather(*(client.put(f"k{number}", number) for number in range(1000)))
            return place.store.count("GetBucketVersioning") - before

    assert run(asked) <= 1


# What the page on costs says of an hour ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "journal"),
    [
        pytest.param(
            scenario,
            journal,
            id=f"{scenario.__name__}-{journal}",
            marks=[pytest.mark.thorough] if (scenario, journal) == (costs.presence, "log") else [],
        )
        for scenario in (costs.idle, costs.patient, costs.presence, costs.chat, costs.jobs)
        for journal in ("merge", "log")
    ],
)
def test_an_hour_costs_what_the_page_says(scenario, journal, monkeypatch):
    """An hour, or five minutes of what is more work to count.

    An hour of presence in a log is more than twelve times five minutes: clients that hold many commits store runs.
    """
    short = scenario not in (costs.idle, costs.patient) and (scenario, journal) != (costs.presence, "log")
    if short:
        monkeypatch.setattr(costs, "HOUR", 300)
    counted = run(lambda: costs.measure(scenario, journal))
    said = requests(of_an_hour(scenario.__doc__, journal)[1])
    for kind in KINDS:
        made = counted["listings" if kind == "listing" else kind] * (12 if short else 1)
        assert made == pytest.approx(said.get(kind, 0), rel=0.3 if short else 0, abs=30 if short else 0), kind


def test_the_prices_of_an_hour_follow_from_its_requests():
    found = [cells for cells in rows("docs/costs.md") if cells[0] in {one.__doc__ for one in costs.SCENARIOS}]
    assert len(found) == 2 * len(costs.SCENARIOS)
    for cells in found:
        hour = price(requests(cells[1]))
        assert cells[2:] == [f"${hour:.4f}", f"${720 * hour:.2f}"]


def test_pages_do_not_contradict_each_other_about_looking_on():
    month = row("docs/costs.md", costs.idle.__doc__)[3]
    looks = requests(row("docs/costs.md", costs.idle.__doc__)[1])["GET"]
    for file in PAGES:
        text = " ".join(file.read_text(encoding="utf-8").split())
        for said in re.findall(r"\$1(?:\.\d\d)? a month|about \$1\.\d\d", text):
            assert said in (f"{month} a month", "$1 a month"), file.name
    assert f"{looks:,} of them in an hour" in prose("docs/costs.md")


def test_pages_do_not_contradict_each_other_about_presence():
    for journal in JOURNALS:
        made = requests(of_an_hour(costs.presence.__doc__, journal)[1])
        *some, last = [f"{count:,} {'listings' if kind == 'listing' else kind}" for kind, count in made.items()]
        assert f"{', '.join(some)} and {last}: ${price(made):.2f}" in prose("docs/guide.md")
        costing = of_one("`presence`, for each renewal (200 an hour)", journal)[1]
        assert costing == f"${price(made):.2f} an hour for 10 people"


def test_the_formulas_of_presence_are_worked_out():
    """Of the put and the change, by the table of one operation."""
    for journal in JOURNALS:
        put, change = (
            1e6 * price(requests(of_one(label, journal)[0]))
            for label in ("`put`, awaited", "a change, for each client that subscribes to it")
        )
        total = 2000 * (put + 9 * change) / 1e6 + 10 * 0.0015
        said = f"`2000 × ({put:.0f} + 9 × {change:.2f}) / 10⁶ + 10 × 0.0015 = ${total:.3f}`"
        assert said in prose("docs/costs.md")


def test_pages_do_not_contradict_each_other_about_opening():
    """The page on performance is what the benchmark wrote."""
    opened = measured("open", "log", "1,000,000")
    gets, size = requests(opened[3])["GET"], round(float(opened[5].removesuffix(" MB")))
    (resident,) = [cells[3] for cells in rows("docs/performance.md") if cells[:3] == ["memory", "1,000,000", "log"]]
    memory = round(float(resident.split(",")[0].removeprefix("MB ")))
    assert f"opening takes {gets} GETs and {size} MB of traffic then, and {memory} MB of memory" in prose("docs/faq.md")


def measured(label: str, journal: str, keys: str) -> list[str]:
    """A row of the benchmark's table of costs."""
    (found,) = [cells for cells in rows("docs/performance.md") if cells[:3] == [label, journal, keys]]
    return found


def test_pages_do_not_contradict_each_other_about_bytes():
    def kilobytes(label: str, journal: str, keys: str) -> float:
        return float(measured(label, journal, keys)[4].removesuffix(" kB"))

    stored = [kilobytes("put, one after another", "log", keys) for keys in ("1,000", "1,000,000")]
    merge = kilobytes("put, one a second", "merge", "1,000")
    text = prose("docs/costs.md")
    assert f"checkpoints make {min(stored):.0f} to {max(stored):.0f} kB of it" in text
    assert f"{merge} kB for 1,000 keys at a commit a second" in text
    assert f"A million such commits are {max(stored)} GB or {merge} GB" in text
    assert f"${0.023 * max(stored):.2f} or ${0.023 * merge:.2f} a month" in text
    opened = float(measured("open", "log", "1,000,000")[5].removesuffix(" MB"))
    (bar,) = [cells[1] for cells in rows("docs/performance.md") if cells[0].startswith("opening at 1,000,000 keys")]
    entries = opened / float(bar.rpartition(" ")[2].removesuffix("x"))
    assert f"are some {entries:.0f} megabytes" in prose("docs/how-it-works.md")


@pytest.mark.parametrize("journal", ["log", "merge"])
def test_opening_takes_the_requests_that_the_page_on_performance_has(journal):
    async def opened() -> dict[str, int]:
        place = Place(journal)
        async with place.client(poll_interval=NEVER) as client:
            await client.put_all({f"k{number}": number for number in range(10)})
        async with place.client(poll_interval=NEVER):
            return place.counts()

    async def before() -> dict[str, int]:
        place = Place(journal)
        async with place.client(poll_interval=NEVER) as client:
            await client.put_all({f"k{number}": number for number in range(10)})
        return place.counts()

    had, has = run(before), run(opened)
    made = {kind: has[kind] - had[kind] for kind in KINDS if has[kind] > had[kind]}
    assert made == requests(measured("open", journal, "10")[3])


def test_the_pages_on_performance_and_costs_agree_about_a_put():
    put = row("docs/costs.md", "`put`, awaited")[1]
    assert measured("put, one a second", "log", "1,000")[3] == put
    assert f"${row('docs/costs.md', '`put`, awaited')[2].split()[0].removeprefix('$')} a million" in prose(
        "docs/migrating.md"
    )


@pytest.mark.parametrize("journal", ["merge", "log"])
def test_a_moment_in_the_past_costs_little_and_is_that_moment(journal):
    """In a bucket that keeps versions, whose stamps are whole seconds, with commits of three clients in turn."""

    async def go() -> int:
        place = Place(whole_seconds=True)
        place.journal = journal
        clients = [place.client(poll_interval=1) for _ in range(3)]
        async with clients[0], clients[1], clients[2]:
            made = []
            for number in range(120):
                made.append(await clients[number % 3].put("k", number))
                await asyncio.sleep(1)
        async with place.client(poll_interval=NEVER) as reader:
            history = list(reversed(await reader.history("k")))
            assert [one.id for one in history] == [commit.id for commit in made]
            before = place.counts()["GET"]
            for number in range(0, 120, 12):
                assert await reader.get("k", at=made[number].id) == number
                last = max(place for place, one in enumerate(history) if one.time <= history[number].time)
                assert await reader.get("k", at=history[number].time) == last
            return (place.counts()["GET"] - before) // 20

    assert run(go) <= (30 if journal == "merge" else 40)  # of a log a checkpoint and some dozens of slots
