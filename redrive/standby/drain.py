"""Drain a lane: replay all that it holds into Kafka, exactly once and in order, reopen it, and prove it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace

from redrive.aliases.route import Route
from redrive.config import Config
from redrive.envelope import Identity
from redrive.errors import UnavailableError
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.governor import Governor
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.parking import ensure_parking
from redrive.pump.pump import Outcome, Progress, Pump
from redrive.pump.sink import TransactionalSink
from redrive.standby.dynamo import DynamoStore
from redrive.standby.lanes import Lane, LaneLog
from redrive.standby.lookup import Doubtful, look_up
from redrive.standby.replay import LaneReplay, Later
from redrive.standby.store import Store
from redrive.standby.streams import GapError
from redrive.standby.writer import SystemClock

PREFETCH = 1
"""Transactions that are read from DynamoDB and made ready while the one before is published."""


@dataclass(frozen=True, slots=True)
class LaneResult:
    """What became of a lane.

    Attributes:
        lane: which one.
        outcome: counts and evidence, over all runs of the operation.
        epochs: epochs that this run has finished; empty if there was nothing to do.
        doubtful: events that were looked up, because Kafka might have had them already.
        unsure: how many of them may have been there, and are published again: the topic has deleted records of their
            time.
    """

    lane: Lane
    outcome: Outcome
    epochs: tuple[int, ...]
    doubtful: frozenset[Identity] = field(default_factory=frozenset)
    unsure: int = 0


def open_store(config: Config) -> DynamoStore:
    """Connect to the standby table of a platform."""
    return DynamoStore(config.standby.table, config.standby.region, config.standby.endpoint)


def drain(
    config: Config,
    lane: Lane,
    *,
    operation: str,
    governor: Governor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    total: int | None = None,
    settle: float = 5.0,
    well: dict[str, float] | None = None,
    skew: float = 1.0,
    store: Store | None = None,
    later: Later = lambda tidy: tidy(),
    diverted_since: float | None = None,
) -> LaneResult:
    """Replay a lane to its end and reopen it; goes on from wherever an earlier run, of any kind of end, has left off.

    Args:
        config: the platform.
        lane: which lane.
        operation: id of the operation; counts and evidence are kept for it, and each event's headers name it.
        governor: the pace, shared by all lanes of a run.
        on_progress: called about once a second.
        total: how many events wait, if known; for the time left.
        settle: seconds that events in doubt are left alone, once the cluster is well again, before the topic is
            searched for them.
        well: cluster → since when it has answered, by `time.monotonic`; shared by the lanes of a run, so that only the
            first one has to wait. Kept up to date here.
        skew: seconds by which the clocks of producers may differ.
        store: the standby table; None connects to the one in the settings.
        later: see `LaneReplay`.
        diverted_since: since when the lane is known not to be open, by `time.monotonic`; None: since now. Who goes
            over to another topic (see `redrive.aliases`) waits until nothing is under way to the old one any more.

    Raises:
        StoppedError: the governor was stopped; the cursor is clean.
        FencedError: another run has taken this lane over.
        GapError: the table lacks events that were never replayed.
        TableBehindError: the table was restored to an earlier moment, and it can't be told what is published.
        NotOpenError: nothing is left to replay, and the lane is not open.
        UnavailableError: Kafka or DynamoDB does not answer; call again later.
    """
    client = config.cluster(lane.cluster).client_config()
    began = time.monotonic() if diverted_since is None else diverted_since

    unsure = 0

    def lookup(lane: Lane, doubtful: Sequence[Doubtful]) -> Set[Identity]:
        nonlocal unsure
        answer = look_up(client, route.topic, doubtful, skew=skew)
        unsure += answer.unsure
        return answer.present

    governor = governor or Governor()
    well = {} if well is None else well
    sink = TransactionalSink(client, lane.unit, operation=operation, check=governor.check)
    try:
        cursor = sink.start()
        ensure_parking(client)
        store = store or open_store(config)
        # Only now: a replay that begins after this one reads it later, and ends this one.
        route = Route.of(config, LaneLog(store, lane), diverted_since=began, settle=settle, check=governor.check)
        replay = LaneReplay(
            store,
            lane,
            lookup,
            clock=SystemClock(),
            owner=f"replay-{socket.gethostname()}-{os.getpid()}",
            settle=settle,
            skew=skew,
            well_since=well.setdefault(lane.cluster, time.monotonic()),
            check=governor.check,
            later=later,
            target=route.target,
            ready=route.wait,
        )
        pump = Pump(
            replay,
            sink,
            parking_topic=PARKING_TOPIC,
            operation=operation,
            transform=route.transform,
            governor=governor,
            prefetch=PREFETCH,
            positions=sink.positions,
            on_progress=on_progress,
            total=total,
        )
        try:
            return replace(_replay(lane, replay, pump, cursor), unsure=unsure)
        except GapError:
            # Another run that has taken over deletes what it has published: then the gap is no loss, and this says so.
            sink.commit([], pump.outcome.cursor or Checkpoint(operation=operation).encode())
            raise
    except UnavailableError:
        well.pop(lane.cluster, None)
        raise
    finally:
        sink.close()


def _replay(lane: Lane, replay: LaneReplay, pump: Pump, cursor: bytes | None) -> LaneResult:
    epochs: list[int] = []
    while True:
        epoch = replay.next_epoch(Checkpoint.decode(cursor).source)
        outcome = pump.run(cursor)
        cursor = outcome.cursor
        if epoch is None:
            if not replay.is_open():  # somebody has diverted it just now
                continue
            return LaneResult(lane, outcome, tuple(epochs), frozenset(replay.doubtful))
        if replay.open(Checkpoint.decode(cursor).source):
            epochs.append(epoch)
