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
as far as above; see `redrive.consuming.handover`. What others than the SDK's producers publish to the old topic while a
member has not heard of the switch yet may be handled twice.

What is not guaranteed
----------------------
An event can be handed over again after a crash, a rebalance, or when a producer repeated it. The window of event ids
drops repetitions, but it is a convenience, not a proof: it is in memory, lost with the process, knows only what this
process has handled, and forgets the oldest beyond its size. A partition that moves to another process is not
covered. A handler whose effects must not happen twice needs to keep the event ids with its effects.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType

from redrive import telemetry
from redrive.config import Config
from redrive.consuming.dead_letters import DeadLetters
from redrive.consuming.handling import Handling
from redrive.consuming.in_hand import InHand
from redrive.consuming.intake import Intake
from redrive.consuming.intakes import Intakes, put_back
from redrive.consuming.opening import Opener
from redrive.consuming.settings import ConsumerSettings
from redrive.consuming.successors import successors_by_cluster
from redrive.consuming.taken import Taken
from redrive.received import ReceivedEvent
from redrive.schemas import SchemaRegistry

__all__ = ["ConsumerSettings", "EventConsumer"]

_BATCH = 500
_COMMIT_EVERY = 0.5  # seconds, while events come without a break
_SLICE = 0.2  # seconds, shared by the clusters: how long a stop may take


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
        self._settings = settings or ConsumerSettings()
        by_cluster: dict[str, list[str]] = {}
        for topic in topics:
            for cluster in config.topic(topic).clusters:
                by_cluster.setdefault(cluster, []).append(topic)
        dead_letters = DeadLetters(config, group, by_cluster, self._settings.max_poll_interval / 2)
        after = successors_by_cluster(config, by_cluster, successors or {})
        self._registry = SchemaRegistry(config.registry_client_config())
        self._handling = Handling(group, self._settings, Opener(self._registry, schemas or {}), dead_letters)
        self.counts = self._handling.counts
        self._stopping = threading.Event()
        self._intakes = Intakes(
            Intake(
                cluster,
                config.cluster(cluster).client_config() | dict(self._settings.client),
                group,
                names,
                max_poll_interval=self._settings.max_poll_interval,
                before_commit=dead_letters.boxes[cluster].settle,
                alone=len(by_cluster) == 1,
                successors=after.get(cluster),
            )
            for cluster, names in by_cluster.items()
        )
        self._in_hand = InHand(self._intakes, self._handling)
        counts = self.counts
        self._uncount = telemetry.consumers.add(group, lambda: counts)

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
        self._in_hand.put_back()  # of a loop over batches that was left
        enough = self._settings.max_poll_interval / 2
        quiet_since = committed = time.monotonic()
        while not self._stopping.is_set():
            fetched = self._intakes.fetch(_BATCH, _SLICE)
            started = time.monotonic()
            ahead = deque(fetched)
            try:
                while ahead and not self._stopping.is_set() and time.monotonic() - started <= enough:
                    self._handling.handle(ahead[0], handler)
                    ahead.popleft()
                    if time.monotonic() - committed > _COMMIT_EVERY:  # handlers may be slow
                        self._intakes.commit(wait=self._intakes.is_alone)
                        committed = time.monotonic()
            finally:  # also after Ctrl-C in the handler: who runs it again is to get them
                put_back(ahead)
            if fetched:
                quiet_since = time.monotonic()
            if not fetched or time.monotonic() - committed > _COMMIT_EVERY:
                self._intakes.commit(wait=self._intakes.is_alone)
                committed = time.monotonic()
            if idle is not None and time.monotonic() - quiet_since > idle:
                return
        self._intakes.commit(wait=True)

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
            self._end_batch(wait=self._intakes.is_alone)
            if idle is not None and time.monotonic() - quiet_since > idle:
                return

    def commit(self) -> None:
        """Commit the batch in hand, which has been handled; returns when that is done."""
        self._end_batch(wait=True)

    def stop(self) -> None:
        """Make `run` or `batches` end soon: after the event or batch in hand. For any thread or signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Leave the group; what is handled gets committed, what is not comes again."""
        self._in_hand.forget()
        self._intakes.close()
        self._registry.close()
        self._uncount()

    def __enter__(self) -> EventConsumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _gather(self, max_events: int, max_wait: float) -> list[ReceivedEvent]:
        deadline = float("inf")
        ahead: deque[Taken] = deque()
        try:
            while len(self._in_hand) < max_events and not self._stopping.is_set():
                wait = min(_SLICE, deadline - time.monotonic())
                if wait <= 0:
                    break
                ahead = deque(self._intakes.fetch(max_events - len(self._in_hand), wait))
                self._in_hand.drop_lost()
                while ahead:
                    self._in_hand.add(ahead[0])
                    ahead.popleft()
                if not len(self._in_hand):
                    break
                deadline = min(deadline, time.monotonic() + max_wait)
        except BaseException:  # also after Ctrl-C: who goes on is to get them, and what nobody has seen is not handled
            self._in_hand.put_back()
            put_back(ahead)
            raise
        return self._in_hand.events

    def _end_batch(self, *, wait: bool) -> None:
        self._in_hand.finish()
        self._intakes.commit(wait=wait)
