"""What the letters of one cluster are judged with, found out from the registry and from their main topics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from functools import partial

from redrive.config import Config
from redrive.deadletters.correction.batch import Batch
from redrive.deadletters.correction.diverted import DivertedLanes
from redrive.deadletters.correction.order_guard import MainTopic, OrderGuard
from redrive.deadletters.judging.finding import find_targets
from redrive.deadletters.judging.judge import Judge, Rules
from redrive.deadletters.judging.targets import Targets
from redrive.pump.limits import Limits, limits_of
from redrive.pump.readback import ClientConfig
from redrive.schemas import SchemaRegistry
from redrive.standby.drain import open_store


@dataclass(frozen=True, slots=True)
class Context:
    """What letters of one cluster are judged with.

    Attributes:
        client: what a client of the cluster needs.
        targets: where they can go.
        judge: says what becomes of each.
        guard: says which are overtaken.
        limits: main topic → what it takes.
        several: main topics that are on other clusters, too, of which the guard knows nothing.
    """

    client: ClientConfig
    targets: Targets
    judge: Judge
    guard: OrderGuard
    limits: Mapping[str, Limits] = field(default_factory=dict)
    several: Set[str] = frozenset()


def find_context(
    config: Config,
    registry: SchemaRegistry,
    batch: Batch,
    cluster: str,
    rules: Rules | None,
    *,
    attempts: int,
    operation: str,
    insisted: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda _topic, _read, _total: None,
) -> Context:
    """Find out where a cluster's letters can go, and look for events of their keys: newer ones, and those that wait.

    Args:
        config: the platform.
        registry: has the schemas.
        batch: the letters.
        cluster: its name.
        rules: what decides about values; None: events go on as they are.
        attempts: failures after which a letter is parked.
        operation: whose own events are not newer ones.
        insisted: see `Judge`.
        on_progress: hears of a main topic how many events were read, of about how many.

    Raises:
        UnavailableError: the cluster, the registry or the standby table does not answer.
        ConfigError: there is no such table, or it may not be read.
    """
    client = config.cluster(cluster).client_config()
    targets = find_targets(config, registry, cluster, batch.main_topics(cluster))
    units = [unit for unit in batch.units if unit.cluster == cluster]
    seen, limits = {}, {}
    for topic, target in targets.items():
        if not isinstance(target, str):
            limits[topic] = limits_of(client, topic)
            seen[topic] = MainTopic(
                client, topic, batch.wanted[cluster, topic], units,
                operation=operation, stamped=limits[topic].stamped,
            )  # fmt: skip
            seen[topic].read_on(on_progress=partial(on_progress, topic))
    lanes = look_at_lanes(config, cluster, seen)
    judge = Judge(rules, targets, registry.reader(), attempts=attempts, insisted=insisted)
    several = {topic for topic in seen if len(config.topic(topic).clusters) > 1}
    return Context(client, targets, judge, OrderGuard(seen, lanes), limits, several)


def look_at_lanes(config: Config, cluster: str, topics: Collection[str]) -> DivertedLanes:
    """Find out which lanes of some main topics are not open.

    Raises:
        UnavailableError: the standby table does not answer.
        ConfigError: there is no such table, or it may not be read.
    """
    lanes = DivertedLanes(open_store(config), cluster, topics)
    lanes.look()
    return lanes


def topics_of(config: Config, batch: Batch) -> list[tuple[str, str]]:
    """Give the topics that a correction touches: dead-letter topics, and main topics of the same clusters."""
    topics = {(unit.cluster, unit.kafka_topic) for unit in batch.units}
    topics |= {
        (cluster, topic)
        for cluster, topic in batch.wanted
        if topic in config.topics and cluster in config.topic(topic).clusters
    }
    return sorted(topics)
