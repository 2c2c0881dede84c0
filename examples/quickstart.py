"""Show two clients that share a store and see each other's changes.

::

    python examples/quickstart.py                         # in a temporary directory
    python examples/quickstart.py "s3://bucket?endpoint_url=…"
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from mps3 import MPS3, Increment

GREETING, SCORE, NOTE = "quickstart/greeting", "quickstart/score", "quickstart/note"


async def main(url: str) -> None:
    """Use each kind of call once."""
    async with MPS3.from_url(url) as ann, MPS3.from_url(url) as bob:
        # A write is visible in its own client at once. Awaiting it waits until it is durable.
        write = ann.put(GREETING, "hello")
        print("ann reads", await ann.get(GREETING), "while it is", "pending" if write.pending else "durable")
        commit = await write
        print("durable as version", commit.versions[GREETING])
        print("bob reads", await bob.get(GREETING))

        # A subscription gives the present value, and the newest one after each change.
        scores = bob.subscribe(SCORE, default=0)
        print("bob is told", await anext(scores))
        ann.put_all({SCORE: {"ann": 1}, NOTE: None})  # a reader that sees one of them sees both
        print("bob is told", await anext(scores))

        # None is an ordinary value. A deleted key has no value, and `get` returns the default.
        print("bob reads", await bob.get(NOTE, "absent"))
        await ann.delete(NOTE)
        print("bob reads", await bob.get(NOTE, "absent"))

        # A patch says how a value changes: of two at the same moment none is lost.
        await ann.put(NOTE, {"text": "milk", "likes": 0})
        await asyncio.gather(ann.patch(NOTE, {"text": "oat milk"}), bob.patch(NOTE, {"likes": Increment(1)}))
        print("bob reads", await bob.get(NOTE))

        ann.put_all(dict.fromkeys((GREETING, SCORE), "bye"))
        print("bob is told", await anext(scores))
    # Closing has sent pending writes.


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else Path(directory).as_uri()))
