"""The main path: an idempotent Kafka producer that never gives up a message by itself.

librdkafka gets an infinite message timeout, since one that expired would let a later event of the same key through
after an earlier one had failed. Instead, the dispatcher owns the deadline and takes everything back with one cut: a
purge.

A purged message may be in Kafka, whatever the report says: ``_PURGE_INFLIGHT`` obviously, but ``_PURGE_QUEUE`` as
well, because a request whose answer was lost waits in the queue for its retry (librdkafka, ``rdkafka_broker.c``,
``rd_kafka_broker_handle_purge_queues``: the retry queue is purged with that code). So all of them count as doubtful.

A batch that brokers refuse would leave a gap: librdkafka goes on behind it with a new epoch
(``rd_kafka_handle_Produce_error``), newer events of its keys first. ``enable.gapless.guarantee`` makes that an end of
the client instead, and so a cut through everything. A purge of what is in flight is such an end, too: after a cut goes
a new client on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from redrive.errors import InvalidEventError
from redrive.pump.model import Skipped
from redrive.receipts import Progress, Receipt

log = logging.getLogger(__name__)

SILENT = logging.Logger("librdkafka", logging.CRITICAL + 1)
"""librdkafka calls it an emergency that a purged client can't go on; what matters is heard by other ways."""


class MainPath(Protocol):
    """What the dispatcher needs of Kafka."""

    fatal: bool
    """The client can't go on and wants `renew`: it has failed for good, or was purged."""

    all_down: bool
    """The client has said that no broker is connected; whoever sees a confirmation resets it."""

    def send(self, receipt: Receipt) -> None:
        """Queue one event; its receipt hears what became of it from `poll`.

        Raises:
            BufferError: the queue is full; poll and try again.
        """
        ...

    def poll(self, timeout: float) -> None:
        """Deliver reports, waiting at most ``timeout`` seconds for the first."""
        ...

    def purge(self) -> None:
        """Make every message that has no report get one soon."""
        ...

    def reachable(self) -> bool:
        """Tell, within about a second, whether any broker answers."""
        ...

    def renew(self) -> None:
        """Replace the client; nothing must be under way in it."""
        ...


class KafkaMainPath:
    """`MainPath` on confluent-kafka.

    Args:
        config: the cluster's client settings.
        max_event_bytes: the largest event that is tried.
        max_batch_bytes: the largest batch that every topic takes: brokers measure batches, not records.
        on_forbidden: called when the client has ended because it may not do something.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        max_event_bytes: int,
        max_batch_bytes: int = 1_000_000,
        on_forbidden: Callable[[], object] = lambda: None,
    ) -> None:
        self.fatal = False
        self.all_down = False
        self._on_forbidden = on_forbidden
        self._config = {
            "compression.type": "lz4",
            "linger.ms": 5,
            "batch.num.messages": 20_000,
            "batch.size": min(max_batch_bytes, 1_000_000),
            "reconnect.backoff.max.ms": 1_000,
            "retry.backoff.max.ms": 500,
            **config,
            "log_level": 0,
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "message.timeout.ms": 0,
            "message.max.bytes": max(max_event_bytes + 4096, 1_000_000),
            # The dispatcher bounds what is unacknowledged; these only must not be hit first.
            "queue.buffering.max.messages": 10_000_000,
            "queue.buffering.max.kbytes": 2_097_151,
            "partitioner": "murmur2_random",
            "error_cb": self._hear,
        }
        self._client = Producer(self._config, logger=SILENT)

    def send(self, receipt: Receipt) -> None:
        """See `MainPath.send`."""
        event = receipt.event
        topic, value = event.topic, event.value
        if receipt.destination is not None:
            try:
                converted = receipt.destination.convert(event)
            except InvalidEventError as error:
                receipt.refusal = str(error)
                receipt.progress = Progress.REFUSED
                return
            if isinstance(converted, Skipped):
                receipt.left_out()
                return
            topic, value = receipt.destination.topic, converted
        try:
            self._client.produce(
                topic,
                value,
                event.key,
                -1 if event.partition is None else event.partition,
                on_delivery=receipt.reported,
                timestamp=event.timestamp,
                headers=event.headers,  # type: ignore[arg-type]  # its stub asks for str | bytes invariantly
            )
        except KafkaException as error:
            what = error.args[0]
            # Once the client has failed for good, its refusal to take more does not itself count as fatal.
            if isinstance(what, KafkaError) and (what.fatal() or what.code() == KafkaError._FATAL):
                self.fatal = True
                receipt.progress = Progress.TAKEN_BACK
            else:
                receipt.refusal = str(what)
                receipt.progress = Progress.REFUSED

    def poll(self, timeout: float) -> None:
        """See `MainPath.poll`."""
        client = self._client
        try:
            client.poll(timeout)
        except KafkaException as error:
            # An end of the client comes as an exception, whatever `error_cb` is there; reports go on after it.
            if not error.args[0].fatal():
                raise
            if client is not self._client:
                return  # another thread has replaced it meanwhile
            if not self.fatal:
                reason = error.args[0].str()
                if "authorization failed" in reason:  # of each such end the code is the same
                    reason += "; give this principal what a producer needs: `redrive security acls producer`"
                    self._on_forbidden()
                log.warning("the Kafka client is replaced, since it can't go on: %s", reason)
            self.fatal = True

    def purge(self) -> None:
        """See `MainPath.purge`."""
        self.fatal = True
        self._client.purge(in_queue=True, in_flight=True, blocking=True)

    def reachable(self) -> bool:
        """See `MainPath.reachable`."""
        try:
            return bool(self._client.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return False

    def renew(self) -> None:
        """See `MainPath.renew`."""
        self._client = Producer(self._config, logger=SILENT)
        self.fatal = self.all_down = False

    def _hear(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_down = True
