"""What a publisher gets for an event: a receipt that turns into an acknowledgement or an error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from confluent_kafka import KafkaError, Message

from redrive.errors import PublishError
from redrive.events import Event

if TYPE_CHECKING:
    from redrive.dispatch.destination import Destination

log = logging.getLogger(__name__)

Path = Literal["main", "standby", "dead_letter"]


class Progress(IntEnum):
    """Where an event stands."""

    WAITING = 0
    ACKNOWLEDGED = 1
    TAKEN_BACK = 2
    """Kafka has not confirmed it and won't be asked any more; it may be there or not."""
    REFUSED = 3
    """Kafka has refused it for good: too large, not allowed, …"""
    FAILED = 4


_ACKNOWLEDGED = Progress.ACKNOWLEDGED  # a global is found faster than an enum's member, and this runs per event

_REFUSALS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""What Kafka says of each event alike: a topic closed to this producer, a clock that is days ahead. What it says of a
record (too large, invalid, …) it says of the whole batch, and who is meant is unknown: that batch is taken back, and
the replay, which can send one by one, parks the culprit only."""


class Receipt:
    """One event on its way.

    Attributes:
        event: the event.
        path: ``main`` or ``standby``, whichever has it; ``dead_letter`` if it went to the dead-letter topic instead.
        partition: where it is in Kafka, once it is there by the main path; None also of an event that was left out
            there, by the rules of a migration.
        offset: likewise.
        refusal: why Kafka, or the schema, refused it; empty otherwise.
    """

    # Defaults stand on the class: an event that goes its way needs none of them set.
    partition: int | None = None
    offset: int | None = None
    progress = Progress.WAITING
    doubtful = False
    published = 0.0
    sent = 0.0
    """When it went to Kafka, if it had to wait before: Kafka's time to confirm it begins only then."""
    weight = 0
    """Bytes of its key and value, while it counts as unacknowledged."""
    destination: Destination | None = None
    """The topic that it goes to in Kafka, if that is not the one that it names."""
    is_plain = False
    """An event of its own, acknowledged by the main path: nothing is left to do but count, and call back."""
    callbacks: list[Callable[[Receipt], None]] | None = None
    """Who wants to be told when it is done; use `add_done_callback`."""
    _error: PublishError | None = None

    def __init__(self, event: Event, changed: threading.Condition, path: Path = "main", refusal: str = "") -> None:
        self.event = event
        self.path: Path = path
        self.refusal = refusal
        self._changed = changed

    @property
    def event_id(self) -> str:
        """Return the id of the event."""
        return self.event.id

    @property
    def done(self) -> bool:
        """Tell whether the event is acknowledged or failed."""
        return self.progress in (Progress.ACKNOWLEDGED, Progress.FAILED)

    @property
    def failed(self) -> bool:
        """Tell whether the event was given up."""
        return self.progress is Progress.FAILED

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait until the event is acknowledged and return this receipt.

        Args:
            timeout: seconds to wait; None: until the producer gives up by itself (``publish_timeout``).

        Raises:
            PublishError: it failed, or is not acknowledged within ``timeout``.
        """
        if not self.done:
            with self._changed:
                self._changed.wait_for(lambda: self.done, timeout)
        if self._error is not None:
            raise self._error
        if not self.done:
            raise PublishError(self.event.id, self.event.topic, f"nothing was heard of it within {timeout} s")
        return self

    def add_done_callback(self, call: Callable[[Receipt], None]) -> None:
        """Call ``call(receipt)`` once it is done, from a thread of the producer; at once if it is done already.

        It holds up the producer's work: let it be quick. It may publish, but not wait for an acknowledgement.
        What it publishes is accepted however much waits.
        """
        with self._changed:
            self.callbacks = [*(self.callbacks or ()), call]
        # It may have been done before the line above: then whoever did it saw nobody to call.
        if self.done:
            self.call_back()

    def reported(self, error: KafkaError | None, message: Message) -> None:
        """Take librdkafka's delivery report."""
        if error is None:
            self.partition = message.partition()
            self.offset = message.offset()
            self.progress = _ACKNOWLEDGED
            self.is_plain = self.path == "main"
        elif error.code() in _REFUSALS:
            self.refusal = error.str()
            self.progress = Progress.REFUSED
        else:
            self.progress = Progress.TAKEN_BACK

    def left_out(self) -> None:
        """Note that the event has no place in Kafka: the rules by which its topic was switched leave it out."""
        self.progress = _ACKNOWLEDGED
        self.is_plain = self.path == "main"

    def acknowledge(self, path: Path) -> None:
        """Note that the event is safe; a dead letter stays one, wherever it is kept."""
        if self.path != "dead_letter":
            self.path = path
        self.progress = Progress.ACKNOWLEDGED

    def fail(self, reason: str) -> None:
        """Note that the event is given up."""
        self._error = PublishError(self.event.id, self.event.topic, reason)
        self.progress = Progress.FAILED

    def call_back(self) -> None:
        """Tell those who asked to be told, once."""
        if self.callbacks is None:
            return
        with self._changed:
            calls, self.callbacks = self.callbacks, None
        for call in calls or ():
            try:
                call(self)
            except Exception:
                log.exception("a callback of event %s failed", self.event.id)
