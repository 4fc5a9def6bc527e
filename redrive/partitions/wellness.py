"""Whether a cluster is well enough for partitions to be moved about in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from redrive.partitions.layout import Move
from redrive.partitions.picture import read_min_isr, under_min_isr, without_leader
from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import Key, PartitionState

_SHOWN = 3


class Wellness:
    """Looks at a cluster now and again, and compares it with how it was when the moves began.

    Args:
        reader: of the cluster.
        before: partitions that were under min ISR then; None: those that are now.
    """

    def __init__(self, reader: PartitionReader, before: Collection[Key] | None = None) -> None:
        self._reader = reader
        self._min_isr: dict[str, int] = {}
        self._before = frozenset(self._under_min_isr(reader.partitions()) if before is None else before)

    def why_unwell(self, moves: Iterable[Move]) -> str:
        """Say why nothing more should begin; empty if it may.

        Partitions that were under min ISR when the moves began don't count, nor do replicas that are not in sync.

        Args:
            moves: what is to begin. Where their replicas are to be, brokers must be up; one that they leave may be
                down, and it may be just for that.
        """
        brokers = self._reader.brokers()
        needed = {broker for move in moves for broker in move.after}
        down = sorted(id_ for id_ in needed if id_ not in brokers or not brokers[id_].up)
        if down:
            return f"broker {', '.join(map(str, down))} is down"
        partitions = self._reader.partitions()
        if offline := without_leader(partitions):
            return f"{_some(offline)} without a leader"
        if under := [key for key in self._under_min_isr(partitions) if key not in self._before]:
            return f"{_some(under)} under min ISR"
        return ""

    def _under_min_isr(self, partitions: dict[Key, PartitionState]) -> tuple[Key, ...]:
        new = {topic for topic, _ in partitions} - self._min_isr.keys()
        if new:
            self._min_isr |= read_min_isr(self._reader, new)
        return under_min_isr(partitions, self._min_isr)


def _some(keys: Iterable[Key]) -> str:
    names = [f"{topic}/{number}" for topic, number in keys]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more + (" is" if len(names) == 1 else " are")
