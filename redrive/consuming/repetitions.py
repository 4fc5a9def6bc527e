"""Which events have been handled already."""

from __future__ import annotations

from collections import OrderedDict

from redrive.received import ReceivedEvent

Identity = tuple[str, str, str]
"""What two copies of an event have in common, and no other event has."""


class Window(OrderedDict[Identity, None]):
    """The identities of the events that were handled last.

    Args:
        size: how many there are at most; with 0, there are none.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def add(self, identity: Identity) -> None:
        """Take note that an event has been handled."""
        self[identity] = None
        if len(self) > self._size:
            self.popitem(last=False)


def identity(event: ReceivedEvent) -> Identity:
    """Return what two copies of an event have in common, and no other event has.

    The id of one whose envelope names none is its place, which is one on each cluster, for as long as the topic is not
    deleted and made anew: so its time counts, too.
    """
    if event.source:
        return event.topic, event.source, event.id
    at = event.timestamp if event.id == f"{event.topic}/{event.partition}/{event.offset}" else ""
    return event.topic, f"cluster {event.cluster} {at}", event.id
