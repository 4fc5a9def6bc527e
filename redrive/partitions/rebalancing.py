"""A plan of moves as the ledger keeps it, and whether a cluster is still as it was when it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from redrive.errors import GoalError, UnavailableError
from redrive.ledger import digest
from redrive.partitions.layout import Move
from redrive.partitions.picture import Picture
from redrive.partitions.planner import Goal, Plan, plan
from redrive.partitions.progress import Step, costs_nothing, step_of
from redrive.partitions.state import Key, Ongoing, PartitionState

JOB = "partition-rebalance"
"""The job's name, in the ledger and in Prefect."""

BACK = "roll_back"
"""The mode in the goal of a plan that takes another one back."""


def plan_of(picture: Picture, goal: Goal) -> Plan:
    """Plan for a cluster as it is; new brokers, if none is named, are those that are empty.

    Raises:
        GoalError: the goal makes no sense for the cluster, or partitions are moving there.
        UnavailableError: it copies, and nobody tells how large a partition is, or a new broker not what it can hold.
    """
    if goal.mode != "leaders":
        picture.require_sizes()
    if picture.ongoing:
        raise GoalError("goal", moving_already(picture.ongoing))
    if goal.mode == "add_brokers" and not goal.brokers:
        goal = replace(goal, brokers=picture.empty - goal.excluded_brokers)
    for id_ in sorted(goal.adds & picture.silent.keys()):
        raise UnavailableError(
            f"broker {id_}", f"it does not tell its disks, so nothing can come to it: {picture.silent[id_]}"
        )
    made = plan(picture.layout, goal)
    if goal.mode == "leaders" or not picture.silent:
        return made
    closed = [
        f"broker {id_}: nothing comes to it, as it does not tell all of its disks ({why})."
        for id_, why in picture.silent.items()
    ]
    return replace(made, findings=(*closed, *made.findings))


def moving_already(ongoing: Mapping[Key, Ongoing]) -> str:
    """Say that partitions are moving, which keeps a plan from being made or begun, and what to do about it."""
    (topic, number), more = next(iter(ongoing)), len(ongoing) - 1
    return (
        f"{topic}/{number}{f' and {more} others are' if more else ' is'} moving already, by somebody else's order "
        "or by that of a run that died; wait for that, or let such a run go on: goal go_on or roll_back"
    )


def record(cluster: str, made: Plan) -> dict[str, Any]:
    """Give a plan as the ledger keeps it: what is approved, and carried out, exactly."""
    goal = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in ((name, getattr(made.goal, name)) for name in made.goal.__dataclass_fields__)
    }
    return {"job": JOB, "cluster": cluster, "goal": goal, "moves": _listed(made.moves)}


def way_back(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Give the plan that takes another one back, to the exact order of replicas."""
    moves = _listed(move.back() for move in moves_of(kept))
    return {**kept, "goal": {"mode": BACK, "of": digest(kept)}, "moves": moves}


def with_moves(kept: Mapping[str, Any], moves: Iterable[Move]) -> dict[str, Any]:
    """Give a plan with other moves."""
    return {**kept, "moves": _listed(moves)}


def moves_of(kept: Mapping[str, Any]) -> list[Move]:
    """Give the moves of a plan that the ledger has kept."""
    return [
        Move(topic, number, tuple(before), tuple(after), size) for topic, number, before, after, size in kept["moves"]
    ]


def changed_since(moves: Iterable[Move], partitions: Mapping[Key, PartitionState], up: Iterable[int]) -> list[str]:
    """Say what of a cluster is no longer as it was when a plan was made; empty if the plan still holds.

    Args:
        moves: the plan's.
        partitions: as they are now.
        up: ids of the brokers that are up.
    """
    alive, found = set(up), []
    for move in moves:
        now = partitions.get((move.topic, move.number))
        name = f"{move.topic}/{move.number}"
        if now is None:
            found.append(f"{name} is gone")
        elif now.replicas != move.before:
            found.append(f"{name} was on {list(move.before)}, and is on {list(now.replicas)}")
        elif down := sorted(set(move.added) - alive):
            found.append(f"broker {down[0]}, to which {name} is to move, is down")
    return found


def split(
    moves: Iterable[Move], partitions: Mapping[Key, PartitionState], ongoing: Mapping[Key, Ongoing]
) -> tuple[list[Move], list[Move]]:
    """Give the moves, of a plan that may have been begun, that are ours to carry out, and those that are not.

    Ours are those that are done, too. Not ours is what somebody else has placed otherwise, moves now, or has deleted.
    """
    ours, theirs = list[Move](), list[Move]()
    for move in moves:
        key = move.topic, move.number
        step = step_of(move, partitions.get(key), ongoing.get(key))
        (theirs if step in (Step.CHANGED, Step.TAKEN, Step.GONE) else ours).append(move)
    return ours, theirs


def left_to_do(
    moves: Iterable[Move], partitions: Mapping[Key, PartitionState], ongoing: Mapping[Key, Ongoing]
) -> list[Move]:
    """Give the moves that are not done yet. One that copies nothing more, such as back from half the way, has no size.

    Args:
        moves: of a plan that may have been begun.
        partitions, ongoing: of the cluster as it is.
    """
    left = []
    for move in moves:
        key = move.topic, move.number
        now, under_way = partitions.get(key), ongoing.get(key)
        step = step_of(move, now, under_way)
        if step is Step.PENDING and now is not None and costs_nothing(move, now, under_way):
            left.append(replace(move, size=0))
        elif step in (Step.PENDING, Step.IN_FLIGHT):
            left.append(move)
    return left


def _listed(moves: Iterable[Move]) -> list[list[Any]]:
    return [[move.topic, move.number, list(move.before), list(move.after), move.size] for move in moves]
