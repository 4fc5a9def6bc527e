"""Sums columns up, to the same as event by event."""

from __future__ import annotations

from redrive.columnar import loops
from redrive.columnar.events import EventColumns


def summed(events: EventColumns) -> tuple[int, int, int]:
    """Return what `redrive.pump.evidence.Tally` adds up: bytes, digests, times."""
    size, low, high, times = loops.summed(
        events.keys.plain, events.values.plain, events.headers.plain, events.offsets, events.timestamps,
        *events.origin_ends,
    )  # fmt: skip
    return size, (int(high) << 64) + int(low), times
