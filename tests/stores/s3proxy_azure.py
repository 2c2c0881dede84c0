"""S3Proxy as a gateway to Azure Blob Storage, of which there is Azurite, Microsoft's emulator."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import maven_jar, npm_install
from stores.processes import Command, free_port

AZURITE = "3.37.0"
# Every emulator has this account, and this key of it: they are in Microsoft's documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class S3ProxyAzure(StoreServer):
    name = "S3Proxy before Azure Blob Storage (Azurite)"
    version = "3.1.0"
    source = f"Maven org.gaul:s3proxy; npm azurite {AZURITE}"
    versioning = False
    weaknesses = {
        "awkward_keys": "Azure takes a backslash for a slash",
        "control_characters": "listings with a control character in a key fail",
    }

    def install(self) -> None:
        self.jar = maven_jar("org.gaul", "s3proxy", self.version, self.cache / "jar", "jar-with-dependencies")
        self.azurite = npm_install("azurite", AZURITE, self.cache / f"azurite-{AZURITE}", "azurite-blob")

    def commands(self, directory: Path, port: int) -> list[Command]:
        directory.mkdir(parents=True, exist_ok=True)
        azure = free_port()
        settings = {
            "s3proxy.endpoint": f"http://127.0.0.1:{port}",
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": self.access_key,
            "s3proxy.credential": self.secret_key,
            "jclouds.provider": "azureblob-sdk",
            "jclouds.identity": ACCOUNT,
            "jclouds.credential": KEY,
            "jclouds.endpoint": f"http://127.0.0.1:{azure}/{ACCOUNT}",
        }
        properties = directory / "s3proxy.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(azure), "--location", directory / "azurite"]
        return [
            Command([self.azurite, *options, "--silent", "--disableTelemetry", "--skipApiVersionCheck"], ready=azure),
            Command(["java", "-jar", self.jar, "--properties", properties]),
        ]
