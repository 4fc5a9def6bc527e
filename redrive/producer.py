"""The producer's side of the SDK: validate, publish, dead-letter, and stand by when the cluster is down.

What is guaranteed
------------------
An event whose receipt is acknowledged is in Kafka, or in the standby store from where a replay brings it to Kafka: it
is never lost, by the death of a broker, this process, a replay or a machine at any moment (as far as Kafka with
``acks=all`` and DynamoDB keep what they confirmed).

Consumers that read committed see each acknowledged event once, and the events of one key in the order in which this
producer accepted them. Between producers: an event accepted after another one's acknowledgement comes after it.

Once a topic's producers have been switched (`redrive.aliases`), its name stands for another topic: events go there, as
the migration makes them, under the same guarantees, and in order also across the switch. The value to give stays that
of the name's own schema.

What is not guaranteed
----------------------
- An event that is *not* acknowledged (a `PublishError`, a killed process) may be there or not; at most once.
- Consumers that read *uncommitted* also see what an aborted transaction of a replay wrote; the event's id tells them.
- A produce request that lay in the socket of a paused broker and is read after the replay's look-up (which waits for
  ``settle`` seconds after the cluster is well again) puts an event there twice. The replay's proof finds and reports
  it; the event's id lets consumers drop it.
- The look-up finds what the topic still holds. If retention, or the cleaner of a compacted topic, has since taken an
  event in doubt that was there, and every later one of its key from that producer, the replay publishes it again; on a
  compacted topic, also over a newer value that another producer had published meanwhile. The report counts those that
  retention may have taken. (What has a later event in doubt of its key in the topic is known to have been there.)
- A producer that can't read the gate goes on with Kafka (unless ``gate_strict``); then order between producers can
  suffer.
- Order between producers in one outage is by their clocks, as far as these agree (``skew``).
"""

from __future__ import annotations

import itertools
import logging
import time
import uuid
from collections.abc import Iterable
from typing import Any

from redrive import envelope, telemetry
from redrive.avro.schema import AvroSchema
from redrive.coding import Writer
from redrive.config import Config
from redrive.deadletters.letter import letter_of_event, letter_of_value
from redrive.dispatch import Dispatcher, DispatchSettings
from redrive.dispatch.settings import see_that_others_count_on
from redrive.errors import ConfigError, InvalidEventError, InvalidKeyError, PublishError
from redrive.events import Event, Headers
from redrive.producing.carried import carried_headers, carried_key, size_of
from redrive.producing.outlets import Outlets
from redrive.receipts import Progress, Receipt
from redrive.schemas import SchemaRegistry

log = logging.getLogger(__name__)


