"""What has to move at whatever cost: off drained brokers, into racks that have none, for more or fewer replicas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from redrive.partitions.planner.placement import Placement


def drain(placement: Placement, targets: Sequence[float]) -> list[str]:
    """Move all off the drained brokers, the largest first, to where there is most room; give what can't leave."""
    stuck = []
    leaving = [
        (placement.sizes[at], at, broker)
        for at, replicas in enumerate(placement.replicas)
        if not placement.fixed[at]
        for broker in replicas
        if broker in set(placement.drained)
    ]
    for size, partition, source in sorted(leaving, key=lambda each: (-each[0], each[1], each[2])):
        target = _roomiest(placement, partition, source, targets)
        if target is None:
            stuck.append(f"{_name(placement, partition)} ({size:,} bytes) fits on no other broker")
        else:
            placement.move(partition, source, target)
    return stuck


def mend_racks(placement: Placement, targets: Sequence[float]) -> None:
    """Spread replicas over racks where they are not."""
    for partition in range(len(placement.replicas)):
        if placement.fixed[partition]:
            continue
        for _ in placement.replicas[partition]:
            rack = placement.overfull_rack(partition)
            if rack is None:
                break
            here = [at for at in placement.replicas[partition] if placement.racks[at] == rack and placement.gives[at]]
            for source in sorted(here, key=lambda at: (-_fullness(placement, at, targets), at)):
                target = _roomiest(placement, partition, source, targets, other_rack=True)
                if target is not None:
                    placement.move(partition, source, target)
                    break
            else:
                break


def replicate(placement: Placement, factor: int, targets: Sequence[float]) -> list[str]:
    """Give each partition so many replicas; give what could not be had.

    A new one goes to the rack with fewest of the partition's, and there to the broker with most room. One that goes is
    of the rack with most, and there the fullest broker's; the preferred leader's only if there is no other.
    """
    missing = []
    order = sorted(range(len(placement.replicas)), key=lambda at: (-placement.sizes[at], at))
    for partition in order:
        if placement.fixed[partition]:
            continue
        replicas = placement.replicas[partition]
        while len(replicas) < factor:
            free = [at for at, takes in enumerate(placement.takes) if takes and at not in replicas]
            free = [at for at in free if placement.has_room(partition, at)]
            if not free:
                missing.append(f"{_name(placement, partition)} finds room for {len(replicas)} replicas only")
                break
            placement.add(partition, min(free, key=lambda at: (*_in_rack(placement, replicas, at), at)))
        while len(replicas) > factor:
            may = [at for at in replicas[1:] if placement.gives[at]]
            if not may:
                missing.append(f"{_name(placement, partition)}: its replicas are on brokers that are excluded")
                break
            placement.remove(partition, max(may, key=lambda at: (*_in_rack(placement, replicas, at), at)))
    return missing


def _in_rack(placement: Placement, replicas: Iterable[int], broker: int) -> tuple[int, int, int]:
    rack = placement.racks[broker]
    return sum(placement.racks[at] == rack for at in replicas), placement.load[broker], placement.count[broker]


def _roomiest(
    placement: Placement, partition: int, source: int, targets: Sequence[float], *, other_rack: bool = False
) -> int | None:
    found = [
        at
        for at in range(len(placement.ids))
        if placement.allows(partition, source, at)
        and not (other_rack and placement.racks[at] == placement.racks[source])
    ]
    return min(
        found,
        key=lambda at: (
            _fullness(placement, at, targets), placement.of_topic(partition, at), placement.count[at], at,
        ),
        default=None,
    )  # fmt: skip


def _fullness(placement: Placement, broker: int, targets: Sequence[float]) -> float:
    return placement.load[broker] / targets[broker] if targets[broker] else float(placement.load[broker])


def _name(placement: Placement, partition: int) -> str:
    of = placement.layout.partitions[partition]
    return f"{of.topic}/{of.number}"
