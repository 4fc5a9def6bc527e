"""How a consumer group goes over from one topic to another by itself, while it consumes.

Once producers have been switched (`redrive.aliases`), the alias says for each partition where the topic that they left
ends for consumers, and where they go on in the other one: what is before the one place is before the other, and all the
rest is behind it. Each member has both topics from the beginning on. Who has a partition of the old topic handles what
is before its end, and commits that end. Who has the partition of the same number of the new one waits until the group
has committed it, commits the other place, and begins there. So no event is handled in both topics, and those of a key
are in order, whichever members have the two partitions, join, leave or die in between: all that they have to know of
each other is committed.

When producers are taken back, a group without a place in the topic that they leave stays where it is. So nobody may
commit such a place any more when others have seen that there is none. The alias is written twice: from the first time
on, members commit no such place; the second time, which says where consumers go over, comes seconds later, when what
was being committed has arrived (`redrive.aliases.route.nothing_under_way_after`). A member that slept between its look
and its commit looks again. And one that finds no such place looks once more a little later before the group stays: if
the group's coordinator stood still, all that had been sent to it arrives at once, in any order. What is left: a commit
that was under way for longer than those seconds anywhere else, such as in a network that was cut.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import OFFSET_INVALID

from redrive.aliases.alias import Alias
from redrive.consuming.taken import Place

IsGone = Callable[[str], bool]
"""Says whether a topic that may be missing is known not to exist any more."""

Committed = Callable[[set[Place]], Mapping[Place, int]]
"""Says what the group has committed of some partitions, below 0: nothing; those that it can't tell now are left out."""

_SURE_AFTER = 2.0
"""Seconds between the two looks after which it is sure that a group has no place in the topic that is left."""
_NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Beginning:
    """When and where a partition is begun.

    Attributes:
        left: the one that must be done before.
        end: where that one ends.
        at: where this one is begun then.
        may_stay: the group may never have gone to that other one; then it goes on with this one as if nothing were.
    """

    left: Place
    end: int
    at: int
    may_stay: bool = False


