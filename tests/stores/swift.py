"""OpenStack Swift with its S3 API: one server of each kind, with directories for devices, and `tempauth` for keys."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import ClassVar, Final

from stores.base import StoreServer
from stores.packages import apt_install, apt_version, run
from stores.processes import Command, free_port

KINDS: Final = ("account", "container", "object")
USER = "mps3:tester"

# There is one server of each kind: to avoid it for a minute after an error would be to fail for a minute.
COMMON = """
[swift-hash]
swift_hash_path_suffix = mps3
swift_hash_path_prefix = mps3

[storage-policy:0]
name = default
default = yes
"""
DEFAULTS = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
workers = {workers}
fallocate_reserve = 0
disable_fallocate = true
"""
STORAGE = """
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
conn_timeout = 10
node_timeout = 60
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth copy slo dlo versioned_writes symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
error_suppression_interval = 0
conn_timeout = 10
node_timeout = 60
account_autocreate = true
allow_account_management = true

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache}

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api
location = {region}

[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[filter:symlink]
use = egg:swift#symlink

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
"""


class Swift(StoreServer):
    name = "OpenStack Swift (s3api)"
    version = "2.30.1"
    source = "Debian swift-proxy, swift-account, swift-container, swift-object, memcached"
    access_key = USER
    weaknesses: ClassVar[dict[str, str]] = {"awkward_keys": "a key may have 1,006 bytes in a bucket with versions"}

    def install(self) -> None:
        for kind in ("proxy", *KINDS):
            apt_install(f"swift-{kind}", program=f"swift-{kind}-server")
        apt_install("memcached", program="memcached")
        self.version = apt_version("swift-proxy") or self.version

    def commands(self, directory: Path, port: int) -> list[Command]:
        (directory / "devices" / "d1").mkdir(parents=True)
        (directory / "swift.conf").write_text(COMMON)
        ports = {kind: free_port() for kind in KINDS}
        commands = []
        for kind, at in ports.items():
            ring = str(directory / f"{kind}.builder")
            device = ["--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", str(at)]
            run(["swift-ring-builder", ring, "create", "4", "1", "0"])
            run(["swift-ring-builder", ring, "add", *device, "--device", "d1", "--weight", "1"])
            run(["swift-ring-builder", ring, "rebalance"])
            settings = self._defaults(directory, at, workers=1) + STORAGE.format(kind=kind)
            commands.append(_serve(kind, directory, settings, at))
        cache = free_port()
        commands.append(
            Command(["memcached", "-l", "127.0.0.1", "-p", str(cache), "-u", getpass.getuser()], ready=cache)
        )
        user = USER.replace(":", "_")
        settings = PROXY.format(region=self.region, user=user, secret=self.secret_key, cache=cache)
        commands.append(_serve("proxy", directory, self._defaults(directory, port, workers=2) + settings, port))
        return commands

    def _defaults(self, directory: Path, port: int, workers: int) -> str:
        return DEFAULTS.format(port=port, user=getpass.getuser(), directory=directory, workers=workers)


def _serve(kind: str, directory: Path, settings: str, port: int) -> Command:
    file = directory / f"{kind}-server.conf"
    file.write_text(settings)
    return Command([f"swift-{kind}-server", str(file), "-v"], ready=port)
