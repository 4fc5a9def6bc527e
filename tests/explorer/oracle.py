"""What must hold of every run: each acknowledged event once, in order; the lane open; nothing left behind."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from redrive.events import Event
from tests.explorer.parts import ViolationError


@dataclass(slots=True)
class _Published:
    producer: str
    key: str
    number: int
    before: frozenset[str]


class Oracle:
    """Hears what publishers see, and judges the log by it.

    Attributes:
        acknowledged: ids, in the order of their acknowledgements.
    """

    def __init__(self, *, across: bool = True) -> None:
        """Begin.

        Args:
            across: whether order between producers is promised.
        """
        self._across = across
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self._published: dict[str, _Published] = {}
        self._hash = 0

    def publish(self, event_id: str, producer: str, key: str) -> None:
        """Note that a publisher is about to publish an event."""
        before = frozenset(e for e in self.acknowledged if self._published[e].key == key)
        self._published[event_id] = _Published(producer, key, len(self._published), before)
        self._hash ^= hash((event_id, before))

    def acknowledge(self, event_id: str) -> None:
        """Note that a publisher has heard that its event is safe."""
        if event_id in self.acknowledged:
            raise ViolationError(f"{event_id} was acknowledged twice")
        self.acknowledged.append(event_id)

    def key(self) -> Hashable:
        """Return what a later verdict depends on."""
        return self._hash, frozenset(self.acknowledged)

    def judge(self, log: Sequence[Event]) -> None:
        """Raise a ViolationError if the log breaks a promise."""
        ids = [event.id for event in log]
        place = {event_id: i for i, event_id in enumerate(ids)}
        story = f"log {ids}, acknowledged {self.acknowledged}"
        if len(place) != len(ids):
            raise ViolationError(f"twice: {sorted({e for e in ids if ids.count(e) > 1})}; {story}")
        lost = [e for e in self.acknowledged if e not in place]
        if lost:
            raise ViolationError(f"lost: {lost}; {story}")
        mine: dict[tuple[str, str], str] = {}
        for event_id, published in self._published.items():
            if event_id not in place:
                continue
            older = mine.get((published.producer, published.key))
            if older is not None and place[older] > place[event_id]:
                raise ViolationError(f"order of {published.producer}: {event_id} before {older}; {story}")
            mine[published.producer, published.key] = event_id
            for other in published.before if self._across else ():
                if place[other] > place[event_id]:
                    raise ViolationError(
                        f"order: {event_id}, published after {other} was acknowledged, stands before it; {story}"
                    )
