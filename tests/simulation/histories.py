"""One history: several clients in one hostile world, from its first moment to its check."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from mps3.format import block, commit_age
from mps3.format.file_entry import expires_of
from mps3.format.patches import patched_body, stored_version
from mps3.format.slot import NOBODY
from mps3.journal import cursors, levels, run_pieces, run_reader, settle
from mps3.journal import diff as steps
from mps3.journal.log import checkpoints, tail
from mps3.journal.merge import replay as walk
from mps3.manifest import rebasing

from .checker import Ends, check
from .client import Book, Life
from .disk import Disk
from .history import Event, Killed, Violation
from .loop import Process, run
from .options import WINDOW, Options, draw
from .patching import PREFIX, check_patches, said
from .store import EPOCH, Kept, SimStorage, SimStore
from .stored_runs import files_in
from .transacting import check_transactions

BUCKET = "bucket"
HIDDEN = ("at", "client", "values", "writes", "ids", "versions", "resolved", "shown", "read")
"""What the trace does not say of an event."""
LONGEST_LIFE = 30.0
"""Seconds after which nearly all values have expired that are to."""
VISITORS = 2
"""How many clients that write once are there at the same time."""
PATIENCE = 900.0
"""The virtual seconds after the faults in which everything must come to rest."""


@dataclass(frozen=True)
class Result:
    """What happened in a history, and what was wrong with it. ``replay`` is a command that does it again."""

    seed: int
    options: Options
    violations: list[Violation]
    history: list[Event]
    trace: list[tuple[float, str, str, str, str]]
    acknowledged: int
    time: float
    manifests: list[str]
    replay: str = ""
    collected: int = 0
    expiring: int = 0
    left_out: int = 0
    unknown: int = 0


class World:
    """What the clients of one history share."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed = seed
        self.options = options
        self.history: list[Event] = []
        self.violations: list[Violation] = []
        self.settled = asyncio.Event()
        self.store = SimStore(
            self.dice("store"),
            options.faults,
            versioning=options.versioning,
            resolution=options.resolution,
            page=options.page,
            offset=self.dice("offset").random(),
        )
        self.calm_at = math.inf
        self.people: list[Person] = []
        self.visitors: list[Life] = []
        self.rows: dict[tuple[str, int], str] = {}  # which write is kept under this number
        self.patches: dict[tuple[str, int], str] = {}  # the same of patches
        self.increments: Counter[str] = Counter()
        self._writes: dict[tuple[str, str], str] = {}
        self.collected = 0

    @property
    def calm(self) -> bool:
        return self.calm_at < math.inf

    def dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def record(self, event: Event) -> None:
        self.history.append(event)
        shown = {name: value for name, value in vars(event).items() if name not in HIDDEN}
        self.store.note(event.client, type(event).__name__, "", " ".join(f"{k}={v}" for k, v in shown.items()))

    def write_of(self, key: str, file: Mapping[str, Any]) -> str:
        """Which write made a value; of a value that patches change, its version."""
        if key.startswith(PREFIX):
            return f"{key}@{file['version']}"
        if "value" in file:
            return str(file["value"]["write"])
        version = file["version"]
        if (key, version) not in self._writes:
            body = self.store.body(BUCKET, key, version)
            self._writes[key, version] = "nothing" if body is None else json.loads(body)["write"]
        return self._writes[key, version]

    def value_of(self, key: str, file: Mapping[str, Any]) -> Any:
        """What a value is, after the patches that wait in front of it."""
        if "value" in file:
            base = file["value"]
        else:
            body = self.store.body(BUCKET, key, stored_version(file))
            assert body is not None, f"{key} has no version {stored_version(file)}"
            base = json.loads(body)
        return json.loads(patched_body(file, base))

    def said(self, key: str, file: Mapping[str, Any]) -> str:
        """What a watch should have said of a value."""
        return said(key, self.value_of(key, file)) if key.startswith(PREFIX) else self.write_of(key, file)

    def missing(self, name: str, key: str, error: Exception) -> None:
        self.violations.append(Violation("collected", asyncio.get_running_loop().time(), f"{key} at {name}: {error}"))

    def calm_from(self) -> float:
        """From when on nothing fails any more: requests under way may outlast the faults."""
        return max(self.calm_at, self.store.busy_until)

    def become_calm(self) -> None:
        """End all faults; the clocks stay as they are, and versions still become visible late."""
        if not self.calm:
            self.calm_at = asyncio.get_running_loop().time()
            self.store.faults = self.store.faults.none()
            self.store.note("environment", "calm")
            for person in self.people:
                for life in person.lives:
                    life.process.calm()
                    life.storage.offline_until = 0.0


