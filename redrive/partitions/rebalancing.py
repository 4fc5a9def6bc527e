"""A plan of moves as the ledger keeps it, and whether a cluster is still as it was when it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redrive.ledger import digest
from redrive.partitions.layout import Move
from redrive.partitions.planner import Plan
from redrive.partitions.state import Key, PartitionState

JOB = "partition-rebalance"
"""The job's name, in the ledger and in Prefect."""


def record(cluster: str, plan: Plan) -> dict[str, Any]:
    """Give a plan as the ledger keeps it: what is approved, and carried out, exactly."""
    goal = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in ((name, getattr(plan.goal, name)) for name in plan.goal.__dataclass_fields__)
    }
    return {"job": JOB, "cluster": cluster, "goal": goal, "moves": _listed(plan.moves)}


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
