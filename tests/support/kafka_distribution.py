"""The distribution of Apache Kafka: its jars, and the command that runs one of its programs.

It needs Java 17 and, for the first use, Maven with a repository that answers: the jars (43 MB) are kept in the user's
cache folder. Where one of these is missing, :func:`require_apache_kafka` skips with the reason.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

VERSION = "4.1.1"
SCALA = "2.13"
_FETCH_S = 240.0
_JVM = ("-Xms128m", "-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""400 MB are enough for a broker; the small compiler starts faster, and a test broker never runs long."""
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>apache-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_{scala}</artifactId><version>{version}</version>
  </dependency></dependencies>
</project>
"""


class KafkaMissing(Exception):
    """Apache Kafka cannot be run on this machine; the text says why."""


def jars() -> Path:
    """Return the folder of Kafka's jars, fetched with Maven at the first use.

    Raises:
        KafkaMissing: Java 17 or later, or Maven, is not there; or Maven cannot fetch the jars.
    """
    found = _find_jars()
    if isinstance(found, KafkaMissing):
        raise found
    return found


@functools.cache
def _find_jars() -> Path | KafkaMissing:
    """Return the jars, or why there are none: that is found out once, as it may take minutes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline-tests"
    folder = cache / f"kafka_{SCALA}-{VERSION}"
    try:
        _require_java()
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            with (cache / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may begin at once
                if not folder.is_dir():
                    _fetch(folder)
    except KafkaMissing as missing:
        return missing
    except OSError as error:
        return KafkaMissing(f"the cache folder {str(cache)!r} cannot be used: {error.strerror}")
    return folder


def require_apache_kafka() -> None:
    """Skip the test, with the reason, where Apache Kafka cannot be run."""
    try:
        jars()
    except KafkaMissing as missing:
        pytest.skip(f"needs Apache Kafka {VERSION}: {missing}")


def java(*command: str, jvm: Sequence[str] = ()) -> list[str]:
    """Return the command that runs a program of Kafka's jars, with options of its JVM beside ours.

    Raises:
        KafkaMissing: as :func:`jars`.
    """
    # Where the test process is killed, its brokers end with it.
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*leash, "java", *_JVM, *jvm, "-cp", f"{jars()}/*", *command]


def _require_java() -> None:
    if shutil.which("java") is None:
        raise KafkaMissing("Java is not installed")
    reported = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', reported)
    if version is None or int(version[1]) < 17:
        raise KafkaMissing(f"Java 17 is needed, and this is {reported.splitlines()[0] if reported else 'unknown'}")


def _fetch(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise KafkaMissing(f"Maven is not installed, and Apache Kafka {VERSION} was not fetched before")
    fetching = folder.with_name(f"{folder.name}.{os.getpid()}")
    fetching.mkdir()
    try:
        (fetching / "pom.xml").write_text(_POM.format(scala=SCALA, version=VERSION))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fetching / 'jars'}"]
        try:
            done = subprocess.run(command, cwd=fetching, capture_output=True, text=True, timeout=_FETCH_S, check=False)
        except subprocess.TimeoutExpired:
            raise KafkaMissing(f"Maven did not fetch it within {_FETCH_S:.0f} s") from None
        if done.returncode:
            first = next((line for line in done.stdout.splitlines() if "ERROR" in line), "it does not say why")
            raise KafkaMissing(f"Maven cannot fetch it: {first[:300]}")
        (fetching / "jars").rename(folder)
    finally:
        shutil.rmtree(fetching, ignore_errors=True)
