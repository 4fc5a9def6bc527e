"""The ledger's database: connections, transactions, and the way up to the newest schema."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from redrive.errors import ConfigError, UnavailableError

MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE = 30  # seconds that a writer waits for the writers before it
_LOCK = 0x7265_6472_6976_65  # "redrive": the advisory lock that lets writers in one by one in PostgreSQL


class Database:
    """Gives transactions. Those that write take turns, in all processes: a ledger is written a few times a second."""

    def __init__(self, url: URL | str) -> None:
        url = make_url(url)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        self.name = f"ledger {url.render_as_string(hide_password=True)}"
        self._sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(url) if self._sqlite else _postgresql_engine(url)

    @classmethod
    def as_it_is(cls, url: URL | str) -> Database:
        """Give a database whose schema is this version's already. Changes and makes nothing, and is quick.

        Raises:
            ConfigError: a newer version of Redrive has been here, or this one has not.
            UnavailableError: the database does not answer.
        """
        url = make_url(url)
        # SQLite makes a file that is not there, for whoever looks first; the jobs may be somebody else.
        if not (url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists()):
            database = cls(url)
            try:
                with database.reading() as session:
                    if database._is_current(session.connection(), _revisions()):
                        return database
            except BaseException:
                database.close()
                raise
            database.close()
        name = url.render_as_string(hide_password=True)
        reason = f"ledger {name} has no tables of this version of Redrive yet; whatever writes to it makes them"
        raise ConfigError("ledger.url", reason)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that changes nothing.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._translated(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Give a session as `reading` does, but all that it reads is of one moment, whoever writes meanwhile."""
        with self.reading() as session:
            if not self._sqlite:  # whose transactions are so by themselves
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session in a transaction that no other writer runs beside; it is committed at the end.

        Raises:
            UnavailableError: the database does not answer, or another writer held it for too long.
        """
        engine = self._engine.execution_options(writes=True)
        with self._translated(), Session(engine, expire_on_commit=False) as session, session.begin():
            if not self._sqlite:
                session.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}s'"))
                session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield session

    def upgrade(self) -> None:
        """Bring the schema up to date; several processes may do so at once.

        Raises:
            ConfigError: a newer version of Redrive has been here.
            UnavailableError: the database does not answer.
        """
        with self.reading() as session:
            if self._is_current(session.connection(), _revisions()):
                return
        with self.writing() as session:
            connection = session.connection()
            if not self._is_current(connection, _revisions()):  # it may be by now
                alembic = AlembicConfig(attributes={"connection": connection})
                alembic.set_main_option("script_location", str(MIGRATIONS))
                command.upgrade(alembic, "head")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _is_current(self, connection: Connection, revisions: Sequence[str]) -> bool:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is not None and revision not in revisions:
            reason = f"{self.name} is of a newer version of Redrive (revision {revision}); upgrade Redrive"
            raise ConfigError("ledger.url", reason)
        return revision == revisions[0]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise UnavailableError(self.name, str(error.orig).strip()) from error
        except DatabaseError as error:
            if type(error.orig) is sqlite3.DatabaseError:  # "file is not a database"
                raise ConfigError("ledger.url", f"{self.name}: {error.orig}") from error
            raise


@cache
def _revisions() -> Sequence[str]:
    """Give the revisions of the schema that this version knows, newest first."""
    return tuple(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


_NOT_SILENT = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 10_000}
"""Settings of libpq by which a connection that nobody answers any more, as after a failover, ends within 15 s. By TCP's
own ones that takes a quarter of an hour, without a heartbeat, and healthy runs are taken for dead."""


def _postgresql_engine(url: URL) -> Engine:
    return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10, **_NOT_SILENT})


def _sqlite_engine(url: URL) -> Engine:
    if url.database:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("ledger.url", f"can't make the folder {folder}: {error.strerror}") from error
    engine = create_engine(url, connect_args={"timeout": PATIENCE})

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        _use_wal(connection)
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers read while one writes. SQLite does not wait by itself for others who do the same just now."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
