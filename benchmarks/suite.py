"""The whole of it: what runs after what, and with how many keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from dataset import entry_bytes, load, names
from meter import Tally
from processes import UnfinishedError, isolated
from results import Results, Row, named
from scenarios import collection, contention, resources, sizes, subscriptions, wires
from virtual import Place
from wire import Server, Wire

GROUPS: Final = ("wire", "sizes", "log", "contention", "subscriptions", "resources", "collection")
AGREEMENT: Final = (1_000, 10_000)
SUBSCRIPTIONS: Final = 10_000
WRITERS: Final = 32


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        sizes: Numbers of keys, each a bucket's whole content.
        puts: How many are averaged at the least and the greatest number of keys.
        puts_between: And at the others.
        agreement: Numbers of keys at which both ways of counting are compared.
        collected: The number of keys at which garbage is collected.
        pairs: Awaited puts that are compared with raw requests.
        many: Puts fired at once.
        rounds: How often.
        commits: Of each contending writer.
        commits_on_the_wire: The same over HTTP, where all writers and the server share a machine.
        loading: Seconds of computing that loading the keys may take.
        limit: Seconds that any other scenario may take.
    """

    sizes: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    puts: int = 10_000
    puts_between: int = 1_000
    agreement: tuple[int, ...] = AGREEMENT
    collected: int = 10_000
    pairs: int = 100
    many: int = 1_000
    rounds: int = 3
    commits: int = 10
    commits_on_the_wire: int = 5
    loading: float = 600.0
    limit: float = 400.0


