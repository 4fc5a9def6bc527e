"""Whether a topic has been copied to its end: what its events have to wait for that are published to the copy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from redrive.errors import UnavailableError, UnknownTopicError
from redrive.migrations.survey import copied_so_far
from redrive.pump.readback import ClientConfig, cluster_name, end_offsets, offset_reader, start_offsets

_EVERY = 0.2
_TIMEOUT = 10.0


def is_copied(
    client_config: ClientConfig, cluster: str, source: str, target: str, ends: Sequence[int] | None = None
) -> bool:
    """Say whether all that a topic holds now, or held when it had these ends, is in another one for good.

    A topic that is gone has nothing left to be copied. What this finds copied can be read in the target: a backfill's
    cursor is in the same transaction as its events.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    try:
        ends = end_offsets(client_config, source) if ends is None else ends
        copied = copied_so_far(client_config, cluster, source, target)
        if all(copied.get(partition, 0) >= end for partition, end in enumerate(ends)):
            return True
        lows = start_offsets(client_config, source)
    except UnknownTopicError:
        return True
    # Of what is empty, nothing is ever copied.
    return all(copied.get(partition, low) >= end for (partition, end), low in zip(enumerate(ends), lows, strict=True))


class CatchingUp:
    """Waits for a topic's copy, over and over; quick while nothing new comes to the topic. For one thread at a time.

    Args:
        client_config: the cluster.
        cluster: its name.
        source: the topic.
        target: the one that it is copied to.
    """

    def __init__(self, client_config: ClientConfig, cluster: str, source: str, target: str) -> None:
        self._client, self._cluster = client_config, cluster
        self._source, self._target = source, target
        self._copied: Sequence[int] | None = None
        self._consumer: Consumer | None = None
        self._gone = False

    def wait(self, patience: float, check: Callable[[], None] = lambda: None) -> None:
        """Wait until all that the topic holds now is in the other one.

        Args:
            patience: seconds to wait.
            check: called now and then; what it raises ends the wait.

        Raises:
            UnavailableError: it was not within that time, or the cluster does not answer.
        """
        if self._gone:
            return
        try:
            ends = self._ends()
        except UnknownTopicError:
            self._gone = True  # to be sure of that takes seconds
            return
        until = time.monotonic() + patience
        while ends != self._copied and not is_copied(self._client, self._cluster, self._source, self._target, ends):
            if time.monotonic() > until:
                raise UnavailableError(
                    f"topic {self._target}",
                    f"events that were published to {self._source} are not there yet, and what comes after them has to "
                    "wait: run schema-backfill (goal copy, or feed_back if it is the source that is behind), with "
                    "`follow` while anybody still publishes there",
                )
            check()
            time.sleep(_EVERY)
        self._copied = ends

    def _ends(self) -> list[int]:
        if self._copied is None or self._consumer is None:
            self._consumer = offset_reader(self._client)
            return end_offsets(self._client, self._source)
        try:
            return [
                self._consumer.get_watermark_offsets(TopicPartition(self._source, partition), timeout=_TIMEOUT)[1]
                for partition in range(len(self._copied))
            ]
        except KafkaException as error:
            self._copied = None  # whatever it is, next time it is asked in the way that says so
            named = f"Kafka {cluster_name(self._client)}"
            raise UnavailableError(named, f"{self._source}: {error.args[0].str()}") from error
