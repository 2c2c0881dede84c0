"""The object versions that a manifest still needs.

A version that is not needed now will never be needed again: a commit counts only if it lands within `LATENESS` after
its values were stored and the state it builds on was read (R16), or follows the announcement of the collection (R17).
So it may be deleted late, twice, or by a machine that was suspended in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ..errors import ExpiredError, UnavailableError
from ..format.names import name_in
from ..format.patches import stored_version
from ..journal.at_hand import at_hand
from ..journal.protocol import Retained
from ..journal.run_reader import MissingRunError
from ..storage.protocol import NULL_VERSION
from ..types import Ref

_MINTED: Final = re.compile(r"(.+)@(mps3-[0-9a-f]{32})\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LiveVersions:
    """The values that one manifest needs.

    Attributes:
        ref: The manifest, with its bucket.
        before: Values with this time stamp or a newer one are needed in any case; in seconds since 1970.
        retained: The states that are kept.
    """

    ref: Ref
    before: float
    retained: Retained

    async def needs(self, bucket: str, key: str, version: str, modified: float) -> bool:
        """Return whether a value is needed, or may be.

        Args:
            bucket: Its bucket.
            key: Its key.
            version: Its version, as manifests call it.
            modified: Its time stamp by the store, in seconds since 1970.

        Raises:
            MPS3Error: A run cannot be read.
        """
        if modified >= self.before:
            return True
        name = name_in(self.ref, bucket, key)
        if (name, version) in self.retained.named:
            return True
        for view in self.retained.views:
            try:
                file = await at_hand(lambda view=view: view.look_up(name))  # type: ignore[misc]
            except (MissingRunError, ExpiredError) as error:
                raise UnavailableError(
                    "another collection has deleted a part of what this one goes by: collect again",
                    bucket=bucket,
                    key=error.key,
                    operation="GetObject",
                ) from error
            if file is not None and stored_version(file) == version:
                return True
        return False


def values_of(key: str, version: str) -> tuple[tuple[str, str], ...]:
    """Return what manifests may call a version as listed: each a key and a version.

    A value whose version is part of its object's key may be in a bucket with versions, too.
    """
    minted = _MINTED.match(key)
    found = ((minted[1], minted[2]),) if minted else ()
    return found if version == NULL_VERSION else (*found, (key, version))
