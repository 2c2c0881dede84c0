"""What a history is made of, drawn from its seed: every history is hostile in its own way."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from .faults import Faults

WINDOW = 3.0
"""The window that manifests are written with unless they say otherwise."""


@dataclass(frozen=True)
class Options:
    """One history.

    Attributes:
        clients: How many at once.
        operations: How many each carries out, over all its lives.
        keys: How many keys they share.
        pause: The longest time between two operations of a client; most are shorter.
        poll_interval: Of the clients.
        versioning: Whether the bucket has versions.
        resolution: Of the time stamps that the store shows.
        page: The most versions in a page of a listing.
        faults: Of the store and the network.
        stall: The chance, for each step of a client, that it stalls.
        longest_stall: In seconds.
        kill: The chance, for each life of a client, that it is killed in it.
        offline: The chance, for each operation of a client, that its network goes away for a while.
        calm_after: When the faults end at the latest.
        watchers: Whether each client watches everything.
        expiring: The chance, for each operation of a client, that it puts a value that expires.
        durable: Whether each client has a directory that survives it.
        sleep: The chance, for each death of a client and for some operations, that its device sleeps for long.
        longest_sleep: In seconds: many times as long as anything else.
        longest_nap: The longest time that a device is put away while its client is open, in seconds.
        lives: How often a client is killed at the most.
        tiny: Whether runs are so small that every few commits something is spilled or merged.
        transactions: Whether half of what clients do is transactions.
        collectors: How many of the clients collect garbage all the time.
        lateness: What takes the place of ten minutes in which a commit has to land.
        grace: Of the collections.
        retention: Of the collections.
        rest: The longest time between two collections of a client.
        sessions: How many sessions a document remembers; ``None``: as many as documents do.
        visitors: How many clients come, write once, and go, one after the other.
        leases: Whether half of the transactions need a lease that expires.
        inline: The chance, for each life of a client, that small values are part of its commits.
        patches: Whether half of what clients do is patches.
        waiting: How many patches wait in front of a value before it is stored anew; ``None``: as many as usual.
    """

    clients: int = 3
    operations: int = 6
    keys: int = 3
    pause: float = 4.0
    poll_interval: float = 1.0
    versioning: bool = True
    resolution: float = 1.0
    page: int = 1000
    faults: Faults = field(default_factory=Faults)
    stall: float = 0.0
    longest_stall: float = 60.0
    kill: float = 0.0
    offline: float = 0.0
    calm_after: float = 60.0
    watchers: bool = False
    expiring: float = 0.0
    durable: bool = False
    sleep: float = 0.0
    longest_sleep: float = 2000.0
    longest_nap: float = 100.0
    lives: int = 3
    tiny: bool = False
    transactions: bool = False
    collectors: int = 0
    lateness: float = 600.0
    grace: float = 1200.0
    retention: float = 0.0
    rest: float = 20.0
    sessions: int | None = None
    visitors: int = 0
    leases: bool = False
    inline: float = 0.0
    patches: bool = False
    waiting: int | None = None


def draw_durable(seed: int, *, versioning: bool = True, collect: bool = False) -> Options:
    """The same hostile world for devices with a disk: they are killed more often, and sleep while others go on.

    Args:
        seed: Which history.
        versioning: Whether the bucket has versions.
        collect: Let every history have collectors, and devices that sleep for hundreds of times as long as they let
            anything lie: days, where lateness takes the place of ten minutes.
    """
    dice = random.Random(f"durable options {seed}")
    options = replace(
        draw(seed, versioning=versioning, collect=dice.random() < 0.5 or collect),
        durable=True,
        kill=0.9,
        lives=dice.choice([3, 5]),
        sleep=dice.choice([0.0, 0.2, 0.5]),
        poll_interval=dice.choice([1.0, 5.0, 20.0]),
        calm_after=20_000.0,  # when the last one has long been back
        longest_stall=dice.choice([3.0, 10.0, 60.0]),
    )
    if not collect:
        return options
    longest = dice.choice([2000.0, 6000.0])
    return replace(
        options,
        sleep=dice.choice([0.2, 0.5]),
        longest_sleep=longest,
        longest_nap=dice.choice([100.0, longest]),
        poll_interval=dice.choice([5.0, 20.0]),  # who is awake all the time has little to do
        rest=longest / 10,
        calm_after=200_000.0,  # when the last one has long been back
    )


def draw(seed: int, *, versioning: bool = True, overdue: bool = False, collect: bool = False) -> Options:
    """Every fault that the protocol is to withstand, each in half of the histories or so, more or less often.

    Lateness and the difference between two clocks together stay below the window: that much is assumed.

    Args:
        seed: Which history.
        versioning: Whether the bucket has versions.
        overdue: Break that assumption: let a few writes crawl, in a third of the histories.
        collect: Collect garbage as soon as can be, among clients that sleep for longer than it is let lie.
    """
    crawls = (0.0, 0.0, 0.1 if overdue else 0.0)
    dice = random.Random(f"options {seed}")

    def sometimes(most: float) -> float:
        return most * dice.random() if dice.random() < 0.6 else 0.0

    skew = dice.choice([0.0, 0.1, 0.5, 0.5, 1.0, 1.4])
    options = Options(
        clients=dice.choice([2, 3, 3, 3, 4, 5]),
        operations=dice.randint(4, 8),
        keys=dice.choice([1, 2, 3, 4]),
        pause=dice.choice([0.1, 1.0, 4.0, 10.0]),
        poll_interval=dice.choice([0.5, 1.0, 1.0, 2.0]),
        versioning=versioning,
        resolution=dice.choice([1.0, 1.0, 0.001]),
        page=dice.choice([2, 5, 1000, 1000]),
        faults=Faults(
            refused=sometimes(0.15),
            lost=sometimes(0.15),
            ghost=sometimes(0.15),
            ghost_delay=dice.choice([1.0, 8.0, 25.0]),
            slow=sometimes(0.2),
            slowness=dice.choice([1.0, 2.5, 8.0]),
            hang=sometimes(0.02),
            late=dice.choice([0.0, 1.0, 1.0]) * (0.98 * WINDOW - 2 * skew) * dice.random() ** 0.3,
            lateness=dice.choice([0.1, 0.5, 0.9]),
            skew=skew,
            crawl=dice.choice(crawls),
            conflict=0.0 if versioning else sometimes(0.1),
        ),
        stall=dice.choice([0.0, 0.0, 0.002, 0.01]),
        longest_stall=dice.choice([3.0, 10.0, 60.0]),
        kill=sometimes(0.6),
        offline=sometimes(0.1),
        tiny=dice.random() < 0.5,
    )
    return _with_collectors(options, random.Random(f"collectors {seed}")) if collect else options


def forgetful(options: Options, seed: int) -> Options:
    """The same history where documents remember few sessions, many come and go, and answers are withheld."""
    dice = random.Random(f"forgetful {seed}")
    faults = replace(
        options.faults,
        withheld=dice.choice([0.1, 0.3]),
        # A device has gathered dozens of values, each an object to store, and must be able to store all in time.
        withholding=dice.choice([10.0, 40.0, 90.0]) * (0.1 if options.durable else 1.0),
        conflict=0.0,
    )
    return replace(
        options,
        faults=faults,
        sessions=dice.choice([2, 4, 8]),
        visitors=dice.choice([10, 20, 40]),
        stall=min(options.stall, 0.002),
        # A commit counts for so long after it was made, and its session is remembered for as long.
        lateness=30.0,
        grace=60.0,
    )


def _with_collectors(options: Options, dice: random.Random) -> Options:
    # Less would not do: a version may be visible three seconds late, and a slow request takes eight.
    lateness = dice.choice([14.0, 20.0, 30.0])
    return replace(
        options,
        operations=dice.randint(8, 16),
        pause=dice.choice([4.0, 10.0, 25.0]),
        stall=dice.choice([0.0, 0.002, 0.005, 0.02]),
        longest_stall=dice.choice([60.0, 150.0]),
        offline=dice.choice([0.0, 0.05, 0.2]),
        calm_after=dice.choice([60.0, 200.0]),
        collectors=dice.randint(1, options.clients),
        lateness=lateness,
        grace=lateness * dice.choice([2.0, 2.0, 3.0]),
        retention=dice.choice([0.0, 20.0, 60.0]),
    )
