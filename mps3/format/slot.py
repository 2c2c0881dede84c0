"""The objects of a log journal: their names, fillers and checkpoints. Pure.

Numbers count down in the names, so that a listing shows the newest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .document import CommitEntry, Document
from .names import LOG_SUFFIX
from .schema import NOTHING

LAST: Final = 10**15 - 1
"""The largest number of a slot."""
CHECKPOINT: Final = ".checkpoint"
NOBODY: Final = "-"
"""The session of what is no commit: fillers, checkpoints, and the root document. No client has it."""


@dataclass(frozen=True, slots=True, order=True)
class SlotName:
    """The name of a slot or of a checkpoint.

    Attributes:
        number: The number of the slot, from 1; of a checkpoint, the last slot that it contains.
        is_checkpoint: Whether it is a checkpoint.
    """

    number: int
    is_checkpoint: bool

    @classmethod
    def parse(cls, manifest: str, key: str) -> SlotName | None:
        """Return what an object of a log is; ``None`` if it is neither.

        Args:
            manifest: The key of the manifest.
            key: The key of the object.
        """
        prefix = manifest + LOG_SUFFIX
        if not key.startswith(prefix):
            return None
        digits = key[len(prefix) :]
        is_checkpoint = digits.endswith(CHECKPOINT)
        digits = digits.removesuffix(CHECKPOINT)
        if len(digits) != len(str(LAST)) or not (digits.isascii() and digits.isdigit()):
            return None
        number = LAST - int(digits)
        return cls(number, is_checkpoint) if number > 0 else None


def slot_key(manifest: str, number: int) -> str:
    """Return the key of a slot."""
    return f"{manifest}{LOG_SUFFIX}{LAST - number:015d}"


def checkpoint_key(manifest: str, number: int) -> str:
    """Return the key of the checkpoint of a slot."""
    return slot_key(manifest, number) + CHECKPOINT


def empty_document(window: float) -> Document:
    """Return a document that changes nothing: the one at the key of the manifest itself, and that of a filler."""
    return Document("log", window, NOBODY, 0, None, NOTHING)


def is_filler(document: Document) -> bool:
    """Return whether a slot changes nothing."""
    return document.session == NOBODY


def slot_entry(document: Document, number: int, modified: float) -> CommitEntry:
    """Return the commit of a slot."""
    return CommitEntry(document.session, document.sequence, str(number), modified, None, document.update)


def checkpoint_stamp(last: CommitEntry) -> CommitEntry:
    """Return what a checkpoint keeps of its last commit: who made it, and when."""
    return CommitEntry(last.session, last.sequence, last.version, last.modified, None, NOTHING)
