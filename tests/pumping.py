"""A source and a sink in memory, and events, for tests of the pump's own loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from redrive.errors import FencedError, RefusedError, UnavailableError
from redrive.events import Event
from redrive.pump.model import Chunk, Transform, Transformed


def make_events(
    count: int, *, topic: str = "orders", unit: str = "unit", size: int = 200, keys: int = 50
) -> list[Event]:
    """Make events with ids 0, 1, 2, …, times 1, 2, 3, … and sources of 100 events a slot."""
    return [
        Event(
            id=str(i),
            topic=topic,
            key=b"key-%d" % (i % keys),
            value=b"%08d" % i + bytes([i % 256]) * (size - 8),
            headers=[("ce_id", b"%d" % i), ("ce_type", b"orders.created")],
            timestamp=i + 1,
            origin=f"{unit}/stream/{i // 100}/{i % 100}",
        )
        for i in range(count)
    ]


class ListSource:
    """Yields a list in pieces; its cursor is how many events it has yielded."""

    def __init__(self, events: Sequence[Event], piece: int = 10) -> None:
        self.events, self.piece = events, piece
        self.heard: list[bytes] = []

    def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
        at = int(cursor or b"0")
        while at < len(self.events):
            events = self.events[at : at + self.piece]
            at += len(events)
            yield Chunk(events, b"%d" % at)

    def committed(self, cursor: bytes) -> None:
        self.heard.append(cursor)


class MemorySink:
    """Keeps what is committed; can fail once, before or after committing, or refuse events."""

    def __init__(
        self, *, fail_at: int = 0, fail_after: bool = False, refuse: set[tuple[str, str]] | None = None
    ) -> None:
        self.published: list[Event] = []
        self.cursor: bytes | None = None
        self.commits = 0
        self.sizes: list[int] = []
        self.fenced = False
        self._fail_at, self._fail_after, self._refuse = fail_at, fail_after, refuse or set()

    def start(self) -> bytes | None:
        return self.cursor

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        if self.fenced:
            raise FencedError("unit")
        refused = {i: "MSG_SIZE_TOO_LARGE" for i, event in enumerate(events) if (event.topic, event.id) in self._refuse}
        if refused:
            raise RefusedError(refused)
        failing = self._fail_at and self.commits + 1 == self._fail_at
        if failing and not self._fail_after:
            self._fail_at = 0
            raise UnavailableError("Kafka", "no answer")
        self.commits += 1
        self.published.extend(events)
        self.sizes.append(len(events))
        self.cursor = cursor
        if failing:
            self._fail_at = 0
            raise UnavailableError("Kafka", "no answer, though it was committed")

    def close(self) -> None:
        pass


def each(became: Callable[[Event], Transformed]) -> Transform:
    """Make a transform of what says it event by event."""
    return lambda chunks: ((chunk, [became(event) for event in chunk.events]) for chunk in chunks)
