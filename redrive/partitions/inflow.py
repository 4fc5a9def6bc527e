"""How many bytes a second producers write to each partition.

Measured by the sizes of the leaders' logs, twice. What Kafka deletes in between, by retention or compaction, is taken
for less inflow, or for none that is known: measure over an interval in which that is rare.
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
    leaders = {part.leader for key, part in partitions.items() if key in wanted and part.leader is not None}
    first, begun = reader.log_dirs(sorted(leaders), wanted), time.monotonic()
    sleep(seconds)
    second, took = reader.log_dirs(sorted(leaders), wanted), time.monotonic() - begun
    before, after = sizes(partitions, first), sizes(partitions, second)
    return rates({key: size for key, size in before.items() if key in wanted}, after, took)


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
