"""What the protocol needs of a table: slots that are written once, and gates that count up.

`redrive.standby.dynamo` is such a table in DynamoDB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

MAX_ITEM_BYTES = 400 * 1024
"""DynamoDB's limit for one item, names of attributes included."""


class Slot(msgspec.Struct, frozen=True):
    """What one slot of a log holds.

    Attributes:
        kind: ``events`` or ``part`` in a stream; ``divert`` or ``open`` in a lane's log; ``seal`` in both;
            ``topic`` in the list of topics.
        token: who wrote it and when, unique for each append, so that a writer knows its own slot again
            after a lost answer.
        data: the packed events, or nothing.
        events: how many events ``data`` holds.
        doubtful: how many of them may be in Kafka already.
        oldest: acceptance time of the oldest of them, milliseconds since 1970.
        epoch: of a lane's log: the epoch that the entry is about; of a topic: its number of lanes.
        producer: of a ``divert``: whose stream begins; of a topic: its name.
        target: of an ``open``: the topic that producers use from now on; empty: the lane's own.
        size: bytes of ``data``, known without it in an outline.
        expires: when it may be deleted by itself, seconds since 1970; 0: never.
    """

    kind: str
    token: str
    data: bytes = b""
    events: int = 0
    doubtful: int = 0
    oldest: int = 0
    epoch: int = 0
    producer: str = ""
    target: str = ""
    size: int = 0
    expires: int = 0


class Store(Protocol):
    """What the protocol needs of a table. Each method is one atomic step as far as others can see."""

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        """Write ``slot`` unless one stands there already; return the one that stands there instead, if any.

        Raises:
            UnavailableError: no answer came; the slot may have been written or not.
        """
        ...

    def last(self, pk: str) -> tuple[int, Slot] | None:
        """Return the highest slot of a log, with its number."""
        ...

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        """Yield the slots above ``after``, ascending, page by page."""
        ...

    def outline(self, pk: str, after: int = 0) -> Iterator[tuple[int, Slot]]:
        """Yield the slots above ``after``, ascending, without their data."""
        ...

    def delete(self, pk: str, sks: Sequence[int]) -> None:
        """Delete slots; those that are gone already are no error."""
        ...

    def expire(self, pk: str, sks: Sequence[int], at: int) -> None:
        """Let DynamoDB delete these slots after ``at`` (seconds since 1970). Never for a slot that holds events."""
        ...

    def version(self, pk: str) -> int:
        """Return the count of a gate; 0 if it was never bumped."""
        ...

    def bump(self, pk: str) -> None:
        """Add one to the count of a gate."""
        ...
