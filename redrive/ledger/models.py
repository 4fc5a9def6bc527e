"""The ledger's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Status = Literal["running", "paused", "done", "failed", "cancelled", "refused"]


class UtcTime(TypeDecorator[datetime]):
    """A moment: goes in aware, comes out aware in UTC, on databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone, which could mean any moment of a day."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; use datetime.now(UTC)")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite gives back times without a zone: they are UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What all tables share."""

    type_annotation_map = {  # noqa: RUF012
        datetime: UtcTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
    }


class OperationRow(Base):
    """One run of a job.

    Attributes:
        id: a UUID as text; chosen by whoever starts the run, so that a retry finds its own operation.
        resources: what it works on: ``cluster``, or ``cluster/topic``.
        who: the person or schedule that started it.
        counts: name → number, such as ``{"replayed": 41_000}``.
        evidence: what the verdict rests on.
        heartbeat_at: when it was last known to be alive. For people; holds are judged by whether it moves.
        attempt: how often the operation was begun; the handle of an earlier attempt is fenced off.
    """

    __tablename__ = "operations"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    job: Mapped[str] = mapped_column(index=True)
    mode: Mapped[str]
    status: Mapped[str]
    cluster: Mapped[str]
    resources: Mapped[list[str]]
    who: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    parameters: Mapped[dict[str, Any]]
    plan_digest: Mapped[str | None]
    plan: Mapped[dict[str, Any] | None]
    counts: Mapped[dict[str, Any] | None]
    verdict: Mapped[str | None]
    evidence: Mapped[dict[str, Any] | None]
    run_url: Mapped[str | None]
    heartbeat_at: Mapped[datetime]
    attempt: Mapped[int]

    def as_dict(self) -> dict[str, Any]:
        """Give all columns by name."""
        return {column.name: getattr(self, column.name) for column in self.__table__.columns}


class HoldRow(Base):
    """A running operation's claim to a resource. Its age says nothing: the operation's heartbeat does."""

    __tablename__ = "holds"

    resource: Mapped[str] = mapped_column(primary_key=True)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), index=True)
    since: Mapped[datetime]


class EntryRow(Base):
    """An entry of the journal; never changed, never deleted.

    Attributes:
        id: 1, 2, 3, … without gaps.
        kind: ``begun``, ``planned``, ``ended``, ``taken over``, or a job's own word.
        previous_hash: the hash of the entry before; of the first one, 64 zeros.
        hash: SHA-256 of all the rest, in hexadecimal digits.
    """

    __tablename__ = "entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    operation_id: Mapped[str] = mapped_column(ForeignKey("operations.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str]
    body: Mapped[dict[str, Any]]
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
