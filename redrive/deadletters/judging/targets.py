"""Where corrected events go: the main topics of a batch, and how values of each are encoded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from redrive.coding import Writer
from redrive.events import Event
from redrive.pump.model import Rejected, Skipped

if TYPE_CHECKING:  # judging in other processes needs it for switched names only, and it is slow to import
    from redrive.aliases.alias import Alias
    from redrive.aliases.destination import Moved

Targets = dict[str, Writer | str]
"""Main topic → what encodes its values, or, as a code, why nothing can be published to it."""


class MovedWriter(Writer):
    """Encodes values of a main topic whose producers were switched: events then go to another one, as theirs do.

    A letter is put right as an event of its own topic, since it was written as one; what comes out goes the way that a
    producer's event goes.

    Args:
        writer: encodes values of the main topic.
        alias: what the topic's name stands for.
        moved: takes events there.

    Attributes:
        alias: the same.
    """

    def __init__(self, writer: Writer, alias: Alias, moved: Moved) -> None:
        super().__init__(writer.topic, writer.schema_id, writer.version, writer.schema)
        self.alias, self._moved = alias, moved
        self._moving = threading.Lock()

    def move(self, event: Event) -> Event | Rejected | Skipped:
        """Say what becomes of an event of the main topic where events go now. Safe for threads.

        Raises:
            UnavailableError: its schema has to be asked for, and the registry does not answer.
        """
        with self._moving:
            return self._moved.migrate(event)


def goes_to(target: Writer) -> str:
    """Say which topic events of a main topic are published to."""
    return target.alias.current if isinstance(target, MovedWriter) else target.topic


NO_TOPIC = "no-main-topic"
OTHER_CLUSTER = "other-cluster"
TOPIC_GONE = "main-topic-gone"
NO_SCHEMA = "no-schema"
MOVING = "moving"
MOVED_BACK = "moved-back"
NO_MIGRATION = "no-migration"
ODD_ALIAS = "odd-alias"
NO_CLUSTER = "no-cluster"
NO_ANSWER = "no-answer"

REASONS = {
    NO_TOPIC: "the letter does not say which topic it is for, or the settings do not have that topic: put it into "
    "them; a letter that does not say it can only be discarded",
    OTHER_CLUSTER: "its main topic lives on another cluster",
    TOPIC_GONE: "its main topic does not exist on the cluster, nor does the one that its events go to by now",
    MOVING: "its main topic's producers are being switched to another topic, or were, and consumers can't follow yet; "
    "run that goal of schema-backfill to its end, and correct it then",
    MOVED_BACK: "producers were switched to its main topic, and are no longer there: they are back where they came "
    "from, or at a third topic. Consumers go with them, and what is published here is not brought there; correct it "
    "once they are switched here again, or have the event published anew by its producer, and discard the letter",
    NO_MIGRATION: "its main topic's producers were switched to another topic, and the rules that take events there "
    "can't be used here",
    ODD_ALIAS: "whether its main topic's producers were switched to another topic is not known: the record of that "
    "name in redrive.aliases can't be read",
    NO_CLUSTER: "the settings do not have the cluster on which it stands",
    NO_ANSWER: "the cluster on which it stands does not answer; a later correction takes it",
    NO_SCHEMA: "its main topic has no Avro schema in the registry",
}
