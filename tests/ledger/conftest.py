"""Both databases that a ledger can be kept in: a SQLite file, and a PostgreSQL server started for the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from redrive.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: str = request.getfixturevalue("postgresql_server")
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(host=server, user="redrive", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://redrive@/{name}?host={server}"


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The folder of the socket of a running PostgreSQL; its port would be one more thing to collide."""
    folder = Path(tempfile.mkdtemp(prefix="redrive-pg-", dir="/tmp"))
    data = folder / "data"
    user = _unprivileged()
    if user:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [_program(program), *arguments]
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    try:
        run("initdb", f"--pgdata={data}", "--username=redrive", "--auth=trust", "--no-sync", "--encoding=UTF8")
        settings = f"-k {folder} -h '' -c fsync=off -c max_connections=50"
        run("pg_ctl", "start", "-w", f"--pgdata={data}", f"--log={folder}/log", "-o", settings)
        try:
            yield str(folder)
        finally:
            run("pg_ctl", "stop", "-w", f"--pgdata={data}", "--mode=immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
