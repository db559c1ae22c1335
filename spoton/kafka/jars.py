"""Apache Kafka's jars, from Maven Central into a folder that is kept. Blocking: use it in a thread.

``python -m spoton.kafka.jars`` brings them and says where they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from spoton.errors import BrokerError, KafkaMissing, SpotOnError

KAFKA_VERSION = "3.9.1"
PATIENCE_S = 600.0
_REMEDY = "put the jars of Kafka's release (its folder libs) there, or name a running broker"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>spoton</groupId><artifactId>local-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


def default_folder() -> Path:
    """Where the jars lie."""
    return Path.home() / ".cache" / "spoton" / "kafka" / KAFKA_VERSION


def resolve(folder: Path | None = None) -> Path:
    """The folder with all jars of a broker (46 MB), brought by Maven when it is not there. All of them or none.

    Raises:
        KafkaMissing: there is no Maven, or it cannot bring them.
        BrokerError: the folder cannot be written.
    """
    folder = folder or default_folder()
    if any(folder.glob("*.jar")):
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing(
            f"no jars of Apache Kafka {KAFKA_VERSION} in {folder} and no mvn that could bring them",
            remedy=f"install Maven (Debian: apt-get install maven), {_REMEDY}",
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".incomplete-") as work:
            _download(maven, Path(work))
            _put(Path(work) / "jars", folder)
    except OSError as error:
        raise BrokerError(
            f"the jars of Apache Kafka cannot be kept in {folder}: {error.strerror}",
            remedy="make the folder writable",
        ) from error
    return folder


def _download(maven: str, work: Path) -> None:
    (work / "pom.xml").write_text(_POM.format(kafka=KAFKA_VERSION))
    command = [
        maven, "-q", "-B", "-f", str(work / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime",
        f"-DoutputDirectory={work / 'jars'}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise KafkaMissing(
            f"Maven did not bring Apache Kafka {KAFKA_VERSION} within {PATIENCE_S:.0f} s",
            remedy="see whether this machine reaches Maven Central",
        ) from error
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise KafkaMissing(
            f"Maven does not bring Apache Kafka {KAFKA_VERSION}: {said[0] if said else f'exit {done.returncode}'}",
            remedy=f"see whether this machine reaches Maven Central, {_REMEDY}",
        )


def _put(complete: Path, folder: Path) -> None:
    try:
        complete.rename(folder)
    except OSError:
        # Another process was faster, and its jars are the same.
        if not any(folder.glob("*.jar")):
            raise


if __name__ == "__main__":
    try:
        print(resolve())
    except SpotOnError as error:
        sys.exit(f"spoton: {error}")
