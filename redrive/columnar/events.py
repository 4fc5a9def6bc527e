"""Many events as columns, which are a sequence of events to whoever does not ask further."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from redrive.columnar.records import Bytes, Column, Numbers, as_bytes, unpacked
from redrive.events import Event


@dataclass(frozen=True, slots=True)
class EventColumns(Sequence[Event]):
    """Events of one partition for one other, in order.

    Attributes:
        topic: that they are for.
        partition: that they are for.
        origins: where a job reads them from: ``origins % offset`` is an event's origin, and its id.
        offsets: their offsets there.
        timestamps: milliseconds since 1970.
        keys: their keys.
        values: their values.
        headers: their headers, as MessagePack has an array of pairs.
    """

    topic: str
    partition: int
    origins: str
    offsets: Numbers
    timestamps: Numbers
    keys: Column
    values: Column
    headers: Column

    def __post_init__(self) -> None:
        """Compiled loops do not look whether one column is shorter than another.

        Raises:
            ValueError: one is.
        """
        counts = {len(column) for column in (self.offsets, self.timestamps, self.keys, self.values, self.headers)}
        if len(counts) > 1:
            raise ValueError(f"some columns have {min(counts)} events, some {max(counts)}")

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> EventColumns: ...
    def __getitem__(self, place: int | slice) -> Event | EventColumns:
        if isinstance(place, slice):
            return replace(
                self, offsets=self.offsets[place], timestamps=self.timestamps[place], keys=self.keys.part(place),
                values=self.values.part(place), headers=self.headers.part(place),
            )  # fmt: skip
        origin = self.origins % self.offsets[place]
        return Event(
            origin, self.topic, self.keys[place], self.values[place], unpacked(self.headers[place]),
            int(self.timestamps[place]), self.partition, origin,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Event]:
        topic, partition, origins = self.topic, self.partition, self.origins
        columns = self.keys.each(), self.values.each(), self.headers.each()
        times = self.timestamps.tolist()
        for offset, time, key, value, headers in zip(self.offsets.tolist(), times, *columns, strict=True):
            origin = origins % offset
            yield Event(origin, topic, key, value, unpacked(headers), time, partition, origin)

    @property
    def origin_ends(self) -> tuple[Bytes, Bytes]:
        """What comes before an event's offset in its origin, and after it."""
        before, after = self.origins.split("%d")
        return as_bytes((before % ()).encode()), as_bytes((after % ()).encode())


class Joined(Sequence[Event]):
    """Events in order, of which some are columns. Without those, it is one list."""

    def __init__(self, events: list[Event] | None = None) -> None:
        self.parts: list[list[Event] | EventColumns] = [events] if events else []
        self._count = len(events or ())

    def add(self, events: Sequence[Event]) -> None:
        """Add some at the end."""
        if not events:
            return
        self._count += len(events)
        if isinstance(events, EventColumns):
            self.parts.append(events)
        elif self.parts and isinstance(self.parts[-1], list):
            self.parts[-1].extend(events)
        else:
            self.parts.append([*events])

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Event]: ...
    def __getitem__(self, place: int | slice) -> Event | Sequence[Event]:
        if isinstance(place, slice):
            first, last, step = place.indices(self._count)
            return self._between(first, last) if step == 1 else [*self][place]
        place = range(self._count)[place]
        for part in self.parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(place)

    def _between(self, first: int, last: int) -> Sequence[Event]:
        found = Joined()
        for part in self.parts:
            if first < len(part) and last > 0:
                found.add(part[max(0, first) : max(0, last)])
            first, last = first - len(part), last - len(part)
        return found if len(found.parts) > 1 else next(iter(found.parts), [])

    def __iter__(self) -> Iterator[Event]:
        return (event for part in self.parts for event in part)


def parts_of(events: Sequence[Event]) -> Sequence[Sequence[Event]]:
    """Return events by parts, each of which is columns, or has none."""
    return events.parts if isinstance(events, Joined) else (events,)
