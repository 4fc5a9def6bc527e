"""Events on their way from one place to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redrive.errors.base import RedriveError


class RefusedError(RedriveError):
    """The cluster refused some events of a chunk for good; nothing of the chunk was published.

    Attributes:
        refused: index in the chunk → why, such as ``MSG_SIZE_TOO_LARGE: …``.
    """

    def __init__(self, refused: dict[int, str]) -> None:
        self.refused = refused
        at, reason = next(iter(refused.items()))
        super().__init__(f"the cluster refuses {len(refused)} events of the chunk; the first, number {at}: {reason}")


class OvertakenError(RedriveError):
    """Some events of a chunk must not be published as they are now; nothing of the chunk was.

    Attributes:
        changed: index in the chunk → the event to be published in its stead, or why there is none
            (`redrive.pump.model.Skipped`).
        aborted: whether it was found out by a transaction that was written for nothing: the shorter, the likelier the
            next one holds.
    """

    def __init__(self, changed: Mapping[int, Any], *, aborted: bool = False) -> None:
        self.changed, self.aborted = changed, aborted
        super().__init__(f"{len(changed)} events of the chunk must not be published as they are")


class UnparkableError(RedriveError):
    """Neither its topic nor the parking topic takes an event; the unit stopped before it and lost nothing.

    Attributes:
        event_id: the event.
        origin: where it was read from, and still is.
        topic: the parking topic.
        reason: what the parking topic said.
    """

    def __init__(self, event_id: str, origin: str, topic: str, reason: str) -> None:
        self.event_id, self.origin, self.topic, self.reason = event_id, origin, topic, reason
        super().__init__(
            f"event {event_id} ({origin}) can't be parked in {topic}: {reason}; "
            "raise max.message.bytes of that topic, then start the unit again"
        )


class CheckpointError(RedriveError):
    """A unit's checkpoint can't be read by this version of Redrive.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the checkpoint can't be used: {reason}")


class TopicCutError(RedriveError):
    """A partition ends before the place where reading is to go on.

    Attributes:
        topic: the topic.
        partition: the partition.
        end: where it ends.
        at: where reading is to go on.
    """

    def __init__(self, topic: str, partition: int, end: int, at: int) -> None:
        self.topic, self.partition, self.end, self.at = topic, partition, end, at
        super().__init__(
            f"partition {partition} of {topic} ends at {end}, and was read up to {at} before: the topic was deleted "
            "and made again, or an unclean election has cut it; nothing can go on from there. A backfill begins anew "
            "after `redrive backfill abandon`"
        )