class Person:
    """A client that is started again whenever it is killed, until its operations are used up."""

    def __init__(self, environment: World, name: str, *, collects: bool = False) -> None:
        self.environment = environment
        self.name = name
        self.lives: list[Life] = []
        self.left = environment.options.operations
        self.disk = Disk(environment.dice(f"{name} disk"))
        self.collects = collects
        self.book = Book()

    def begin(self) -> Life:
        environment, options = self.environment, self.environment.options
        name = f"{self.name}.{len(self.lives)}"
        dice = environment.dice(name)
        dies = not environment.calm and dice.random() < options.kill and len(self.lives) < options.lives
        process = Process(
            name,
            environment.dice(f"{name} stalls"),
            stall=0.0 if environment.calm else options.stall,
            longest_stall=options.longest_stall,
            dies_at=int(2 ** dice.uniform(3, 10)) if dies else None,
            report=lambda what: environment.store.note(name, what),
        )
        network = SimStorage(environment.store, name, environment.dice(f"{name} network"))
        before = self.lives[-1].name if self.lives and options.durable else None
        life = Life(environment, name, process, network, dice, self.disk, before, self.book, collects=self.collects)
        process.death.add_done_callback(lambda _: environment.record(Killed(asyncio.get_running_loop().time(), name)))
        self.lives.append(life)
        return life

    async def run(self) -> None:
        while True:
            life = self.begin()
            done = life.process.spawn(life.work(self))
            await asyncio.wait((done, life.process.death), return_when=asyncio.FIRST_COMPLETED)
            if not life.process.dead:
                return done.result()
            dice, options = self.environment.dice(life.name + " death"), self.environment.options
            await asyncio.sleep(dice.random() * 3)
            if dice.random() < options.sleep:
                await asyncio.sleep(dice.random() * options.longest_sleep)

    @property
    def life(self) -> Life:
        return self.lives[-1]


async def _visit(environment: World, place: int) -> None:
    """Clients that come, write once, and go, one after the other; nothing befalls them."""
    options, dice = environment.options, environment.dice(f"visitors {place}")
    pause = 1.5 * options.faults.withholding / max(1, options.visitors)
    for number in range(options.visitors):
        await asyncio.sleep(2 * pause * dice.random())
        name = f"v{place}-{number}.0"
        process = Process(name, dice, stall=0.0, longest_stall=0.0, dies_at=None, report=lambda what: None)
        network = SimStorage(environment.store, name, environment.dice(f"{name} network"), sound=True)
        life = Life(environment, name, process, network, dice, Disk(environment.dice(f"{name} disk")), None, Book())
        environment.visitors.append(life)
        await process.spawn(life.visit())


async def _history(environment: World) -> None:
    options = environment.options
    environment.people = [
        Person(environment, f"c{number}", collects=number < options.collectors) for number in range(options.clients)
    ]
    running = [asyncio.ensure_future(person.run()) for person in environment.people]
    visits = [asyncio.ensure_future(_visit(environment, place)) for place in range(VISITORS if options.visitors else 0)]
    await asyncio.wait(running, timeout=options.calm_after)
    environment.become_calm()
    _, stuck = await asyncio.wait(running, timeout=PATIENCE)
    if stuck:
        names = [person.name for person, task in zip(environment.people, running, strict=True) if task in stuck]
        _wrong(environment, "stuck", f"{', '.join(names)} did not finish within {PATIENCE:.0f} s after the faults")
        for person in environment.people:
            person.life.process.kill()
        for task in (*running, *visits):
            task.cancel()
        await asyncio.wait((*running, *visits))
        return
    for task in running:
        task.result()
    await asyncio.gather(*visits)
    loop = asyncio.get_running_loop()
    last = max(environment.store.busy_until, *(person.life.process.awake_from for person in environment.people))
    # The longest a client waits before it tries again, and an audit after the last version is visible.
    await asyncio.sleep(max(0.0, last - loop.time()) + 10 + 2 * WINDOW + 3 * options.poll_interval)
    if options.expiring:
        await asyncio.sleep(LONGEST_LIFE + _lateness(options))
    environment.people.append(Person(environment, "fresh"))
    for person in environment.people:
        if not person.lives or person.life.process.dead:
            await person.begin().process.spawn(person.life.open())
    for person in environment.people:
        await _in_time(environment, person.life, person.life.read_all())
    if options.collectors:
        await asyncio.sleep(options.retention + options.grace + options.lateness)
        await _in_time(environment, person.life, person.life.collect_at_last())
        heir = Person(environment, "heir")
        environment.people.append(heir)
        await heir.begin().process.spawn(heir.life.open())
        await _in_time(environment, heir.life, heir.life.read_all())
    for person in environment.people:
        await _in_time(environment, person.life, person.life.close())


