"""What a compacted topic holds: its keys, by the schema of their newest events, and those that need a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from redrive.clusters import ClusterAdmin
from redrive.config import Config
from redrive.errors import ConfigError, UnknownTopicError
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.in_place.newest import BEYOND, DELETED, UNFRAMED, schema_of, windows
from redrive.migrations.neighbours import copied_with
from redrive.migrations.shadow import Shadow
from redrive.migrations.source import event_of
from redrive.migrations.survey import Standing
from redrive.migrations.trial import Trial, try_on
from redrive.migrations.unit import Unit
from redrive.pump.limits import limits_of
from redrive.pump.model import Chunk, Transform
from redrive.pump.readback import ClientConfig, cluster_name, end_offsets, start_offsets

LEAST_DELETIONS_MS = 60_000
"""How long a topic has to keep deletions: see `redrive.migrations.in_place.newest.in_time`."""

_MOST_FINDINGS = 20


@dataclass(slots=True)
class Stock:
    """Keys by what their newest events are.

    Attributes:
        ids: schema id → keys whose newest event is written with it.
        unframed: keys whose newest event's bytes are no frame.
        deleted: keys whose newest event is a deletion that compaction has not taken away yet.
        overtaken: events that were published again behind newer ones; the first 20, in words. There must be none.
    """

    ids: Counter[int] = field(default_factory=Counter)
    unframed: int = 0
    deleted: int = 0
    overtaken: list[str] = field(default_factory=list)

    @property
    def live(self) -> int:
        """Keys that have a value."""
        return sum(self.ids.values()) + self.unframed

    def __add__(self, other: Stock) -> Stock:
        return Stock(
            self.ids + other.ids,
            self.unframed + other.unframed,
            self.deleted + other.deleted,
            self.overtaken + other.overtaken,
        )

    def old(self, target: int) -> int:
        """Count live keys whose newest event has another schema than this one."""
        return self.live - self.ids[target]


def look(config: Config, topic: str) -> tuple[Shadow, list[Standing]]:
    """Look at a topic that is to be brought to another schema where it is; changes nothing.

    Raises:
        ConfigError: that can't be; says why.
        UnknownTopicError: it does not exist.
        UnavailableError: the cluster does not answer.
    """
    of = config.topic(topic)
    client = config.cluster(of.cluster).client_config()
    if of.schema is None:
        raise ConfigError(f"topics.{topic}.schema", "name the schema file that its events are to fit")
    there = ClusterAdmin(config.cluster(of.cluster)).topics()
    now = there.get(topic)
    if now is None:
        raise UnknownTopicError(topic, cluster_name(client))
    if other := copied_with(config, topic, {name: state.partitions for name, state in there.items()}):
        raise ConfigError(
            "goal",
            f"there is a backfill between {topic} and {other}, whose readers would get each event again: end it first, "
            f"by deleting the topic that nobody uses any more, or by `redrive backfill abandon`",
        )
    limits = limits_of(client, topic)
    if not limits.keyed:  # by its own settings, or the brokers'
        raise ConfigError(
            "goal",
            f"{topic} is not compacted (cleanup.policy), or its settings may not be seen: what is published again "
            "would be there beside the old events. Copy it to another topic (goal copy)",
        )
    if limits.deletions_ms < LEAST_DELETIONS_MS:
        raise ConfigError(
            "goal",
            f"{topic} keeps deletions for {limits.deletions_ms:,} ms only (delete.retention.ms): they could go before "
            f"they are seen, and deleted keys would come back. Give it at least {LEAST_DELETIONS_MS:,} ms, a day if "
            "you can, until the run has ended",
        )
    lows, ends = start_offsets(client, topic), end_offsets(client, topic)
    units = [Unit(of.cluster, topic, topic, partition) for partition in range(len(ends))]
    standings = [Standing(unit, low, None, end) for unit, low, end in zip(units, lows, ends, strict=True)]
    policy = {"cleanup.policy": now.config.get("cleanup.policy", "as the brokers have it")}
    return Shadow(of.cluster, now, now, topic, policy, ()), standings


def take_stock(
    client_config: ClientConfig, standings: Sequence[Standing], transform: Transform, *, target: int, sample: int | None
) -> tuple[Stock, Trial]:
    """Count a topic's keys, and try the migration on the newest events that need it.

    Args:
        client_config: the cluster.
        standings: its partitions.
        transform: the migration.
        target: id of the schema.
        sample: try about so many events of each partition's window of keys, evenly spread; None: all.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    stock = Stock()
    chunks = (chunk for each in standings for chunk in outdated(client_config, each, target, stock, sample))
    return stock, try_on(chunks, transform, whole=sample is None)


def outdated(
    client_config: ClientConfig, standing: Standing, target: int, stock: Stock, sample: int | None = None
) -> Iterator[Chunk]:
    """Yield the newest events of live keys that have another schema than ``target``, and count all keys.

    Args:
        client_config: the cluster.
        standing: the partition; what is before its end is looked at.
        target: id of the schema.
        stock: takes the counts.
        sample: only about so many of each window, evenly spread; None: all.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    unit, ids = standing.unit, [target]
    with (
        closing(PartitionLog(client_config, unit.source, unit.partition)) as log,
        closing(PartitionLog(client_config, unit.source, unit.partition)) as pages,
    ):
        for newest in windows(log, standing.first, standing.end, f"{unit.name}/".encode(), ids):
            kinds = newest.counts()
            old = {kind for kind in kinds if kind not in (BEYOND, DELETED) and schema_of(kind, ids) != target}
            _count(stock, kinds, ids)
            for at, newer in newest.overtaken[: _MOST_FINDINGS - len(stock.overtaken)]:
                stock.overtaken.append(f"{unit}@{at} was published again behind a newer event of its key, at {newer}")
            step = max(1, sum(kinds[kind] for kind in old) // sample) if sample else 1
            seen = 0
            for part in pages.read(newest.first, newest.end) if old else ():
                events = []
                for message in part.messages:
                    if newest.kind(message) in old:
                        if seen % step == 0:
                            events.append(event_of(message, unit))
                        seen += 1
                yield Chunk(events, b"")


def _count(stock: Stock, kinds: dict[int, int], ids: Sequence[int]) -> None:
    for kind, keys in kinds.items():
        schema_id = schema_of(kind, ids)
        if schema_id is not None:
            stock.ids[schema_id] += keys
    stock.deleted += kinds.get(DELETED, 0)
    stock.unframed += kinds.get(UNFRAMED, 0)
