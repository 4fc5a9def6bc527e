"""Messages that are to be read again.

Putting a message back pauses its partition until the delay is over, while the others go on, and then reads it, and what
comes after it, again: so order is kept, memory stays bounded, and the group never waits for a poll.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from redrive.consuming.taken import Place

_TAKEN_AWAY = (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION)


@dataclass(slots=True)
class Held:
    """A message put back.

    Attributes:
        offset: where reading goes on; `OFFSET_INVALID`: where the group is.
        pauses: how often it has been put back.
        failures: how often because it failed.
        due: when, by `time.monotonic`.
        paused: its partition waits for that time.
        expected: it has not come again yet.
        otherwise: where reading goes on if that is where the group is, and it is nowhere yet.
    """

    offset: int
    pauses: int
    failures: int
    due: float
    paused: bool = True
    expected: bool = True
    otherwise: int = OFFSET_INVALID


class PutBack:
    """The messages of one cluster that are put back: of each partition the first one. Not for several threads.

    Args:
        consumer: the cluster's.
        of_group: says what the group has committed; see `Commits.of_group`.

    Attributes:
        held: what is put back. While that is nothing, as nearly always, nobody needs to ask about a message.
    """

    def __init__(self, consumer: Consumer, of_group: Callable[[set[Place]], Mapping[Place, int]]) -> None:
        self._consumer, self._of_group = consumer, of_group
        self.held: dict[Place, Held] = {}

    def hold(self, place: Place, offset: int, delay: float, *, failed: bool) -> bool:
        """Put a message back, and so all behind it in its partition, for ``delay`` seconds.

        Returns:
            False: its partition has been taken away.
        """
        pauses, failures = self.pauses(place, offset) + 1, self.failures(place, offset) + failed
        return self._pause(place, Held(offset, pauses, failures, time.monotonic() + delay))

    def read_again(self, place: Place, *, otherwise: int) -> bool:
        """Read a partition from where the group is, or else from an offset on. False: it has been taken away."""
        return self._pause(place, Held(OFFSET_INVALID, 0, 0, time.monotonic(), otherwise=otherwise))

    def _pause(self, place: Place, held: Held) -> bool:
        try:
            self._consumer.pause([TopicPartition(*place)])
        except KafkaException:
            return False
        self.held[place] = held
        return True

    def let_go(self, must_wait: Callable[[Place], bool]) -> list[Place]:
        """Read on where a delay is over.

        Args:
            must_wait: says whether a partition is not to be read for another reason.

        Returns:
            Partitions that have been taken away, or begin anew where the group is.
        """
        now = time.monotonic()
        over = {place: held for place, held in self.held.items() if held.paused and held.due <= now}
        due = {place: held for place, held in over.items() if not must_wait(place)}
        self._ask_where_the_group_is({place: held for place, held in due.items() if held.offset == OFFSET_INVALID})
        lost: list[Place] = []
        for place, held in due.items():
            if held.offset == OFFSET_INVALID:
                continue
            try:
                self._consumer.seek(TopicPartition(*place, held.offset))
                self._consumer.resume([TopicPartition(*place)])
                held.paused = False
            except KafkaException as error:
                if error.args[0].code() in _TAKEN_AWAY:
                    lost.append(place)
                else:
                    held.due = now + 1
        return lost

    def _ask_where_the_group_is(self, unknown: Mapping[Place, Held]) -> None:
        if not unknown:
            return
        began = time.monotonic()
        group = self._of_group(set(unknown))
        now = time.monotonic()
        for place, held in unknown.items():
            at = group.get(place)
            if at is None:  # a cluster that is away is not asked all the time: other clusters' events wait meanwhile
                held.due = now + max(1.0, 10 * (now - began))
            else:
                held.offset = at if at >= 0 else held.otherwise

    def forget(self, place: Place) -> None:
        """Forget what was put back of a partition: whoever has it next begins where the group is."""
        held = self.held.pop(place, None)
        if held is not None and held.paused:
            with suppress(KafkaException):  # or it would still be paused when it comes back
                self._consumer.resume([TopicPartition(*place)])

    def pauses(self, place: Place, offset: int) -> int:
        """Return how often this message has been put back."""
        held = self.held.get(place)
        return held.pauses if held and held.offset == offset else 0

    def failures(self, place: Place, offset: int) -> int:
        """Return how often this message has been put back because it failed."""
        held = self.held.get(place)
        return held.failures if held and held.offset == offset else 0

    def has(self, place: Place, offset: int) -> bool:
        """Say whether a message is put back, or behind one that is."""
        held = self.held.get(place)
        return held is not None and held.expected and offset >= held.offset

    def takes(self, place: Place, offset: int) -> bool:
        """Say whether a message that has come is to be handled now. Called for each, in order."""
        held = self.held.get(place)
        if held is None or not held.expected:
            return True
        if held.paused:  # what was read before the pause is to be read again
            return False
        # The message put back may be gone by now, by retention or compaction; then the next one that is there comes in
        # its place: an earlier one, if the topic was deleted and made anew.
        held.expected = False
        if offset != held.offset:
            del self.held[place]
        return True

    def at_end(self, place: Place, offset: int) -> bool:
        """Hear that a partition has no more messages; say whether that is so behind what is put back, too."""
        held = self.held.get(place)
        if held is not None and held.expected:
            if held.paused or offset < held.offset:
                return False
            del self.held[place]  # the message put back is gone, and so are all behind it
        return True

    def done(self, place: Place, offset: int) -> None:
        """Take note that a message, and all before it in its partition, need not be read again."""
        held = self.held.get(place)
        if held is not None and held.offset <= offset:
            del self.held[place]
