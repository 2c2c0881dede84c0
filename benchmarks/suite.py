"""The whole of it: what runs after what, and with how many keys."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from dataset import MILLION, Names, entry_bytes, load, names
from meter import Tally
from processes import UnfinishedError, isolated
from results import JOURNALS, Results, Row, named
from scenarios import (
    collection,
    contention,
    keys,
    merging,
    operations,
    patches,
    resources,
    sizes,
    subscriptions,
    wakes,
    wires,
)
from virtual import Place
from wire import Server, Wire

GROUPS: Final = (
    "operations",
    "wire",
    "contention",
    "sizes",
    "keys",
    "subscriptions",
    "resources",
    "collection",
    "wakes",
)
VIEWED: Final = (1_000, 100_000)
FEW: Final = 1_000
"""Of so many keys, and more, a few are read."""
SUBSCRIPTIONS: Final = 10_000
WRITERS: Final = (32, 4)
FORK: Final = 4
"""How many times the limit of a scenario a fork may take that runs several."""


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        sizes: Numbers of keys, each a bucket's whole content.
        huge: One more number of keys, at which only reading a few of them is measured; 0 for none.
        puts: How many are averaged at each number of keys with the log journal, and at the least and the greatest
            with the merge journal.
        puts_between: How many at the others with the merge journal, which takes longer.
        collected: The number of keys at which garbage is collected.
        pairs: Awaited puts that are compared with raw requests.
        single: Values that are written one by one, to be read with one `get_all`.
        large: Keys of the large `put_all`.
        before: Puts between those whose CPU is measured; a tenth with the merge journal, which makes them wait.
        commits: Of each contending writer.
        commits_on_the_wire: The same over HTTP, where all writers and the server share a machine.
        increments: Of each of many clients who count together.
        turns: Commits of two people who take turns.
        heard: Commits of which another client hears by wake-ups.
        restarts: Commits during which the service for wake-ups is killed and started ten times.
        loading: Seconds of computing that loading the keys may take.
        limit: Seconds that any other scenario may take.
        merged: Stored bytes of each of two runs that are merged.
    """

    sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    huge: int = 10_000_000
    puts: int = 10_000
    puts_between: int = 1_000
    collected: int = 10_000
    pairs: int = 100
    single: int = 10_000
    large: int = 100_000
    before: int = 10_000
    commits: int = 20
    commits_on_the_wire: int = 20
    increments: int = 100
    turns: int = 100
    heard: int = 500
    restarts: int = 2_000
    loading: float = 600.0
    limit: float = 400.0
    merged: int = 100_000_000


QUICK: Final = Plan(
    sizes=(10, 1_000, 10_000),
    huge=0,
    puts=1_000,
    puts_between=200,
    collected=1_000,
    pairs=30,
    single=1_000,
    before=1_000,
    commits=4,
    commits_on_the_wire=2,
    increments=10,
    turns=20,
    heard=100,
    restarts=400,
    loading=60.0,
    limit=200.0,
    merged=5_000_000,
)


