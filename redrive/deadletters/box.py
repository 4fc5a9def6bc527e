"""Writing dead letters to Kafka, so that the offsets of their events can be committed."""

from __future__ import annotations

import logging
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
    "topic.metadata.propagation.max.ms": 10_000,  # a topic that does not exist by then does not exist
    # The topic decides how large a letter may be, not the client.
    "message.max.bytes": 100_000_000,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}


class DeadLetterBox:
    """Sends letters; connects with the first one. Not for several threads.

    Args:
        client_config: what confluent-kafka needs to connect.
        topic: the dead-letter topic, for errors.
        timeout: seconds for which a letter is tried.
    """

    def __init__(self, client_config: Mapping[str, Any], topic: str, *, timeout: float) -> None:
        self._config = _CONFIG | {"message.timeout.ms": int(timeout * 1000)} | dict(client_config)
        self._topic = topic
        self._producer: Producer | None = None
        self._waiting = 0
        self._failure: KafkaError | None = None

    def put(self, letter: Event) -> None:
        """Send a letter; `settle` tells whether it has arrived. One that is too large goes without its value."""
        if self._producer is None:
            self._producer = Producer(self._config, logger=log)

        def delivered(error: KafkaError | None, _: Message) -> None:
            self._waiting -= 1
            if error is None:
                return
            if error.code() in _TOO_LARGE and letter.value is not None:
                self.put(without_value(letter))
            else:
                self._failure = error

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
                self._producer.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() not in _TOO_LARGE or letter.value is None:
                    raise self._unavailable(error.args[0]) from error
                letter = without_value(letter)

    def settle(self) -> None:
        """Return when all letters are on the dead-letter topic.

        Raises:
            UnavailableError: one of them is not, now and in every later call: the offsets of their events must not
                be committed.
        """
        if self._producer is None or not (self._waiting or self._failure):
            return
        while self._waiting:  # a letter that came back too large goes out once more
            self._producer.flush(1)
        if self._failure is not None:  # for good: closing the consumer must not commit what this was about
            raise self._unavailable(self._failure)

    def _unavailable(self, error: KafkaError) -> UnavailableError:
        reason = f"{error.str()}; the events stay uncommitted and come again"
        return UnavailableError(f"dead-letter topic {self._topic}", reason)
