"""How far a group has come, until Kafka has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from redrive.complaints import Complaints
from redrive.consuming.refusals import REFUSALS
from redrive.consuming.taken import Place
from redrive.errors import RefusedByClusterError

_NOT_OURS_ANY_MORE = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._ASSIGNMENT_LOST,
}
_TOLD_WITHIN = 2.0  # seconds


class Commits:
    """What is done of each partition and not committed yet. Not for several threads.

    Args:
        consumer: the cluster's, whose answers it hears by `answered`.
        named: the cluster, for errors.
        complaints: logs what fails and is tried again.
        before_commit: called before offsets are committed, with ``wait`` as `commit` has it; if it raises, or returns
            False, they are not.
    """

    def __init__(
        self, consumer: Consumer, named: str, complaints: Complaints, before_commit: Callable[..., bool]
    ) -> None:
        self._consumer, self._named, self._complaints = consumer, named, complaints
        self._before_commit = before_commit
        self._done: dict[Place, int] = {}
        self._is_asked = False  # a commit that was not waited for is not answered yet
        self._refusal: KafkaError | None = None

    def reach(self, place: Place, offset: int) -> None:
        """Take note that all before an offset of a partition is done."""
        self._done[place] = offset

    def forget(self, place: Place) -> None:
        """Forget a partition, which others have now."""
        self._done.pop(place, None)

    def commit(self, *, wait: bool) -> None:
        """Commit what is done. If that fails, it is tried again with the next commit, or the messages come again.

        Args:
            wait: until the cluster has answered; one that is away takes many seconds for that. Else the answer is
                taken note of in a later `fetch`, and until then no other such request is sent.

        Raises:
            RefusedByClusterError: the group may not commit.
            Exception: what ``before_commit`` raises; nothing is committed then.
        """
        self._raise_refusal()  # of a commit that was not waited for
        if (wait or not self._is_asked) and self._may_commit(wait=wait):
            self.ask(self._done, wait=wait)
            self._raise_refusal()

    def commit_before_losing(self, *, settle: bool) -> None:
        """Commit what is done of partitions that are taken away as soon as this returns.

        Args:
            settle: wait for ``before_commit``.

        Raises: as `commit`.
        """
        if self._may_commit(wait=settle):
            self.ask(self._done, wait=True)
            self._raise_refusal()

    def ask(self, places: Mapping[Place, int], *, wait: bool) -> None:
        """Have the group's place in some partitions committed, whatever else is done."""
        offsets = [TopicPartition(*place, offset) for place, offset in places.items()]
        try:
            if wait:
                self._hear_of(None, self._consumer.commit(offsets=offsets, asynchronous=False) or [])
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
                self._is_asked = True
        except KafkaException as error:
            self._hear_of(error.args[0], [])

    def of_group(self, places: set[Place]) -> dict[Place, int]:
        """Return what the group has committed of partitions, below 0: nothing; not of those that it can't tell now."""
        try:
            answers = self._consumer.committed([TopicPartition(*place) for place in places], timeout=_TOLD_WITHIN)
        except KafkaException:
            return {}  # it is asked again
        return {(each.topic, each.partition): each.offset for each in answers if each.error is None}

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Hear, within a `fetch`, what became of a commit that was not waited for."""
        self._is_asked = False
        self._hear_of(error, partitions)

    def _may_commit(self, *, wait: bool) -> bool:
        return bool(self._done) and self._before_commit(wait=wait)

    def _hear_of(self, error: KafkaError | None, answers: list[TopicPartition]) -> None:
        """Hear what became of a commit; what has failed is tried again, unless its partition is taken away."""
        errors = [error] if error is not None else [each.error for each in answers if each.error is not None]
        for each in answers if error is None else ():
            place = each.topic, each.partition
            if each.error is None and self._done.get(place) == each.offset:  # else more has been done since
                del self._done[place]
        for cause in errors:
            if cause.code() in REFUSALS:
                self._refusal = cause
            elif cause.code() in _NOT_OURS_ANY_MORE:
                # If partitions are not ours any more, we hear of that. In the midst of a rebalance, they may still be.
                what = "the group may have gone on without this consumer; what it handled since comes again then"
                self._complaints.say(what, "%s: %s: %s", self._named, what, cause.str())
            else:
                what = "offsets are not committed yet"
                self._complaints.say(what, "%s: %s: %s", self._named, what, cause.str())

    def _raise_refusal(self) -> None:
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise RefusedByClusterError(self._named, "committing offsets", refusal.str())
