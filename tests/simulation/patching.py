"""Patches in the hostile world: what clients do, and a checker that knows what each of them must have made of a value.

Every patch of a document also appends its name to the list ``log`` of it. So a value says itself which patches it is
made of, and in which order; the checker applies them with a model of its own, and the value has to be the same. The
counters need no list: each increment adds a power of two of its own, so that their sum says which ones it is made of.

========== =====================================================================================
wrong      a value is not what the patches in it make, in their order; or one is in it twice
reordered  patches of one life of a client are in another order than it made them
lost       an acknowledged or kept patch is not in the final value
unseen     what a client has seen, or was acknowledged to it, or it has just made, is not in what it sees
late       a patch is seen that has failed
invented   something is seen that nobody has made
diverged   in the end all clients have the same values
refused    a patch fails that applies everywhere
========== =====================================================================================
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mps3 import Append, Increment, Maximum, Minimum, Prepend, Remove, Union
from mps3.errors import ConflictError, CorruptionError, MPS3Error, UnavailableError, UnknownOutcomeError, WithdrawnError

from .history import Event, Opened, Violation
from .store import at_once

if TYPE_CHECKING:
    from .client import Life

PREFIX: Final = "patch/"
"""What the keys begin with that patches change."""
DOCUMENTS: Final = ("patch/a", "patch/b", "patch/c")
"""Documents that only patches and transactions change: nothing of them is ever lost."""
RESET: Final = "patch/reset"
"""A document that is also put, deleted, and expires."""
FIELDS: Final = "patch/fields"
"""A document of which each life of a client sets a member of its own."""
COUNTERS: Final = ("patch/count", "patch/counts")
"""A number, and an object with a number deep in it."""
DEEP: Final = "/x~1y/n"
BITS: Final = 62
"""How many increments of a counter can be told from each other."""
FIRM: Final = frozenset(("tick", "mark", "front", "peak", "drop", "field", "count"))
"""What applies to any value of these keys, and is seen at once."""


@dataclass(frozen=True)
class PatchInvoked:
    """A patch was made. ``about``: what it needs beside its name."""

    at: float
    client: str
    op: str
    key: str
    kind: str
    about: Any = None


@dataclass(frozen=True)
class PatchDone:
    at: float
    client: str
    op: str


@dataclass(frozen=True)
class PatchKept:
    """It survives its client."""

    at: float
    client: str
    op: str


@dataclass(frozen=True)
class PatchFailed:
    """It did not and will not happen. ``why`` is empty where that was to be expected."""

    at: float
    client: str
    op: str
    why: str


@dataclass(frozen=True)
class PatchUnknown:
    """Its client cannot tell whether it was applied."""

    at: float
    client: str
    op: str


@dataclass(frozen=True)
class PatchSeen:
    """The values of some keys as a client has them; ``None``: absent.

    ``since``: the event at which it was asked. ``resolved``: whether they are without its own pending writes.
    """

    at: float
    client: str
    values: Mapping[str, Any]
    since: int
    resolved: bool
    final: bool = False


class DoesNotApply(Exception):  # noqa: N818
    """The model says that a patch does not apply."""


def modelled(value: Any, op: str, invoked: PatchInvoked) -> Any:
    """What a patch makes of a document, or of nothing."""
    made = {} if value is None else json.loads(json.dumps(value))
    about = invoked.about
    made.setdefault("log", []).append(op)
    match invoked.kind:
        case "tick" | "condition" | "update" | "brief":
            made["n"] = made.get("n", 0) + 1
        case "mark":
            made["n"] = made.get("n", 0) + 1
            made["set"] = [*made.get("set", []), op]
            made.setdefault("by", {}).setdefault("all", {})[about] = op
        case "front":
            made["front"] = [op, *made.get("front", [])]
        case "peak":
            made["top"] = max(made.get("top", about), about)
            made["low"] = min(made.get("low", about), about)
        case "drop":
            made["set"] = [one for one in made.get("set", []) if one != about]
        case "clash number":
            if isinstance(made.get("clash", 0), list):
                raise DoesNotApply
            made["clash"] = made.get("clash", 0) + 1
        case "clash list":
            if not isinstance(made.get("clash", []), list):
                raise DoesNotApply
            made["clash"] = [*made.get("clash", []), op]
        case "put":
            made = {"log": [op], "n": 7}
        case other:
            raise AssertionError(other)
    return made


def said(key: str, value: Any) -> str:
    """What a watch compares of a value."""
    return json.dumps(value, sort_keys=True) if key.startswith(PREFIX) else str(value["write"])


class Patching:
    """What one life of a client does in the way of patches."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.number = 0
        self.withdrawn: set[str] = set()
        self.dice = random.Random(f"{life.environment.seed} {life.name} patches")

    async def operation(self) -> None:
        """Make one, or a few at once, or read."""
        dice, options = self.dice, self.life.environment.options
        kinds = ["tick", "mark", "front", "peak", "drop", "field", "count", "clash", "reset", "condition", "update"]
        kind = dice.choices(
            [*kinds, "burst", "get", "get", "withdraw"], [8, 12, 4, 4, 4, 6, 12, 3, 8, 6, 6, 18, 5, 5, 4]
        )[0]
        match kind:
            case "burst":
                same = dice.choice([None, "tick", "count", "field", "front", "mark"])
                for _ in range(dice.randint(2, 8)):
                    self.patch(same or dice.choice(kinds[:9]))
            case "get":
                await self.get(dice.choice([*self.documents(), RESET, FIELDS, *COUNTERS]))
            case "condition" | "update":
                self.life.waiting.append(asyncio.create_task(self.guarded(kind)))
            case "withdraw":
                made = self.patch("tick")
                if made is not None and made[1].withdraw():
                    self.withdrawn.add(made[0])
            case _:
                made = self.patch(kind)
                if made is not None and dice.random() < 0.5:
                    try:
                        async with asyncio.timeout(dice.random() * 5):
                            await made[1]
                    except (TimeoutError, MPS3Error):
                        pass
        if options.durable and dice.random() < 0.1:
            await self.away()

    async def away(self) -> None:
        """Work offline for a while."""
        self.life.client.go_offline()
        for _ in range(self.dice.randint(1, 4)):
            self.patch(self.dice.choice(["tick", "mark", "count", "field", "reset"]))
            await asyncio.sleep(self.dice.random() * 0.05)
        await self.get(self.document())
        await asyncio.sleep(self.dice.random() * self.life.environment.options.longest_nap)
        self.life.client.go_online()

    def documents(self) -> Sequence[str]:
        return DOCUMENTS[: min(len(DOCUMENTS), self.life.environment.options.keys)]

    def document(self) -> str:
        return self.dice.choice(self.documents())

    def name(self) -> str:
        self.number += 1
        return f"{self.life.name}/p{self.number:03}"

    def invoke(self, kind: str, key: str, about: Any = None) -> str:
        op = self.name()
        self.life.record(PatchInvoked(self.life.now(), self.life.name, op, key, kind, about))
        return op

    def patch(self, kind: str) -> tuple[str, Any] | None:
        """Make a patch, or a write that takes its place; return its name, and the `Write`."""
        client, dice, key = self.life.client, self.dice, self.document()
        match kind:
            case "reset":
                return self.reset()
            case "count":
                return self.count()
            case "field":
                # Flat merge patches, of which several are one.
                op = self.invoke("field", FIELDS)
                return self.follow(op, client.patch(FIELDS, {self.life.name: op, "last": op}))
            case "clash":
                kind = dice.choice(["clash number", "clash list"])
        about = {
            "mark": self.life.name,
            "peak": dice.randint(-9, 9),
            "drop": f"{self.life.name}/p{max(1, self.number - dice.randint(0, 4)):03}",
        }.get(kind)
        op = self.invoke(kind, key, about)
        return self.follow(op, client.patch(key, self.changes(kind, op, about)))

    @staticmethod
    def changes(kind: str, op: str, about: Any) -> Any:
        """The changes that a patch of this kind is."""
        more: dict[str, Any] = {}
        match kind:
            case "tick" | "condition" | "brief":
                more = {"n": Increment(1)}
            case "mark":
                more = {"n": Increment(1), "set": Union(op, op), "by": {"all": {about: op}}}
            case "front":
                more = {"front": Prepend(op)}
            case "peak":
                more = {"top": Maximum(about), "low": Minimum(about)}
            case "drop":
                more = {"set": Remove(about)}
            case "clash number":
                more = {"clash": Increment(1)}
            case "clash list":
                more = {"clash": Append(op)}
        return {"log": Append(op), **more}

    def count(self) -> tuple[str, Any] | None:
        key = self.dice.choice(COUNTERS)
        numbers = self.life.environment.increments
        number = numbers[key]
        if number == BITS:
            return None
        numbers[key] += 1
        op = self.invoke("count", key, number)
        path = "" if key == COUNTERS[0] else DEEP
        return self.follow(op, self.life.client.increment(key, 1 << number, path=path))

    def reset(self) -> tuple[str, Any]:
        client, dice = self.life.client, self.dice
        kind = dice.choice(["tick", "tick", "mark", "put", "delete", "brief"])
        op = self.invoke(kind, RESET, self.life.name if kind == "mark" else None)
        if kind == "put":
            return self.follow(op, client.put(RESET, {"log": [op], "n": 7}))
        if kind == "delete":
            return self.follow(op, client.delete(RESET))
        lifetime = dice.choice([1.5, 4.0, 100_000.0]) if kind == "brief" else None
        return self.follow(op, client.patch(RESET, self.changes(kind, op, self.life.name), expires_in=lifetime))

    def follow(self, op: str, pending: Any) -> tuple[str, Any]:
        life = self.life
        life.waiting.append(asyncio.create_task(self.outcome(op, pending)))
        if life.environment.options.durable:
            ((_, part),) = pending._parts
            life.environment.patches[part.session.name, part.stored_id] = op
            life.waiting.append(asyncio.create_task(self.kept(op, pending)))
        return op, pending

    async def outcome(self, op: str, pending: Any) -> None:
        life = self.life
        try:
            await pending
        except WithdrawnError:
            self.fail(op, "")
        except UnknownOutcomeError:
            life.record(PatchUnknown(life.now(), life.name, op))
        except ConflictError as error:
            self.fail(op, repr(error))
        except MPS3Error as error:
            self.fail(op, repr(error))
        else:
            life.record(PatchDone(life.now(), life.name, op))
            life.look()

    async def kept(self, op: str, pending: Any) -> None:
        try:
            await pending.kept()
        except MPS3Error:
            return
        if op not in self.withdrawn:
            self.life.record(PatchKept(self.life.now(), self.life.name, op))

    def fail(self, op: str, why: str) -> None:
        self.life.record(PatchFailed(self.life.now(), self.life.name, op, why))

    async def guarded(self, kind: str) -> None:
        """Change a document by what depends on its version, while others patch it."""
        life, key = self.life, self.document()
        op = self.invoke(kind, key)
        try:
            if kind == "update":
                await self.update(op, key)
            else:
                await self.on_condition(op, key)
        except (UnavailableError, CorruptionError):
            self.fail(op, "")
        except UnknownOutcomeError:
            life.record(PatchUnknown(life.now(), life.name, op))
        except ConflictError as error:
            self.fail(op, "" if kind == "condition" else repr(error))
        except MPS3Error as error:
            self.fail(op, repr(error))
        else:
            life.record(PatchDone(life.now(), life.name, op))
            life.look()

    async def update(self, op: str, key: str) -> None:
        invoked = PatchInvoked(0.0, self.life.name, op, key, "update")
        await self.life.client.update(key, lambda old: modelled(old, op, invoked))

    async def on_condition(self, op: str, key: str) -> None:
        """Put or patch if nothing has changed: what is replaced is known, or it fails."""
        life = self.life
        view = life.client._manifests[life.client._default]._state.view
        file = at_once(life.environment.store, lambda: view.look_up(key))
        version = None if file is None else file["version"]
        if self.dice.random() < 0.5:
            await life.client.patch(key, self.changes("condition", op, None), if_version=version)
        else:
            old = None if file is None else life.environment.value_of(key, file)
            value = modelled(old, op, PatchInvoked(0.0, life.name, op, key, "condition"))
            await life.client.put(key, value, if_version=version)

    async def get(self, key: str) -> None:
        life = self.life
        since = len(life.environment.history)
        try:
            value = await life.surely(key)
        except UnavailableError:
            return
        values = {key: value if isinstance(value, dict | int) else None}
        life.record(PatchSeen(life.now(), life.name, values, since, resolved=False))

    def state(self, view: Any) -> PatchSeen:
        """What a resolved state has of these keys."""
        life = self.life
        values: dict[str, Any] = dict.fromkeys((*DOCUMENTS, RESET, FIELDS, *COUNTERS))
        files = at_once(life.environment.store, lambda: dict(view.items(PREFIX)))
        values |= {key: life.environment.value_of(key, file) for key, file in files.items()}
        return PatchSeen(life.now(), life.name, values, len(life.environment.history), resolved=True)

    async def read_all(self) -> None:
        life = self.life
        keys = (*DOCUMENTS, RESET, FIELDS, *COUNTERS)
        found = await asyncio.gather(*map(life.surely, keys))
        values = {key: one if isinstance(one, dict | int) else None for key, one in zip(keys, found, strict=True)}
        life.record(PatchSeen(life.now(), life.name, values, len(life.environment.history), resolved=False, final=True))


