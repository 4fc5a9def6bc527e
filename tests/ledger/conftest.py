"""Both databases that a ledger can be kept in: a SQLite file, and a PostgreSQL server started for the tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from redrive.ledger import Ledger
from tests.postgresql import Postgresql, postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it; for tests that ask for a `ledger`, a copy of one that has its tables."""
    as_made = "ledger" in request.fixturenames
    if request.param == "sqlite":
        if as_made:
            shutil.copy(request.getfixturevalue("sqlite_with_tables"), tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Postgresql = request.getfixturevalue("postgresql_server")
    return server.create(request.getfixturevalue("postgresql_with_tables") if as_made else "")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """A running PostgreSQL."""
    with postgresql() as server:
        yield server


# To make the tables takes longer than most of these tests.
@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to be copied."""
    file = tmp_path_factory.mktemp("tables") / "ledger.db"
    Ledger.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def postgresql_with_tables(postgresql_server: Postgresql) -> str:
    """The URL of a database to be copied."""
    url = postgresql_server.create()
    Ledger.open(url).close()
    return url