class EventProducer:
    """Publishes events to the topics of a platform. Thread-safe; one a process is enough.

    ::

        with EventProducer("orders-service", Config.load(), topics=["orders.created"]) as producer:
            receipt = producer.publish("orders.created", "order-17", {"id": 17, "total": 250})
            receipt.result()  # acknowledged; receipt.path tells which way

    Args:
        name: who publishes; its dead letters go to ``dlq.<name>``.
        config: the platform.
        topics: fetch their schemas now, so that a registry that is down later does no harm; None: all that the platform
            has a schema for.
        settings: deadlines and limits.

    Raises:
        ConfigError: a topic, or this producer's dead-letter topic, is not in the settings; or ``divert_after`` is above
            that of the platform.
        UnavailableError: the registry can't be reached to fetch the schemas.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        *,
        topics: Iterable[str] | None = None,
        settings: DispatchSettings | None = None,
    ) -> None:
        self.name = name
        self.instance = f"{name}-{uuid.uuid4().hex}"
        self._id_prefix = f"{uuid.uuid4()}-"
        self._numbers = itertools.count(1)
        self._config = config
        settings = settings or DispatchSettings(
            gate_refresh=config.standby.gate_refresh, divert_after=config.standby.divert_after
        )
        see_that_others_count_on(settings, config)
        self._dead_letters = f"dlq.{name}"
        config.topic(self._dead_letters)
        if topics is None:
            topics = [topic for topic, given in config.topics.items() if given.schema_file]
        self._registry = SchemaRegistry(config.registry_client_config())
        self._writers: dict[str, Writer] = {topic: self._registry.writer(config.topic(topic).name) for topic in topics}
        self._outlets = Outlets(
            name, self.instance, config, settings,
            schema=self._registry.schema, known=self._schemas_of, on_refused=self._refused,
        )  # fmt: skip
        self._outlets.open([*self._writers, self._dead_letters])
        self._uncount = telemetry.producers.add(name, lambda: self.counts)
        self._is_traced = telemetry.is_tracing()

    # -- publishing --------------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        key: bytes | str | None,
        value: Any,
        *,
        event_id: str | None = None,
        headers: Headers | None = None,
        refuse: bool = False,
    ) -> Receipt:
        """Validate, encode and send one event; never waits for an acknowledgement.

        A value that does not fit the topic's schema becomes a dead letter, with the reason: no error to the caller, but
        ``receipt.path`` is ``dead_letter`` and ``receipt.refusal`` tells why. So does an event of a topic that the
        cluster says this principal may not write; once producers have been switched, that is the topic that the name
        stands for.

        Args:
            topic: where to.
            key: what order is kept by; None for an event without order.
            value: as the topic's schema says; None is a tombstone.
            event_id: unique for ever; None makes one. Give your own to let consumers drop a repetition of yours.
            headers: go along, after the event's own; without what jobs have said of an event that is passed on.
            refuse: raise an `InvalidEventError` for what would become a dead letter here: for callers who can ask
                somebody for a better value at once. (What Kafka itself refuses later still becomes one.)

        It may wait: for a topic's schema and lanes when it is first used, for the view of the lanes when that is too
        old, and for room when too much is unacknowledged (``block_timeout``).

        Raises:
            ConfigError: the topic is not in the settings, or has no schema; or the standby table refuses this
                principal.
            SchemaError: the topic's schema, asked for now, can't be used.
            UnavailableError: the registry does not answer, for a topic that was not named at the start; or the gate
                can't be read and ``gate_strict`` is on.
            PublishError: the producer is closed; or it may write neither the topic nor its dead-letter topic.
            BackPressureError: too much waits; nothing was accepted.
            InvalidEventError: its id, key or headers are nothing that Kafka could carry, or it is too large even for
                a dead letter; or it does not fit, and ``refuse`` is set; nothing was accepted.
        """
        if self._outlets.are_closed:
            raise PublishError(event_id or "", topic, f"the producer {self.name} is closed")
        writer = self._writers.get(topic) or self._writer(topic)
        # Unique as the instance is, and counted on: a random id for each event would take an eighth of its time.
        identity = f"{self._id_prefix}{next(self._numbers)}" if event_id is None else event_id
        if type(identity) is not str and isinstance(identity, str):
            identity = str.__str__(identity)
        if key is not None and type(key) is not bytes:
            key = carried_key(topic, key)
        now = time.time_ns() // 1_000_000
        own = envelope.headers(identity, source=self.name, type=topic, time_ms=now)
        if headers:
            own += carried_headers(topic, headers)
        try:
            body = None if value is None else writer.encode(value)
        except InvalidEventError as error:
            if refuse:
                raise
            return self._dead_letter(
                letter_of_value(
                    self._dead_letters,
                    event_id=identity,
                    key=key,
                    value=value,
                    headers=own,
                    topic=topic,
                    field=error.field,
                    detail=error.reason,
                    reason="invalid-value",
                    producer=self.name,
                    schema_id=writer.schema_id,
                    timestamp=now,
                ),
                str(error),
            )
        event = Event(identity, topic, key, body, own, now)
        dispatcher, rights, limit, is_compacted = self._outlets[topic]
        closed = rights.why_not(topic)
        if closed and not dispatcher.leads_elsewhere(event):
            return self._dead_letter_event(event, closed, "refused")
        if key is None and is_compacted:
            if refuse:
                raise InvalidKeyError(topic, "is missing, and the topic is compacted by key")
            return self._dead_letter_event(event, f"has no key, and {topic} is compacted", "refused")
        about = len(body or b"") + len(key or b"") + 65_536
        if (headers or about > limit) and (size := size_of(event)) > limit:
            if refuse:
                raise InvalidEventError(topic, "", f"is {size:,} bytes with its headers, and may be {limit:,}")
            return self._dead_letter_event(event, f"is {size:,} bytes; {topic} takes {limit:,}", "too-large")
        return self._submit(dispatcher, Receipt(event, self._outlets.changed))

    def schema(self, topic: str) -> AvroSchema:
        """Return the schema that values for a topic must fit; raises as `publish` does for a topic."""
        return (self._writers.get(topic) or self._writer(topic)).schema

    def flush(self, timeout: float | None = None) -> int:
        """Wait until all that was published is acknowledged or failed; return how many are neither.

        Args:
            timeout: seconds; None waits until each event has been given up by itself.
        """
        with self._outlets.changed:
            self._outlets.changed.wait_for(lambda: self.unacknowledged <= 0, timeout)
        return self.unacknowledged

    @property
    def unacknowledged(self) -> int:
        """Return how many events wait for an acknowledgement."""
        return sum(dispatcher.unacknowledged for dispatcher in self._outlets.dispatchers)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many events took which path: ``main``, ``standby``, ``dead_letter``, and how many ``failed``."""
        totals = {"main": 0, "standby": 0, "dead_letter": 0, "failed": 0}
        for dispatcher in self._outlets.dispatchers:
            for path, count in dispatcher.counts.items():
                totals[path] += count
        return totals

    @property
    def why_waiting(self) -> str:
        """Return, cluster by cluster, what keeps events from being acknowledged."""
        return "; ".join(
            f"{each.cluster}: {each.why_waiting}" for each in self._outlets.dispatchers if each.unacknowledged
        )

    def close(self, timeout: float | None = None) -> None:
        """Flush, then let go of everything; what is not acknowledged within ``timeout`` fails."""
        self.flush(timeout)
        self._outlets.close()
        self._uncount()

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _writer(self, topic: str) -> Writer:
        if self._config.topic(topic).schema is None:
            raise ConfigError(f"topics.{topic}.schema", f"is not set; {topic} takes no events from {self.name} without")
        self._outlets.open([topic])
        return self._writers.setdefault(topic, self._registry.writer(topic))

    def _schemas_of(self, topic: str) -> dict[int, AvroSchema]:
        """Return the schema that events of a topic are encoded with here, by its id."""
        writer = self._writers.get(topic)
        return {} if writer is None else {writer.schema_id: writer.schema}

    def _submit(self, dispatcher: Dispatcher, receipt: Receipt) -> Receipt:
        dispatcher.submit(receipt)
        if self._is_traced:
            telemetry.published(receipt, self.name)
        return receipt

    def _dead_letter(self, letter: Event, refusal: str) -> Receipt:
        dispatcher, rights, limit, _ = self._outlets[self._dead_letters]
        if (size := size_of(letter)) > limit:
            raise InvalidEventError(letter.topic, "", f"is {size:,} bytes as a dead letter; its topic takes {limit:,}")
        if closed := rights.why_not(self._dead_letters):
            raise PublishError(letter.id, letter.topic, f"{refusal}; nor can it become a dead letter: {closed}")
        return self._submit(dispatcher, Receipt(letter, self._outlets.changed, "dead_letter", refusal))

    def _dead_letter_event(self, event: Event, why: str, reason: str) -> Receipt:
        letter = letter_of_event(self._dead_letters, event, reason=reason, detail=why, producer=self.name)
        return self._dead_letter(letter, why)

    def _refused(self, receipt: Receipt) -> None:
        """Make a dead letter of an event that Kafka refuses for good; its receipt follows the letter."""
        if receipt.path == "dead_letter":
            receipt.fail(f"its dead letter was refused: {receipt.refusal}")
            log.error("dead letter %s was refused by Kafka: %s", receipt.event.id, receipt.refusal)
            return
        outlet = self._outlets[self._dead_letters]
        if closed := outlet.rights.why_not(self._dead_letters):
            receipt.fail(f"{receipt.refusal}; nor can it become a dead letter: {closed}")
            return
        event = receipt.event
        receipt.destination = None
        receipt.event = letter_of_event(
            self._dead_letters, event, reason="refused", detail=receipt.refusal, producer=self.name
        )
        receipt.path = "dead_letter"
        receipt.progress = Progress.WAITING
        outlet.dispatcher.submit(receipt, crowded=True)
