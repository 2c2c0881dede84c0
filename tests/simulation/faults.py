"""What goes wrong between a client and its store, and how often."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Faults:
    """Chances per request, and how bad things get. All of them 0: a store that is only a little slow.

    Attributes:
        refused: Fails and has no effect (throttled, or never connected).
        lost: Takes effect, but the answer is lost.
        ghost: Fails at once, and a ``put`` takes effect later, up to ``ghost_delay`` seconds.
        slow: Takes up to ``slowness`` seconds to reach the store.
        hang: Neither fails nor answers for up to ``hanging`` seconds; then fails.
        late: A version is visible up to so many seconds after its stamp (its ``put`` is answered later still).
        lateness: How often it is visible late at all.
        skew: The clocks of the store's nodes are at most so many seconds off.
        crawl: A ``put`` is stamped, then takes up to ``crawling`` seconds: beyond the window, which its writer notices.
        withheld: A ``put`` takes effect, and whoever sent it hears nothing for up to ``withholding`` seconds; then it
            fails.
        conflict: A conditional ``put`` over another's is refused though the condition holds.
    """

    refused: float = 0.0
    lost: float = 0.0
    ghost: float = 0.0
    ghost_delay: float = 30.0
    slow: float = 0.0
    slowness: float = 4.0
    hang: float = 0.0
    hanging: float = 25.0
    late: float = 0.0
    lateness: float = 0.5
    skew: float = 0.0
    crawl: float = 0.0
    crawling: float = 12.0
    conflict: float = 0.0
    withheld: float = 0.0
    withholding: float = 60.0

    def none(self) -> Faults:
        """The same store with nothing failing any more; its clocks remain what they are."""
        return replace(self, refused=0, lost=0, ghost=0, slow=0, hang=0, crawl=0, conflict=0, withheld=0)