async def _in_time(environment: World, life: Life, coro: Coroutine[Any, Any, None]) -> None:
    task = life.process.spawn(coro)
    await asyncio.wait((task,), timeout=PATIENCE)
    if not task.done():
        _wrong(environment, "stuck", f"{life.name}: {coro.__qualname__} did not finish")
        life.process.kill()
        return
    task.result()


def _wrong(environment: World, promise: str, text: str) -> None:
    environment.violations.append(Violation(promise, asyncio.get_running_loop().time(), text))


@dataclass(frozen=True, slots=True)
class Pieces:
    """How the runs of a history are divided and read.

    Attributes:
        block: Bytes of the lines of a block.
        small: Bytes of a run that is read whole.
        prefetch: Bytes of runs that are read whole when a manifest is opened.
        memory: Bytes of pieces that a client keeps in memory.
    """

    block: int = block.BLOCK
    small: int = run_reader.SMALL
    prefetch: float = run_pieces.PREFETCH
    memory: int = run_pieces.CACHE

    @classmethod
    def draw(cls, seed: int) -> Pieces:
        """Return those of a history: most read every piece where it is needed, and keep next to none."""
        dice = random.Random(f"pieces {seed}")
        if dice.random() < 0.2:
            return cls()
        small, memory = dice.choice((0, 0, 500)), dice.choice((0, 0, 300, 5000))
        return cls(dice.choice((1, 60, 200)), small, dice.choice((0, 0, 0, 800)), memory)


@contextmanager
def tiny(pieces: Pieces | None = None) -> Iterator[None]:
    """Sizes at which every history spills, merges, splits runs, and stores changes as runs."""
    found = Pieces() if pieces is None else pieces
    with (
        patch.object(block, "BLOCK", found.block),
        patch.object(run_reader, "SMALL", found.small),
        patch.multiple(run_pieces, PREFETCH=found.prefetch, CACHE=found.memory),
        patch.multiple(levels, SPILL=100, CHECKPOINT=400, CHECKPOINT_OVER_RUNS=200, FANOUT=2, PART=250, LARGE=400),
        patch.object(tail, "EVERY", 4),
        patch.multiple(checkpoints, KEPT=3, MOST=12, QUIET=((5.0, 1),)),
    ):
        yield


@contextmanager
def few_sessions(number: int) -> Iterator[None]:
    """Documents that remember few sessions, beside those of the last few commits."""
    with (
        patch.object(settle, "SESSIONS", number),
        patch.object(walk, "SESSIONS", number),
        patch.object(steps, "REMEMBERED", number),
        patch.object(cursors, "REMEMBERED", number),
        patch.object(tail, "EVERY", 4),
        patch.multiple(checkpoints, KEPT=3, MOST=12, QUIET=((5.0, 1),)),
    ):
        yield


def run_history(seed: int, options: Options | None = None) -> Result:
    """Run the history of this seed and check it."""
    options = options or draw(seed)
    worlds = []

    async def main() -> None:
        worlds.append(World(seed, options))
        await _history(worlds[0])

    remembering = nullcontext() if options.sessions is None else few_sessions(options.sessions)
    with (
        remembering,
        tiny(Pieces.draw(seed)) if options.tiny else nullcontext(),
        patch.object(commit_age, "LATENESS", options.lateness),
        patch.object(rebasing, "WAIT", rebasing.WAIT if options.waiting is None else options.waiting),
    ):
        outcome = run(main, most_time=40_000)
    environment = worlds[0]
    for life in (*environment.visitors, *(life for person in environment.people for life in person.lives)):
        life.forget()
    writes, late = _written(environment)
    violations = check(environment.history, writes, late, _ends(environment), _reading(options)) + check_transactions(
        environment.history, _overdue(environment), {write for commit in late for write in writes[commit]}
    )
    violations += check_patches(environment.history, strict=not options.versioning, overdue=bool(late))
    violations += environment.violations
    violations += [Violation("clean", outcome.time, complaint) for complaint in outcome.complaints]
    if outcome.error is not None and not isinstance(outcome.error, AssertionError):
        outcome.error.add_note(f"in the history of seed {seed}")
    return Result(
        seed,
        options,
        violations,
        environment.history,
        environment.store.trace,
        sum(type(event).__name__ in ("Acknowledged", "TxDone", "PatchDone") for event in environment.history),
        outcome.time,
        _manifests(environment.store),
        unknown=sum(type(event).__name__ in ("Unknown", "TxUnknown", "PatchUnknown") for event in environment.history),
        collected=environment.collected,
        expiring=len(_ends(environment).of),
        left_out=sum(
            '"expired":' in (kept.body or b"").decode()
            for (_, key), versions in environment.store.ever.items()
            if key == "manifest.json" or key.endswith(".checkpoint")
            for kept in versions
        ),
    )


