"""What one Kafka cluster sends to a consumer group: fetched, put back, committed.

Whoever takes messages from an intake ends each of them by `Intake.done` or puts it back by `Intake.hold`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, KafkaError, Message, TopicPartition

from redrive.complaints import Complaints
from redrive.consuming.alias_watch import AliasWatch
from redrive.consuming.commits import Commits
from redrive.consuming.going_over import GoingOver
from redrive.consuming.putting_back import PutBack
from redrive.consuming.refusals import NO_TOPIC, REFUSALS
from redrive.consuming.successors import see_that_it_can_follow
from redrive.consuming.taken import Place, Taken, place_of
from redrive.errors import RedriveError, RefusedByClusterError, UnknownTopicError

log = logging.getLogger(__name__)

_CONFIG = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
}
_FROM_THE_BEGINNING = {"earliest", "smallest", "beginning"}
"""What ``auto.offset.reset`` says if a new group is to read all there is."""


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
            `redrive.consuming.handover`.

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
            see_that_it_can_follow(client_config)
        # Successors from the beginning on: if they came with the switch, so would a rebalance of the whole group.
        self._topics = [*topics, *(successors or {}).values()]
        self._named = f"cluster {cluster} ({client_config.get('bootstrap.servers')})"
        self._alone = alone
        self.losses = 0
        self._losses: dict[Place, int] = {}
        self._shut_out = ""
        self._complaints = Complaints(log, logging.WARNING)
        milliseconds = int(max_poll_interval * 1000)
        config: dict[str, Any] = _CONFIG | {"group.id": group, "max.poll.interval.ms": milliseconds}
        config |= {"on_commit": self._answered, "error_cb": self._hear}
        config["session.timeout.ms"] = min(45_000, milliseconds)
        config["enable.partition.eof"] = bool(successors)
        config |= dict(client_config)
        self._reads_all = str(config["auto.offset.reset"]).lower() in _FROM_THE_BEGINNING
        self._consumer = Consumer(config, logger=log)
        self._commits = Commits(self._consumer, self._named, self._complaints, before_commit)
        self._put_back = PutBack(self._consumer, self._commits.of_group)
        self._going_over: GoingOver | None = None
        if successors:
            self._going_over = GoingOver(
                self._consumer,
                AliasWatch(client_config, successors),
                self._commits,
                self._put_back,
                successors=successors.values(),
                named=self._named,
                look_for_topics=self._subscribe,
            )
        self._subscribe()

    def fetch(self, limit: int, wait: float) -> list[Taken]:
        """Take messages, in the order of each partition: as soon as there are any; none after ``wait`` seconds.

        Raises:
            RefusedByClusterError: the group may not read, or its password is wrong.
            UnknownTopicError: a topic does not exist.
        """
        for place in self._put_back.let_go(self._must_wait):
            self._lose(place)
        if self._going_over is not None and not self._going_over.go_on():
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
            more = self._still_ours(more, losses, taken)
        self._take(more, taken)
        return taken

    def hold(self, taken: Taken, delay: float, *, failed: bool) -> None:
        """Put a message back, and so all that comes after it in its partition, for ``delay`` seconds."""
        held = self._put_back.hold(taken.place, taken.offset, delay, failed=failed)
        self._has_put_back(taken.place, taken.offset, held=held)

    def put_back(self, taken: Taken) -> None:
        """Put back a message that is not to be handled now, unless it comes again anyway, here or elsewhere."""
        if not self.is_dropped(taken):
            self.hold(taken, 0, failed=False)

    def pauses(self, taken: Taken) -> int:
        """Return how often this message has been put back."""
        return self._put_back.pauses(taken.place, taken.offset)

    def failures(self, taken: Taken) -> int:
        """Return how often this message has been put back because it failed."""
        return self._put_back.failures(taken.place, taken.offset)

    def is_dropped(self, taken: Taken) -> bool:
        """Say whether a message in hand is not to be handled now: others own its partition, or it will come again."""
        if self._losses.get(taken.place, 0) != taken.losses:
            return True
        return bool(self._put_back.held) and self._put_back.has(taken.place, taken.offset)

    def is_ours(self, taken: Taken) -> bool:
        """Say whether a message's partition was ours all the time since it was fetched; else others handle it."""
        return self._losses.get(taken.place, 0) == taken.losses

    def done(self, taken: Taken) -> None:
        """Take note that a message, and all before it in its partition, need not be read again."""
        self._commits.reach(taken.place, taken.offset + 1)
        if self._put_back.held:
            self._put_back.done(taken.place, taken.offset)
        if self._going_over is not None:
            self._going_over.hand_over.done(taken.place, taken.offset)

    def commit(self, *, wait: bool = True) -> None:
        """Commit what is done; see `Commits.commit`."""
        self._commits.commit(wait=wait)

    def close(self) -> None:
        """Commit what is done and leave the group."""
        self._consumer.close()
        if self._going_over is not None:
            self._going_over.close()

    # -- messages ------------------------------------------------------------------------------------------------------

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

    def _taken(self, message: Message) -> Taken | None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._at_end(message)
            else:
                self._judge(message, error)
            return None
        place, offset = place_of(message), message.offset() or 0
        if self._put_back.held and not self._put_back.takes(place, offset):
            return None
        if self._going_over is not None and not self._going_over.hand_over.takes(place, offset):
            return None
        return Taken(self, message, place, offset, self._losses.get(place, 0))

    def _at_end(self, message: Message) -> None:
        place, offset = place_of(message), message.offset() or 0
        if self._put_back.at_end(place, offset) and self._going_over is not None:
            self._going_over.hand_over.at_end(place, offset)

    def _still_ours(self, messages: list[Message], losses: Mapping[Place, int], before: list[Taken]) -> list[Message]:
        """Leave out what may have been fetched before its partition was taken away, within the same call.

        A partition may even have come back within that call. There is no telling then which of its messages are of
        before, and so it is read again from where the group is.
        """
        ours: list[Message] = []
        lost: set[Place] = set()
        lowest = {taken.place: taken.offset for taken in before}
        for message in messages:
            place, offset = place_of(message), message.offset() or 0
            if self._losses.get(place, 0) == losses.get(place, 0):
                ours.append(message)
            else:
                lost.add(place)
                lowest[place] = min(offset, lowest.get(place, offset))
        owned = {(each.topic, each.partition) for each in self._consumer.assignment()} if lost else set()
        for place in lost & owned:
            # A group that is nowhere yet has begun here by its settings; it goes on with what has come since then.
            first = OFFSET_BEGINNING if self._reads_all else lowest[place]
            self._has_put_back(place, OFFSET_INVALID, held=self._put_back.read_again(place, otherwise=first))
        return ours

    def _has_put_back(self, place: Place, offset: int, *, held: bool) -> None:
        if not held:  # it has been taken away; the next owner starts from what is committed
            self._lose(place)
        elif self._going_over is not None:
            self._going_over.hand_over.put_back(place, offset)

    # -- partitions ----------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        heard: dict[str, Any] = {"on_revoke": self._revoked, "on_lost": self._gone}
        if self._going_over is not None:  # else librdkafka assigns by itself, by whichever assignor the settings name
            heard["on_assign"] = self._assigned
        self._consumer.subscribe(self._topics, **heard)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        assert self._going_over is not None
        consumer.incremental_assign(partitions)
        self._going_over.own(partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._commits.commit_before_losing(settle=self._alone)
        except Exception as error:
            log.warning("%s: what is done is not committed and will come again: %s", self._named, error)
        finally:  # also after Ctrl-C: who goes on must not take them for ours
            self._gone(consumer, partitions)

    def _gone(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            place = partition.topic, partition.partition
            self._lose(place)
            if self._going_over is not None:
                self._going_over.disown(place)

    def _must_wait(self, place: Place) -> bool:
        return self._going_over is not None and self._going_over.hand_over.must_wait(place)

    def _lose(self, place: Place) -> None:
        self.losses += 1
        self._losses[place] = self._losses.get(place, 0) + 1
        self._commits.forget(place)
        self._put_back.forget(place)
        if self._going_over is not None:
            self._going_over.hand_over.lost(place)

    # -- what the client tells -----------------------------------------------------------------------------------------

    def _answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._commits.answered(error, partitions)

    def _hear(self, error: KafkaError) -> None:
        """Hear what is about no message: librdkafka tells of a wrong password in no other way, and goes on trying."""
        if error.code() == KafkaError._AUTHENTICATION:
            self._shut_out = error.str()
        else:
            self._complaints.say("client", "%s: the client goes on by itself: %s", self._named, error.str())

    def _judge(self, message: Message, error: KafkaError) -> None:
        topic = message.topic() or ""
        if error.code() in NO_TOPIC:
            if self._going_over is not None and self._going_over.may_be_missing(topic):
                return
            raise UnknownTopicError(topic, self._named)
        if error.code() in REFUSALS or error.fatal():
            raise RefusedByClusterError(self._named, f"reading {topic or 'its topics'}", error.str())
        self._complaints.say("reading", "%s: reading goes on by itself: %s", self._named, error.str())
