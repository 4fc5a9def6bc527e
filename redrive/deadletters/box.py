"""Writing dead letters to Kafka, so that the offsets of their events can be committed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive.deadletters.letter import stub, without_value
from redrive.errors import UnavailableError
from redrive.events import Event

log = logging.getLogger(__name__)

_CONFIG = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "partitioner": "murmur2_random",
    "message.timeout.ms": 0,
    "topic.metadata.propagation.max.ms": 10_000,  # a topic that does not exist by then does not exist
    # The topic decides how large a letter may be, not the client.
    "message.max.bytes": 100_000_000,
}
MOST_AT_ONCE = 1_000_000
"""The largest batch if the topic sets no ``max.message.bytes``: Kafka's own default, with room for its framing."""

_GLANCE = 0.2  # seconds
_LESS: tuple[Callable[[Event], Event], ...] = (without_value, stub)
"""What is sent of a letter that its topic does not take, one after the other."""
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}


class DeadLetterBox:
    """Sends letters; connects with the first one. Not for several threads.

    The client tries each letter until it has arrived, or brokers refuse it: giving up is for who waits, in `settle`.

    Args:
        client_config: what confluent-kafka needs to connect.
        topic: the dead-letter topic, for errors.
        patience: seconds without an answer after which `settle` waits no longer.
        largest: bytes that the topic takes in one batch, which is what brokers measure.
    """

    def __init__(
        self, client_config: Mapping[str, Any], topic: str, *, patience: float, largest: int = MOST_AT_ONCE
    ) -> None:
        self._config = _CONFIG | {"batch.size": min(largest, MOST_AT_ONCE)} | dict(client_config)
        self._topic = topic
        self._patience = patience
        self._producer: Producer | None = None
        self._waiting = 0
        self._again: deque[tuple[Event, tuple[Callable[[Event], Event], ...]]] = deque()
        self._answered = 0.0  # when brokers last answered, or the first letter began to wait
        self._failure = ""
        self._glance_due = 0.0

    def put(self, letter: Event) -> bool:
        """Send a letter; `settle` tells whether it has arrived. False: too many wait already; it is not sent.

        One that is too large goes without its value, and if that does not do, as not much more than a note.

        Raises:
            UnavailableError: it can't be sent; then so does every later `settle`.
        """
        if self._producer is None:
            self._producer = Producer(self._config, logger=log)
        self._producer.poll(0)
        if not self._waiting:
            self._answered = time.monotonic()
        if not self._send(letter, _LESS if letter.value is not None else _LESS[1:]):
            return False
        self._waiting += 1
        return True

    def settle(self, *, wait: bool = True) -> bool:
        """Say whether all letters are on the dead-letter topic.

        Args:
            wait: until they are, or patience is at its end. Else only as long as brokers take that are well, and, with
                brokers that are away, a tenth of the time at most.

        Raises:
            UnavailableError: one of them was refused, now and in every later call: the offsets of their events must
                not be committed. Or patience is at its end: they are still tried.
        """
        if not wait:
            self._glance()
        while wait and self._waiting and not self._failure:
            left = self._answered + self._patience - time.monotonic()
            self._flush(max(0.0, min(1.0, left)))
            if self._waiting and left <= 0:
                raise self._unavailable(f"brokers have not taken {self._waiting:,} letters within {self._patience:g} s")
        if self._failure:  # for good: closing the consumer must not commit what this was about
            raise self._unavailable(self._failure)
        return not self._waiting

    def _send(self, letter: Event, less: tuple[Callable[[Event], Event], ...]) -> bool:
        """Send a letter; if it is too large, less and less of it. False: there is no room."""
        assert self._producer is not None

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._answered = time.monotonic()
            if error is not None and error.code() in _TOO_LARGE and less:
                self._again.append((less[0](letter), less[1:]))
                return
            self._waiting -= 1
            if error is not None:
                self._failure = self._failure or error.str()

        try:
            self._producer.produce(
                letter.topic,
                letter.value,
                letter.key,
                headers=cast(Any, letter.headers),
                timestamp=letter.timestamp,
                on_delivery=delivered,
            )
            return True
        except BufferError:
            return False
        except KafkaException as error:
            if error.args[0].code() in _TOO_LARGE and less:
                return self._send(less[0](letter), less[1:])
            self._failure = self._failure or error.args[0].str()
            raise self._unavailable(self._failure) from error

    def _flush(self, seconds: float) -> None:
        """Give brokers time to answer."""
        assert self._producer is not None
        self._producer.flush(seconds)
        while self._again and self._send(*self._again[0]):
            self._again.popleft()

    def _glance(self) -> None:
        began = time.monotonic()
        if self._waiting and began >= self._glance_due:
            self._flush(_GLANCE)
            if self._again:
                self._flush(_GLANCE)
            if self._waiting:
                self._glance_due = began + 10 * (time.monotonic() - began)

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(
            f"dead-letter topic {self._topic}", f"{reason}; the events stay uncommitted and come again"
        )
