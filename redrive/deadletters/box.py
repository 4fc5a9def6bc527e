"""Writing dead letters to Kafka, so that the offsets of their events can be committed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive.deadletters.letter import without_value
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
_GLANCE = 0.2  # seconds
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}


class DeadLetterBox:
    """Sends letters; connects with the first one. Not for several threads.

    The client tries each letter until it has arrived, or brokers refuse it: giving up is for who waits, in `settle`.

    Args:
        client_config: what confluent-kafka needs to connect.
        topic: the dead-letter topic, for errors.
        patience: seconds that a call waits for brokers.
    """

    def __init__(self, client_config: Mapping[str, Any], topic: str, *, patience: float) -> None:
        self._config = _CONFIG | dict(client_config)
        self._topic = topic
        self._patience = patience
        self._producer: Producer | None = None
        self._waiting = 0
        self._failure = ""
        self._glance_due = 0.0

    def put(self, letter: Event) -> None:
        """Send a letter; `settle` tells whether it has arrived. One that is too large goes without its value.

        Raises:
            UnavailableError: it can't be sent; or many letters wait already, and none of them gets through. Then so
                does every later `settle`.
        """
        if self._producer is None:
            self._producer = Producer(self._config, logger=log)

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._waiting -= 1
            if error is None:
                return
            if error.code() in _TOO_LARGE and letter.value is not None:
                self.put(without_value(letter))
            else:
                self._failure = error.str()

        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._producer.produce(
                    letter.topic,
                    letter.value,
                    letter.key,
                    headers=cast(Any, letter.headers),
                    timestamp=letter.timestamp,
                    on_delivery=delivered,
                )
                self._waiting += 1
                return
            except BufferError:
                if time.monotonic() > deadline:
                    raise self._unavailable(f"{self._waiting:,} letters wait already") from None
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() not in _TOO_LARGE or letter.value is None:
                    raise self._unavailable(error.args[0].str()) from error
                letter = without_value(letter)

    def settle(self, *, wait: bool = True) -> bool:
        """Say whether all letters are on the dead-letter topic.

        Args:
            wait: until they are, or patience is at its end. Else only as long as brokers take that are well, and, with
                brokers that are away, a tenth of the time at most.

        Raises:
            UnavailableError: one of them is not, now and in every later call: the offsets of their events must not
                be committed.
        """
        if self._producer is None:
            return True
        began = time.monotonic()
        if not wait and began >= self._glance_due:
            self._producer.flush(_GLANCE)
            self._glance_due = began + 10 * (time.monotonic() - began)
        while wait and self._waiting and not self._failure:  # a letter that came back too large goes out once more
            self._producer.flush(1)
            if time.monotonic() - began > self._patience:
                self._failure = f"brokers have not taken {self._waiting:,} letters within {self._patience:g} s"
        if self._failure:  # for good: closing the consumer must not commit what this was about
            raise self._unavailable(self._failure)
        return not self._waiting

    def _unavailable(self, reason: str) -> UnavailableError:
        self._failure = self._failure or reason
        return UnavailableError(
            f"dead-letter topic {self._topic}", f"{reason}; the events stay uncommitted and come again"
        )
