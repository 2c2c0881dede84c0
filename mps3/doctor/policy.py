"""The IAM policy that a client needs. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from ..journal.trials import SUFFIX


def policy(bucket: str, manifest: str, journal: str, *, versioned: bool = False) -> str:
    """Return the least that an IAM policy has to allow for reading and writing with one manifest.

    Args:
        bucket: The bucket of the manifest and the values.
        manifest: The manifest's key.
        journal: ``log`` or ``merge``.
        versioned: Whether the bucket keeps versions; with ``merge`` it does.
    """
    versioned = versioned or journal == "merge"
    objects = ["s3:GetObject", "s3:PutObject"]
    of_bucket = ["s3:ListBucket", "s3:GetBucketVersioning"]
    if versioned:
        objects.append("s3:GetObjectVersion")
        of_bucket.append("s3:ListBucketVersions")
    arn = f"arn:aws:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": of_bucket, "Resource": [arn]},
        {"Effect": "Allow", "Action": objects, "Resource": [f"{arn}/*"]},
    ]
    if journal == "log":
        probes = [f"{arn}/{manifest}{SUFFIX}*"]
        removing = "s3:DeleteObjectVersion" if versioned else "s3:DeleteObject"
        statements.append({"Effect": "Allow", "Action": [removing], "Resource": probes})
    return orjson.dumps({"Version": "2012-10-17", "Statement": statements}, option=orjson.OPT_INDENT_2).decode()
