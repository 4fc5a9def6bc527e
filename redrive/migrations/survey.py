"""How far a backfill is: for each partition, what there is to copy, and what has been copied."""

from __future__ import annotations

from dataclasses import dataclass

from redrive.errors import OtherMigrationError, UnknownTopicError
from redrive.migrations.positions import Positions
from redrive.migrations.source import copied, position
from redrive.migrations.unit import Unit
from redrive.pump.cursors import read_cursors
from redrive.pump.readback import ClientConfig, end_offsets, start_offsets


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one partition stands.

    Attributes:
        unit: which.
        first: the lowest offset that the source still has.
        next: how far it has been copied; None: nothing of it has.
        end: where the source ends now.
    """

    unit: Unit
    first: int
    next: int | None
    end: int

    @property
    def begin(self) -> int:
        """The offset to go on from."""
        return self.first if self.next is None else self.next

    @property
    def left(self) -> int:
        """Offsets to copy: as many events, or less where the source has holes."""
        return max(0, self.end - self.begin)


def survey(client_config: ClientConfig, cluster: str, source: str, target: str, migration: str) -> list[Standing]:
    """Look at all partitions.

    Args:
        client_config: the cluster.
        cluster: its name.
        source: the topic that is copied.
        target: the topic that is filled.
        migration: digest of the migration.

    Raises:
        OtherMigrationError: another migration has begun to fill the target.
        UnknownTopicError: there is no such source.
        UnavailableError: the cluster does not answer.
    """
    lows, ends = start_offsets(client_config, source), end_offsets(client_config, source)
    units = [Unit(cluster, source, target, partition) for partition in range(len(ends))]
    saved = read_cursors(client_config, (unit.name for unit in units))
    standings = [
        Standing(unit, low, copied(saved.get(unit.name), unit, migration), end)
        for unit, low, end in zip(units, lows, ends, strict=True)
    ]
    try:
        with Positions(client_config, cluster, source, target) as positions:
            for standing in standings:
                if standing.next is None and positions.in_source(standing.unit.partition, 0) is not None:
                    raise OtherMigrationError(source, target)  # of one that was abandoned, and not to its end
    except UnknownTopicError as error:
        if error.topic != target:
            raise
        if any(standing.next is not None for standing in standings):
            raise OtherMigrationError(source, target) from None  # somebody has deleted it: what was copied is gone
    return standings


def copied_so_far(client_config: ClientConfig, cluster: str, source: str, target: str) -> dict[int, int]:
    """Say how far each partition has been copied, by whichever migration; without those that never were.

    Raises:
        UnknownTopicError: there is no such source.
        UnavailableError: the cluster does not answer.
    """
    units = [Unit(cluster, source, target, partition) for partition in range(len(end_offsets(client_config, source)))]
    saved = read_cursors(client_config, (unit.name for unit in units))
    found = ((unit.partition, position(saved.get(unit.name))) for unit in units)
    return {partition: offset for partition, offset in found if offset is not None}
