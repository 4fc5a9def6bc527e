"""What one Kafka cluster sends to a consumer group: fetched, put back, committed.

Whoever takes messages from an intake ends each of them by `Intake.done` or puts it back by `Intake.hold`. Putting a
message back pauses its partition until the delay is over, while the others go on, and then reads it, and what comes
after it, again: so order is kept, memory stays bounded, and the group never waits for a poll.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from redrive.errors import ConfigError, RedriveError, RefusedByClusterError, UnavailableError, UnknownTopicError
from redrive.handover import AliasWatch, HandOver, Place

log = logging.getLogger(__name__)

_CONFIG = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
}
_FOLLOWING = {"enable.partition.eof": True, "partition.assignment.strategy": "cooperative-sticky"}
"""What going over to another topic can't do without."""
_HAND_OVER_EVERY = 0.3  # seconds between two looks whether a partition that waits for another may be begun
_COMMITTED_WITHIN = 2.0
_LOOK_HOLDS = 3.0  # seconds; after that nothing is committed by what was seen; see redrive/handover.py
_TELL_AFTER = 60.0  # seconds
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
_REFUSALS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_EXCEPTION,
}
_NOT_OURS_ANY_MORE = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._ASSIGNMENT_LOST,
}


@dataclass
class _Held:
    """A message put back.

    Attributes:
        offset: where reading goes on.
        pauses: how often it has been put back.
        failures: how often because it failed.
        due: when, by `time.monotonic`.
        paused: its partition waits for that time.
        expected: it has not come again yet.
    """

    offset: int
    pauses: int
    failures: int
    due: float
    paused: bool = True
    expected: bool = True


@dataclass(slots=True)
class Taken:
    """A message in hand.

    Attributes:
        intake: where it comes from.
        message: the message.
        place: its topic and partition.
        offset: its offset.
        losses: how often its partition had been taken away when it was fetched.
    """

    intake: Intake
    message: Message
    place: Place
    offset: int
    losses: int


def _place(message: Message) -> Place:
    return message.topic() or "", message.partition() or 0


def _see_that_it_can_follow(client_config: Mapping[str, Any]) -> None:
    for name, value in _FOLLOWING.items():
        if str(client_config.get(name, value)).lower() != str(value).lower():
            raise ConfigError(
                f"client.{name}",
                f"is {client_config[name]!r}, and a group that has successors needs {value!r}: leave it out",
            )


