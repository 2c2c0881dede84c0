"""Two clients share a store, and see each other's changes.

::

    python examples/quickstart.py                         # in a temporary directory
    python examples/quickstart.py "s3://bucket?endpoint_url=…"
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from mps3 import MPS3

GREETING, SCORE, NOTE = "quickstart/greeting", "quickstart/score", "quickstart/note"


async def main(url: str) -> None:
    """Show each thing that a client does, once."""
    async with MPS3.from_url(url) as ann, MPS3.from_url(url) as bob:
        # A write shows at once where it was made, and is on its way; to await it is to know that it is durable.
        write = ann.put(GREETING, "hello")
        print("ann reads", await ann.get(GREETING), "while it is", "pending" if write.pending else "durable")
        commit = await write
        print("durable as version", commit.versions[GREETING])
        print("bob reads", await bob.get(GREETING))

        # A subscription gives the value now, and the newest one after each change.
        scores = bob.subscribe(SCORE, default=0)
        print("bob is told", await anext(scores))
        ann.put_all({SCORE: {"ann": 1}, NOTE: None})  # whoever sees one of them sees both
        print("bob is told", await anext(scores))

        # None is a value like any other. A deleted key has none, and reading it gives the default.
        print("bob reads", await bob.get(NOTE, "absent"))
        await ann.delete(NOTE)
        print("bob reads", await bob.get(NOTE, "absent"))

        ann.put_all(dict.fromkeys((GREETING, SCORE), "bye"))
        print("bob is told", await anext(scores))
    # Closing has sent what was pending.


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else Path(directory).as_uri()))
