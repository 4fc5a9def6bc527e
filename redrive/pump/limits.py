"""What a topic takes, by its settings: to refuse an event before it costs an aborted transaction (seconds).

It is a shortcut, and errs towards trying: the broker has the last word.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType
from zstandard import ZstdCompressor

from redrive.columnar.events import EventColumns, parts_of
from redrive.errors import UnavailableError
from redrive.events import Event
from redrive.pump.readback import ClientConfig, admin_client, cluster_name, partition_count

_MARGIN_MS = 60_000  # the broker's clock may be another one
_FOREVER = 1 << 62
_DELETIONS_MS = 86_400_000  # as brokers have it by default


@dataclass(frozen=True, slots=True)
class Limits:
    """A topic's own limits.

    Attributes:
        size: ``max.message.bytes``: a record, compressed, is no larger.
        age: milliseconds that a record's timestamp may lie in the past.
        ahead: milliseconds that it may lie in the future.
        keyed: whether each record needs a key, since the topic is compacted.
        partitions: how many there are.
        retention_ms: how long it keeps its records; negative: for ever, as far as time goes.
        deletions_ms: ``delete.retention.ms``: how long, at least, it keeps deletions (tombstones) if it is compacted.
        stamped: whether brokers give its records the time at which they come (``LogAppendTime``), not the producer.
    """

    size: int = _FOREVER
    age: int = _FOREVER
    ahead: int = _FOREVER
    keyed: bool = False
    partitions: int = _FOREVER
    retention_ms: int = -1
    deletions_ms: int = _DELETIONS_MS
    stamped: bool = False

    def refusal(self, event: Event, now: int) -> str | None:
        """Say why the topic will not take an event; None if it may.

        Args:
            event: an event for the topic.
            now: milliseconds since 1970.
        """
        if self.keyed and event.key is None:
            return "INVALID_RECORD: it has no key, and the topic is compacted"
        if event.partition is not None and event.partition >= self.partitions:
            return f"UNKNOWN_PARTITION: partition {event.partition} of {self.partitions}"
        if event.timestamp < now - self.age - _MARGIN_MS:
            return "INVALID_TIMESTAMP: it is older than the topic's message.timestamp.before.max.ms allows"
        if event.timestamp > now + self.ahead + _MARGIN_MS:
            return (
                "INVALID_TIMESTAMP: it is further in the future than the topic's message.timestamp.after.max.ms allows"
            )
        if event.value is not None and len(event.value) > self.size:
            # The producer's lz4 compresses no better than this.
            size = len(ZstdCompressor(level=1).compress(event.value))
            if size > self.size:
                return f"MSG_SIZE_TOO_LARGE: even compressed, larger than the topic's max.message.bytes, {self.size:,}"
        return None


def limits_of(client_config: ClientConfig, topic: str) -> Limits:
    """Read a topic's limits; of its settings none, if this principal may not see them.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster does not answer.
    """
    partitions = partition_count(client_config, topic)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = admin_client(client_config)  # a name of its own: the answer is lost with the client
    try:
        config = admin.describe_configs([resource], request_timeout=15)[resource].result()
    except KafkaException as error:
        if error.args[0].code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
            return Limits(partitions=partitions)
        raise UnavailableError(f"Kafka {cluster_name(client_config)}", f"{topic}: {error.args[0].str()}") from error
    value = {name: entry.value for name, entry in config.items() if entry.value is not None}
    stamped_by_broker = value.get("message.timestamp.type") == "LogAppendTime"
    return Limits(
        size=int(value.get("max.message.bytes", _FOREVER)),
        age=_FOREVER if stamped_by_broker else int(value.get("message.timestamp.before.max.ms", _FOREVER)),
        ahead=_FOREVER if stamped_by_broker else int(value.get("message.timestamp.after.max.ms", _FOREVER)),
        keyed="compact" in value.get("cleanup.policy", ""),
        partitions=partitions,
        retention_ms=int(value.get("retention.ms", -1)) if "delete" in value.get("cleanup.policy", "delete") else -1,
        deletions_ms=int(value.get("delete.retention.ms", _DELETIONS_MS)),
        stamped=stamped_by_broker,
    )


def refusals(events: Sequence[Event], limits: Mapping[str, Limits], topics: Iterable[str]) -> dict[int, str]:
    """Find the events of a chunk that their topics will not take: index → why."""
    now = time.time_ns() // 1_000_000
    of_chunk = [limits[topic] for topic in topics]
    size = min((each.size for each in of_chunk), default=_FOREVER)
    oldest = now - min((each.age for each in of_chunk), default=_FOREVER)
    newest = now + min((each.ahead for each in of_chunk), default=_FOREVER)
    keyed = any(each.keyed for each in of_chunk)
    partitions = min((each.partitions for each in of_chunk), default=_FOREVER)

    # One cheap look at each by the strictest of the topics' limits; only what fails that is looked at closely.
    def suspects(events: Sequence[Event]) -> Iterator[tuple[int, Event]]:
        if isinstance(events, EventColumns):
            for place in np.flatnonzero(
                (events.timestamps < oldest)
                | (events.timestamps > newest)
                | (events.values.ends - events.values.begins > size)
                | (events.partition >= partitions)
                | (keyed & (events.keys.begins < 0))
            ).tolist():
                yield place, events[place]
            return
        for place, event in enumerate(events):
            if (
                not oldest <= event.timestamp <= newest
                or (event.value is not None and len(event.value) > size)
                or (event.partition is not None and event.partition >= partitions)
                or (keyed and event.key is None)
            ):
                yield place, event

    refused = {}
    first = 0
    for part in parts_of(events):
        for place, event in suspects(part):
            reason = limits[event.topic].refusal(event, now)
            if reason is not None:
                refused[first + place] = reason
        first += len(part)
    return refused


def topics_of(events: Sequence[Event]) -> set[str]:
    """Return the topics that events are for."""
    topics: set[str] = set()
    for part in parts_of(events):
        topics |= {part.topic} if isinstance(part, EventColumns) else {event.topic for event in part}
    return topics
