"""The client broken on purpose where patches are concerned, one rule at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mps3.client import resumption
from mps3.content import patch as contents
from mps3.format import patches
from mps3.journal import diff
from mps3.manifest.overlay import PatchStack


@contextmanager
def version_of_the_patch_alone() -> Iterator[None]:
    """The version of a patched value does not depend on what it was made of."""
    with patch.object(patches, "_version", lambda before, version: version):
        yield


@contextmanager
def rebase_drops_later_patches() -> Iterator[None]:
    """A value that is stored anew takes the place of all patches, those of meanwhile included."""
    original = patches._rebased

    def rebased(current: Any, change: Any) -> Any:
        made = original(current, change)
        return made if made is None or made is current else {k: v for k, v in made.items() if k != patches.WAITING}

    with patch.object(patches, "_rebased", rebased):
        yield


@contextmanager
def rebase_of_another_version() -> Iterator[None]:
    """A value that is stored anew takes the place of whatever is there."""
    original = patches._rebased

    def rebased(current: Any, change: Any) -> Any:
        return None if current is None else original(current, {**change, patches.REBASES: current["version"]})

    with patch.object(patches, "_rebased", rebased):
        yield


@contextmanager
def joining_loses_a_step() -> Iterator[None]:
    """Of two patches that become one, only the later one is done."""
    original = contents.joined
    with patch.object(contents, "joined", lambda one, other: original(one, other) and other):
        yield


@contextmanager
def overlay_ignores_the_state() -> Iterator[None]:
    """A pending patch shows what it makes of nothing."""
    original = PatchStack.resolve
    with patch.object(PatchStack, "resolve", lambda self, file, moment: original(self, None, moment)):
        yield


@contextmanager
def watch_applies_settled_patches_again() -> Iterator[None]:
    """A watch that goes on applies patches to a value that they are part of."""
    original = diff._fold

    def fold(name: str, there: Any, said: Any, below: Any, begin: int = 0) -> Any:
        return original(name, there, said, below)

    with patch.object(diff, "_fold", fold), patch.object(resumption, "_patches", lambda commit: False):
        yield
