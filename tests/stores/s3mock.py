"""Adobe S3Mock, which is made for tests of other programs."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import maven_jar
from stores.processes import Command, free_port


class S3Mock(StoreServer):
    name = "Adobe S3Mock"
    version = "4.12.4"  # the last one for Java 17
    source = "Maven com.adobe.testing:s3mock"
    quick = True

    def install(self) -> None:
        self.jar = maven_jar("com.adobe.testing", "s3mock", self.version, self.cache, "exec")

    def commands(self, directory: Path, port: int) -> list[Command]:
        objects = directory / "objects"
        objects.mkdir(parents=True, exist_ok=True)
        settings = {
            "server.port": free_port(),  # of HTTPS
            "com.adobe.testing.s3mock.httpPort": port,
            "com.adobe.testing.s3mock.store.root": objects,
        }
        return [Command(["java", *(f"-D{name}={value}" for name, value in settings.items()), "-jar", self.jar])]
