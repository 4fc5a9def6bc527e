"""A plan of moves as the ledger keeps it, and whether a cluster is still as it was when it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from redrive.errors import GoalError
from redrive.ledger import digest
from redrive.partitions.layout import Move
from redrive.partitions.picture import Picture
from redrive.partitions.planner import Goal, Plan, plan
from redrive.partitions.state import Key, PartitionState

JOB = "partition-rebalance"
"""The job's name, in the ledger and in Prefect."""


def plan_of(picture: Picture, goal: Goal) -> Plan:
    """Plan for a cluster as it is; new brokers, if none is named, are those without a replica.

    Raises:
        GoalError: the goal makes no sense for the cluster, or partitions are moving there.
    """
    if picture.ongoing:
        (topic, number), more = next(iter(picture.ongoing)), len(picture.ongoing) - 1
        raise GoalError(
            "goal",
            f"{topic}/{number}{f' and {more} others are' if more else ' is'} moving already, by somebody else's order "
            "or by that of a run that died; wait for that, or let such a run go on: goal go_on or roll_back",
        )
    if goal.mode == "add_brokers" and not goal.brokers:
        empty = frozenset(broker.id for broker in picture.brokers if broker.up and not broker.replicas)
        goal = replace(goal, brokers=empty - goal.excluded_brokers)
    return plan(picture.layout, goal)


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
    return {**kept, "goal": {"mode": "roll_back", "of": digest(kept)}, "moves": moves}


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


def _listed(moves: Iterable[Move]) -> list[list[Any]]:
    return [[move.topic, move.number, list(move.before), list(move.after), move.size] for move in moves]
