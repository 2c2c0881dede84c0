"""Ceph RGW: the smallest cluster, with one monitor, one OSD that keeps its data in memory, and one gateway."""

from __future__ import annotations

import contextlib
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from servers import Server

from stores.base import StoreServer, Unavailable
from stores.packages import apt_install, apt_version
from stores.processes import STARTING, Command, free_port, running, wait_until_it_answers

PROGRAMS = {"ceph-mon": "ceph-mon", "ceph-osd": "ceph-osd", "ceph": "ceph-common", "radosgw": "radosgw"}
GATEWAY = "client.rgw.a"

# Without authentication inside the cluster, pools of one copy, and quick reactions. Without tcp_nodelay each GET on a
# connection that is kept open waits 40 ms.
SETTINGS = """
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = v2:127.0.0.1:{monitor}/0
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
ms_bind_msgr1 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
run_dir = {directory}
crash_dir = {directory}
pid_file =
admin_socket =
log_file =
log_to_stderr = true
err_to_stderr = true
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
paxos_propose_interval = 0.05
paxos_min_wait = 0.01

[mon.a]
mon_data = {directory}/mon
mon_cluster_log_file = {directory}/cluster.log
mon_data_avail_crit = 1
mon_data_avail_warn = 2

[osd.0]
osd_data = {directory}/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
osd_numa_auto_affinity = false
osd_max_object_name_len = 2048

[{gateway}]
ms_mon_client_mode = crc
rgw_data = {directory}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_run_sync_thread = false
rgw_dynamic_resharding = false
rgw_enable_lc_threads = false
rgw_rados_pool_pg_num_min = 8
"""


class Ceph(StoreServer):
    name = "Ceph RGW"
    version = "16.2.15"
    source = "Debian radosgw, ceph-mon, ceph-osd"

    def install(self) -> None:
        for program, package in PROGRAMS.items():
            apt_install(package, program=program)
        self.version = apt_version("radosgw") or self.version

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[Server]:
        port, monitor = free_port(), free_port()
        for name in ("mon", "osd", "rgw"):
            (directory / name).mkdir(parents=True)
        self._conf = directory / "ceph.conf"
        fsid = str(uuid.uuid4())
        self._conf.write_text(
            SETTINGS.format(fsid=fsid, monitor=monitor, port=port, directory=directory, gateway=GATEWAY)
        )
        monitors = directory / "monmap"
        _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{monitor}/0]", str(monitors))
        _run("ceph-mon", *self._of("mon.a"), "--mkfs", "--monmap", str(monitors))
        mon = Command(["ceph-mon", "-f", *self._of("mon.a")], ready=monitor)
        osd = Command(["ceph-osd", "-f", *self._of("osd.0")])
        gateway = Command(["radosgw", "-f", *self._of(GATEWAY)])
        with running([mon], directory / "logs-mon"):
            one = str(uuid.uuid4())
            self._ceph("osd", "new", one)
            self._ceph("osd", "crush", "add-bucket", "default", "root")
            _run("ceph-osd", *self._of("osd.0"), "--mkfs", "--osd-uuid", one)
            with running([osd], directory / "logs-osd"):
                self._wait_for_osd()
                # Before the gateway starts: only one of the two may create the zone and its pools.
                keys = ["--access-key", self.access_key, "--secret-key", self.secret_key]
                user = ["user", "create", "--uid", "mps3", "--display-name", "mps3", "--max-buckets", "100000"]
                _run("radosgw-admin", *self._of(GATEWAY), *user, *keys)
                with running([gateway], directory / "logs-rgw") as started:
                    server = Server(f"http://127.0.0.1:{port}", self.access_key, self.secret_key, self.region)
                    wait_until_it_answers(server.url, started)
                    yield server

    def _of(self, name: str) -> list[str]:
        return ["-c", str(self._conf), "-n", name]

    def _ceph(self, *arguments: str) -> str:
        return _run("ceph", "-c", str(self._conf), "--connect-timeout", "30", *arguments)

    def _wait_for_osd(self) -> None:
        deadline = time.monotonic() + STARTING
        while "1 up" not in self._ceph("osd", "stat"):
            if time.monotonic() > deadline:
                raise TimeoutError("the OSD does not start")
            time.sleep(0.2)


def _run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=STARTING, check=False)
    if ran.returncode:
        raise Unavailable(f"{' '.join(command)} ended with {ran.returncode}:\n{(ran.stdout + ran.stderr)[-2000:]}")
    return ran.stdout
