"""Where the events of a lane go in Kafka, and how a producer goes over from one topic to another.

A cut-over of producers (`redrive.aliases`) lets events that are published by the name of one topic go to another. No
event of a key may come to the new topic before all earlier ones can be read there. What earlier ones there are in the
old topic, a backfill brings; so the new topic must not get an event while an earlier one of its key may still be on its
way there. The standby protocol has all that is needed to wait for that, and nobody who publishes is kept waiting:

1. The cut-over sets the alias, and *diverts* all lanes of the name, as a producer does in an outage. Within a gate
   refresh every producer stores what comes; what it has in the old topic's hands it settles first, or takes back.
2. The replay of a lane waits until that is over, then until the old topic has been copied to its end, and publishes
   what is stored to the new topic. So all that went to the old topic is in the new one before it, and what producers
   publish directly comes after it, since the lane is still closed.
3. The entry that *opens* the lane names the new topic. It is the last entry of the lane's log, which every producer
   reads before it uses Kafka; so there is no time at which one goes by the old word and another by the new.

A producer that has slept through all of it has sent nothing since, or something that Kafka confirmed late. It finds its
lane open to another topic than it has used, settles what it has, and looks itself whether the old topic has been
copied; until then it stores. One that has never sent anything to the old topic has nothing to wait for.
"""

from __future__ import annotations

from typing import Protocol

from redrive.events import Event
from redrive.pump.model import Skipped


class Destination(Protocol):
    """A topic that the events of another one's name go to."""

    @property
    def topic(self) -> str:
        """The topic."""
        ...

    def convert(self, event: Event) -> bytes | Skipped | None:
        """Return the value that an event has there, or that it is left out there. Called under the dispatcher's lock.

        Raises:
            InvalidEventError: it can't have any.
        """
        ...


class Destinations(Protocol):
    """Knows other topics that the events of a name may go to. Called without the dispatcher's lock, from any thread."""

    def find(self, name: str, topic: str) -> Destination:
        """Return how the events of a name go to a topic.

        Raises:
            RedriveError: that can't be found out now, or not used.
        """
        ...

    def current(self, name: str) -> Destination | None:
        """Return where the events of a name go by the alias alone, for who can't read lanes; None: to its own topic.

        Raises:
            RedriveError: as `find`.
        """
        ...

    def is_copied(self, name: str, before: str, now: str) -> bool:
        """Tell whether all that is in one of a name's topics is in the other one, too.

        Raises:
            RedriveError: the cluster does not answer.
        """
        ...
