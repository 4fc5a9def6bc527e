"""A PostgreSQL server of the tests' own, that can be stopped and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest


class Postgresql:
    """A server that listens on a socket in a folder of its own: a port would be one more thing to collide.

    Attributes:
        folder: where the socket is.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redrive-pg-", dir="/tmp"))
        self._data = self.folder / "data"
        self._user = _unprivileged()
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "--username=redrive", "--auth=trust", "--no-sync", "--encoding=UTF8")

    def start(self) -> None:
        settings = f"-k {self.folder} -h '' -c fsync=off -c max_connections=50"
        self._run("pg_ctl", "start", "-w", f"--log={self.folder}/log", "-o", settings)

    def stop(self) -> None:
        """Stop it at once; whoever is connected is cut off."""
        self._run("pg_ctl", "stop", "-w", "--mode=immediate")

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, like: str = "") -> str:
        """Create a database with nothing in it, or with what another has, by its URL; give its URL."""
        name = f"ledger_{uuid.uuid4().hex}"
        template = f"TEMPLATE {urlsplit(like).path[1:]}" if like else ""
        with psycopg.connect(host=str(self.folder), user="redrive", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {template}")
        return f"postgresql://redrive@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), f"--pgdata={self._data}", *arguments]
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Give a server that runs as long as the block."""
    server = Postgresql()
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        server.remove()


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in users)


def _program(name: str) -> str:
    """Debian keeps the server's programs off the path, one folder a version."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install postgresql")
    return found