def check_patches(history: Sequence[Event], *, strict: bool = True, overdue: bool = False) -> list[Violation]:
    """All violations in a history, as far as it is about patches.

    Args:
        history: What happened.
        strict: Whether a commit has its final place when it is acknowledged. With the merge journal another may become
            visible below it after that: whether a patch applies is not certain until then.
        overdue: Whether something became visible later than the window allows: only what values are made of is checked.
    """
    return _Check(history, strict=strict, overdue=overdue).violations


@dataclass
class _Client:
    known: set[str] = field(default_factory=set)
    timeline: list[tuple[int, str]] = field(default_factory=list)

    def learn(self, index: int, ops: Collection[str]) -> None:
        for op in sorted(set(ops) - self.known):
            self.known.add(op)
            self.timeline.append((index, op))

    def at(self, since: int) -> Iterator[str]:
        """What it knew before the event of this index."""
        return (op for _, op in self.timeline[: bisect_left(self.timeline, (since, ""))])


class _Check:
    def __init__(self, history: Sequence[Event], *, strict: bool, overdue: bool) -> None:
        self.violations: list[Violation] = []
        self._at = 0.0
        self._strict = strict
        self._overdue = overdue
        self._ops: dict[str, PatchInvoked] = {}
        self._numbers: dict[tuple[str, int], str] = {}
        self._done: dict[str, int] = {}
        self._kept: set[str] = set()
        self._gone = {event.op for event in history if isinstance(event, PatchFailed | PatchUnknown)}
        self._failed: set[str] = {event.op for event in history if isinstance(event, PatchFailed)}
        self._clients: defaultdict[str, _Client] = defaultdict(_Client)
        self._final: PatchSeen | None = None
        self._is_brief = any(isinstance(event, PatchInvoked) and event.kind == "brief" for event in history)
        over = PatchDone | PatchFailed | PatchUnknown
        self._over = {event.op: index for index, event in enumerate(history) if isinstance(event, over)}
        self._whole: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for index, event in enumerate(history):
            self._at = event.at
            match event:
                case Opened(_, name, since):
                    self._clients[name].learn(index, [op for op, done in self._done.items() if done < since])
                case PatchInvoked():
                    self._ops[event.op] = event
                    if event.kind == "count":
                        self._numbers[event.key, event.about] = event.op
                    if event.kind in ("condition", "update"):
                        self._whole[event.client.partition(".")[0], event.key].append(event.op)
                    # What is unknown or fails in the end may be gone again at any time.
                    if event.kind in FIRM and event.op not in self._gone:
                        self._clients[event.client].learn(index, [event.op])
                case PatchDone():
                    self._done[event.op] = index
                    self._clients[event.client].learn(index, [event.op])
                case PatchKept():
                    self._kept.add(event.op)
                case PatchFailed():
                    clash = self._ops[event.op].kind.startswith("clash") and "does not apply" in event.why
                    if event.why and not clash:
                        self._wrong("refused", f"{event.op}: {event.why}")
                case PatchSeen():
                    self._seen(index, event)

    def _seen(self, index: int, event: PatchSeen) -> None:
        client = self._clients[event.client]
        where = f"{'final' if event.final else 'state' if event.resolved else 'read'} of {event.client}"
        known = set(client.at(event.since))
        if event.final:
            # Whoever dies before it knows that a patch does not apply tells nobody.
            kept = {op for op in self._kept - self._gone if not self._ops[op].kind.startswith("clash")}
            known |= self._done.keys() | kept
        for key, value in event.values.items():
            ops = self._made_of(key, value, where)
            if ops is None:
                continue
            there = set(ops)
            # With a disk, a client goes on with the pending patches of its lives before.
            person = event.client.partition(".")[0] + "."
            foreign = {op for op in there if not op.startswith(person)}
            for op in sorted(foreign | (there if event.final else set())):
                if op in self._failed and not self._loose(op):
                    self._wrong("late", f"{op} has failed, and is in {key}, {where}")
            # A pending value of its own hides what was there, until it fails.
            whole = self._whole.get((event.client.partition(".")[0], key), ())
            hidden = not event.resolved and any(self._over.get(op, math.inf) >= event.since for op in whole)
            for op in sorted(known - there) if not hidden else ():
                invoked = self._ops[op]
                if invoked.key != key or self._loose(op) or key == RESET:
                    continue
                if event.resolved and op.startswith(person) and op not in self._done:
                    continue
                if key == FIELDS and any(other > op for other in there if other.startswith(op.partition("/")[0] + "/")):
                    continue
                self._wrong("lost" if event.final else "unseen", f"{op} is not in {key}, {where}")
            client.learn(index, [op for op in foreign if not self._loose(op)])
        if event.final:
            before = self._final = self._final or event
            for key, value in event.values.items():
                over = key == RESET and None in (value, before.values[key]) and self._is_brief
                if value != before.values[key] and not over:  # one client may know earlier than another what time it is
                    self._wrong(
                        "diverged", f"{key} is {value} at {event.client}, {before.values[key]} at {before.client}"
                    )

    def _loose(self, op: str) -> bool:
        return self._overdue or (not self._strict and self._ops[op].kind.startswith("clash"))

    def _made_of(self, key: str, value: Any, where: str) -> Sequence[str] | None:
        """The patches that a value is made of, in order; ``None`` if it is not made of patches."""
        if value is None:
            return []
        if key == FIELDS:
            ops = [value[life] for life in value if life != "last"]
        elif key in COUNTERS:
            number = value if key == COUNTERS[0] else value["x/y"]["n"]
            there = [bit for bit in range(64) if number >> bit & 1]
            ops = [self._numbers.get((key, bit), f"bit {bit}") for bit in there]
        else:
            ops = value["log"]
        unknown = [op for op in ops if op not in self._ops or self._ops[op].key != key]
        if unknown:
            self._wrong("invented", f"{unknown} in {key}, {where}")
            return None
        if len(set(ops)) < len(ops):
            self._wrong("wrong", f"{key} has a patch twice, {where}: {ops}")
            return None
        if key in (*DOCUMENTS, RESET):
            self._check_document(key, value, ops, where)
        return ops

    def _check_document(self, key: str, value: Any, ops: Sequence[str], where: str) -> None:
        made = None
        for op in ops:
            try:
                made = modelled(made, op, self._ops[op])
            except DoesNotApply:
                self._wrong("wrong", f"{op} does not apply to {made}, and is in {key}, {where}")
        if made != value:
            self._wrong("wrong", f"{key} is {value}, {where}: its patches make {made}")
        last: dict[str, str] = {}
        for op in ops:
            if self._ops[op].kind in ("condition", "update"):
                continue  # with a session of their own
            life = op.partition("/")[0]
            if last.setdefault(life, op) > op and not self._overdue:
                self._wrong("reordered", f"{key} has {op} after {last[life]}, {where}")
            last[life] = op

    def _wrong(self, promise: str, text: str) -> None:
        self.violations.append(Violation(promise, self._at, text))
