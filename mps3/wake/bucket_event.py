"""What a notification of a bucket says of manifests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

import orjson

from ..format.names import LOG_SUFFIX
from ..format.slot import SlotName
from ..types import Ref
from .hint import Hint, topic_of

UNKNOWN = "?"
"""The position of a manifest that has a new version, where the notification does not name the version."""


def hints_of(message: str) -> list[Hint]:
    """Return a hint for each object in a message that may be a commit; none if the message is something else.

    A message is a notification of S3, as it is, in one of SNS, or by EventBridge. Anybody may have sent it.
    """
    try:
        return list(dict.fromkeys(_hints(orjson.loads(message))))
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError):
        return []


def _hints(raw: Any) -> Iterator[Hint]:
    if raw.get("Type") == "Notification":
        raw = orjson.loads(raw["Message"])
    if raw.get("source") == "aws.s3":
        if raw["detail-type"] == "Object Created":
            found = raw["detail"]["object"]
            yield from _hint(raw["detail"], found["key"], found.get("version-id"))
        return
    for record in raw.get("Records", ()):
        if record["eventName"].removeprefix("s3:").startswith("ObjectCreated:"):
            found = record["s3"]["object"]
            yield from _hint(record["s3"], unquote_plus(found["key"], errors="strict"), found.get("versionId"))


def _hint(said: Mapping[str, Any], key: str, version: str | None) -> Iterator[Hint]:
    bucket = said["bucket"]["name"]
    manifest, _, _ = key.rpartition(LOG_SUFFIX)
    slot = SlotName.parse(manifest, key) if manifest else None
    if slot is None:
        yield Hint(topic_of(Ref(key, bucket)), version or UNKNOWN)
    elif not slot.is_checkpoint:
        yield Hint(topic_of(Ref(manifest, bucket)), str(slot.number))
