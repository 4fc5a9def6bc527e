"""The comparison of partitions in other processes, each partition by all of them.

Nearly all of it is Python's own work, event by event: the reading of both topics as much as the judging of values. So
it is not handed over batch by batch, as the migration is, but by pieces of a partition, as many as there are processes:
then these have as much to do each, however many partitions there are.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from redrive.migrations.batches import compare, transform
from redrive.migrations.in_place.stock import Stock
from redrive.migrations.in_place.verifying import check
from redrive.migrations.positions import Positions
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, verify
from redrive.pump.readback import ClientConfig, start_offsets
from redrive.pump.workers import Workers

LEAST = 25_000
"""So many offsets of the source are the smallest piece of a partition that is worth a process."""


def verify_partition(
    workers: Workers,
    client_config: ClientConfig,
    spec: bytes,
    unit: Unit,
    upto: int,
    *,
    parked: frozenset[int],
    every: int = 1,
    since: tuple[int, int] = (0, 0),
    compacts: Compacts,
    least: int = LEAST,
) -> Checked:
    """Compare a partition of a source with its copy; see `redrive.migrations.verifying.verify`.

    Args:
        workers: the processes.
        client_config: the cluster.
        spec: of the migration (`redrive.migrations.migration.Migration.spec`).
        unit: which partition.
        upto: how far the source has been copied.
        parked: offsets of the source whose events are in the parking topic.
        every: of how many events one is compared by value; 1: all.
        since: where to begin, in the source and in the target.
        compacts: what is compacted may lack what has a newer event.
        least: see `LEAST`.

    Raises:
        UnknownTopicError: one of the topics is gone.
        UnavailableError: the cluster or the registry does not answer, or the process died.
    """
    # What a compacted target may lack is told by all that comes later.
    most = 1 if compacts.target else workers.processes
    pieces = _pieces(client_config, unit, since, upto, most=most, least=least)
    work = partial(_verify, parked=parked, every=every, compacts=compacts)
    return Checked.of_pieces(workers.call_each(work, [(client_config, spec, unit, piece) for piece in pieces]))


class _Piece(NamedTuple):
    """A piece of a partition; what its fields mean: see `redrive.migrations.verifying.verify`."""

    since: tuple[int, int]
    upto: int
    follows: bool
    until: int | None


def _pieces(
    client_config: ClientConfig, unit: Unit, since: tuple[int, int], upto: int, *, most: int, least: int
) -> list[_Piece]:
    """Cut a partition into at most so many pieces, each of which has all copies of its events, if they are in order."""
    first = max(since[0], start_offsets(client_config, unit.source)[unit.partition])
    pieces = min(most, (upto - first) // least)
    cuts = [first + (upto - first) * number // pieces for number in range(1, pieces)]
    if not cuts:
        return [_Piece(since, upto, False, None)]
    with Positions(client_config, unit.cluster, unit.source, unit.target) as positions:
        places = [max(since[1], positions.in_target(unit.partition, cut)) for cut in cuts]
    begins, ends = [since, *zip(cuts, places, strict=True)], zip([*cuts, upto], [*places, None], strict=True)
    return [
        _Piece(begin, to, number > 0, until)
        for number, (begin, (to, until)) in enumerate(zip(begins, ends, strict=True))
    ]


def _verify(
    client_config: ClientConfig,
    spec: bytes,
    unit: Unit,
    piece: _Piece,
    *,
    parked: frozenset[int],
    every: int,
    compacts: Compacts,
) -> Checked:
    return verify(
        client_config,
        unit,
        piece.upto,
        parked=parked,
        compare=compare(spec),
        every=every,
        since=piece.since,
        follows=piece.follows,
        until=piece.until,
        compacts=compacts,
    )


def check_partition(
    workers: Workers,
    client_config: ClientConfig,
    spec: bytes,
    standing: Standing,
    *,
    operation: str,
    target: int,
    every: int = 1,
    refused: int = 0,
) -> tuple[Checked, Stock]:
    """Check a partition that was renewed where it is; see `redrive.migrations.in_place.verifying.check`.

    Raises:
        UnavailableError: the cluster or the registry does not answer, or the process died.
    """
    work = partial(_check, operation=operation, target=target, every=every, refused=refused)
    return workers.call(work, client_config, spec, standing)


def _check(
    client_config: ClientConfig,
    spec: bytes,
    standing: Standing,
    *,
    operation: str,
    target: int,
    every: int,
    refused: int,
) -> tuple[Checked, Stock]:
    return check(
        client_config,
        standing,
        transform(Workers(0), spec),
        compare=compare(spec),
        operation=operation,
        target=target,
        every=every,
        refused=refused,
    )
