"""``mps3 delete``."""

from __future__ import annotations

from ..types import DELETE
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import some
from .base.output import say
from .base.waiting import wait_committed


@store_command("KEY...")
async def command(context: CommandContext, key: list[str]) -> int | None:
    """Delete keys, all of them in one commit.

    Ends with 1 if one of them did not exist; the others are deleted. mps3 restore brings deleted keys back.
    """
    async with context.client() as client:
        known = set(await client.keys())
        there = [one for one in dict.fromkeys(key) if one in known]
        commit = await wait_committed(client.put_all(dict.fromkeys(there, DELETE))) if there else None
    if commit is not None:
        context.out.commit("deleted", some(there), commit)
    if missing := [one for one in dict.fromkeys(key) if one not in known]:
        say(f"not there: {some([repr(one) for one in missing])}; mps3 ls lists what there is")
        return NO
    return None
