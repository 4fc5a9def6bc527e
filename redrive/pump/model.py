"""What the pump moves, from where, into what: the three parts that a job supplies or chooses.

::

    source.chunks(cursor) ──► transform(chunks) ──► sink.commit(events, cursor)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from redrive.events import Event


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some events in order, and the place in the source after them.

    Attributes:
        events: in the order in which they are to be published; may be empty (the cursor moves all the same).
        cursor: opaque to the pump; handed to the source again when the unit starts the next time.
        skipped: reason → how many events the source itself passed over between the last cursor and this one.
    """

    events: Sequence[Event]
    cursor: bytes
    skipped: dict[str, int] | None = None


class Source(Protocol):
    """Where events come from: lazily, in order, from any cursor it has handed out before."""

    def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
        """Yield what comes after ``cursor`` (None: from the beginning). Bounded memory, whatever the backlog."""
        ...

    def committed(self, cursor: bytes) -> None:
        """Hear that all of the chunk that ends at ``cursor`` is in Kafka for good: what it was read from may go."""
        ...


@dataclass(frozen=True, slots=True)
class Rejected:
    """The transform's word for: this event can't go on; park it with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """The transform's word for: this event need not go on, for this reason."""

    reason: str


Transformed = Event | Rejected | Skipped
"""What becomes of an event."""

Transform = Callable[[Iterator[Chunk]], Iterator[tuple[Chunk, Sequence[Transformed]]]]
"""Says, chunk by chunk and in order, what becomes of each event. It may work ahead."""


class Sink(Protocol):
    """Where events go: one transaction a chunk."""

    def start(self) -> bytes | None:
        """Fence every older copy of this unit, *then* read back and return the last committed cursor."""
        ...

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        """Make the events and the cursor visible together, or not at all.

        Raises:
            FencedError: a newer copy of this unit has started.
            UnavailableError: the cluster did not confirm in time; the unit can be started again.
        """
        ...

    def close(self) -> None:
        """Give up the connection; an open transaction is aborted."""
        ...
