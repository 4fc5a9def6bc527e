"""What a plan is to reach, and what is nonsense to ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from redrive.errors import GoalError
from redrive.partitions.layout import Layout

Mode = Literal["balance", "add_brokers", "drain_brokers", "leaders", "replication_factor"]

CANARY = "__amazon_msk_canary"
"""How Amazon MSK's own topics begin. They stay where they are when a broker is drained, and MSK removes the broker all
the same: https://docs.aws.amazon.com/msk/latest/developerguide/msk-remove-broker.html"""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a plan is to reach.

    Attributes:
        mode: ``balance``: every broker may give and take. ``add_brokers``: `brokers` only take, all others only give.
            ``drain_brokers``: everything leaves `brokers`, which may be down; all others only take. ``leaders``: only
            the order of replicas changes. ``replication_factor``: replicas are added or removed until each partition
            has `replication`.
        band: the fraction of its target by which a broker's bytes may differ from it.
        brokers: those that are added or drained; for these two modes only.
        excluded_brokers: nothing goes to them and nothing leaves them, leadership included.
        excluded_topics: left alone; their bytes and leaders count where they are.
        replication: replicas that each partition is to have; for this mode only.
        disk_limit: the fraction of a broker's capacity that it must never hold more than, at no moment of the moving:
            no replica that leaves is counted as gone when another one comes.
    """

    mode: Mode
    band: float = 0.05
    brokers: frozenset[int] = frozenset()
    excluded_brokers: frozenset[int] = frozenset()
    excluded_topics: frozenset[str] = frozenset()
    replication: int | None = None
    disk_limit: float = 0.85

    @property
    def adds(self) -> frozenset[int]:
        """The brokers that are added; none in any other mode."""
        return self.brokers if self.mode == "add_brokers" else frozenset()

    @property
    def drains(self) -> frozenset[int]:
        """The brokers that are drained; none in any other mode."""
        return self.brokers if self.mode == "drain_brokers" else frozenset()

    def stays(self, topic: str) -> bool:
        """Say whether a topic is left alone."""
        return topic in self.excluded_topics or (self.mode == "drain_brokers" and topic.startswith(CANARY))


def check(layout: Layout, goal: Goal) -> None:
    """Refuse what no plan could reach.

    Raises:
        GoalError: it names the setting that is wrong, and the way out.
    """
    _check_figures(goal)
    _check_names(layout, goal)
    if goal.mode in ("add_brokers", "drain_brokers"):
        _check_brokers(goal)
    elif goal.brokers:
        raise GoalError("brokers", f"goal {goal.mode} takes none; leave out {_list(goal.brokers)}, or exclude them")
    if (goal.replication is None) == (goal.mode == "replication_factor"):
        raise GoalError("replication", "is for goal replication_factor, which needs it, and for no other goal")
    _check_room(layout, goal)


def _check_figures(goal: Goal) -> None:
    if goal.mode not in get_args(Mode):
        raise GoalError("goal", f"there is no {goal.mode!r}; there are {', '.join(get_args(Mode))}")
    if not 0 <= goal.band < 1:
        raise GoalError("band", f"{goal.band} is not a fraction; give one from 0 to below 1, such as 0.05")
    if not 0 < goal.disk_limit <= 1:
        raise GoalError(
            "disk_limit", f"{goal.disk_limit} is not a fraction; give one above 0 and up to 1, such as 0.85"
        )
    if goal.replication is not None and goal.replication < 1:
        raise GoalError("replication", f"{goal.replication} is below 1; a partition has at least one replica")


def _check_names(layout: Layout, goal: Goal) -> None:
    known = {broker.id for broker in layout.brokers}
    # One that is down and has replicas may be left: it is known by them.
    lost = {id_ for partition in layout.partitions for id_ in partition.replicas} - known
    for setting, named, there in (
        ("brokers", goal.brokers, known | lost if goal.mode == "drain_brokers" else known),
        ("excluded_brokers", goal.excluded_brokers, known),
    ):
        if unknown := named - there:
            raise GoalError(
                setting,
                f"{_list(unknown)} is not among the cluster's brokers that are up, {_list(known)}; correct the id, or "
                "start the broker first",
            )
    topics = {partition.topic for partition in layout.partitions}
    if missing := goal.excluded_topics - topics:
        raise GoalError(
            "excluded_topics", f"{', '.join(sorted(missing))} is no topic of the cluster; correct or leave out"
        )


def _check_brokers(goal: Goal) -> None:
    if not goal.brokers:
        raise GoalError("brokers", f"goal {goal.mode} needs at least one; name those it is about")
    if both := goal.brokers & goal.excluded_brokers:
        raise GoalError("brokers", f"{_list(both)} is excluded as well; take it out of one of the two")


def _check_room(layout: Layout, goal: Goal) -> None:
    """Check that the brokers that may hold replicas are enough for the largest replication factor."""
    left = {broker.id for broker in layout.brokers} - goal.drains
    if goal.mode == "drain_brokers" and not left - goal.excluded_brokers:
        raise GoalError("brokers", "draining them leaves no broker that may take anything; keep at least one")
    for partition in layout.partitions:
        if goal.stays(partition.topic):
            continue
        held = len(partition.replicas)
        if goal.mode == "drain_brokers" and goal.drains.intersection(partition.replicas):
            able = len((left - goal.excluded_brokers) | (left & set(partition.replicas)))
        elif goal.mode == "replication_factor" and goal.replication is not None and goal.replication > held:
            held, able = goal.replication, len((left - goal.excluded_brokers) | set(partition.replicas))
        else:
            continue
        if held > able:
            raise GoalError(
                "replication" if goal.replication else "brokers",
                f"{partition.topic}-{partition.number} needs {held} brokers for its replicas and only {able} may hold "
                "them; add brokers, exclude fewer, or lower its replication factor first",
            )


def _list(brokers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(brokers)))
