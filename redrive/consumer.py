"""The consumer's side of the SDK: read, decode, hand over, and commit only what has been handled.

What is guaranteed
------------------
Every event is handed over at least once, the events of one partition in their order, until it is handled, or its
dead letter is written. Offsets are committed after that, never before.

What may heal is tried again with growing pauses, for as long as it takes: a schema that can't be fetched because the
registry is down, a handler that raises `UnavailableError`. Its partition waits; the others go on. What will not heal
becomes a dead letter on ``dlq.<group>``: bytes that can't be decoded, a handler that raises `InvalidEventError`, or any
other exception again and again.

A group whose consumers name successors goes over to another topic with its producers, in order and each event once,
as far as above; see `redrive.handover`. What others than the SDK's producers publish to the old topic while a member
has not heard of the switch yet may be handled twice.

What is not guaranteed
----------------------
An event can be handed over again after a crash, a rebalance, or when a producer repeated it. The window of event ids
drops repetitions, but it is a convenience, not a proof: it is in memory, lost with the process, knows only what this
process has handled, and forgets the oldest beyond its size. A partition that moves to another process is not
covered. A handler whose effects must not happen twice needs to keep the event ids with its effects.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from redrive import telemetry
from redrive.coding import Reader
from redrive.config import Config
from redrive.deadletters.box import MOST_AT_ONCE, DeadLetterBox
from redrive.deadletters.letter import letter_of_bytes
from redrive.errors import (
    ConfigError,
    IncompatibleSchemaError,
    InvalidEventError,
    RedriveError,
    UnavailableError,
    UnknownSchemaError,
    WireFormatError,
)
from redrive.events import are_unreadable
from redrive.intake import Intake, Taken
from redrive.received import ReceivedEvent, received
from redrive.schemas import SchemaRegistry
from redrive.wire import schema_id_of

_BATCH = 500
_COMMIT_EVERY = 0.5  # seconds, while events come without a break
_SLICE = 0.2  # seconds, shared by the clusters: how long a stop may take


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """Limits of a consumer.

    Attributes:
        retries: how often a handler that failed is called again with the same event before that is dead-lettered.
        pause: seconds before the first repetition; each further one waits about twice as long.
        longest_pause: seconds that a repetition waits at most.
        window: how many handled event ids are remembered to drop duplicates; 0 hands over every event.
        max_poll_interval: seconds that one batch may take, and one event of `run` half of them; after that the group
            may go on without this consumer.
        client: further settings of librdkafka, which go over all others. With successors, not
            ``partition.assignment.strategy`` nor ``enable.partition.eof``.
    """

    retries: int = 5
    pause: float = 0.2
    longest_pause: float = 30.0
    window: int = 100_000
    max_poll_interval: float = 300.0
    client: Mapping[str, Any] = field(default_factory=dict)


class EventConsumer:
    """Reads topics of one or several clusters as one consumer group. For one thread; only `stop` is for any.

    ::

        with EventConsumer("billing", Config.load(), ["orders.created"]) as consumer:
            consumer.run(handle)  # or: for batch in consumer.batches(): …

    Args:
        group: the consumer group; its dead letters go to ``dlq.<group>``, on the cluster that the event was read from
            if that has the topic.
        config: the platform.
        topics: what to read; each on the cluster of its domain, and on those that stand by for that, which may still
            have, or get by a replay, what was accepted before another region became the active one.
        schemas: topic → schema (JSON) that its events are resolved to, or ``latest`` for the latest version in the
            registry; other topics' events have the fields that they were written with.
        settings: limits.
        successors: topic → the topic that its events go to once its producers have been switched, if the handler is
            ready for that one's schema, too: then the group goes over by itself, each event once and in order, and
            back again. Events name the topic that they come from. Without it, a group stays with its topics.

    Attributes:
        counts: how many events were ``handled``, dropped as ``duplicates``, ``dead_lettered``, and how often one was
            ``retried``.

    Raises:
        ConfigError: a topic, a successor, or this group's dead-letter topic is not in the settings, a successor is
            not on its topic's cluster, or the client's settings keep it from going over.
        SchemaError: a schema of ``schemas`` does not exist or can't be used.
        UnavailableError: the registry can't be reached to fetch them.
    """

    def __init__(
        self,
        group: str,
        config: Config,
        topics: Iterable[str],
        *,
        schemas: Mapping[str, str] | None = None,
        settings: ConsumerSettings | None = None,
        successors: Mapping[str, str] | None = None,
    ) -> None:
        self.group = group
        self.counts = {"handled": 0, "duplicates": 0, "dead_lettered": 0, "retried": 0}
        self._settings = settings or ConsumerSettings()
        self._dead_letters = f"dlq.{group}"
        by_cluster: dict[str, list[str]] = {}
        for topic in topics:
            for cluster in config.topic(topic).clusters:
                by_cluster.setdefault(cluster, []).append(topic)
        self._boxes = _boxes(config, self._dead_letters, by_cluster, self._settings.max_poll_interval / 2)
        after = _successors(config, by_cluster, successors or {})
        self._registry = SchemaRegistry(config.registry_client_config())
        self._readers: dict[str, Reader] = {
            topic: self._registry.reader(topic) if schema == "latest" else self._registry.reader(schema=schema)
            for topic, schema in (schemas or {}).items()
        }
        self._any_reader = self._registry.reader()
        self._window: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._in_hand: list[tuple[Taken, ReceivedEvent | None]] = []
        self._ids_in_hand: set[tuple[str, str, str]] = set()
        self._losses = 0
        self._stopping = threading.Event()
        self._intakes = [
            Intake(
                cluster,
                config.cluster(cluster).client_config() | dict(self._settings.client),
                group,
                names,
                max_poll_interval=self._settings.max_poll_interval,
                before_commit=self._boxes[cluster].settle,
                alone=len(by_cluster) == 1,
                successors=after.get(cluster),
            )
            for cluster, names in by_cluster.items()
        ]
        counts = self.counts
        self._uncount = telemetry.consumers.add(group, lambda: counts)
        self._is_traced = telemetry.is_tracing()

    # -- reading -----------------------------------------------------------------------------------------------------

    def run(self, handler: Callable[[ReceivedEvent], None], *, idle: float | None = None) -> None:
        """Call ``handler`` with one event after the other until `stop`.

        Args:
            handler: returns when the event is handled. `UnavailableError` means "later", `InvalidEventError` "never";
                any other exception is tried again ``retries`` times.
            idle: return after so many seconds without an event.

        Raises:
            UnavailableError: a dead letter can't be written; its event is not committed and comes again.
            UnknownTopicError: a topic does not exist.
            RefusedByClusterError: the group may not read a topic, or not commit.
        """
        self._put_back_in_hand()  # of a loop over batches that was left
        enough = self._settings.max_poll_interval / 2
        quiet_since = committed = time.monotonic()
        while not self._stopping.is_set():
            fetched = self._fetch(_BATCH, _SLICE)
            started = time.monotonic()
            ahead = deque(fetched)
            try:
                while ahead and not self._stopping.is_set() and time.monotonic() - started <= enough:
                    self._handle(ahead[0], handler)
                    ahead.popleft()
                    if time.monotonic() - committed > _COMMIT_EVERY:  # handlers may be slow
                        self._commit(wait=self._is_alone)
                        committed = time.monotonic()
            finally:  # also after Ctrl-C in the handler: who runs it again is to get them
                _put_back(ahead)
            if fetched:
                quiet_since = time.monotonic()
            if not fetched or time.monotonic() - committed > _COMMIT_EVERY:
                self._commit(wait=self._is_alone)
                committed = time.monotonic()
            if idle is not None and time.monotonic() - quiet_since > idle:
                return
        self._commit()

    def batches(
        self, max_events: int = _BATCH, max_wait: float = 0.1, *, idle: float | None = None
    ) -> Iterator[list[ReceivedEvent]]:
        """Yield batches of events, none of them empty, until `stop`.

        A batch counts as handled, and is committed, when the next one is asked for or `commit` is called. Who breaks
        out of the loop gets the last batch again, unless `commit` was called before. With topics of several clusters,
        the next batch does not wait until that commit is answered: one of the clusters may be away.

        Args:
            max_events: the most events in a batch.
            max_wait: seconds to wait for a batch to fill, once it has an event.
            idle: end after so many seconds without an event.

        Raises: as `run`.
        """
        quiet_since = time.monotonic()
        while not self._stopping.is_set():
            batch = self._gather(max_events, max_wait)
            if batch:
                yield batch
                quiet_since = time.monotonic()
            self._end_batch(wait=self._is_alone)
            if idle is not None and time.monotonic() - quiet_since > idle:
                return

    def commit(self) -> None:
        """Commit the batch in hand, which has been handled; returns when that is done."""
        self._end_batch(wait=True)

    def _end_batch(self, *, wait: bool) -> None:
        for taken, event in self._in_hand:
            if taken.intake.is_ours(taken):
                self._finish(taken, event)
        self._in_hand = []
        self._ids_in_hand.clear()
        self._commit(wait=wait)

    def stop(self) -> None:
        """Make `run` or `batches` end soon: after the event or batch in hand. For any thread or signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Leave the group; what is handled gets committed, what is not comes again."""
        self._in_hand = []
        for intake in self._intakes:
            intake.close()
        self._registry.close()
        self._uncount()

    def __enter__(self) -> EventConsumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _fetch(self, limit: int, wait: float) -> list[Taken]:
        """Take what there is, of all clusters; wait at most ``wait`` seconds for the first message."""
        fetched: list[Taken] = []
        try:
            for intake in self._intakes:
                room = limit - len(fetched)
                if room > 0:
                    fetched += intake.fetch(room, 0.0 if fetched else wait / len(self._intakes))
        except BaseException:
            _put_back(fetched)
            raise
        self._intakes.append(self._intakes.pop(0))  # so that none is always the last
        return fetched

    def _gather(self, max_events: int, max_wait: float) -> list[ReceivedEvent]:
        deadline = float("inf")
        ahead: deque[Taken] = deque()
        try:
            while len(self._in_hand) < max_events and not self._stopping.is_set():
                wait = min(_SLICE, deadline - time.monotonic())
                if wait <= 0:
                    break
                ahead = deque(self._fetch(max_events - len(self._in_hand), wait))
                self._drop_lost()
                while ahead:
                    self._add(ahead[0])
                    ahead.popleft()
                if not self._in_hand:
                    break
                deadline = min(deadline, time.monotonic() + max_wait)
        except BaseException:  # also after Ctrl-C: who goes on is to get them, and what nobody has seen is not handled
            self._put_back_in_hand()
            _put_back(ahead)
            raise
        return [event for _, event in self._in_hand if event is not None]

    def _add(self, taken: Taken) -> None:
        """Add a message to the batch in hand, unless it comes again, here or elsewhere."""
        event = None if taken.intake.is_dropped(taken) else self._open(taken)
        if not taken.intake.is_dropped(taken):
            self._in_hand.append((taken, event))
            if event is not None:
                self._ids_in_hand.add(_identity(event))

    def _put_back_in_hand(self) -> None:
        _put_back(taken for taken, _ in self._in_hand)
        self._in_hand = []
        self._ids_in_hand.clear()

    def _drop_lost(self) -> None:
        """Drop from the batch in hand what others own now; if it comes here again, it is no duplicate of this."""
        losses = sum(intake.losses for intake in self._intakes)
        if losses == self._losses:
            return
        self._losses = losses
        self._in_hand = [(taken, event) for taken, event in self._in_hand if taken.intake.is_ours(taken)]
        self._ids_in_hand = {_identity(event) for _, event in self._in_hand if event is not None}

    def _handle(self, taken: Taken, handler: Callable[[ReceivedEvent], None]) -> None:
        if taken.intake.is_dropped(taken):
            return
        event = self._open(taken)
        if event is not None and not self._call(handler, taken, event):
            event = None
        if not taken.intake.is_dropped(taken):
            self._finish(taken, event)

    def _call(self, handler: Callable[[ReceivedEvent], None], taken: Taken, event: ReceivedEvent) -> bool:
        """Say whether the handler has handled the event; if not, it has been put back or dead-lettered."""
        try:
            if self._is_traced:
                with telemetry.handling(self.group, event.topic):
                    handler(event)
            else:
                handler(event)
            return True
        except UnavailableError:
            self._try_again(taken, failed=False)
        except InvalidEventError as error:
            self._bury(taken, "handler-failed", str(error), error.field)
        except Exception as error:
            if taken.intake.failures(taken) < self._settings.retries:
                self._try_again(taken, failed=True)
            else:
                self._bury(taken, "handler-failed", f"{type(error).__name__}: {error}")
        return False

    def _open(self, taken: Taken) -> ReceivedEvent | None:
        """Decode a message; None if it has been dead-lettered or put back, or is a duplicate."""
        message = taken.message
        topic, data = message.topic() or "", message.value()
        try:
            value = None if data is None else self._readers.get(topic, self._any_reader).decode(data)
        except UnavailableError:
            self._try_again(taken, failed=False)
            return None
        except WireFormatError as error:
            self._bury(taken, _reason(error), error.reason)
            return None
        event = received(taken, value)
        if are_unreadable(event.headers):
            self._bury(taken, "unreadable-headers", "one of its headers has a name that is not UTF-8")
            return None
        identity = _identity(event)
        if self._settings.window and (identity in self._window or identity in self._ids_in_hand):
            self.counts["duplicates"] += 1
            return None
        return event

    def _finish(self, taken: Taken, event: ReceivedEvent | None) -> None:
        """Let a message be committed; an event that was handled shall not be handed over again."""
        taken.intake.done(taken)
        if event is None:
            return
        self.counts["handled"] += 1
        self._window[_identity(event)] = None
        if len(self._window) > self._settings.window:
            self._window.popitem(last=False)

    def _try_again(self, taken: Taken, *, failed: bool) -> None:
        before = min(taken.intake.pauses(taken), 30)
        longest = min(self._settings.longest_pause, self._settings.pause * 2**before)
        taken.intake.hold(taken, longest * random.uniform(0.5, 1), failed=failed)
        self.counts["retried"] += 1

    def _bury(self, taken: Taken, reason: str, detail: str, field: str = "") -> None:
        message = taken.message
        event, data = received(taken, None), message.value()
        letter = letter_of_bytes(
            self._dead_letters,
            event_id=event.id,
            key=event.key,
            value=data,
            headers=event.headers,
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
            timestamp=event.timestamp,
            schema_id=_schema_id(data),
            reason=reason,
            detail=detail,
            field=field,
            producer=self.group,
        )
        if self._boxes[taken.intake.cluster].put(letter):
            self.counts["dead_lettered"] += 1
        else:
            self._try_again(taken, failed=False)

    @property
    def _is_alone(self) -> bool:
        """Whether it reads from one cluster only: then nobody is kept waiting by what that one takes to answer."""
        return len(self._intakes) == 1

    def _commit(self, *, wait: bool = True) -> None:
        trouble: RedriveError | None = None
        for intake in self._intakes:
            try:
                intake.commit(wait=wait)
            except RedriveError as error:  # of this cluster; the others' events are no less handled
                trouble = trouble or error
        if trouble is not None:
            raise trouble


def _put_back(messages: Iterable[Taken]) -> None:
    for taken in messages:
        taken.intake.put_back(taken)


def _boxes(config: Config, topic: str, clusters: Iterable[str], patience: float) -> dict[str, DeadLetterBox]:
    """Return cluster → where letters of its events go: to the same one, if it has the dead-letter topic.

    Then what happens to another cluster is none of its events' business, and a correction publishes an event to the
    cluster that it came from.
    """
    home = config.topic(topic)
    places = {cluster: cluster if cluster in home.clusters else home.cluster for cluster in clusters}
    largest = int(home.config.get("max.message.bytes", MOST_AT_ONCE))
    boxes = {
        place: DeadLetterBox(config.cluster(place).client_config(), topic, patience=patience, largest=largest)
        for place in places.values()
    }
    return {cluster: boxes[place] for cluster, place in places.items()}


def _successors(
    config: Config, topics: Mapping[str, list[str]], successors: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return cluster → topic → its successor."""
    found: dict[str, dict[str, str]] = {}
    read = [topic for names in topics.values() for topic in names]
    for successor in successors.values():
        if successor in read:
            raise ConfigError("successors", f"{successor} is among the topics that are read: name it as successor only")
        if list(successors.values()).count(successor) > 1:
            raise ConfigError("successors", f"{successor} is named twice; a topic succeeds one other")
    for topic, successor in successors.items():
        clusters = config.topic(topic).clusters
        if topic not in topics.get(clusters[0], ()):
            raise ConfigError("successors", f"{topic} is not among the topics that are read")
        if config.topic(successor).clusters != clusters:
            where = ", ".join(clusters)
            raise ConfigError("successors", f"{successor} is not on the cluster of {topic}, which is {where}")
        for cluster in clusters:
            found.setdefault(cluster, {})[topic] = successor
    return found


def _schema_id(data: bytes | None) -> int | None:
    try:
        return schema_id_of(data or b"")
    except WireFormatError:
        return None


def _reason(error: WireFormatError) -> str:
    match error:
        case UnknownSchemaError():
            return "unknown-schema"
        case IncompatibleSchemaError():
            return "incompatible-schema"
        case _:
            return "bad-frame"


def _identity(event: ReceivedEvent) -> tuple[str, str, str]:
    """What two copies of an event have in common, and no other event has.

    The id of one whose envelope names none is its place, which is one on each cluster, for as long as the topic is not
    deleted and made anew: so its time counts, too.
    """
    if event.source:
        return event.topic, event.source, event.id
    at = event.timestamp if event.id == f"{event.topic}/{event.partition}/{event.offset}" else ""
    return event.topic, f"cluster {event.cluster} {at}", event.id
