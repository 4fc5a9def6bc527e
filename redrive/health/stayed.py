"""Producers that stayed behind: what still comes to a topic that its producers have been taken from.

After a switch (`redrive.aliases`) nothing should come to the topic that was left but what a job brings there, such as
`feed_back`. What else comes is from who does not use the SDK, or an old one, or did not see the switch; and it is not
where consumers are by now until somebody copies it. To tell the one from the other, events have to be read. Each is
read once: how far that has come, and what was found, is remembered with the look.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from confluent_kafka import KafkaError, Message, TopicPartition

from redrive.aliases.alias import Alias, read_aliases
from redrive.config import Config
from redrive.errors import UnknownTopicError
from redrive.health.facts import Stayed
from redrive.health.last import last_look
from redrive.migrations.survey import copied_so_far
from redrive.migrations.unit import origin_of
from redrive.pump.readback import (
    ClientConfig,
    end_offsets,
    partition_count,
    raise_if_hopeless,
    reader,
    start_offsets,
)

BUDGET = 3.0
"""Seconds that a look may read for, over all topics of a cluster; the next one goes on."""
_BATCH = 5_000
_WAIT = 0.05


class Left(NamedTuple):
    """What is known of topics that producers were taken from.

    Attributes:
        stayed: of each, what has come there since.
        odd: name → why it is not known what that name stands for.
        gone: names of topics that have been left and deleted since, so that only their producers still use them.
    """

    stayed: tuple[Stayed, ...]
    odd: Mapping[str, str]
    gone: frozenset[str] = frozenset()


def read_stayed(config: Config, cluster: str, patience: float) -> Left:
    """Say of each topic that producers were taken from what has come there since, as far as it has been read.

    While a switch is under way, or if it could not tell consumers where the topic ends, nobody can say since when: such
    a topic is left out, and so is one that is gone.

    Args:
        config: the platform.
        cluster: which cluster.
        patience: seconds in which the cluster has to say what names stand for.

    Raises:
        UnavailableError: the cluster does not answer, or refuses to say.
    """
    client = config.cluster(cluster).client_config()
    known = read_aliases(client, patience=patience)
    aliases = [each for each in known.good.values() if each.places and not each.unmoved]
    if not aliases:
        return Left((), known.odd)
    look, deadline = last_look(config, cluster), time.monotonic() + BUDGET
    looked = look.stayed if look else {}  # without one it is counted anew, as far as time allows
    found, gone = [], set()
    for alias in aliases:
        before = looked.get(alias.name, {})
        before = before if before.get("generation") == alias.generation else {}
        try:
            found.append(_read(client, cluster, alias, before, deadline))
        except UnknownTopicError:  # it was deleted, as it should be at the end
            gone |= {alias.name} & {alias.left}
    return Left(tuple(found), known.odd, frozenset(gone))


def _read(client: ClientConfig, cluster: str, alias: Alias, before: Mapping[str, Any], deadline: float) -> Stayed:
    topic = alias.left
    partition_count(client, topic, settle=0)  # one that is gone says so at once: there may be many
    lows, ends = start_offsets(client, topic), end_offsets(client, topic, committed=True)
    read_to = {int(partition): offset for partition, offset in before.get("read_to", {}).items()}
    latest = {int(partition): offset for partition, offset in before.get("latest", {}).items()}
    events, since, last = before.get("events", 0), before.get("since"), before.get("last")
    at: dict[int, int] = {}
    # Partitions that were added between the two questions are for the next look.
    for partition, (low, end) in enumerate(zip(lows, ends, strict=False)):
        left_at = alias.places.get(partition, (end, 0))[0]
        # Beyond the end: somebody has deleted the topic and made it anew.
        at[partition] = min(max(low, read_to.get(partition, left_at)), end)
    todo = {partition for partition, offset in at.items() if offset < ends[partition]}
    consumer = reader(client)
    try:
        consumer.assign([TopicPartition(topic, partition, at[partition]) for partition in todo])
        while todo and time.monotonic() < deadline:
            for message in consumer.consume(_BATCH, _WAIT):
                partition, offset = cast(int, message.partition()), cast(int, message.offset())
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        at[partition] = max(at[partition], offset)
                    else:
                        raise_if_hopeless(error, topic)
                else:
                    at[partition] = offset + 1
                    if origin_of(message) is None:
                        events += 1
                        came = _published(message)
                        since, last = min(since or came, came), max(last or came, came)
                        latest[partition] = offset
                if at[partition] >= ends[partition]:
                    todo.discard(partition)
    finally:
        consumer.close()
    copied = copied_so_far(client, cluster, topic, alias.current) if latest else {}
    return Stayed(
        name=alias.name,
        topic=topic,
        current=alias.current,
        target=alias.target,
        generation=alias.generation,
        events=events,
        since=since,
        last=last,
        read_to=at,
        latest=latest,
        is_copied=all(offset < copied.get(partition, 0) for partition, offset in latest.items()),
        is_whole=not todo,
    )


def _published(message: Message) -> int:
    """Give when it was published, in milliseconds: none before 1970 or after now, whatever its producer says.

    Some write microseconds, or no time at all, and brokers take it, depending on their version and settings.
    """
    return min(max(0, message.timestamp()[1]), int(time.time() * 1000))
