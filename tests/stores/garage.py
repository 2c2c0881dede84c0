"""Garage, one node of it."""

from __future__ import annotations

import secrets
from pathlib import Path

from stores.base import StoreServer
from stores.packages import cargo_install
from stores.processes import Command, free_port

CONFIGURATION = """\
metadata_dir = "{directory}/metadata"
data_dir = "{directory}/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"

[s3_api]
s3_region = "{region}"
api_bind_addr = "127.0.0.1:{port}"
"""


class Garage(StoreServer):
    name = "Garage"
    version = "2.5.0"
    source = "crate garage"
    versioning = False
    access_key = "GK" + "ab" * 12  # only keys of this form are taken
    secret_key = "cd" * 32
    region = "garage"

    def install(self) -> None:
        self.program = cargo_install("garage", self.version, self.cache, "garage")

    def commands(self, directory: Path, port: int) -> list[Command]:
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / "garage.toml"
        configuration.write_text(
            CONFIGURATION.format(
                directory=directory, rpc=free_port(), port=port, region=self.region, secret=secrets.token_hex(32)
            )
        )
        keys = {"GARAGE_DEFAULT_ACCESS_KEY": self.access_key, "GARAGE_DEFAULT_SECRET_KEY": self.secret_key}
        options = ["--single-node", "--default-access-key"]
        return [Command([self.program, "-c", configuration, "server", *options], keys)]