class Intake:
    """One cluster's consumer. Not for several threads.

    Args:
        cluster: the cluster's name, for errors.
        client_config: what confluent-kafka needs to connect.
        group: the consumer group.
        topics: what to read.
        max_poll_interval: seconds after which the group takes a consumer that does not fetch for dead.
        before_commit: called before offsets are committed, also when partitions are taken away, with ``wait`` as
            `commit` has it; if it raises, or returns False, they are not.
        alone: nobody else is kept waiting by what this one waits for. Else ``before_commit`` is not waited for when
            partitions are taken away: what it keeps from being committed then comes again.
        successors: topic → the one that is read after it once its producers have been switched to that; see
            `redrive.handover`.

    Attributes:
        losses: how many partitions have been taken away so far.

    Raises:
        ConfigError: there are successors, and the client's settings keep it from going over to them.
    """

    def __init__(
        self,
        cluster: str,
        client_config: Mapping[str, Any],
        group: str,
        topics: Iterable[str],
        *,
        max_poll_interval: float,
        before_commit: Callable[..., bool],
        alone: bool = True,
        successors: Mapping[str, str] | None = None,
    ) -> None:
        self.cluster = cluster
        if successors:
            _see_that_it_can_follow(client_config)
        # Successors from the beginning on: if they came with the switch, so would a rebalance of the whole group.
        after = (successors or {}).values()
        self._topics = [*topics, *after]
        self._watch = AliasWatch(client_config, successors or {})
        self._hand_over = HandOver(after)
        self._missing: set[str] = set()
        self._owned: set[Place] = set()
        self._begin_due = 0.0
        self._waiting_since: dict[Place, float] = {}
        self._named = f"cluster {cluster} ({client_config.get('bootstrap.servers')})"
        self._before_commit = before_commit
        self._alone = alone
        self.losses = 0
        self._losses: dict[Place, int] = {}
        self._done: dict[Place, int] = {}
        self._held: dict[Place, _Held] = {}
        self._is_asked = False  # a commit that was not waited for is not answered yet
        self._refusal: KafkaError | None = None
        self._complained = 0.0
        self._shut_out = ""
        milliseconds = int(max_poll_interval * 1000)
        config: dict[str, Any] = _CONFIG | {"group.id": group, "max.poll.interval.ms": milliseconds}
        config |= {"on_commit": self._answered, "error_cb": self._hear}
        config["session.timeout.ms"] = min(45_000, milliseconds)
        self._follows = config["enable.partition.eof"] = bool(successors)
        self._consumer = Consumer(config | dict(client_config), logger=log)
        self._subscribe()

    def fetch(self, limit: int, wait: float) -> list[Taken]:
        """Take messages, in the order of each partition: as soon as there are any; none after ``wait`` seconds.

        Raises:
            RefusedByClusterError: the group may not read, or its password is wrong.
            UnknownTopicError: a topic does not exist.
        """
        self._let_go()
        if not self._go_over():
            time.sleep(wait)
            return []
        first = self._consumer.poll(wait)
        if first is None:
            reason, self._shut_out = self._shut_out, ""  # as long as it is so, it is heard anew
            if reason:
                raise RefusedByClusterError(self._named, "letting this consumer in", reason)
            return []
        self._shut_out = ""
        taken: list[Taken] = []
        self._take([first], taken)  # now: the next call may hear that its partition is taken away
        losses = dict(self._losses)
        # A consume() with a timeout would wait for `limit` messages; without one it takes what has arrived.
        more = self._consumer.consume(limit - 1, 0) if limit > 1 else []
        if self._losses != losses:
            more = self._still_ours(more, losses)
        self._take(more, taken)
        return taken

    def _take(self, messages: list[Message], into: list[Taken]) -> None:
        trouble: RedriveError | None = None
        for message in messages:
            try:
                taken = self._taken(message)
            except RedriveError as error:
                trouble = trouble or error
            else:
                if taken is not None:
                    into.append(taken)
        if trouble is not None:  # who goes on all the same has not lost what came with it
            for taken in into:
                self.put_back(taken)
            raise trouble

    def _still_ours(self, messages: list[Message], losses: Mapping[Place, int]) -> list[Message]:
        """Leave out what may have been fetched before its partition was taken away, within the same call.

        A partition may even have come back within that call. There is no telling then which of its messages are of
        before, and so it is read again from where the group is.
        """
        ours: list[Message] = []
        again: dict[Place, int] = {}
        owned = {(each.topic, each.partition) for each in self._consumer.assignment()}
        for message in messages:
            place, offset = _place(message), message.offset() or 0
            if self._losses.get(place, 0) == losses.get(place, 0):
                ours.append(message)
            elif place in owned:
                again[place] = min(offset, again.get(place, offset))
        committed = self._committed(set(again)) if again else {}
        for place, first in again.items():
            at = committed.get(place, first)
            self._hold(place, OFFSET_BEGINNING if at < 0 else at, 0)
        return ours

    def hold(self, taken: Taken, delay: float, *, failed: bool) -> None:
        """Put a message back, and so all that comes after it in its partition, for ``delay`` seconds."""
        self._hold(taken.place, taken.offset, delay, self.pauses(taken) + 1, self.failures(taken) + failed)

    def _hold(self, place: Place, offset: int, delay: float, pauses: int = 0, failures: int = 0) -> None:
        try:
            self._consumer.pause([TopicPartition(*place)])
        except KafkaException:  # it has been taken away; the next owner starts from what is committed
            self._lose(place)
            return
        self._held[place] = _Held(offset, pauses, failures, time.monotonic() + delay)
        self._hand_over.put_back(place, offset)

    def put_back(self, taken: Taken) -> None:
        """Put back a message that is not to be handled now, unless it comes again anyway, here or elsewhere."""
        if not self.is_dropped(taken):
            self.hold(taken, 0, failed=False)

    def pauses(self, taken: Taken) -> int:
        """Return how often this message has been put back."""
        held = self._held.get(taken.place)
        return held.pauses if held and held.offset == taken.offset else 0

    def failures(self, taken: Taken) -> int:
        """Return how often this message has been put back because it failed."""
        held = self._held.get(taken.place)
        return held.failures if held and held.offset == taken.offset else 0

    def is_dropped(self, taken: Taken) -> bool:
        """Say whether a message in hand is not to be handled now: others own its partition, or it will come again."""
        held = self._held.get(taken.place)
        return (held is not None and held.expected and taken.offset >= held.offset) or not self.is_ours(taken)

    def is_ours(self, taken: Taken) -> bool:
        """Say whether a message's partition was ours all the time since it was fetched; else others handle it."""
        return self._losses.get(taken.place, 0) == taken.losses

    def done(self, taken: Taken) -> None:
        """Take note that a message, and all before it in its partition, need not be read again."""
        self._done[taken.place] = taken.offset + 1
        if self._follows:
            self._hand_over.done(taken.place, taken.offset)
        held = self._held.get(taken.place)
        if held is not None and held.offset <= taken.offset:
            del self._held[taken.place]

    def commit(self, *, wait: bool = True) -> None:
        """Commit what is done. If that fails, it is tried again with the next commit, or the messages come again.

        Args:
            wait: until the cluster has answered; one that is away takes many seconds for that. Else the answer is
                taken note of in a later `fetch`, and until then no other such request is sent.

        Raises:
            RefusedByClusterError: the group may not commit.
            Exception: what ``before_commit`` raises; nothing is committed then.
        """
        self._raise_refusal()  # of a commit that was not waited for
        if self._done and (wait or not self._is_asked) and self._before_commit(wait=wait):
            self._ask(self._done, wait=wait)
            self._raise_refusal()

    def _ask(self, places: Mapping[Place, int], *, wait: bool) -> None:
        offsets = [TopicPartition(*place, offset) for place, offset in places.items()]
        try:
            if wait:
                self._hear_of(None, self._consumer.commit(offsets=offsets, asynchronous=False) or [])
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
                self._is_asked = True
        except KafkaException as error:
            self._hear_of(error.args[0], [])

    def _answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Hear, within a `fetch`, what became of a commit that was not waited for."""
        self._is_asked = False
        self._hear_of(error, partitions)

    def _hear_of(self, error: KafkaError | None, answers: list[TopicPartition]) -> None:
        """Hear what became of a commit; what has failed is tried again, unless its partition is taken away."""
        errors = [error] if error is not None else [each.error for each in answers if each.error is not None]
        for each in answers if error is None else ():
            place = each.topic, each.partition
            if each.error is None and self._done.get(place) == each.offset:  # else more has been done since
                del self._done[place]
        for cause in errors:
            if cause.code() in _REFUSALS:
                self._refusal = cause
            elif cause.code() in _NOT_OURS_ANY_MORE:
                # If partitions are not ours any more, we hear of that. In the midst of a rebalance, they may still be.
                what = "the group may have gone on without this consumer; what it handled since comes again then"
                self._complain(what, cause)
            else:
                self._complain("offsets are not committed yet", cause)

    def _raise_refusal(self) -> None:
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise RefusedByClusterError(self._named, "committing offsets", refusal.str())

    def close(self) -> None:
        """Commit what is done and leave the group."""
        self._consumer.close()
        self._watch.close()

    def _subscribe(self) -> None:
        heard: dict[str, Any] = {"on_revoke": self._revoked, "on_lost": self._gone}
        if self._follows:  # else librdkafka assigns by itself, by whichever assignor the settings name
            heard["on_assign"] = self._assigned
        self._consumer.subscribe(self._topics, **heard)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self._owned |= {(partition.topic, partition.partition) for partition in partitions}
        waiting = [each for each in partitions if self._hand_over.must_wait((each.topic, each.partition))]
        if waiting:
            consumer.pause(waiting)

    def _go_over(self) -> bool:
        """Do what is due to go over to other topics; False: it is not known yet which topics there are to be read."""
        try:
            news = self._watch.news()
        except UnavailableError as error:
            log.warning("%s: what its topics stand for is not known: %s", self._named, error)
            return self._watch.is_ready
        if not self._watch.is_ready:
            return False
        for alias in news:
            waiting = self._hand_over.learn(alias)
            log.info("%s: the group goes over from %s to %s", self._named, alias.left, alias.current)
            for place in self._owned & waiting:
                with suppress(KafkaException):
                    self._consumer.pause([TopicPartition(*place)])
            if alias.target in self._missing:  # it has been made since; this has it looked for now
                self._missing.discard(alias.target)
                self._subscribe()
        self._done.update(self._hand_over.ended())
        if time.monotonic() >= self._begin_due:
            began = time.monotonic()
            for place, begin in self._hand_over.beginning(self._owned, self._committed, self._is_gone).items():
                self._begin(place, begin)
            claims = {at: to for at, to in self._hand_over.claims().items() if at[0] not in self._watch.being_left}
            if claims and time.monotonic() - began < _LOOK_HOLDS:
                self._ask(claims, wait=True)  # at once: nothing that is still in hand is before them
            self._tell_of_waiting()
            # A cluster that is away is not asked all the time: other clusters' events wait meanwhile.
            self._begin_due = time.monotonic() + max(_HAND_OVER_EVERY, 10 * (time.monotonic() - began))
        return True

    def _committed(self, places: set[Place]) -> dict[Place, int]:
        try:
            answers = self._consumer.committed([TopicPartition(*place) for place in places], timeout=_COMMITTED_WITHIN)
        except KafkaException:
            return {}  # it is asked again
        return {(each.topic, each.partition): each.offset for each in answers if each.error is None}

    def _is_gone(self, topic: str) -> bool:
        if topic not in self._missing:
            return False
        try:
            found = self._consumer.list_topics(topic, timeout=_COMMITTED_WITHIN).topics[topic].error
        except KafkaException:
            return False  # it is asked again
        return found is not None and found.code() in _NO_TOPIC

    def _tell_of_waiting(self) -> None:
        """Log once of each partition that waits for long: whoever gets nothing should know what for."""
        now = time.monotonic()
        waits = {place: each for place in self._owned if (each := self._hand_over.waits_for(place))}
        self._waiting_since = {place: self._waiting_since.get(place, now) for place in waits}
        for place, (left, end) in waits.items():
            if self._waiting_since[place] + _TELL_AFTER < now:
                self._waiting_since[place] = float("inf")
                what_for = f"the group first has to consume that of {left[0]} up to {end}"
                if place[0] in self._watch.being_left:
                    what_for = f"producers are being taken back to {left[0]}; if that was cut off, it has to be ended"
                log.warning("%s: partition %d of %s is not read yet: %s", self._named, place[1], place[0], what_for)

    def _begin(self, place: Place, begin: int) -> None:
        """Begin to read a partition that has waited for another."""
        try:
            self._consumer.seek(TopicPartition(*place, begin))
            self._consumer.resume([TopicPartition(*place)])
        except KafkaException:
            return  # its assignment is not settled yet; it is tried again
        self._held.pop(place, None)
        self._hand_over.begun(place, begin)
        if begin >= 0:
            self._done[place] = begin  # so that the whole group knows

    def _at_end(self, message: Message) -> None:
        place, offset = _place(message), message.offset() or 0
        held = self._held.get(place)
        if held is not None and held.expected:
            if held.paused or offset < held.offset:
                return
            del self._held[place]  # the message put back is gone, and so are all behind it
        self._hand_over.at_end(place, offset)

    def _taken(self, message: Message) -> Taken | None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._at_end(message)
            else:
                self._judge(message, error)
            return None
        place, offset = _place(message), message.offset() or 0
        held = self._held.get(place)
        if held is not None and held.expected:
            if held.paused:  # what was read before the pause is to be read again
                return None
            # The message put back may be gone by now, by retention or compaction; then the next one that is there comes
            # in its place: an earlier one, if the topic was deleted and made anew.
            held.expected = False
            if offset != held.offset:
                del self._held[place]
        if self._follows and not self._hand_over.takes(place, offset):
            return None
        return Taken(self, message, place, offset, self._losses.get(place, 0))

    def _hear(self, error: KafkaError) -> None:
        """Hear what is about no message: librdkafka tells of a wrong password in no other way, and goes on trying."""
        if error.code() == KafkaError._AUTHENTICATION:
            self._shut_out = error.str()
        else:
            self._complain("the client goes on by itself", error)

    def _judge(self, message: Message, error: KafkaError) -> None:
        if error.code() in _NO_TOPIC:
            if message.topic() in self._hand_over.optional:  # it was left and deleted since, or is not made yet
                self._missing.add(message.topic() or "")
                return
            raise UnknownTopicError(message.topic() or "", self._named)
        if error.code() in _REFUSALS or error.fatal():
            raise RefusedByClusterError(self._named, f"reading {message.topic() or 'its topics'}", error.str())
        self._complain("reading goes on by itself", error)

    def _let_go(self) -> None:
        """Read on where a delay is over."""
        now = time.monotonic()
        for place, held in list(self._held.items()):
            if held.paused and held.due <= now:
                try:
                    self._consumer.seek(TopicPartition(*place, held.offset))
                    self._consumer.resume([TopicPartition(*place)])
                    held.paused = False
                except KafkaException as error:
                    if error.args[0].code() in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
                        self._lose(place)  # it begins anew where the group is
                        with suppress(KafkaException):
                            self._consumer.resume([TopicPartition(*place)])
                    else:
                        held.due = now + 1

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            if self._done and self._before_commit(wait=self._alone):
                self._ask(self._done, wait=True)
                self._raise_refusal()
        except Exception as error:
            log.warning("%s: what is done is not committed and will come again: %s", self._named, error)
        finally:  # also after Ctrl-C: who goes on must not take them for ours
            self._gone(consumer, partitions)

    def _gone(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._owned.discard((partition.topic, partition.partition))
            held = self._lose((partition.topic, partition.partition))
            if held is not None and held.paused:
                with suppress(KafkaException):  # or it would still be paused when it comes back
                    consumer.resume([partition])

    def _lose(self, place: Place) -> _Held | None:
        self.losses += 1
        self._losses[place] = self._losses.get(place, 0) + 1
        self._hand_over.lost(place)
        self._done.pop(place, None)
        return self._held.pop(place, None)

    def _complain(self, what: str, error: KafkaError) -> None:
        """Log at most once in ten seconds: a cluster that is down would fill the disk."""
        if time.monotonic() > self._complained:
            self._complained = time.monotonic() + 10
            log.warning("%s: %s: %s", self._named, what, error.str())
