"""Topics that are copied to others, and abandoned."""

from __future__ import annotations

from collections.abc import Sequence

from redrive.errors.base import RedriveError


class OtherMigrationError(RedriveError):
    """A topic was begun to be filled with other rules, or for another schema, than those asked for now.

    Attributes:
        source: the topic that is copied.
        target: the topic that is being filled.
    """

    def __init__(self, source: str, target: str, *, back: bool = False) -> None:
        """Make it; with ``back`` for events that go back to the topic that was copied, which nobody may give up."""
        self.source, self.target = source, target
        if back:
            super().__init__(
                f"events of {source} began to be brought back to {target} by other rules, or for another schema, and "
                "that can't be changed any more: go on with the file and the schema as they were then"
            )
            return
        super().__init__(
            f"topic {target} was begun to be filled from {source} with other rules, or for another schema, and that "
            "can't be changed any more: go on with those; or fill a topic of another name; or, if nobody uses what has "
            "been filled and it holds nothing but copies, begin anew after `redrive backfill abandon "
            f"{source} {target}`, which deletes {target}"
        )


class PartitionsChangedError(RedriveError):
    """A topic has got more partitions while it was copied: keys are elsewhere from there on.

    Attributes:
        topic: its name.
        before: how many it had.
        now: how many it has.
    """

    def __init__(self, topic: str, before: int, now: int) -> None:
        self.topic, self.before, self.now = topic, before, now
        super().__init__(
            f"topic {topic} has {now} partitions now, and had {before} when it was begun to be copied: what comes to "
            "the new ones is not copied. Begin anew with a target of another name; or, if nobody has moved to this one "
            "yet, give it up first (`redrive backfill abandon`)"
        )


class GroupInUseError(RedriveError):
    """A consumer group has members, so that nobody else can set its offsets.

    Attributes:
        group: its id.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        super().__init__(f"consumer group {group} has members: stop its consumers, then try again")


class CopyTooSlowError(RedriveError):
    """Producers can't be switched: the copy does not come near to the end of the topic that they publish to.

    Attributes:
        source: the topic.
        target: the one that it is copied to.
        turns: seconds that the last turns took, each of which has copied what came in the one before.
    """

    def __init__(self, source: str, target: str, turns: Sequence[float]) -> None:
        self.source, self.target, self.turns = source, target, tuple(turns)
        super().__init__(
            f"events come to {source} about as fast as they are copied to {target}: what came in one turn took "
            f"{', '.join(f'{seconds:.0f}' for seconds in turns)} s to copy in the next. Producers are not switched "
            "before it has caught up: allow a higher rate, or more partitions at the same time, or run it again at a "
            "quieter hour"
        )


class FedBackError(RedriveError):
    """A backfill can't be abandoned: events that were published to its target have been brought to the source.

    The next backfill would take them for its own, and leave them out.

    Attributes:
        source: the topic that was copied.
        target: the topic that was filled.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        super().__init__(
            f"{source} holds events that were published to {target} and fed back: another backfill into {target} would "
            "leave them out; begin one into a topic of another name instead"
        )


class OthersEventsError(RedriveError):
    """A backfill can't be abandoned: its target holds events that are nowhere else.

    Attributes:
        target: the topic that was filled.
        partition: where the first of them is.
        offset: where it is in that.
    """

    def __init__(self, source: str, target: str, partition: int, offset: int) -> None:
        self.target, self.partition, self.offset = target, partition, offset
        super().__init__(
            f"{target} is not deleted: it holds events that have not come from {source}, the first at partition "
            f"{partition}, offset {offset}. If it is the right topic, producers have published to it: begin a backfill "
            "into a topic of another name, and delete this one by hand once nobody needs what it holds"
        )


class SwitchedError(RedriveError):
    """A backfill can't be abandoned: producers publish to its target.

    Attributes:
        source: the topic whose name they publish by.
        target: the topic that gets it.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        super().__init__(
            f"what is published by the name {source} goes to {target}: take producers back first (`redrive run "
            f"schema-backfill {source} {target} --goal switch_back`), or events would be lost"
        )


class SwitchedBackError(RedriveError):
    """A backfill can't be abandoned: producers were switched to its target and back, and consumers with them.

    Consumers that run know their places in the target, and would take those of another topic by that name for them.

    Attributes:
        source: the topic whose name producers publish by.
        target: the topic that got it.
    """

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        super().__init__(
            f"producers of {source} were switched to {target} and back, and consumers that followed go by their places "
            f"in {target}: begin another backfill into a topic of another name, and delete {target} by hand when "
            "nobody consumes it any more"
        )