class Suite:
    """Runs scenarios.

    Args:
        plan: How much of everything.
        server: The S3 server of the scenarios over HTTP, if there is one.
        latency: Seconds that a request takes, on average.
        only: The groups to run.

    Attributes:
        results: What was found.
    """

    def __init__(self, plan: Plan, server: Server | None, latency: float, only: Iterable[str] = GROUPS) -> None:
        self.results = Results()
        self._plan = plan
        self._server = server
        self._latency = latency
        self._only = frozenset(only)
        self._names = names(max(plan.sizes[-1], plan.huge if "keys" in self._only else 0))

    def run(self) -> Results:
        """Run them all."""
        if "operations" in self._only:
            self._for_each(self._operations)
        if "wire" in self._only:
            self._wire()
        if "contention" in self._only:
            self._for_each(self._contention)
        if "wakes" in self._only:
            self._for_each(self._wakes)
        if "keys" in self._only:
            merge = merging.merge, self._plan.merged, self._plan.limit
            self._try(named("merging two runs", "log"), None, *merge)
        if self._only & {"sizes", "keys", "subscriptions", "resources", "collection", "wakes"}:
            self._for_each(self._sizes)
        return self.results

    def _for_each(self, work: Callable[[str], None]) -> None:
        """Do something with each journal."""
        for journal in JOURNALS:
            began = time.monotonic()
            work(journal)
            print(f"({time.monotonic() - began:.0f} s for {work.__name__[1:]}, {journal} journal)", flush=True)

    def _try(self, scenario: str, keys: int | None, work: Callable[..., Row | list[Row]], *arguments: Any) -> None:
        """Run a scenario in a process of its own, with a copy of all that there is."""
        try:
            rows = isolated(partial(work, *arguments), self._plan.limit)
        except UnfinishedError as error:
            self.results.skip(scenario, keys, str(error))
        else:
            self.results.add(*(rows if isinstance(rows, list) else [rows]))

    # In virtual time

    def _operations(self, journal: str) -> None:
        plan, limit = self._plan, self._plan.limit
        self._try(named("operations", journal), None, operations.at_the_seam, self._place(journal))
        self._try(named("get_all", journal), None, operations.after_single_puts, self._place(journal), plan.single)
        self._try(named("put_all", journal), None, resources.put_all, journal, plan.large, limit)
        count, before = (1_000, plan.before) if journal == "log" else (200, plan.before // 10)
        self._try(named("CPU of a put", journal), None, resources.cpu, journal, count, before, limit)

    def _contention(self, journal: str) -> None:
        commits = self._plan.commits
        for writers in WRITERS:
            self._try(
                named("contention", journal), None, contention.at_the_seam, self._place(journal), writers, commits
            )
        self._try(named("turns", journal), None, contention.turns, self._place(journal), self._plan.turns)
        places = self._place(journal), self._place(journal)
        self._try(named("counter", journal), None, patches.counter, places, WRITERS[0], self._plan.increments)
        for writers in (1, 4):
            self._try(named("paced", journal), None, contention.paced, self._place(journal), writers, 2 * commits)

    def _wakes(self, journal: str) -> None:
        plan = self._plan
        self._try(named("heard", journal), None, wakes.heard, self._place(journal), plan.heard)
        self._try(named("idle with wake-ups", journal), None, wakes.idle, self._place(journal))
        self._try(named("false wake-ups", journal), None, wakes.lied_to, self._place(journal), 5)
        self._try(named("lost wake-ups", journal), None, wakes.lost, self._place(journal), plan.restarts)

    def _place(self, journal: str) -> Place:
        return Place(journal, latency=self._latency)

    # Over HTTP

    def _wire(self) -> None:
        server, plan = self._server, self._plan
        if server is None:
            for scenario, journal in itertools.product(("agreement", "one put", "contention, wire"), JOURNALS):
                self.results.skip(named(scenario, journal), None, "needs an S3 server: --endpoint")
            return
        some = names(plan.pairs + wires.WARMING)
        with Wire(server.endpoint, latency=self._latency) as wire:

            def measure(journal: str) -> None:
                self._ask(named("agreement", journal), None, wires.the_operations, server, wire, journal)
                self._ask(named("one put", journal), len(some), wires.one_put, server, wire, journal, some, plan.pairs)
                for writers in WRITERS:
                    name, commits = named("contention, wire", journal), plan.commits_on_the_wire
                    self._ask(name, None, wires.contention, server, self._latency, journal, writers, commits)

            measure.__name__ = "_wire"
            self._for_each(measure)

    def _ask(
        self,
        scenario: str,
        keys: int | None,
        work: Callable[..., Coroutine[Any, Any, Row | list[Row]]],
        *arguments: Any,
    ) -> None:
        self._try(scenario, keys, lambda: asyncio.run(work(*arguments)))

    # For each number of keys, in virtual time

    def _loaded(self, place: Place) -> Iterator[Names]:
        """Load keys, and stop at each number of them: all there are then."""
        written, done = Tally(), 0
        huge = [self._plan.huge] if "keys" in self._only and self._plan.huge else []
        for size in (*self._plan.sizes, *huge):
            fresh: Sequence[str] = self._names[done:size]
            if size <= MILLION:
                fresh = list(fresh)  # to make keys is no part of loading them; more of them would take all memory
            cpu, loading = time.process_time(), time.monotonic()
            grown, tally, seconds = self._grow(place, fresh)
            cpu, loading = time.process_time() - cpu, time.monotonic() - loading
            done += grown
            written += tally
            if done < size:
                why = f"loading did not get beyond {done:,} keys in {self._plan.loading:.0f} s of computing"
                for scenario in ("load", "put", "open", "change", "memory", "loop stops", "keys"):
                    self.results.skip(named(scenario, place.journal), size, why)
                break
            manifest, runs = written.select("PUT", "manifest").up, written.select("PUT", "run").up
            entries = entry_bytes(self._names[:size])
            facts = {
                "written, of the entries": (manifest + runs) / entries,
                "in manifests": manifest / entries,
                "in runs": runs / entries,
                "loading took, seconds": loading,
                "CPU, seconds": cpu,
            }
            self.results.add(Row("load", size, tally, 1, seconds, journal=place.journal, facts=facts))
            yield self._names[:size]

    def _sizes(self, journal: str) -> None:
        place = self._place(journal)
        for some in self._loaded(place):
            self._at(place, some)

    def _grow(self, place: Place, keys: Sequence[str]) -> tuple[int, Tally, float]:
        """Load more keys; returns how many were loaded, the requests, and the virtual seconds."""
        until = time.process_time() + self._plan.loading

        async def main() -> tuple[int, Tally, float]:
            meter = place.meter()

            async def between(_: int) -> bool:
                await place.trim()
                return time.process_time() < until

            async with place.client(meter) as client:
                count = await load(client, keys, between=between)
            return count, meter.take(), asyncio.get_running_loop().time()

        return place.run(main)

    def _at(self, place: Place, some: Names) -> None:
        """What is measured with so many keys."""
        size, plan, largest = len(some), self._plan, self._plan.sizes[-1]

        def measure(scenario: str, work: Callable[..., Row | list[Row]], *arguments: Any) -> None:
            self._try(named(scenario, place.journal), size, work, place, some, *arguments)

        if "keys" in self._only and size >= FEW:
            self._few_of(place, some)
        if size > largest:
            return
        if "keys" in self._only and "sizes" not in self._only and size in (plan.sizes[0], largest):
            measure("put", sizes.put, plan.puts)
        if "sizes" in self._only:
            all_puts = place.journal == "log" or size in (plan.sizes[0], largest)
            measure("put", sizes.put, plan.puts if all_puts else plan.puts_between)
            measure("open", sizes.cold_open)
            measure("change", sizes.change)
            if size in (1_000, largest):
                measure("put slowly", sizes.put_slowly, 50)
                measure("put_all of 100", sizes.put_all, 100, 20)
                measure("idle", sizes.idle)
        if "subscriptions" in self._only and size == SUBSCRIPTIONS:
            measure("subscriptions", subscriptions.polls)
            measure("subscriptions", subscriptions.commits)
        if "wakes" in self._only and size in VIEWED:
            measure("view", wakes.view)
        if "resources" in self._only and size == largest:
            measure("memory", resources.memory, plan.limit)
            measure("loop stops", resources.stops, plan.limit)
        if "collection" in self._only and size == plan.collected:
            measure("collection", collection.collect)

    def _few_of(self, place: Place, some: Names) -> None:
        """Read a few of the keys of a store that a fork settles, as nothing else here is to find it settled."""

        def work() -> Results:
            self.results = Results()
            self._measure_few(place, some)
            return self.results

        name = named("keys", place.journal)
        try:
            found = isolated(work, FORK * self._plan.limit)
        except UnfinishedError as error:
            self.results.skip(name, len(some), str(error))
        else:
            self.results.rows += found.rows  # it has been said
            self.results.skipped += found.skipped

    def _measure_few(self, place: Place, some: Names) -> None:
        def measure(scenario: str, work: Callable[..., Row | list[Row]], *arguments: Any) -> None:
            self._try(named(scenario, place.journal), len(some), work, place, some, *arguments)

        self.results.add(keys.settle(place, some))
        measure("shape", keys.shape)
        measure("opening", keys.opening)
        measure("memory of one key", keys.memory, self._plan.limit)
        measure("get", keys.get)
        measure("absent", keys.absent)
        measure("page", keys.page)
        measure("get_all of a prefix", keys.prefix)
