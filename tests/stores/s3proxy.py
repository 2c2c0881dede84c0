"""S3Proxy, which serves a directory."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import maven_jar
from stores.processes import Command


class S3Proxy(StoreServer):
    name = "S3Proxy"
    version = "3.1.0"
    source = "Maven org.gaul:s3proxy"
    quick = True
    versioning = False

    def install(self) -> None:
        self.jar = maven_jar("org.gaul", "s3proxy", self.version, self.cache, "jar-with-dependencies")

    def commands(self, directory: Path, port: int) -> list[Command]:
        objects = directory / "objects"
        objects.mkdir(parents=True, exist_ok=True)
        settings = {
            "s3proxy.endpoint": f"http://127.0.0.1:{port}",
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": self.access_key,
            "s3proxy.credential": self.secret_key,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.identity": "unused",
            "jclouds.credential": "unused",
            "jclouds.filesystem.basedir": str(objects),
        }
        properties = directory / "s3proxy.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return [Command(["java", "-jar", self.jar, "--properties", properties])]
