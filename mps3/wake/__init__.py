"""Wake-ups: other clients hear of a commit at once, by something that can push, and not by the next poll.

``MPS3(…, wake=mps3.wake.redis("redis://localhost"))``; `nats`, `postgres` and `sqs` are the others, and `Wake` is the
protocol for whatever else can push. What a wake-up says is a hint and nothing more: what a client shows, it has read
from the store.
"""

from __future__ import annotations

from .nats_subject import NatsWake, nats
from .postgres_notify import PostgresWake, postgres
from .protocol import Wake, WakeConnection
from .redis_channel import RedisWake, redis
from .sqs_queue import SqsWake, sqs

__all__ = [
    "NatsWake",
    "PostgresWake",
    "RedisWake",
    "SqsWake",
    "Wake",
    "WakeConnection",
    "nats",
    "postgres",
    "redis",
    "sqs",
]
