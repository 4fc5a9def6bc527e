"""The Java programs of the local stack: which files, pinned in ``jars.lock``, and where they are on this machine.

A line of the lock file is ``group sha256 bytes path``, where the path is below the root of Maven Central and the
group says what needs the file: ``kafka``, ``dynamodb`` or ``registry``. ``python -m deployments.local.lock`` writes it.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jgo.constants import MAVEN_CENTRAL_URL

from deployments.local import warm
from deployments.local.download import fetch
from deployments.local.errors import on_disk_errors
from deployments.local.state import locked
from redrive.errors import ConfigError

LOCK_FILE = Path(__file__).with_name("jars.lock")


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file.

    Attributes:
        group: what needs it.
        sha256: its checksum in hexadecimal.
        size: bytes.
        path: below the root of a Maven repository.
    """

    group: str
    sha256: str
    size: int
    path: str

    def __str__(self) -> str:
        return f"{self.group} {self.sha256} {self.size} {self.path}"


def parse(text: str) -> list[Jar]:
    """The jars that a lock file's text names.

    Raises:
        ConfigError: a line is not ``group sha256 bytes path``, or its path leaves the cache; it names the line.
    """
    jars = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split():
            case [group, sha256, size, path] if len(sha256) == 64 and size.isdigit():
                pure = PurePosixPath(path)
                if not pure.is_absolute() and ".." not in pure.parts:
                    jars.append(Jar(group, sha256, int(size), path))
                    continue
        raise ConfigError(
            "jars.lock",
            f"not 'group sha256 bytes path': {line!r}; write it anew with `python -m deployments.local.lock`",
            f"{LOCK_FILE.name}:{number}",
        )
    return jars


def cache_dir() -> Path:
    """Where downloads are kept: ``$REDRIVE_CACHE``, or ``~/.cache/redrive``."""
    return Path(os.environ.get("REDRIVE_CACHE") or Path.home() / ".cache" / "redrive")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the Java programs are.

    Attributes:
        kafka: the Java runtime's arguments for the brokers: their class path, and an archive for quick starts.
        dynamodb: class path of DynamoDB Local.
        registry: folder of the unpacked registry.
    """

    kafka: tuple[str, ...]
    dynamodb: str
    registry: Path


def ensure(base_url: str = MAVEN_CENTRAL_URL) -> Programs:
    """Download what is missing and return where everything is; without network if nothing is missing.

    Raises:
        DownloadError: no network, or a file is not there.
        ChecksumError: a file is not the pinned one.
        DiskFullError: no room in the cache.
    """
    cache = cache_dir()
    groups: dict[str, list[Jar]] = {}
    for jar in parse(LOCK_FILE.read_text()):
        groups.setdefault(jar.group, []).append(jar)
    (archive,) = groups["registry"]
    registry = cache / f"registry-{archive.sha256[:16]}"
    kafka = _class_path(cache, groups["kafka"])
    with locked(cache / "lock"):
        unpacked = registry.exists()
        fetch(groups["kafka"] + groups["dynamodb"] + ([] if unpacked else [archive]), cache, base_url)
        if not unpacked:
            _unpack(cache / archive.path, registry)
        classes = warm.ensure_archive(kafka, cache)
    return Programs(
        kafka=(*([f"-XX:AOTCache={classes}"] if classes else []), "-cp", kafka),
        dynamodb=_class_path(cache, groups["dynamodb"]),
        registry=registry,
    )


def _class_path(cache: Path, jars: list[Jar]) -> str:
    return os.pathsep.join(str(cache / jar.path) for jar in jars)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside the target and rename, so that a half unpacked folder is never taken for a whole one."""
    with on_disk_errors(target):
        scratch = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
        try:
            with tarfile.open(archive) as tar:
                # Pythons before 3.11.4 have no filters; the checksum has vouched for the content anyway.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                tar.extractall(scratch)
            scratch.chmod(0o755)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        archive.unlink()
