"""Finding out where the letters of a cluster can go."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from redrive.aliases.alias import Alias, Aliases, read_aliases
from redrive.aliases.destination import Moved
from redrive.coding import Writer
from redrive.deadletters.judging.targets import (
    MOVED_BACK,
    MOVING,
    NO_MIGRATION,
    NO_SCHEMA,
    NO_TOPIC,
    ODD_ALIAS,
    OTHER_CLUSTER,
    TOPIC_GONE,
    MovedWriter,
    Targets,
)
from redrive.errors import RulesError, SchemaError, StalePlanError, UnknownTopicError
from redrive.pump.readback import ClientConfig, partition_count
from redrive.schemas import SchemaRegistry

if TYPE_CHECKING:
    from redrive.config import Config

log = logging.getLogger(__name__)


def find_targets(
    config: Config, registry: SchemaRegistry, cluster: str, topics: Iterable[str], aliases: Aliases
) -> Targets:
    """Find out where letters of a cluster can go.

    Args:
        config: the platform.
        registry: has the main topics' schemas; the latest version of each is the one to encode with.
        cluster: on which the letters stand. What is published goes into one transaction with what is left behind there:
            so only its own topics can be published to.
        topics: the letters' main topics.
        aliases: which of these names stand for other topics.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    targets: Targets = {}
    client = config.cluster(cluster).client_config()
    for topic in topics:
        alias = moved(aliases, topic)
        if topic not in config.topics:
            targets[topic] = NO_TOPIC
        elif cluster not in config.topic(topic).clusters:
            targets[topic] = OTHER_CLUSTER
        elif why := _waits(aliases, topic):
            targets[topic] = why
        else:
            try:
                partition_count(client, topic if alias is None else alias.current)
                writer = registry.writer(topic)
                targets[topic] = writer if alias is None else _moved(writer, alias, registry)
            except UnknownTopicError:
                targets[topic] = TOPIC_GONE
            except SchemaError:
                targets[topic] = NO_SCHEMA
    return targets


def _moved(writer: Writer, alias: Alias, registry: SchemaRegistry) -> MovedWriter | str:
    try:
        return MovedWriter(writer, alias, Moved(alias, registry.schema, {writer.schema_id: writer.schema}))
    except (RulesError, SchemaError) as error:
        log.warning("letters of %s can't go to %s: %s", alias.name, alias.current, error)
        return NO_MIGRATION


def _waits(aliases: Aliases, topic: str) -> str:
    """Say why events of a topic can't be published to where they go by now, or nobody knows; empty: they can."""
    if topic in aliases.odd:
        return ODD_ALIAS
    if moved_back(aliases, topic) is not None:
        return MOVED_BACK
    alias = moved(aliases, topic)
    return MOVING if alias is not None and not (alias.places or alias.unmoved) else ""


def called_alike(aliases: Aliases, topics: Iterable[str]) -> list[list[str]]:
    """Give the names of topics that are copies of each other, or were; only with one of some main topics among them."""
    found: list[set[str]] = []
    for alias in aliases.good.values():
        names = {alias.name, alias.target, *alias.past}
        found = [*(each for each in found if each.isdisjoint(names)), names.union(*(e for e in found if e & names))]
    wanted = set(topics)
    return [sorted(names) for names in found if len(names) > 1 and not wanted.isdisjoint(names)]


def has_reached(aliases: Aliases, place: tuple[str, int, int], topic: str) -> bool:
    """Say whether who reads events of a topic has got one that was published of a letter of another name of it.

    False: it has not, or nobody knows.

    Args:
        aliases: what names stand for.
        place: topic, partition and offset at which it was published.
        topic: the name.
    """
    there, partition, offset = place
    alias = moved(aliases, topic)
    if there == (topic if alias is None else alias.current):
        # Who was switched there has come in at a place: what stands before that, others have got alone.
        return alias is None or (partition in alias.places and offset >= alias.places[partition][1])
    # What a topic got before its producers were switched was copied. Not what their target got before they came, and
    # since when they were there is not known once they are back.
    return (other := aliases.good.get(there)) is not None and other.current == topic


def moved(aliases: Aliases, topic: str) -> Alias | None:
    """Give the alias by which events of a topic go to another one; None: they go to it, or nobody knows."""
    alias = aliases.good.get(topic)
    return alias if alias is not None and alias.current != alias.name else None


def moved_back(aliases: Aliases, topic: str) -> Alias | None:
    """Give the alias whose producers have been at a topic and are there no longer; None: there is no such one.

    They are back at their own, and may have gone on to a third one. Consumers go with them, and what comes to that
    topic from then on is not brought along. Unless producers of another name are there now; or the switch was taken
    back before consumers followed it: whoever reads that topic was moved there by hand, and reads it still.
    """
    if any(each.current == topic for each in aliases.good.values()):
        return None
    return next((each for each in aliases.good.values() if topic in each.past or _has_been_left(each, topic)), None)


def _has_been_left(alias: Alias, topic: str) -> bool:
    return topic == alias.target and alias.has_been_followed


def see_that_names_stand(client_config: ClientConfig, targets: Targets) -> None:
    """Refuse to go on if events of a main topic go elsewhere by now than where letters of it were to go.

    Raises:
        StalePlanError: they do.
        UnavailableError: the cluster does not answer.
    """
    aliases = read_aliases(client_config)
    for topic, target in targets.items():
        if not isinstance(target, Writer):
            continue
        if topic in aliases.odd:
            raise StalePlanError(f"where events of {topic} go is not known any more: {aliases.odd[topic]}")
        if (back := moved_back(aliases, topic)) is not None:
            raise StalePlanError(f"producers of {back.name} were taken away from {topic}, and consumers go with them")
        now = moved(aliases, topic)
        planned = target.alias.generation if isinstance(target, MovedWriter) else None
        if (None if now is None else now.generation) != planned:
            raise StalePlanError(f"producers of {topic} were switched to another topic")