def commits(store: SimStore) -> list[Kept]:
    """The commits in the store: the versions of the manifest, or the slots of its log, in the store's order."""
    slots = [
        kept
        for (_, key), versions in store.ever.items()
        if key.startswith("manifest.json.log/") and not key.endswith(".checkpoint")
        for kept in versions
        if kept.body is not None
    ]
    found = [*store.ever.get((BUCKET, "manifest.json"), ()), *slots]
    return [kept for kept in found if json.loads(kept.body or b"{}")["session"] != NOBODY]


def _written(environment: World) -> tuple[dict[str, set[str]], set[str]]:
    """The writes of each commit in the store, and the commits that were visible too late."""
    writes: dict[str, set[str]] = {}
    overdue: set[str] = set()
    for kept in commits(environment.store):
        document = json.loads(kept.body or b"{}")
        files = changes(environment.store, document["update"])
        names = {environment.write_of(key, file) for key, file in files.items() if file}
        commit = f"{document['session']}.{document['sequence']}"
        writes[commit] = names
        if kept.visible - kept.stamp > WINDOW - environment.options.faults.skew:
            overdue.add(commit)
    return writes, overdue


def _overdue(environment: World) -> set[str]:
    """The runs of transactions that were stored only when a lease that they had read was over, by the stamp shown."""
    store = environment.store
    kept = commits(store)
    documents = [(one, json.loads(one.body or b"{}")["update"]) for one in kept]
    # A commit that is made again says again when an inline value expires, and either of the two may count.
    ends: dict[tuple[str, str], float] = {}
    for _, update in documents:
        for key, file in changes(store, update).items():
            if (end := expires_of(file)) is not None:
                ends[key, file["version"]] = max(end, ends.get((key, file["version"]), end))
    stored: dict[bool, set[str]] = {True: set(), False: set()}
    for one, update in documents:
        over = any(store.shown(one) >= ends.get(pair, math.inf) for pair in update.get("expect", {}).items())
        stored[over] |= {environment.write_of(key, file) for key, file in changes(store, update).items() if file}
    return stored[True] - stored[False]


def _reading(options: Options) -> float:
    """Seconds that a client may take to list and read a state, page by page."""
    faults = options.faults
    return 1.0 + 2 * (faults.slowness if faults.slow else 0.0) + (options.longest_stall if options.stall else 0.0)


def _lateness(options: Options) -> float:
    """Seconds that a client may be late to notice what time it is at the store: whole seconds, and how long an answer
    takes."""
    faults = options.faults
    answer = (faults.slowness if faults.slow else 0.1) + (options.longest_stall if options.stall else 0.0)
    return 1.0 + faults.skew + 2 * answer


def _ends(environment: World) -> Ends:
    """When writes expire, in virtual time, as the manifests say."""
    found: dict[str, tuple[float, float]] = {}
    for kept in commits(environment.store):
        for key, file in changes(environment.store, json.loads(kept.body or b"{}")["update"]).items():
            if (moment := expires_of(file)) is not None:
                end, write = moment - EPOCH - environment.store.offset, environment.write_of(key, file)
                first, last = found.get(write, (end, end))
                found[write] = min(first, end), max(last, end)
    options = environment.options
    return Ends(found, options.faults.skew + 0.002, math.inf if options.durable else _lateness(options))


def changes(store: SimStore, update: dict[str, Any]) -> dict[str, Any]:
    """The keys and files of a commit, wherever they stand."""
    found: dict[str, Any] = {}
    for named in update.get("runs", ()):
        for kept in store.ever[BUCKET, named["key"]][:1]:
            found |= files_in(kept.body or b"{")
    return found | update.get("files", {})


def _manifests(store: SimStore) -> list[str]:
    """Every version of the manifest, in the store's order, in a line each."""
    lines = []
    for kept in commits(store):
        document = json.loads(kept.body or b"{}")
        log = [
            f"{entry.get('session', '')[:4]}/{entry['sequence']}@{entry['version']}"
            for entry in document.get("log", ())
        ]
        lines.append(
            f"{kept.name} stamp {kept.stamp:.3f} visible {kept.visible:.3f} by {kept.by}"
            f" = {str(document.get('session'))[:4]}/{document.get('sequence')} after {document.get('previous')}"
            f" writes {sorted(changes(store, document['update']))} log {log}"
            f" settled { {name[:4]: last for name, last in document.get('sessions', {}).items()} }"
        )
    return lines
