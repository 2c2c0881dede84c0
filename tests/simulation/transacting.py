"""Transactions in the hostile world: what clients do, and a checker that would notice if they were not serialisable.

Every value of a key ``tx/…`` says which transaction wrote it and which ones it had read: from that the order of all
that was ever seen can be put together, and has to be one in which each transaction saw exactly what came before it.

========== =====================================================================================
lost       an acknowledged transaction is part of the final state; what was seen once stays
overwrote  two transactions have read the same value and replaced it: an update was lost
circular   no order explains who has read what: a write skew
early      a transaction that began after another was acknowledged comes before it
partial    a state has one of the writes of a transaction without another
sum        money was made, or lost; or nobody is on duty
repeated   a transaction was carried out twice, or by two of its runs
overdue    a transaction counts that was stored when a lease that it needs was over
late       one that failed is seen
refused    a transaction fails, since nothing in this world is permanent
cas        of several writes on condition of the same version more than one succeeded
========== =====================================================================================
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from mps3.errors import ConflictError, CorruptionError, MPS3Error, UnavailableError, UnknownOutcomeError
from mps3.format.file_entry import inline_body

from .history import Event, Violation
from .store import at_once

if TYPE_CHECKING:
    from .client import Life

ACCOUNTS = ["tx/account/0", "tx/account/1", "tx/account/2"]
WATCHES = ["tx/duty/x", "tx/duty/y"]
COUNT = "tx/count"
CAS = "tx/cas"
LEASE = "lease"
"""What the keys of leases begin with, each of one transaction."""
DEPOSIT = 100


@dataclass(frozen=True)
class TxInvoked:
    at: float
    client: str
    tx: str


@dataclass(frozen=True)
class TxRun:
    """One of the times that its function is run. Of several that go out as one commit most values are never stored."""

    at: float
    client: str
    run: str
    writes: Mapping[str, Any]


@dataclass(frozen=True)
class TxDone:
    """It was acknowledged, with what was written by the run that counts."""

    at: float
    client: str
    tx: str
    writes: Mapping[str, Any]


@dataclass(frozen=True)
class TxFailed:
    """It did not and will not happen. ``why`` is empty where that was to be expected."""

    at: float
    client: str
    tx: str
    why: str


@dataclass(frozen=True)
class TxUnknown:
    """Its client cannot tell whether it was carried out."""

    at: float
    client: str
    tx: str


@dataclass(frozen=True)
class TxState:
    """All that a client has resolved of the keys of transactions."""

    at: float
    client: str
    values: Mapping[str, Any]
    final: bool = False


class Changed(Exception):  # noqa: N818
    """What a function of a transaction raises on purpose."""


class Transacting:
    """What one life of a client does in the way of transactions."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.number = 0
        self.kinds = {
            "count": self.count,
            "transfer": self.transfer,
            "duty": self.duty,
            "block": self.block,
            "cas": self.cas,
            "plain": self.plain,
            "raise": self.fail,
            "lease": self.lease,
        }

    def operation(self) -> None:
        """Begin one. It goes on by itself."""
        life = self.life
        kind = life.dice.choice(
            ["count", "count", "transfer", "transfer", "duty", "block", "cas", "cas", "plain", "raise"]
        )
        if life.environment.options.leases and life.fate.random() < 0.5:
            kind = "lease"
        tx = f"tx {life.name}/{self.number}"
        self.number += 1
        life.waiting.append(asyncio.create_task(self.guarded(kind, tx)))

    async def guarded(self, kind: str, tx: str) -> None:
        life = self.life
        life.record(TxInvoked(life.now(), life.name, tx))
        try:
            writes = await self.kinds[kind](tx)
        except (Changed, UnavailableError) as error:
            # Nothing had left when it was given up; a put does not give up.
            puts = kind in ("cas", "plain")
            life.record(TxFailed(life.now(), life.name, tx, repr(error) if puts else ""))
        except UnknownOutcomeError:
            life.record(TxUnknown(life.now(), life.name, tx))
        except ConflictError as error:
            expected = kind in ("cas", "block")
            life.record(TxFailed(life.now(), life.name, tx, "" if expected else repr(error)))
        except CorruptionError as error:
            collects = life.environment.options.collectors
            life.record(TxFailed(life.now(), life.name, tx, "" if collects else repr(error)))
        except MPS3Error as error:
            life.record(TxFailed(life.now(), life.name, tx, repr(error)))
        else:
            life.record(TxDone(life.now(), life.name, tx, writes))
            life.look()

    async def count(self, tx: str) -> Any:
        runs = count()

        def increment(old: Any) -> Any:
            return self.ran(tx, runs, {COUNT: old}, {COUNT: self.amount(old) + 1})[COUNT]

        return {COUNT: await self.life.client.update(COUNT, increment)}

    async def transfer(self, tx: str) -> Any:
        one, other = self.life.dice.sample(ACCOUNTS, 2)
        amount = self.life.dice.randint(1, 30)
        runs = count()

        async def move(transaction: Any) -> Any:
            return await self.move(transaction, tx, runs, one, other, amount)

        return await self.life.client.transact(move)

    async def block(self, tx: str) -> Any:
        one, other = self.life.dice.sample(ACCOUNTS, 2)
        async with self.life.client.transaction() as transaction:
            writes = await self.move(transaction, tx, count(), one, other, self.life.dice.randint(1, 30))
            await asyncio.sleep(self.life.dice.random())
        return writes

    async def move(self, transaction: Any, tx: str, runs: Iterator[int], one: str, other: str, amount: int) -> Any:
        old = {one: await transaction.get(one), other: await transaction.get(other)}
        amounts = {one: self.amount(old[one], DEPOSIT) - amount, other: self.amount(old[other], DEPOSIT) + amount}
        return self.put(transaction, self.ran(tx, runs, old, amounts))

    @staticmethod
    def put(transaction: Any, writes: Mapping[str, Any]) -> Any:
        for key, value in writes.items():
            transaction.put(key, value)
        return writes

    async def duty(self, tx: str) -> Any:
        """Somebody has to be on duty: each leaves only if the other one is there."""
        mine = self.life.dice.choice(WATCHES)
        runs = count()

        async def leave(transaction: Any) -> Any:
            old = await transaction.get_all(WATCHES)
            old = {key: old.get(key) for key in WATCHES}
            both = all(self.amount(value, 1) for value in old.values())
            return self.put(transaction, self.ran(tx, runs, old, {mine: 0} if both else dict.fromkeys(WATCHES, 1)))

        return await self.life.client.transact(leave)

    async def fail(self, tx: str) -> Any:
        once = self.life.dice.random() < 0.5
        runs = count()

        async def change(transaction: Any) -> Any:
            old = await transaction.get(COUNT)
            writes = self.ran(tx, runs, {COUNT: old}, {COUNT: self.amount(old) + 1})
            self.put(transaction, writes)
            if not once or not writes[COUNT]["write"].endswith("#0"):
                raise Changed
            return writes

        return await self.life.client.transact(change)

    async def lease(self, tx: str) -> Any:
        """Take a lease, and count for as long as it is there: nobody counts with one that is over."""
        life, runs = self.life, count()
        holder = {"write": f"{tx} lease", "reads": {}, "amount": 0}
        key = f"{LEASE}/{tx}"
        await life.client.put(key, holder, expires_in=life.fate.choice([2.0, 5.0, 12.0]))

        async def act(transaction: Any) -> Any:
            if await transaction.get(key) is None:
                raise Changed
            old = await transaction.get(COUNT)
            return self.put(transaction, self.ran(tx, runs, {COUNT: old}, {COUNT: self.amount(old) + 1}))

        return await life.client.transact(act)

    async def cas(self, tx: str) -> Any:
        view = self.life.client._manifests[self.life.client._default]._state.view
        file = at_once(self.life.environment.store, lambda: view.look_up(CAS))
        version = None if file is None else file["version"]
        value = {"write": tx, "reads": {}, "amount": 0, "if": version}
        await self.life.client.put(CAS, value, if_version=version)
        return {CAS: value}

    async def plain(self, tx: str) -> Any:
        if self.life.dice.random() < 0.5:
            await self.life.client.delete(CAS)
            return {}
        await self.life.client.put(CAS, {"write": tx, "reads": {}, "amount": 0})
        return {}

    @staticmethod
    def amount(value: Any, default: int = 0) -> int:
        return default if value is None else value["amount"]

    def ran(self, tx: str, runs: Iterator[int], old: Mapping[str, Any], amounts: Mapping[str, int]) -> Any:
        """What one run of a transaction is to write."""
        run = f"{tx}#{next(runs)}"
        reads = {key: None if value is None else value["write"] for key, value in old.items()}
        writes = {key: {"write": run, "reads": reads, "amount": amount} for key, amount in amounts.items()}
        self.life.record(TxRun(self.life.now(), self.life.name, run, writes))
        return writes

    def state(self, view: Any, *, final: bool = False) -> TxState:
        """What a resolved state has of the keys of transactions."""
        store = self.life.environment.store
        files = at_once(store, lambda: dict(view.items("tx/")))
        bodies = {key: inline_body(file) or store.body("bucket", key, file["version"]) for key, file in files.items()}
        values = {key: json.loads(body) for key, body in bodies.items() if body is not None}
        return TxState(self.life.now(), self.life.name, values, final)


