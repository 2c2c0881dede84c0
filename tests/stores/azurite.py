"""Azurite, Microsoft's emulator of Azure Blob Storage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

from servers import Server

from stores.native import NativeStoreServer
from stores.packages import npm_install
from stores.processes import Command

# Every emulator has this account, and this key of it: they are in Microsoft's documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
API = "2021-08-06"


class Azurite(NativeStoreServer):
    name = "Azurite, for Azure Blob Storage (`az:`)"
    version = "3.37.0"
    source = "npm azurite"
    quick = True
    scheme = "az"
    path = f"/{ACCOUNT}"
    options = {"account_name": ACCOUNT, "account_key": KEY}

    def install(self) -> None:
        self.program = npm_install("azurite", self.version, self.cache, "azurite-blob")

    def commands(self, directory: Path, port: int) -> list[Command]:
        options = ("--inMemoryPersistence", "--disableTelemetry", "--silent", "--skipApiVersionCheck")
        return [Command([self.program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options])]

    def create_bucket(self, server: Server, name: str) -> None:
        date = datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{API}\n{resource}"
        signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
        headers = {
            "x-ms-date": date,
            "x-ms-version": API,
            "Authorization": f"SharedKey {ACCOUNT}:{signature}",
            "Content-Length": "0",
        }
        url = f"{server.url}/{ACCOUNT}/{name}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
