"""The dead letters of a consumer group."""

from __future__ import annotations

from collections.abc import Iterable

from redrive.config import Config
from redrive.consuming.taken import Taken
from redrive.deadletters.box import MOST_AT_ONCE, DeadLetterBox
from redrive.deadletters.letter import letter_of_bytes
from redrive.errors import WireFormatError
from redrive.received import received
from redrive.wire import schema_id_of


class DeadLetters:
    """Writes a group's dead letters, on the cluster that an event was read from, if that has the dead-letter topic.

    Then what happens to another cluster is none of its events' business, and a correction publishes an event to the
    cluster that it came from.

    Args:
        config: the platform.
        group: the group; its letters go to ``dlq.<group>``.
        clusters: where its events are read.
        patience: seconds without an answer after which letters are not waited for any longer.

    Attributes:
        boxes: cluster → where letters of its events go.

    Raises:
        ConfigError: the settings have no such topic.
    """

    def __init__(self, config: Config, group: str, clusters: Iterable[str], patience: float) -> None:
        self._group = group
        self._topic = f"dlq.{group}"
        home = config.topic(self._topic)
        places = {cluster: cluster if cluster in home.clusters else home.cluster for cluster in clusters}
        largest = int(home.config.get("max.message.bytes", MOST_AT_ONCE))
        boxes = {
            place: DeadLetterBox(config.cluster(place).client_config(), self._topic, patience=patience, largest=largest)
            for place in places.values()
        }
        self.boxes = {cluster: boxes[place] for cluster, place in places.items()}

    def put(self, taken: Taken, reason: str, detail: str, field: str = "") -> bool:
        """Send a message's dead letter; see `DeadLetterBox.put`."""
        event, data = received(taken, None), taken.message.value()
        letter = letter_of_bytes(
            self._topic,
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
            producer=self._group,
        )
        return self.boxes[taken.intake.cluster].put(letter)


def _schema_id(data: bytes | None) -> int | None:
    try:
        return schema_id_of(data or b"")
    except WireFormatError:
        return None
