"""What the letters of one cluster are judged with, found out from the registry and from their main topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from redrive.aliases.alias import Aliases, read_aliases
from redrive.coding import Writer
from redrive.config import Config
from redrive.deadletters.correction.batch import Batch, Wanted, topics_in
from redrive.deadletters.correction.diverted import DivertedLanes
from redrive.deadletters.correction.doubles import united
from redrive.deadletters.correction.order_guard import MainTopic, OrderGuard
from redrive.deadletters.judging.finding import called_alike, find_targets, has_reached, moved
from redrive.deadletters.judging.judge import Judge, Rules
from redrive.deadletters.judging.targets import MovedWriter, Targets, goes_to
from redrive.ledger.letter_twins import Twin
from redrive.ledger.letters import Letters
from redrive.pump.lag import LeftTopic
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
        limits: topic that letters go to → what it takes.
        several: those of them that are on other clusters, too, of which the guard knows nothing.
    """

    client: ClientConfig
    targets: Targets
    judge: Judge
    guard: OrderGuard
    limits: Mapping[str, Limits] = field(default_factory=dict)
    several: Set[str] = frozenset()

    @property
    def protected(self) -> list[str]:
        """The topics that letters go to, and those that their producers have left."""
        writers = {topic: target for topic, target in self.targets.items() if isinstance(target, Writer)}
        return sorted({*writers, *map(goes_to, writers.values())})

    @property
    def left(self) -> dict[str, LeftTopic]:
        """Main topics whose producers were switched, and that no letter goes to → where theirs go."""
        to = {goes_to(target) for target in self.targets.values() if isinstance(target, Writer)}
        return {
            topic: LeftTopic(target.alias.current, target.alias.places)
            for topic, target in self.targets.items()
            if isinstance(target, MovedWriter) and topic not in to
        }


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
        on_progress: hears of a topic that letters go to how many events were read, of about how many.

    Raises:
        UnavailableError: the cluster, the registry or the standby table does not answer.
        ConfigError: there is no such table, or it may not be read.
    """
    client = config.cluster(cluster).client_config()
    aliases = read_aliases(client)
    targets = find_targets(config, registry, cluster, batch.main_topics(cluster), aliases)
    units = [unit for unit in batch.units if unit.cluster == cluster]
    seen, limits = {}, {}
    for topic, wanted in _wanted(batch, cluster, targets).items():
        limits[topic] = limits_of(client, topic)
        seen[topic] = MainTopic(client, topic, wanted, units, operation=operation, stamped=limits[topic].stamped)
        seen[topic].read_on(on_progress=partial(on_progress, topic))
    lanes = look_at_lanes(config, cluster, seen, aliases)
    judge = Judge(rules, targets, registry.reader(), attempts=attempts, insisted=insisted)
    several = {topic for topic in seen if topic in config.topics and len(config.topic(topic).clusters) > 1}
    return Context(client, targets, judge, OrderGuard(seen, lanes), limits, several)


def _wanted(batch: Batch, cluster: str, targets: Targets) -> dict[str, Wanted]:
    """Give what to look for on each topic that letters go to: what is copied there is there, with its time."""
    found: dict[str, Wanted] = {}
    for topic, target in targets.items():
        if isinstance(target, Writer):
            wanted, there = batch.wanted[cluster, topic], found.get(goes_to(target))
            if there is not None:
                wanted = Wanted(there.keys | wanted.keys, min(there.since, wanted.since))
            found[goes_to(target)] = wanted
    return found


def look_at_lanes(config: Config, cluster: str, topics: Iterable[str], aliases: Aliases) -> DivertedLanes:
    """Find out which lanes are not open to some topics, of those by which events come there.

    Raises:
        UnavailableError: the standby table does not answer.
        ConfigError: there is no such table, or it may not be read.
    """
    leading = {name: topic for topic in topics for name in aliases.leading_to(topic)}
    lanes = DivertedLanes(open_store(config), cluster, leading)
    lanes.look()
    return lanes


def topics_of(config: Config, batch: Batch) -> list[tuple[str, str]]:
    """Give the topics that a correction touches: dead-letter topics, and those of the same clusters that letters go to.

    Of a main topic whose producers were switched, the topic itself is among them: who holds it keeps them from being
    switched on or back.

    Raises:
        UnavailableError: a cluster does not answer.
    """
    topics = topics_in(batch.units)
    for cluster in batch.clusters:
        aliases = read_aliases(config.cluster(cluster).client_config())
        for topic in batch.main_topics(cluster):
            if topic in config.topics and cluster in config.topic(topic).clusters:
                topics.add((cluster, topic))
                if (alias := moved(aliases, topic)) is not None:
                    topics.add((cluster, alias.current))
    return sorted(topics)


FEW = 10_000
"""Letters of whose events the ledger is asked, about 0.1 ms each; what they say is in memory meanwhile. For more, it
looks at all letters of their main topics: of 300,000, that takes as long as of 50,000 in this way."""


def twins_of(config: Config, registry: SchemaRegistry, letters: Letters, batch: Batch) -> Iterator[list[Twin]]:
    """Give the letters of each event of a batch that has several, by whatever names of the topic that they go to.

    Some of other events, which have no letter in the batch, may be given, too.

    Args:
        config: the platform.
        registry: has the schemas.
        letters: the ledger's.
        batch: whose events are meant.

    Raises:
        UnavailableError: a cluster, the registry or the ledger does not answer.
    """
    partitions = (((unit.cluster, unit.topic, unit.partition), unit.offsets) for unit in batch.units)
    events = letters.events_of(partitions) if batch.letters <= FEW else None
    topics, few, names = set(batch.wanted), list[list[Twin]](), dict[tuple[str, str], _Name]()
    for cluster in batch.clusters:
        aliases = read_aliases(config.cluster(cluster).client_config())
        for alike in called_alike(aliases, batch.main_topics(cluster)):
            if groups := list(letters.twins_by_other_names(cluster, alike, events)):
                few += groups
                topics |= {(cluster, name) for name in alike}
                targets = find_targets(config, registry, cluster, alike, aliases)
                names |= {(cluster, name): _Name(aliases, targets[name], alike) for name in alike}
    for group in united(few, letters.twins(topics, events)):
        yield [_seen(twin, names.get((twin.letter.cluster or "", twin.main_topic))) for twin in group]


class _Name(NamedTuple):
    """A name of a topic that has several."""

    aliases: Aliases
    target: Writer | str
    alike: Iterable[str]


def _seen(twin: Twin, name: _Name | None) -> Twin:
    if name is None:
        return twin
    aliases, target, alike = name
    place = twin.published
    return twin._replace(
        moves=isinstance(target, MovedWriter),
        waits=target if isinstance(target, str) else "",
        reached={other for other in alike if place is not None and has_reached(aliases, place, other)},
    )
