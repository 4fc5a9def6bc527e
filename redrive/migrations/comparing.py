"""The comparison of whole partitions in other processes, each partition in one.

Nearly all of it is Python's own work, event by event: the reading of both topics as much as the judging of values. So
it is not handed over batch by batch, as the migration is, but as a whole: it goes on as fast as there are processors
for it, whatever the calling process does.
"""

from __future__ import annotations

from functools import partial

from redrive.migrations.batches import compare, transform
from redrive.migrations.in_place.stock import Stock
from redrive.migrations.in_place.verifying import check
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit
from redrive.migrations.verifying import Checked, Compacts, verify
from redrive.pump.readback import ClientConfig
from redrive.pump.workers import Workers


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

    Raises:
        UnknownTopicError: one of the topics is gone.
        UnavailableError: the cluster or the registry does not answer, or the process died.
    """
    work = partial(_verify, parked=parked, every=every, since=since, compacts=compacts)
    return workers.call(work, client_config, spec, unit, upto)


def _verify(
    client_config: ClientConfig,
    spec: bytes,
    unit: Unit,
    upto: int,
    *,
    parked: frozenset[int],
    every: int,
    since: tuple[int, int],
    compacts: Compacts,
) -> Checked:
    return verify(
        client_config,
        unit,
        upto,
        parked=parked,
        compare=compare(spec),
        every=every,
        since=since,
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
