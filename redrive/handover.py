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

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, Message, TopicPartition

from redrive.aliases.alias import Alias, OddAliasError, alias_of, read_aliases
from redrive.errors import UnknownTopicError
from redrive.pump.names import ALIASES_TOPIC
from redrive.pump.readback import ClientConfig, partition_count, reader

Place = tuple[str, int]
"""A topic and a partition."""

IsGone = Callable[[str], bool]
"""Says whether a topic that may be missing is known not to exist any more."""

Committed = Callable[[set[Place]], Mapping[Place, int]]
"""Says what the group has committed of some partitions, below 0: nothing; those that it can't tell now are left out."""

log = logging.getLogger(__name__)

_LOOK_AGAIN = 5.0
_SURE_AFTER = 2.0
"""Seconds between the two looks after which it is sure that a group has no place in the topic that is left."""
_NEVER = 2**63 - 1


class AliasWatch:
    """Follows the aliases of some names. For one thread; what may take long is done in another.

    Args:
        client_config: the cluster.
        successors: name → the topic that its readers are ready for.

    Attributes:
        is_ready: it is known what the names stand for.
        being_left: the successors that producers are being taken back from, while it is not known yet where consumers
            go over. A group that has not begun with one by then must not: it may be found to stay where it is.
    """

    def __init__(self, client_config: ClientConfig, successors: Mapping[str, str]) -> None:
        self._client, self._successors = client_config, successors
        self._consumer: Consumer | None = None
        self._known: dict[str, Alias] = {}
        self._newest: dict[str, Alias] = {}
        self._pool = ThreadPoolExecutor(1, "aliases") if successors else None
        self._looking: Future[dict[str, Alias] | None] | None = None
        self._due = 0.0
        self.is_ready = not successors
        self.being_left: set[str] = set()

    def news(self) -> list[Alias]:
        """Return what has become known since the last time: at first, all there is.

        Raises:
            UnavailableError: the cluster does not answer, or it is not known yet what one of the names stands for,
                since its record can't be read. It is asked again.
        """
        if self._pool is None:
            return []
        found: list[Alias] = []
        if self._consumer is not None:
            for message in self._consumer.consume(100, 0):
                if message.error() is None and message.value():
                    found += self._read(message)
        elif self._looking is None:
            if time.monotonic() >= self._due:
                self._looking = self._pool.submit(self._look)
        elif self._looking.done():
            looked, self._looking, self._due = self._looking, None, time.monotonic() + _LOOK_AGAIN
            aliases = looked.result()
            self.is_ready = True
            if aliases is not None:
                found += aliases.values()
                self._consumer = reader(self._client)
                self._consumer.assign([TopicPartition(ALIASES_TOPIC, 0, 0)])
        for alias in found:
            self._hear(alias)
        return [followed for alias in found if self._is_new(followed := alias.followed)]

    def close(self) -> None:
        """Give up the connection."""
        if self._consumer is not None:
            self._consumer.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def _look(self) -> dict[str, Alias] | None:
        try:
            partition_count(self._client, ALIASES_TOPIC, settle=0)
        except UnknownTopicError:
            return None  # nobody has ever switched anything here
        aliases = read_aliases(self._client)
        # Who does not know where the group is must not go on with the topic that it may have left.
        return {name: alias for name in self._successors if (alias := aliases.of(name)) is not None}

    @staticmethod
    def _read(message: Message) -> list[Alias]:
        try:
            return [alias_of(message)]
        except OddAliasError as error:  # what was known before holds
            log.warning("%s; it is left out", error)
            return []

    def _hear(self, alias: Alias) -> None:
        """Take note of the newest alias, whether or not consumers can go by it yet."""
        successor, newest = self._successors.get(alias.name), self._newest.get(alias.name)
        if successor is None or (newest is not None and _age(alias) < _age(newest)):
            return
        self._newest[alias.name] = alias
        if alias.target == successor and alias.current == alias.name and not (alias.places or alias.unmoved):
            self.being_left.add(successor)
        else:
            self.being_left.discard(successor)

    def _is_new(self, alias: Alias) -> bool:
        if self._successors.get(alias.name) != alias.target or not alias.places:
            return False
        known = self._known.get(alias.name)
        if known is not None and alias.generation <= known.generation:
            return False
        self._known[alias.name] = alias
        # One that leads where the group has been led already is no news: a switch that was taken back before any
        # consumer followed it.
        return known is None or (alias.current, alias.places) != (known.current, known.places)


def _age(alias: Alias) -> tuple[int, bool]:
    """Order the records of a name: each generation is written without places first."""
    return alias.generation, bool(alias.places)


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
        """Return the own partitions that may be begun now, and where.

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
                found[place] = max(here, self._done.get(place, -1) + 1) if here >= 0 else OFFSET_BEGINNING
            elif before >= each.end:
                self._claims[place] = each.at
            elif is_over and here < 0:  # a new group: all that there is, is here
                found[place] = OFFSET_BEGINNING
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
        self._forget(place)
        self._from[place] = at

    def _forget(self, place: Place) -> None:
        for known in (self._reached, self._in_hand, self._done, self._from, self._absent_since):
            known.pop(place, None)
        self._ended.discard(place)
