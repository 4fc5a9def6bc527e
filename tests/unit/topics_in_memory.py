"""Topics of one partition in memory, for what looks places up: how much it reads, and of cases that take long to make.

On real topics the same is tested in ``tests/stack/migrations/test_positions.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError

from redrive.migrations import crossing, positions
from redrive.migrations.unit import Unit
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER

SOURCE, TARGET = "orders", "orders.v2"


def copy_of(offset: int, source: str = SOURCE, target: str = TARGET) -> str:
    """What a copy says of its origin."""
    return Unit("one", source, target, 0).origins % offset


@dataclass
class Log:
    """Events by offset, each with its origin; None: nobody has copied it there."""

    events: dict[int, str | None]
    low: int = 0

    @property
    def end(self) -> int:
        return max(self.events, default=self.low - 1) + 1


@dataclass
class Topics:
    """The topics, and how many records have been read of them."""

    logs: dict[str, Log] = field(default_factory=dict)
    read: int = 0

    def crossing(
        self, here: str, there: str, copied: dict[int, int], returned: dict[int, int], **options: Any
    ) -> crossing.Crossing:
        return crossing.Crossing({}, "one", here, there, copied, returned, **options)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> Topics:
        """Have places be looked up in these."""
        monkeypatch.setattr(positions, "start_offsets", lambda _, topic: [self.logs[topic].low])
        monkeypatch.setattr(positions, "end_offsets", lambda _, topic, **__: [self.logs[topic].end])
        monkeypatch.setattr(positions, "reader", lambda _: _Reader(self))
        return self


class _Ended:
    def code(self) -> int:
        return KafkaError._PARTITION_EOF


@dataclass
class _Record:
    at: int
    origin: str | None = None
    ended: _Ended | None = None

    def error(self) -> _Ended | None:
        return self.ended

    def offset(self) -> int:
        return self.at

    def headers(self) -> list[tuple[str, bytes]]:
        return [] if self.origin is None else [(OPERATION_HEADER, b"op"), (SOURCE_HEADER, self.origin.encode())]


class _Reader:
    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._log, self._at = Log({}), 0

    def assign(self, places: list[Any]) -> None:
        self._log, self._at = self._topics.logs[places[0].topic], places[0].offset

    def consume(self, limit: int, _: float) -> list[_Record]:
        found: list[_Record] = []
        end = self._log.end  # once: it looks at all events
        while len(found) < limit and self._at < end:
            if self._at in self._log.events and self._at >= self._log.low:
                found.append(_Record(self._at, self._log.events[self._at]))
            self._at += 1
        self._topics.read += len(found)
        return found if len(found) == limit else [*found, _Record(self._at, ended=_Ended())]

    def close(self) -> None:
        """There is nothing to close."""