def check_transactions(
    history: Sequence[Event], overdue: Collection[str] = (), late: Collection[str] = ()
) -> list[Violation]:
    """All violations in a history, as far as it is about transactions.

    Args:
        history: What happened.
        overdue: The runs that were stored only when a lease that they had read was over.
        late: The writes that became visible later than the window allows. They may make others void that were decided
            before, and these whatever was based on them.
    """
    return _Check(history, overdue, late).violations


class _Check:
    def __init__(self, history: Sequence[Event], overdue: Collection[str], late: Collection[str]) -> None:
        self.violations: list[Violation] = []
        self._at = 0.0
        self._invoked: dict[str, int] = {}
        self._done: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._failed: set[str] = set()
        self._runs = {event.run: event.writes for event in history if isinstance(event, TxRun)}
        self._counts: dict[str, str] = {}  # of a transaction: the run that anybody saw
        self._last: dict[str, Mapping[str, Any]] = {}
        self._contested = self._touched(late)
        finals: list[TxState] = []
        for index, event in enumerate(history):
            self._at = event.at
            match event:
                case TxInvoked():
                    self._invoked[event.tx] = index
                case TxDone():
                    self._done[event.tx] = index, event.writes
                case TxFailed():
                    self._failed.add(event.tx)
                    if event.why:
                        self._wrong("refused", f"{event.tx}: {event.why}")
                case TxState():
                    self._state(event)
                    if event.final:
                        finals.append(event)
        for one in finals[1:]:
            if one.values != finals[0].values:
                self._wrong("lost", f"{one.client} ends with other values than {finals[0].client}")
        if finals:
            self._ends(finals[-1].values)
        for run in self._counts.values():
            if run in overdue:
                self._wrong("overdue", f"{run} counts, though its lease was over when it was stored")
        self._order()

    def _touched(self, late: Collection[str]) -> set[str]:
        """The keys of which late writes may have changed the past: theirs, and those that were changed after them."""
        keys = {key for run in late for key in self._runs.get(run, ())}
        if any(write.startswith("tx ") and write not in self._runs for write in late):
            keys.add(CAS)
        while (
            more := {
                key
                for writes in self._runs.values()
                if keys & {*writes, *next(iter(writes.values()))["reads"]}
                for key in writes
            }
            - keys
        ):
            keys |= more
        return keys

    def _is_steady(self, run: str) -> bool:
        return not self._contested & self._runs[run].keys()

    def _wrong(self, promise: str, text: str) -> None:
        self.violations.append(Violation(promise, self._at, text))

    def _chain(self, key: str, run: str | None) -> Iterator[str]:
        """A run that wrote a key, the one whose value it replaced, and so on."""
        steps = 0
        while run is not None and steps < len(self._runs) + 1:
            yield run
            run = self._runs[run][key]["reads"][key]
            steps += 1

    def _has(self, values: Mapping[str, Any], key: str, run: str) -> bool:
        """Whether a state has what a run wrote, or something after it."""
        return key in values and run in self._chain(key, values[key]["write"])

    def _state(self, event: TxState) -> None:
        values = {key: value for key, value in event.values.items() if key != CAS}
        for value in event.values.values():
            if _tx(value["write"]) in self._failed:
                self._wrong("late", f"{value['write']} had failed, and is seen by {event.client}")
        for key, value in self._last.get(event.client, {}).items():
            if key not in self._contested and not self._has(values, key, value["write"]):
                self._wrong("lost", f"{event.client} had seen {value['write']} at {key}, and now {values.get(key)}")
        self._last[event.client] = values
        accounts = [values.get(key, {"amount": DEPOSIT})["amount"] for key in ACCOUNTS]
        if sum(accounts) != DEPOSIT * len(ACCOUNTS):
            self._wrong("sum", f"{event.client} sees the accounts {accounts}")
        if not any(values.get(key, {"amount": 1})["amount"] for key in WATCHES):
            self._wrong("sum", f"{event.client} sees nobody on duty")
        for value in values.values():
            run = value["write"]
            if self._counts.setdefault(_tx(run), run) != run and self._is_steady(run):
                self._wrong("repeated", f"{run} is seen by {event.client}, and {self._counts[_tx(run)]} was")
            for other, before in value["reads"].items():
                if before is not None and not self._has(values, other, before):
                    self._wrong("partial", f"{event.client} has {run} without {before} at {other}")
            for other in self._runs[run]:
                if not self._has(values, other, run):
                    self._wrong("partial", f"{event.client} has {run}, but not at {other}")

    def _ends(self, values: Mapping[str, Any]) -> None:
        """Everything acknowledged, and everything seen, is on the way to the final values."""
        chains = {key: list(self._chain(key, value["write"])) for key, value in values.items() if key != CAS}
        for key, chain in chains.items():
            transactions = [_tx(run) for run in chain]
            if len(set(transactions)) < len(transactions):
                self._wrong("repeated", f"{key} comes from {chain}")
            for run in chain:
                if _tx(run) in self._failed:
                    self._wrong("late", f"{run} had failed, and is part of {key}")
                if self._counts.setdefault(_tx(run), run) != run and self._is_steady(run):
                    self._wrong("repeated", f"{run} is part of {key}, and {self._counts[_tx(run)]} was seen")
        for tx, (_, writes) in sorted(self._done.items()):
            for key, value in writes.items():
                if key not in (CAS, *self._contested) and value["write"] not in chains.get(key, ()):
                    self._wrong("lost", f"{tx} was acknowledged as {value['write']}, which {key} does not come from")
        for run in self._counts.values():
            for key in self._runs[run]:
                if key not in self._contested and run not in chains.get(key, ()):
                    self._wrong("overwrote", f"{run} was seen, and {key} does not come from it")
        increments, counted = len(chains.get(COUNT, ())), values.get(COUNT, {"amount": 0})["amount"]
        if increments != counted:
            self._wrong("overwrote", f"{increments} increments make {counted}")
        won: dict[str, str] = {}
        for tx, (_, writes) in self._done.items():
            version = writes.get(CAS, {}).get("if")
            if version is not None and won.setdefault(version, tx) != tx and CAS not in self._contested:
                self._wrong("cas", f"{tx} and {won[version]} both replaced version {version}")

    def _order(self) -> None:
        """Whether there is an order in which each has read what came last before it, and none is before its time."""
        after: dict[str, set[str]] = defaultdict(set)
        runs = {tx: self._runs[run] for tx, run in self._counts.items() if self._is_steady(run)}
        replaced: dict[tuple[str, str | None], str] = {}
        for tx, writes in runs.items():
            for key, value in writes.items():
                other = replaced.setdefault((key, value["reads"][key]), tx)
                if other != tx:
                    self._wrong("overwrote", f"{tx} and {other} both replaced {value['reads'][key]} at {key}")
        for tx, writes in runs.items():
            for key, before in next(iter(writes.values()))["reads"].items():
                if before is not None:
                    after[_tx(before)].add(tx)
                following = replaced.get((key, before))
                if following is not None and following != tx:
                    after[tx].add(following)
        if (circle := _circle(after)) is not None:
            self._wrong("circular", " before ".join(circle))
            return
        # Who began when another was acknowledged comes after it.
        for tx, (done, _) in self._done.items():
            if tx in runs:
                after[tx].update(other for other in runs if self._invoked[other] > done)
        if (circle := _circle(after)) is not None:
            self._wrong("early", " before ".join(circle))


def _tx(run: str) -> str:
    return run.partition("#")[0]


def _circle(after: Mapping[str, set[str]]) -> list[str] | None:
    done: set[str] = set()
    for start in sorted(after):
        path: list[str] = []
        stack: list[Iterator[str]] = [iter((start,))]
        while stack:
            one = next(stack[-1], None)
            if one is None:
                stack.pop()
                if path:
                    done.add(path.pop())
            elif one in path:
                return [*path[path.index(one) :], one]
            elif one not in done:
                path.append(one)
                stack.append(iter(sorted(after.get(one, ()))))
    return None