QUICK: Final = Plan(
    sizes=(10, 1_000, 10_000),
    puts=1_000,
    puts_between=200,
    agreement=AGREEMENT[:1],
    collected=1_000,
    pairs=30,
    rounds=1,
    commits=4,
    commits_on_the_wire=2,
    loading=60.0,
    limit=120.0,
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
        self._names = names(plan.sizes[-1])

    def run(self) -> Results:
        """Run them all."""
        if "wire" in self._only:
            self._wire()
        if self._only & {"sizes", "subscriptions", "resources", "collection", "wire"}:
            self._sizes()
        if "log" in self._only:
            self._conditional()
        if "contention" in self._only:
            for journal in ("merge", "log"):
                place = Place(journal, latency=self._latency)
                self._try("contention", None, contention.at_the_seam, place, WRITERS, self._plan.commits)
        return self.results

    def _try(self, scenario: str, keys: int | None, work: Callable[..., Row | list[Row]], *arguments: Any) -> None:
        """Run a scenario in a process of its own, with a copy of all that there is."""
        try:
            rows = isolated(partial(work, *arguments), self._plan.limit)
        except UnfinishedError as error:
            self.results.skip(scenario, keys, str(error))
        else:
            self.results.add(*(rows if isinstance(rows, list) else [rows]))

    # Over HTTP

    def _wire(self) -> None:
        server, plan = self._server, self._plan
        if server is None:
            for scenario in ("agreement", "one put", "many puts"):
                self.results.skip(scenario, None, "needs an S3 server: --endpoint")
            return
        some = names(AGREEMENT[0])
        with Wire(server.endpoint, latency=self._latency) as wire:
            for keys in map(names, plan.agreement):
                self._ask("agreement", len(keys), wires.agreement, server, wire, keys)
            self._ask("one put", len(some), wires.one_put, server, wire, some, plan.pairs)
            self._ask("many puts", None, wires.many_puts, server, wire, plan.many, plan.rounds)
            for journal in ("merge", "log"):
                self._ask(
                    "contention",
                    None,
                    wires.contention,
                    server,
                    wire,
                    journal,
                    WRITERS,
                    plan.commits_on_the_wire,
                )

    def _ask(
        self,
        scenario: str,
        keys: int | None,
        work: Callable[..., Coroutine[Any, Any, Row | list[Row]]],
        *arguments: Any,
    ) -> None:
        self._try(scenario, keys, lambda: asyncio.run(work(*arguments)))

    # For each number of keys, in virtual time

    def _loaded(self, place: Place) -> Iterator[Sequence[str]]:
        """Load keys, and stop at each number of them: all there are then."""
        written, began, done = Tally(), time.monotonic(), 0
        for size in self._plan.sizes:
            cpu, loading = time.process_time(), time.monotonic()
            done, tally, seconds = self._grow(place, done, size)
            written += tally
            if done < size:
                why = f"loading did not get beyond {done:,} keys in {self._plan.loading:.0f} s of computing"
                for scenario in ("load", "put", "open", "change", "memory", "loop stops"):
                    self.results.skip(named(scenario, place.journal), size, why)
                break
            manifest, runs = written.select("PUT", "manifest").up, written.select("PUT", "run").up
            entries = entry_bytes(self._names[:size])
            facts = {
                "written, of the entries": (manifest + runs) / entries,
                "in manifests": manifest / entries,
                "in runs": runs / entries,
                "loading took, seconds": time.monotonic() - loading,
                "CPU, seconds": time.process_time() - cpu,
            }
            self.results.add(Row("load", size, tally, 1, seconds, journal=place.journal, facts=facts))
            yield self._names[:size]
        print(f"({time.monotonic() - began:.0f} s for all numbers of keys, {place.journal} journal)", flush=True)

    def _sizes(self) -> None:
        place = Place("merge", latency=self._latency)
        for keys in self._loaded(place):
            self._at(place, keys)

    def _grow(self, place: Place, done: int, size: int) -> tuple[int, Tally, float]:
        """Load more keys; returns how many there are now, the requests, and the virtual seconds."""
        until = time.process_time() + self._plan.loading

        async def main() -> tuple[int, Tally, float]:
            meter = place.meter()

            async def between(_: int) -> bool:
                await place.trim()
                return time.process_time() < until

            async with place.client(meter) as client:
                count = await load(client, self._names[done:size], between=between)
            return done + count, meter.take(), asyncio.get_running_loop().time()

        return place.run(main)

    def _at(self, place: Place, keys: Sequence[str]) -> None:
        """What is measured with so many keys."""
        size, plan = len(keys), self._plan
        if "sizes" in self._only:
            self._with_either(place, keys)
            self._try("put slowly", size, sizes.put_slowly, place, keys, 50)
            for together in (10, 100):
                self._try("put_all", size, sizes.put_all, place, keys, together, 20)
            self._try("idle", size, sizes.idle, place, keys)
        if "wire" in self._only and self._server is not None and size in plan.agreement:
            self._try("agreement", size, wires.agreement_at_the_seam, place, keys)
        if "subscriptions" in self._only and size == SUBSCRIPTIONS:
            self._try("subscriptions", size, subscriptions.polls, place, keys)
            self._try("subscriptions", size, subscriptions.commits, place, keys)
        if "resources" in self._only:
            self._resources(place, keys)
        if "collection" in self._only and size == plan.collected:
            self._try("collection", size, collection.collect, place, keys)

    def _with_either(self, place: Place, keys: Sequence[str]) -> None:
        """What is measured with either journal."""
        size, plan = len(keys), self._plan
        count = plan.puts if size in (plan.sizes[0], plan.sizes[-1]) else plan.puts_between
        self._try(named("put", place.journal), size, sizes.put, place, keys, count)
        self._try(named("open", place.journal), size, sizes.cold_open, place, keys)
        self._try(named("change", place.journal), size, sizes.change, place, keys)

    def _conditional(self) -> None:
        place = Place("log", latency=self._latency)
        for keys in self._loaded(place):
            self._with_either(place, keys)
            self._resources(place, keys)

    def _resources(self, place: Place, keys: Sequence[str]) -> None:
        size, limit = len(keys), self._plan.limit
        if size == self._plan.sizes[-1]:
            self._try(named("memory", place.journal), size, resources.memory, place, keys, limit)
            self._try(named("loop stops", place.journal), size, resources.stops, place, keys, limit)
