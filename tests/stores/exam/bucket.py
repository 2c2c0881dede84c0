"""Buckets to be examined in, and clients of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session
from servers import Server

from mps3 import MPS3
from mps3.storage.protocol import Storage
from mps3.storage.s3.storage import S3Storage
from mps3.types import JournalKind

POLL = 0.2
TIME_LIMIT = 1800.0  # seconds for each part of the exam, after which it has failed: a busy machine is no failure


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server, and the journal of the manifests in it.

    Attributes:
        server: The server.
        name: The bucket.
        versioned: Whether it keeps versions.
        journal: The journal of a client; ``auto`` leaves it to what the store enforces.
    """

    server: Server
    name: str
    versioned: bool
    journal: JournalKind = "auto"

    def storage(self) -> Storage:
        """The store, not open yet."""
        return S3Storage(self.server.s3_config)

    def client(self, manifest: str, *, endpoint: str | None = None, **options: Any) -> MPS3:
        """A client of a manifest of this journal, by another way to the server if an endpoint is given."""
        config = {**self.server.s3_config, **({} if endpoint is None else {"endpoint_url": endpoint})}
        options = {"poll_interval": POLL, "journal": self.journal, **options}
        return MPS3(self.name, f"{self.journal}/{manifest}", s3_config=config, **options)


def make_bucket(server: Server, *, versioned: bool) -> Bucket | None:
    """Make a bucket; ``None`` if the server does not give it versions."""
    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    s3 = get_session().create_client("s3", config=config, **server.s3_config)
    try:
        name = f"mps3-{secrets.token_hex(8)}"
        s3.create_bucket(Bucket=name)
        if versioned:
            try:
                s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
                kept = s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled"
            except ClientError:
                kept = False
            if not kept:
                s3.delete_bucket(Bucket=name)
                return None
        return Bucket(server, name, versioned)
    finally:
        s3.close()