class HandOver:
    """What one member of a group knows of partitions that end and others that begin. For one thread.

    Args:
        successors: topics that nothing is to be taken of before an alias says so.

    Attributes:
        optional: topics that may be missing.
    """

    def __init__(self, successors: Iterable[str] = ()) -> None:
        self._closed = set(successors)
        self.optional: set[str] = set(self._closed)
        self._ends: dict[Place, int] = {}
        self._beginnings: dict[Place, _Beginning] = {}
        self._waiting: set[Place] = set()
        self._from: dict[Place, int] = {}
        self._reached: dict[Place, int] = {}
        self._in_hand: dict[Place, deque[int]] = {}
        self._done: dict[Place, int] = {}
        self._claims: dict[Place, int] = {}
        self._absent_since: dict[Place, float] = {}
        self._ended: set[Place] = set()

    def learn(self, alias: Alias) -> set[Place]:
        """Take note of an alias; return the partitions that have to wait."""
        self.optional = (self.optional - {alias.current}) | {alias.left}
        self._closed.discard(alias.target)
        back = alias.current == alias.name
        for partition, (end, begin) in alias.places.items():
            left, now = (alias.left, partition), (alias.current, partition)
            self._ends.pop(now, None)
            self._ends[left] = end
            self._beginnings.pop(left, None)
            if left in self._waiting:  # it was to be come back to, and never was: so it goes on where the group is
                self._beginnings[left] = _Beginning(now, _NEVER, OFFSET_INVALID)
            self._beginnings[now] = _Beginning(left, end, begin, may_stay=back)
            if back:  # a group that has never gone to the topic that is left must not begin with it now
                self._beginnings[left] = _Beginning(now, _NEVER, 0)
            self._ended -= {left, now}
        self._waiting = set(self._beginnings)
        self._absent_since.clear()
        return set(self._waiting)

    def must_wait(self, place: Place) -> bool:
        """Say whether a partition may not be begun yet."""
        return place in self._waiting or place[0] in self._closed

    def takes(self, place: Place, offset: int) -> bool:
        """Say whether a message that has come is to be handled; else it belongs to what comes behind a partition's end.

        Called for each message of an own partition, in order.
        """
        if self.must_wait(place) or offset < self._from.get(place, 0):
            return False
        if offset >= self._ends.get(place, _NEVER):
            self._reached[place] = offset
            return False
        self._in_hand.setdefault(place, deque()).append(offset)
        return True

    def at_end(self, place: Place, offset: int) -> None:
        """Hear that all before an offset has come."""
        self._reached[place] = offset

    def put_back(self, place: Place, offset: int) -> None:
        """Hear that a message, and all behind it, is read again; or what is there in its place by then."""
        self._reached.pop(place, None)
        in_hand = self._in_hand.get(place, ())
        while in_hand and in_hand[-1] >= offset:
            in_hand.pop()

    def done(self, place: Place, offset: int) -> None:
        """Hear that a message has been handled, and all before it."""
        self._done[place] = offset
        in_hand = self._in_hand.get(place, ())
        while in_hand and in_hand[0] <= offset:
            in_hand.popleft()

    def lost(self, place: Place) -> None:
        """Hear that a partition is not ours any more, or not for now."""
        self._forget(place)
        if place in self._beginnings:
            self._waiting.add(place)

    def ended(self) -> dict[Place, int]:
        """Return the ends of partitions that have come to them, with all before handled; each once."""
        found = {}
        for place, end in self._ends.items():
            if place not in self._ended and self._reached.get(place, -1) >= end and not self._in_hand.get(place):
                found[place] = end
        self._ended |= found.keys()
        return found

    def waits_for(self, place: Place) -> tuple[Place, int] | None:
        """Say which partition has to be consumed up to where before another is begun; None: it waits for none."""
        each = self._beginnings.get(place)
        return (each.left, each.end) if each is not None and place in self._waiting and each.end < _NEVER else None

    def beginning(
        self, owned: set[Place], committed_at: Committed, is_gone: IsGone = lambda _: False
    ) -> dict[Place, int]:
        """Return the own partitions that may be begun now, and where; below 0: where the client has begun them.

        That is for a group that has no place yet: ``auto.offset.reset`` says where it begins.

        Args:
            owned: the own ones.
            committed_at: asks what the group has committed; only asked if some wait.
            is_gone: asked of the topic that was left, if the group has no place there, or none can be told.
        """
        self._claims = {}
        waiting = {place: self._beginnings[place] for place in owned & self._waiting}
        if not waiting:
            return {}
        committed = committed_at({*waiting, *(each.left for each in waiting.values())})
        found: dict[Place, int] = {}
        for place, each in waiting.items():
            here, before = committed.get(place), committed.get(each.left)
            is_over = (before is None or before < 0) and is_gone(each.left[0])
            before = -1 if is_over else before
            if here is None or before is None:
                self._absent_since.pop(place, None)
                continue
            stays = each.may_stay and self._is_sure(place, absent=before < 0)
            if here >= each.at or stays:
                # What was handled here and is not committed yet is not read again.
                found[place] = max(here, self._done.get(place, -1) + 1) if here >= 0 else OFFSET_INVALID
            elif before >= each.end:
                self._claims[place] = each.at
            elif is_over and here < 0:  # a new group: all that there is, is here
                found[place] = OFFSET_INVALID
        return found

    def _is_sure(self, place: Place, *, absent: bool) -> bool:
        """Hear whether the group has no place in the topic that a partition waits for; say whether that is sure."""
        if not absent:
            self._absent_since.pop(place, None)
            return False
        now = time.monotonic()
        since = self._absent_since.get(place)
        if since is None:
            self._absent_since[place] = now
        return since is not None and now - since >= _SURE_AFTER

    def claims(self) -> dict[Place, int]:
        """Return what is to be committed before more partitions may be begun, as of the last look at `beginning`.

        Until then, nobody else could tell that the group has come there: after a switch back, the other topic would be
        read on as if it had not.
        """
        return self._claims

    def begun(self, place: Place, at: int) -> None:
        """Hear that a partition is being read from a place on; what else may come of it belongs to what is before."""
        self._waiting.discard(place)
        self._absent_since.pop(place, None)
        if at >= 0:  # else it goes on as if nothing were
            self._forget(place)
            self._from[place] = at

    def _forget(self, place: Place) -> None:
        for known in (self._reached, self._in_hand, self._done, self._from, self._absent_since):
            known.pop(place, None)
        self._ended.discard(place)
