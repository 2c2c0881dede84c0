"""Three clients put through a network that does everything wrong: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from typing import Any

from proxy import Faults, FaultyProxy

from mps3 import MPS3, MPS3Error
from stores.exam.bucket import TIME_LIMIT, Bucket

MANIFEST = "writes.json"
CLIENTS = 3
AT_ONCE = 8
LARGE = "x" * 5000  # longer than what is stored inside a commit
FAULTS = Faults(
    reset_before=0.01,
    reset_request=0.01,
    reset_after=0.02,
    reset_response=0.01,
    black_hole=0.002,
    black_hole_after=0.002,
    internal_error=0.02,
    internal_error_after=0.02,
    slow_down=0.02,
    truncate=0.01,
    error_inside=0.01,
    error_inside_after=0.01,
    silence=1.0,
)


async def put_through_faults(bucket: Bucket, each: int, seed: int) -> dict[str, Any]:
    """Let every client put so many keys of its own, and one that is shared."""
    acknowledged: dict[str, Any] = {}
    errors: list[str] = []

    async def put(client: MPS3, name: int, numbers: Any) -> None:
        for number in numbers:
            value = {"by": name, "n": number, **({"pad": LARGE} if number % 20 == 0 else {})}
            key = f"{name}/{number}"
            try:
                await client.put_all({key: value, "shared": value})
            except MPS3Error as error:
                errors.append(f"{type(error).__name__}: {error}")
            else:
                acknowledged[key] = value

    async with asyncio.timeout(TIME_LIMIT), FaultyProxy(bucket.server.url, Faults(), seed=seed) as proxy:
        clients = [bucket.client(MANIFEST, endpoint=proxy.url) for _ in range(CLIENTS)]
        try:
            for client in clients:
                await client.open()
            proxy.faults = FAULTS
            async with asyncio.TaskGroup() as tasks:
                for name, client in enumerate(clients):
                    numbers = iter(range(each))
                    for _ in range(AT_ONCE):
                        tasks.create_task(put(client, name, numbers))
        finally:
            proxy.faults = Faults()
            await asyncio.gather(*(client.aclose() for client in clients))
        injected = sum(proxy.injected.values())
    async with asyncio.timeout(TIME_LIMIT), bucket.client(MANIFEST) as fresh:
        stored = await fresh.get_all()
        lost = [key for key, value in acknowledged.items() if stored.get(key) != value]
        shared = stored.get("shared")
    return {
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "faults": injected,
        "failed": len(errors),
        "problems": [
            *(f"lost after it was acknowledged: {key}" for key in lost[:5]),
            *(f"a put failed: {error}" for error in errors[:5]),
            *([] if shared in acknowledged.values() else ["the shared key has a value that nobody put"]),
        ],
    }
