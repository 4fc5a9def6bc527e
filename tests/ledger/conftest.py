"""Both databases that a ledger can be kept in: a SQLite file, and a PostgreSQL server started for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from redrive.ledger import Ledger
from tests.postgresql import Postgresql, postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Postgresql = request.getfixturevalue("postgresql_server")
    return server.create()


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    """A running PostgreSQL."""
    with postgresql() as server:
        yield server
