"""A partition of a source and its copy, read side by side: event by event, or many at once where all is right.

What is wrong with the order of copies is said here; what else may be wrong, by `redrive.migrations.verifying`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, overload

from confluent_kafka import Message

from redrive.columnar.events import EventColumns
from redrive.columnar.records import Column, Record, Records, as_bytes
from redrive.events import Event
from redrive.migrations.columns.coverage import FEWEST
from redrive.migrations.source import event_columns
from redrive.migrations.unit import Unit, origin_of, source_offset
from redrive.pump.names import SOURCE_HEADER

Pair = tuple[Event, bytes | None]
"""An event of the source, and the value that it has in the target."""

Blocks = Iterator[Sequence[Message | Record]]


class Findings(Protocol):
    """Takes what is wrong with the order of copies."""

    foreign: int | None
    """Offset in the target of the first event that has not come this way."""

    def find(self, finding: str) -> None:
        """Add a finding."""
        ...


@dataclass(frozen=True, slots=True)
class ColumnPairs(Sequence[Pair]):
    """Events with their copies' values, as columns.

    Attributes:
        events: as they are to become, but for their values.
        values: those of their copies.
    """

    events: EventColumns
    values: Column

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Pair]:
        return zip(self.events, self.values.each(), strict=True)

    @overload
    def __getitem__(self, place: int) -> Pair: ...
    @overload
    def __getitem__(self, place: slice) -> ColumnPairs: ...
    def __getitem__(self, place: int | slice) -> Pair | ColumnPairs:
        if isinstance(place, slice):
            return ColumnPairs(self.events[place], self.values.part(place))
        return self.events[place], self.values[place]


class _Side:
    """Records of one of the two topics, of which some count.

    Attributes:
        block: those that were read last.
        place: where in the block the next one is that counts.
        head: that one; None: there is none.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.block: Sequence[Message | Record] = ()
        self.place = 0
        self.head: Message | Record | None = None

    def _settle(self) -> None:
        """Go to the next one that counts."""
        while True:
            while self.place < len(self.block):
                if self._counts(head := self.block[self.place]):
                    self.head = head
                    return
                self.place += 1
            block = next(self._blocks, None)
            if block is None:
                self.head = None
                return
            self.block, self.place = block, 0

    def _counts(self, message: Message | Record) -> bool:
        raise NotImplementedError


class Originals(_Side):
    """The events of the source, without those that the way back has brought.

    Args:
        blocks: what is in the source.
        unit: which partition.
        check: called with each block; what it raises ends the reading.
    """

    def __init__(self, blocks: Blocks, unit: Unit, check: Callable[[], None]) -> None:
        super().__init__(_checked(blocks, check))
        self._back = unit.back
        self._settle()

    def advance(self, count: int = 1) -> None:
        """Go on behind so many of the block, all of which count."""
        self.place += count
        self._settle()

    def _counts(self, message: Message | Record) -> bool:
        origin = origin_of(message)
        return origin is None or not origin.startswith(self._back)


def _checked(blocks: Blocks, check: Callable[[], None]) -> Blocks:
    for block in blocks:
        check()
        yield block


class Copies(_Side):
    """The copied events of the target, as far as they are of certain events of the source.

    Args:
        blocks: what is in the target.
        unit: which partition.
        offsets: only events that were there in the source: from the first, before the second.
        ends: whether another piece of the target follows, with copies of what comes after these.
        follows: see `redrive.migrations.verifying.verify`.
        result: takes what is wrong with their order.

    Attributes:
        offset: where the next one was in the source.
    """

    def __init__(
        self, blocks: Blocks, unit: Unit, offsets: tuple[int, int], *, ends: bool, follows: bool, result: Findings
    ) -> None:
        super().__init__(blocks)
        self._unit, self._ends, self._result = unit, ends, result
        self._first, self._upto = offsets
        self._last = self._first - 1 if follows else -1
        self.offset = -1
        self._settle()

    def advance(self, count: int = 1, *, last: int | None = None) -> None:
        """Go on behind so many of the block, all of which count; the last one is the copy of ``last``."""
        self.place += count
        if last is not None:
            self._last = last
        self._settle()

    def _counts(self, message: Message | Record) -> bool:
        unit, result = self._unit, self._result
        origin = origin_of(message)
        offset = None if origin is None else source_offset(origin, unit.name)
        if offset is None:
            if result.foreign is None:
                result.foreign = message.offset()
            return False
        if offset <= self._last or (offset >= self._upto and self._ends):
            wrong = "again, or too late" if offset <= self._last else "too early"
            result.find(f"{unit.target}-{unit.partition}@{message.offset()}: {unit}@{offset} {wrong}")
            return False
        self._last = self.offset = offset
        return self._first <= offset < self._upto


class Together:
    """Takes events with their copies, many at once.

    Args:
        unit: which partition.
    """

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._not_yet = 0

    def take(self, originals: Originals, copies: Copies) -> ColumnPairs | None:
        """Take as many as are right but for their values, which were not looked at, and go on behind them.

        None: one by one, please. The next copy has to be that of the next event.
        """
        if self._not_yet:
            self._not_yet -= 1
            return None
        block, there = originals.block, copies.block
        if not isinstance(block, Records) or not isinstance(there, Records):
            return None
        from redrive.columnar import loops

        block, there = block[originals.place :], there[copies.place :]
        events = event_columns(block, self._unit)
        count = cast(
            int,
            loops.right_copies(
                (events.offsets, events.timestamps, block.special, events.keys.plain, events.headers.plain),
                (there.timestamps, there.kinds, there.special, there.keys.plain, there.headers.plain),
                *events.origin_ends,
                _SOURCE,
            ),
        )
        if count < FEWEST:
            self._not_yet = FEWEST
            return None
        pairs = ColumnPairs(events[:count], there.values.part(slice(0, count)))
        originals.advance(count)
        copies.advance(count, last=int(events.offsets[count - 1]))
        return pairs


_SOURCE = as_bytes(SOURCE_HEADER.encode())
