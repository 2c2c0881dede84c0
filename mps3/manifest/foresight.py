"""Patches of several keys: whether they apply to what is known, before any part of them is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..content.patch import PendingPatch
from ..errors import ConflictError, MPS3Error
from ..journal.at_hand import at_hand
from ..support.gather import map_concurrently
from .context import ManifestContext
from .overlay import Below, inapplicable_steps
from .pending import Pending
from .state import ManifestState


class PatchForesight:
    """Tells whether a write will change all of its keys.

    Args:
        state: The state of the manifest.
        refresh: Waits until the state is at least as new as the call.
        context: The context of all manifests of a client.
    """

    def __init__(self, state: ManifestState, refresh: Callable[[], Awaitable[None]], context: ManifestContext) -> None:
        self._state = state
        self._refresh = refresh
        self._context = context

    async def check(self, pending: Pending, below: Below) -> MPS3Error | None:
        """Return why a patch of a write will not apply; ``None`` if all will, or that is not known.

        Args:
            pending: The write.
            below: What is pending before it.
        """
        if not any(isinstance(one, PendingPatch) and one.may_fail for one in pending.changes.values()):
            return None
        try:
            await self._refresh()
            errors = await self._errors(pending, below)
        except MPS3Error:
            return None  # where it is committed, it is judged
        if not errors:
            return None
        ref = self._state.ref
        return ConflictError(
            f"a patch does not apply to what is there, so nothing was written: {'; '.join(errors)}",
            bucket=ref.bucket,
            key=ref.key,
            operation="PutObject",
        )

    async def _errors(self, pending: Pending, below: Below) -> list[str]:
        moment = self._context.time.now()
        view = self._state.view.at(moment)
        over = below(pending, view, moment)
        patches = [(name, one) for name, one in pending.changes.items() if isinstance(one, PendingPatch)]

        async def errors_of_one(item: tuple[str, PendingPatch]) -> list[str]:
            name, content = item
            file = await at_hand(lambda: over[name] if name in over else view.look_up(name))
            errors = await inapplicable_steps(content, file, self._context.contents)
            return [f"{pending.labels[name]!r}: {error}" for error in errors]

        return [error for errors in await map_concurrently(errors_of_one, patches) for error in errors]
