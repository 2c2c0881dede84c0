"""Kinds of histories: what is chosen beside a seed, by a test, on the command line, or to replay a failure."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from .breaks import BREAKS
from .crowd import among_many
from .options import Options, draw, draw_durable, forgetful

FLAGS: Final = {
    "overdue": "some writes are visible later than is assumed",
    "durable": "devices with a disk, that are killed and sleep",
    "watch": "every client watches everything",
    "collect": "garbage is collected, as soon as can be",
    "tiny": "runs are tiny in every history, not in half of them: something is spilled or merged all the time",
    "expiring": "some values expire",
    "transact": "half of what clients do is transactions",
    "forgetful": "documents remember few sessions, many come and go, and answers are withheld",
    "stored": "every value is an object of its own, in every history, not in a third of them",
    "leases": "half of what clients do is transactions, and half of those need a lease that expires",
    "patch": "half of what clients do is patches",
    "crowd": "everyone takes themselves for one of very many writers",
}
"""What a kind may have, each a flag of the command line, and what it means."""
EXPIRING: Final = 0.5
"""The chance that an operation is followed by a value that expires, if there are any."""

LATENESS: Final = 20.0
"""Seconds that take the place of ten minutes, at the least, where every commit may store runs."""


@dataclass(frozen=True)
class Kind:
    """What the histories of many seeds have in common.

    Attributes:
        versioning: Whether the bucket has versions.
        overdue: As in `FLAGS`, like the others.
        broken: How the client is broken on purpose; some rules matter only for overdue writes.
        whole: Leave it whole after all: the same histories must then be good.
    """

    versioning: bool = True
    overdue: bool = False
    durable: bool = False
    watch: bool = False
    collect: bool = False
    tiny: bool = False
    expiring: bool = False
    transact: bool = False
    forgetful: bool = False
    stored: bool = False
    leases: bool = False
    patch: bool = False
    crowd: bool = False
    broken: str | None = None
    whole: bool = False

    @classmethod
    def that_shows(cls, broken: str, *, whole: bool = False) -> Kind:
        """The kind that shows a break."""
        wanted = BREAKS[broken]
        return cls(versioning=wanted.versioning, collect=wanted.collect, broken=broken, whole=whole)

    def options(self, seed: int) -> Options:
        """What this seed's history is made of."""
        broken = None if self.broken is None else BREAKS[self.broken]
        if self.durable or (broken is not None and broken.durable):
            options = draw_durable(seed, versioning=self.versioning, collect=self.collect)
        else:
            late = self.overdue or (broken is not None and broken.overdue and not self.collect)
            options = draw(seed, versioning=self.versioning, overdue=late, collect=self.collect)
        options = replace(
            options,
            watchers=self.watch,
            tiny=self.tiny or options.tiny,
            expiring=EXPIRING if self.expiring else 0.0,
            transactions=self.transact or self.leases,
            leases=self.leases,
            patches=self.patch,
            waiting=random.Random(f"waiting {seed}").choice([None, 2, 4]) if self.patch else None,
            # What is broken shows where values are stored.
            inline=self._inline(seed),
        )
        if self.forgetful or (broken is not None and broken.forgetful):
            options = forgetful(options, seed)
        if self.tiny:
            # A commit with runs is more requests, one after the other, and has to land in time all the same.
            lateness = max(options.lateness, LATENESS)
            options = replace(options, lateness=lateness, grace=max(options.grace, 2 * lateness))
        return options if broken is None else replace(options, **broken.options)

    def _inline(self, seed: int) -> float:
        # What is broken shows where values are stored, and what is stored is never written blindly.
        broken = None if self.broken is None else BREAKS[self.broken]
        if self.stored or (broken is not None and not broken.crowd):
            return 0.0
        dice = random.Random(f"inline {seed}")
        return dice.choice([0.5, 1.0] if self.crowd or broken else [0.0, 0.5, 1.0])

    @contextmanager
    def damage(self) -> Iterator[None]:
        """Breaks the client while the context lasts, if it is to be broken, and lets it meet many others."""
        broken = None if self.broken is None else BREAKS[self.broken]
        with ExitStack() as stack:
            if self.crowd or (broken is not None and broken.crowd):
                stack.enter_context(among_many())
            if broken is not None and not self.whole:
                stack.enter_context(broken.damage())
            yield

    def flags(self) -> str:
        """What the command line needs to replay it."""
        flags = [] if self.versioning else ["--unversioned"]
        flags += [f"--{name}" for name in FLAGS if getattr(self, name)]
        if self.broken is not None:
            flags.append(f"--broken={shlex.quote(self.broken)}")
        if self.whole:
            flags.append("--whole")
        return " ".join(flags)
