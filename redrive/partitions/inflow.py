"""How many bytes a second producers write to each partition.

Measured by the sizes of the leaders' logs, twice. Where Kafka has deleted so much in between that a log became
smaller, by retention or compaction, or a leader does not tell sizes, it is what was written by its offsets, at as many
bytes an event as the log has on average. What else is deleted is taken for less inflow: measure over an interval in
which that is rare.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import Key, LogDirs, PartitionState


def measure(
    reader: PartitionReader, keys: Iterable[Key], seconds: float, sleep: Callable[[float], object] = time.sleep
) -> dict[Key, float]:
    """Give bytes a second written to each partition; those of which it is not known are left out.

    Args:
        reader: of the cluster.
        keys: the partitions.
        seconds: what to measure over.
        sleep: waits so long.
    """
    wanted = set(keys)
    partitions = reader.partitions({topic for topic, _ in wanted})
    led = {key: part for key, part in partitions.items() if key in wanted and part.leader is not None}
    leaders = sorted({part.leader for part in led.values() if part.leader is not None})
    ends = Ends(reader, led)
    first, begun = reader.log_dirs(leaders, wanted), time.monotonic()
    sleep(seconds)
    second, took = reader.log_dirs(leaders, wanted), time.monotonic() - begun
    found = rates(sizes(led, first), sizes(led, second), took)
    missing = led.keys() - found.keys()
    others = {id_ for key in missing for id_ in led[key].isr} - set(leaders)
    told = sizes_of_others(led, {**second, **reader.log_dirs(sorted(others), missing)}) | sizes(led, second)
    return found | ends.rates(missing, told)


class Ends:
    """Where logs ended when this was made: what tells how much is written where sizes do not.

    Args:
        reader: of the cluster.
        keys: partitions that have a leader.
    """

    def __init__(self, reader: PartitionReader, keys: Iterable[Key]) -> None:
        self._reader, self._at = reader, time.monotonic()
        self._before = reader.offsets(keys)

    def rates(self, keys: Iterable[Key], sizes: Mapping[Key, int]) -> dict[Key, float]:
        """Give bytes a second written to partitions since; those of which it is not known are left out.

        Args:
            keys: the partitions.
            sizes: bytes of their logs.
        """
        asked = [key for key in keys if key in self._before and key in sizes]
        after, seconds = self._reader.offsets(asked), time.monotonic() - self._at
        moved = [key for key in asked if after.get(key, -1) > self._before[key]]
        starts = self._reader.offsets(moved, first=True)
        found = {key: 0.0 for key in asked if after.get(key) == self._before[key]}
        for key in moved:
            if key in starts and after[key] > starts[key]:
                event = sizes[key] / (after[key] - starts[key])
                found[key] = (after[key] - self._before[key]) * event / seconds
        return found


def sizes(partitions: Mapping[Key, PartitionState], log_dirs: Mapping[int, LogDirs]) -> dict[Key, int]:
    """Give the size of each partition's leader, as far as it is known."""
    found = {}
    for key, partition in partitions.items():
        directories = log_dirs.get(partition.leader) if partition.leader is not None else None
        if directories is not None and key in directories.sizes:
            found[key] = directories.sizes[key]
    return found


def sizes_of_others(partitions: Mapping[Key, PartitionState], log_dirs: Mapping[int, LogDirs]) -> dict[Key, int]:
    """Give the size of each partition's largest replica, as far as known: of one whose leader does not tell."""
    found = {}
    for key, partition in partitions.items():
        told = [
            log_dirs[id_].sizes[key] for id_ in partition.replicas if id_ in log_dirs and key in log_dirs[id_].sizes
        ]
        if told:
            found[key] = max(told)
    return found


def rates(before: Mapping[Key, int], after: Mapping[Key, int], seconds: float) -> dict[Key, float]:
    """Give bytes a second by two measurements; a log that became smaller says nothing."""
    return {key: (after[key] - size) / seconds for key, size in before.items() if after.get(key, -1) >= size}
