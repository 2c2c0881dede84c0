"""``mps3 delete``."""

from __future__ import annotations

from ..types import DELETE
from .base.command import Call, store_command
from .base.exits import NO
from .base.output import say
from .base.text import short_id, some
from .base.writing import committed


@store_command("KEY...")
async def command(call: Call, key: list[str]) -> int | None:
    """Delete keys, all of them as one.

    Ends with 1 if one of them was not there; the others are deleted. What was deleted can be brought back with mps3
    restore.
    """
    async with call.client() as client:
        known = set(await client.keys())
        there = [one for one in dict.fromkeys(key) if one in known]
        commit = await committed(client.put_all(dict.fromkeys(there, DELETE))) if there else None
    if commit is not None:
        if call.out.human:
            call.out.line("deleted ", (some(there), "bold"), (f"  {short_id(commit.id)}", "dim"))
        else:
            call.out.json({"commit": commit.id, "versions": dict(commit.versions)})
    if missing := [one for one in dict.fromkeys(key) if one not in known]:
        say(f"not there: {some([repr(one) for one in missing])}; mps3 ls lists what there is")
        return NO
    return None
