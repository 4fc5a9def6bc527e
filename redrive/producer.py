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
import threading
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from redrive import envelope, telemetry
from redrive.aliases import Destinations
from redrive.avro.schema import AvroSchema
from redrive.coding import Writer
from redrive.config import Config
from redrive.deadletters.letter import letter_of_event, letter_of_value
from redrive.dispatch import Dispatcher, DispatchSettings
from redrive.dispatch.mainpath import KafkaMainPath
from redrive.dispatch.rights import WriteRights
from redrive.errors import ConfigError, InvalidEventError, PublishError
from redrive.events import Event, Headers
from redrive.pump.names import JOB_HEADERS
from redrive.receipts import Progress, Receipt
from redrive.schemas import SchemaRegistry
from redrive.standby.dynamo import DynamoStore
from redrive.standby.writer import SystemClock

log = logging.getLogger(__name__)

STORE_THREADS = 8
"""Batches that are stored at once."""
WATCH_THREADS = 2
"""Looks at the gate and at Kafka at once, for each cluster; apart from those others, which may all wait for a table."""
MAX_EVENT_BYTES = 1_000_000
"""The largest event if its topic sets no ``max.message.bytes`` (Kafka's own default, with room for its framing)."""


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
        self._settings = settings or DispatchSettings(
            gate_refresh=config.standby.gate_refresh, divert_after=config.standby.divert_after
        )
        _see_that_others_count_on(self._settings, config)
        self._dead_letters = f"dlq.{name}"
        config.topic(self._dead_letters)
        if topics is None:
            topics = [topic for topic, given in config.topics.items() if given.schema_file]
        registry = SchemaRegistry(config.registry_client_config())
        self._writers: dict[str, Writer] = {topic: registry.writer(config.topic(topic).name) for topic in topics}
        self._registry = registry
        self._limits: dict[str, int] = {}
        self._keyed: set[str] = set()
        self._changed = threading.Condition()
        self._clock = SystemClock()
        self._store = DynamoStore(config.standby.table, config.standby.region, config.standby.endpoint)
        self._pool = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix=f"{name}-standby")
        self._watches: list[ThreadPoolExecutor] = []
        self._dispatchers: dict[str, Dispatcher] = {}
        self._of_topic: dict[str, Dispatcher] = {}
        self._rights: dict[str, WriteRights] = {}
        self._rights_of_topic: dict[str, WriteRights] = {}
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._closing = threading.Event()
        for topic in [*self._writers, self._dead_letters]:
            self._dispatcher(topic)
        for rights in self._rights.values():
            rights.learn(topic for topic, of in self._rights_of_topic.items() if of is rights)
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
        if self._closing.is_set():
            raise PublishError(event_id or "", topic, f"the producer {self.name} is closed")
        writer = self._writers.get(topic) or self._writer(topic)
        # Unique as the instance is, and counted on: a random id for each event would take an eighth of its time.
        identity = f"{self._id_prefix}{next(self._numbers)}" if event_id is None else event_id
        if type(identity) is not str and isinstance(identity, str):
            identity = str.__str__(identity)
        if key is not None and type(key) is not bytes:
            key = _key(topic, key)
        now = time.time_ns() // 1_000_000
        own = envelope.headers(identity, source=self.name, type=topic, time_ms=now)
        if headers:
            own += _checked(topic, headers)
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
        closed = self._rights_of_topic[topic].why_not(topic)
        if closed and not self._of_topic[topic].leads_elsewhere(event):
            return self._dead_letter_event(event, closed, "refused")
        limit = self._limits[topic]
        if key is None and topic in self._keyed:
            if refuse:
                raise InvalidEventError(topic, "key", "is missing, and the topic is compacted by key")
            return self._dead_letter_event(event, f"has no key, and {topic} is compacted", "refused")
        about = len(body or b"") + len(key or b"") + 65_536
        if (headers or about > limit) and (size := _size(event)) > limit:
            if refuse:
                raise InvalidEventError(topic, "", f"is {size:,} bytes with its headers, and may be {limit:,}")
            return self._dead_letter_event(event, f"is {size:,} bytes; {topic} takes {limit:,}", "too-large")
        receipt = Receipt(event, self._changed)
        self._of_topic[topic].submit(receipt)
        if self._is_traced:
            telemetry.published(receipt, self.name)
        return receipt

    def schema(self, topic: str) -> AvroSchema:
        """Return the schema that values for a topic must fit; raises as `publish` does for a topic."""
        return (self._writers.get(topic) or self._writer(topic)).schema

    def flush(self, timeout: float | None = None) -> int:
        """Wait until all that was published is acknowledged or failed; return how many are neither.

        Args:
            timeout: seconds; None waits until each event has been given up by itself.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.unacknowledged <= 0, timeout)
        return self.unacknowledged

    @property
    def unacknowledged(self) -> int:
        """Return how many events wait for an acknowledgement."""
        return sum(dispatcher.unacknowledged for dispatcher in self._dispatchers.values())

    @property
    def counts(self) -> dict[str, int]:
        """Return how many events took which path: ``main``, ``standby``, ``dead_letter``, and how many ``failed``."""
        totals = {"main": 0, "standby": 0, "dead_letter": 0, "failed": 0}
        for dispatcher in self._dispatchers.values():
            for path, count in dispatcher.counts.items():
                totals[path] += count
        return totals

    @property
    def why_waiting(self) -> str:
        """Return, cluster by cluster, what keeps events from being acknowledged."""
        waiting = [(name, d) for name, d in self._dispatchers.items() if d.unacknowledged]
        return "; ".join(f"{name}: {dispatcher.why_waiting}" for name, dispatcher in waiting)

    def close(self, timeout: float | None = None) -> None:
        """Flush, then let go of everything; what is not acknowledged within ``timeout`` fails."""
        self.flush(timeout)
        self._closing.set()
        for thread in self._threads:
            thread.join(10)
        for dispatcher in self._dispatchers.values():
            dispatcher.abandon(f"the producer {self.name} was closed before it was acknowledged")
        for pool in (self._pool, *self._watches):
            pool.shutdown(wait=True, cancel_futures=True)
        self._uncount()

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _writer(self, topic: str) -> Writer:
        if self._config.topic(topic).schema is None:
            raise ConfigError(f"topics.{topic}.schema", f"is not set; {topic} takes no events from {self.name} without")
        self._dispatcher(topic)
        self._rights_of_topic[topic].learn([topic])
        return self._writers.setdefault(topic, self._registry.writer(topic))

    def _dispatcher(self, topic: str) -> Dispatcher:
        """Find or start what sends to the cluster of a topic."""
        given = self._config.topic(topic)
        self._limits[topic] = int(given.config.get("max.message.bytes", MAX_EVENT_BYTES))
        if "compact" in given.config.get("cleanup.policy", ""):
            self._keyed.add(topic)
        with self._starting:
            dispatcher = self._dispatchers.get(given.cluster)
            if dispatcher is None:
                limits = [
                    int(each.config.get("max.message.bytes", MAX_EVENT_BYTES))
                    for each in self._config.topics_of(given.cluster)
                ]
                client = self._config.cluster(given.cluster).client_config()
                watch = ThreadPoolExecutor(WATCH_THREADS, thread_name_prefix=f"{self.name}-{given.cluster}-watch")
                self._watches.append(watch)
                rights = self._rights[given.cluster] = WriteRights(client, watch.submit)
                destinations = Destinations(
                    client, given.cluster, self._registry.schema, self._schemas_of, watch, rights=rights
                )
                dispatcher = self._dispatchers[given.cluster] = Dispatcher(
                    given.cluster,
                    KafkaMainPath(
                        client, max_event_bytes=max(limits), max_batch_bytes=min(limits), on_forbidden=rights.ask_again
                    ),
                    self._store,
                    producer=self.instance,
                    lanes=lambda name: self._config.topic(name).lanes,
                    run=self._pool.submit,
                    look=watch.submit,
                    clock=self._clock,
                    changed=self._changed,
                    settings=self._settings,
                    on_refused=self._refused,
                    destinations=destinations,
                )
                thread = threading.Thread(
                    target=self._work, args=(dispatcher,), name=f"{self.name}-{given.cluster}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._rights_of_topic[topic] = self._rights[given.cluster]
        self._of_topic[topic] = dispatcher
        return dispatcher

    def _schemas_of(self, topic: str) -> dict[int, AvroSchema]:
        """Return the schema that events of a topic are encoded with here, by its id."""
        writer = self._writers.get(topic)
        return {} if writer is None else {writer.schema_id: writer.schema}

    def _work(self, dispatcher: Dispatcher) -> None:
        while not self._closing.is_set():
            try:
                dispatcher.tick(0.02)
            except Exception:
                log.exception("the producer %s goes on after an unexpected error", self.name)
                self._closing.wait(0.5)

    def _dead_letter(self, letter: Event, refusal: str) -> Receipt:
        limit = self._limits[self._dead_letters]
        if (size := _size(letter)) > limit:
            raise InvalidEventError(letter.topic, "", f"is {size:,} bytes as a dead letter; its topic takes {limit:,}")
        if closed := self._rights_of_topic[self._dead_letters].why_not(self._dead_letters):
            raise PublishError(letter.id, letter.topic, f"{refusal}; nor can it become a dead letter: {closed}")
        receipt = Receipt(letter, self._changed, "dead_letter", refusal)
        self._of_topic[self._dead_letters].submit(receipt)
        if self._is_traced:
            telemetry.published(receipt, self.name)
        return receipt

    def _dead_letter_event(self, event: Event, why: str, reason: str) -> Receipt:
        letter = letter_of_event(self._dead_letters, event, reason=reason, detail=why, producer=self.name)
        return self._dead_letter(letter, why)

    def _refused(self, receipt: Receipt) -> None:
        """Make a dead letter of an event that Kafka refuses for good; its receipt follows the letter."""
        if receipt.path == "dead_letter":
            receipt.fail(f"its dead letter was refused: {receipt.refusal}")
            log.error("dead letter %s was refused by Kafka: %s", receipt.event.id, receipt.refusal)
            return
        if closed := self._rights_of_topic[self._dead_letters].why_not(self._dead_letters):
            receipt.fail(f"{receipt.refusal}; nor can it become a dead letter: {closed}")
            return
        event = receipt.event
        receipt.destination = None
        receipt.event = letter_of_event(
            self._dead_letters, event, reason="refused", detail=receipt.refusal, producer=self.name
        )
        receipt.path = "dead_letter"
        receipt.progress = Progress.WAITING
        self._of_topic[self._dead_letters].submit(receipt, crowded=True)


def _see_that_others_count_on(settings: DispatchSettings, config: Config) -> None:
    """See that a producer with limits of its own keeps what others go by."""
    refresh, longest = config.standby.gate_refresh, config.standby.divert_after
    if settings.gate_refresh != refresh:
        raise ConfigError(
            "gate_refresh",
            f"is {settings.gate_refresh:g} s here, and {refresh:g} s by the platform's (standby.gate_refresh): "
            "who diverts a lane waits so long for all other producers to see it. Give that, or set it there for all",
        )
    if settings.divert_after > longest:
        raise ConfigError(
            "divert_after",
            f"is {settings.divert_after:g} s here, and at most {longest:g} s by the platform's settings "
            "(standby.divert_after), since a switch of producers waits no longer: raise it there, for all of them",
        )


def _key(topic: str, key: object) -> bytes:
    """Return a key as bytes."""
    if isinstance(key, bytes):
        return bytes(key)
    if not isinstance(key, str):
        raise InvalidEventError(topic, "key", f"is of type {type(key).__name__}, not bytes, str or None")
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise InvalidEventError(topic, "key", "has half a surrogate pair, which UTF-8 can't carry") from None


def _checked(topic: str, headers: Headers) -> Headers:
    """Return the headers if both Kafka and the standby store can carry them; an error in either would come too late.

    Without what jobs have said of an event that is published anew: jobs would take the new one for what they have
    brought there, and leave it out.
    """
    plain: Headers = []
    for index, header in enumerate(headers):
        match header:
            case (str() as name, bytes() | None as value) if type(header) is tuple:
                try:
                    name.encode()
                except UnicodeEncodeError:
                    reason = "has half a surrogate pair in its name, which UTF-8 can't carry"
                    raise InvalidEventError(topic, f"headers[{index}]", reason) from None
                if name in JOB_HEADERS:
                    continue
                # Of subclasses, MessagePack knows nothing.
                plain.append((str.__str__(name), None if value is None else bytes(value)))
            case _:
                raise InvalidEventError(topic, f"headers[{index}]", "is not a tuple of a str and bytes or None")
    return plain


def _size(event: Event) -> int:
    """Return about how many bytes an event takes as a Kafka record (KIP-98's format, lengths at their longest)."""
    headers = sum(len(name.encode()) + len(value or b"") + 10 for name, value in event.headers)
    return len(event.key or b"") + len(event.value or b"") + headers + 100
