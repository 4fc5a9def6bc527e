"""How one member of a group goes over to other topics: what it asks, commits and begins to read, and when.

What there is to know and to decide is in `redrive.consuming.handover`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition

from redrive.aliases import Alias
from redrive.consuming.alias_watch import AliasWatch
from redrive.consuming.commits import Commits
from redrive.consuming.handover import HandOver
from redrive.consuming.putting_back import PutBack
from redrive.consuming.refusals import NO_TOPIC
from redrive.consuming.taken import Place
from redrive.errors import UnavailableError

log = logging.getLogger(__name__)

_HAND_OVER_EVERY = 0.3  # seconds between two looks whether a partition that waits for another may be begun
_TOLD_WITHIN = 2.0
_LOOK_HOLDS = 3.0  # seconds; after that nothing is committed by what was seen; see redrive/consuming/handover.py
_TELL_AFTER = 60.0  # seconds


class GoingOver:
    """One member's way to other topics and back. Not for several threads.

    Args:
        consumer: the cluster's.
        watch: hears of producers that have been switched.
        commits: how far the group is.
        put_back: what is to be read again.
        successors: topics that nothing is to be taken of before producers have been switched to them.
        named: the cluster, for logs.
        look_for_topics: has topics looked for that may have been made since; in vain, if they have not.

    Attributes:
        hand_over: what it knows of partitions that end, and others that begin.
    """

    def __init__(
        self,
        consumer: Consumer,
        watch: AliasWatch,
        commits: Commits,
        put_back: PutBack,
        *,
        successors: Iterable[str],
        named: str,
        look_for_topics: Callable[[], None],
    ) -> None:
        self.hand_over = HandOver(successors)
        self._consumer, self._watch, self._commits, self._put_back = consumer, watch, commits, put_back
        self._named, self._look_for_topics = named, look_for_topics
        self._owned: set[Place] = set()
        self._missing: set[str] = set()
        self._look_due = 0.0
        self._waiting_since: dict[Place, float] = {}

    def go_on(self) -> bool:
        """Do what is due; False: it is not known yet which topics there are to be read."""
        try:
            news = self._watch.news()
        except UnavailableError as error:
            log.warning("%s: what its topics stand for is not known: %s", self._named, error)
            return self._watch.is_ready
        if not self._watch.is_ready:
            return False
        for alias in news:
            self._learn(alias)
        for place, end in self.hand_over.ended().items():
            self._commits.reach(place, end)
        if time.monotonic() >= self._look_due:
            began = time.monotonic()
            self._look()
            # A cluster that is away is not asked all the time: other clusters' events wait meanwhile.
            self._look_due = time.monotonic() + max(_HAND_OVER_EVERY, 10 * (time.monotonic() - began))
        return True

    def own(self, partitions: Iterable[TopicPartition]) -> None:
        """Hear of partitions that are ours now; those that may not be begun yet are paused."""
        places = {(each.topic, each.partition) for each in partitions}
        self._owned |= places
        waiting = [TopicPartition(*place) for place in places if self.hand_over.must_wait(place)]
        if waiting:
            self._consumer.pause(waiting)

    def disown(self, place: Place) -> None:
        """Hear that a partition is not ours any more."""
        self._owned.discard(place)

    def may_be_missing(self, topic: str) -> bool:
        """Hear that a topic does not exist; say whether it was left and deleted since, or is not made yet."""
        if topic not in self.hand_over.optional:
            return False
        self._missing.add(topic)
        return True

    def close(self) -> None:
        """Give up the connection."""
        self._watch.close()

    def _learn(self, alias: Alias) -> None:
        waiting = self.hand_over.learn(alias)
        log.info("%s: the group goes over from %s to %s", self._named, alias.left, alias.current)
        for place in self._owned & waiting:
            with suppress(KafkaException):
                self._consumer.pause([TopicPartition(*place)])
        if alias.target in self._missing:  # it has been made since; this has it looked for now
            self._missing.discard(alias.target)
            self._look_for_topics()

    def _look(self) -> None:
        """Look where the group is, and begin what may be begun by that."""
        began = time.monotonic()
        for place, begin in self.hand_over.beginning(self._owned, self._commits.of_group, self._is_gone).items():
            self._begin(place, begin)
        claims = {at: to for at, to in self.hand_over.claims().items() if at[0] not in self._watch.being_left}
        if claims and time.monotonic() - began < _LOOK_HOLDS:
            self._commits.ask(claims, wait=True)  # at once: nothing that is still in hand is before them
        self._tell_of_waiting()

    def _begin(self, place: Place, begin: int) -> None:
        """Begin to read a partition that has waited for another."""
        try:
            if begin >= 0:
                self._consumer.seek(TopicPartition(*place, begin))
            self._consumer.resume([TopicPartition(*place)])
        except KafkaException:
            return  # its assignment is not settled yet; it is tried again
        self.hand_over.begun(place, begin)
        if begin >= 0:
            self._put_back.forget(place)
            self._commits.reach(place, begin)  # so that the whole group knows

    def _is_gone(self, topic: str) -> bool:
        if topic not in self._missing:
            return False
        try:
            found = self._consumer.list_topics(topic, timeout=_TOLD_WITHIN).topics[topic].error
        except KafkaException:
            return False  # it is asked again
        return found is not None and found.code() in NO_TOPIC

    def _tell_of_waiting(self) -> None:
        """Log once of each partition that waits for long: whoever gets nothing should know what for."""
        now = time.monotonic()
        waits = {place: each for place in self._owned if (each := self.hand_over.waits_for(place))}
        self._waiting_since = {place: self._waiting_since.get(place, now) for place in waits}
        for place, (left, end) in waits.items():
            if self._waiting_since[place] + _TELL_AFTER < now:
                self._waiting_since[place] = float("inf")
                what_for = f"the group first has to consume that of {left[0]} up to {end}"
                if place[0] in self._watch.being_left:
                    what_for = f"producers are being taken back to {left[0]}; if that was cut off, it has to be ended"
                log.warning("%s: partition %d of %s is not read yet: %s", self._named, place[1], place[0], what_for)
