"""How far each move has come, by what the cluster says: the cluster is the checkpoint."""

from __future__ import annotations

from enum import StrEnum

from redrive.partitions.layout import Move
from redrive.partitions.state import Ongoing, PartitionState


class Step(StrEnum):
    """How far a move has come.

    ``pending``: not ordered. ``in flight``: under way to where it should be. ``done``: there. ``gone``: there is no
    such partition any more. ``changed``: somebody else has placed its replicas otherwise. ``taken``: somebody else's
    reassignment of it is under way. ``refused``: the cluster does not take the order.
    """

    PENDING = "pending"
    IN_FLIGHT = "in flight"
    DONE = "done"
    GONE = "gone"
    CHANGED = "changed"
    TAKEN = "taken"
    REFUSED = "refused"


def step_of(move: Move, partition: PartitionState | None, ongoing: Ongoing | None) -> Step:
    """Say how far a move has come, whoever has ordered what was done so far: this run, or one that was killed.

    Args:
        move: the move.
        partition: what it is about, as it is; None if it does not exist.
        ongoing: the reassignment of it that is under way.
    """
    if partition is None:
        return Step.GONE
    if ongoing is not None:
        if ongoing.target == move.after:
            return Step.IN_FLIGHT
        return Step.PENDING if _is_way_back(move, ongoing) else Step.TAKEN
    if partition.replicas == move.after:
        return Step.DONE
    if partition.replicas in {move.before, replicas_if_cancelled(move), replicas_if_cancelled(move.back())}:
        return Step.PENDING
    # It has just ended, and the broker that was asked does not know yet.
    ended = partition.replicas in {_between(move), _between(move.back())}
    return Step.IN_FLIGHT if ended else Step.CHANGED


def replicas_if_cancelled(move: Move) -> tuple[int, ...]:
    """Give the order of the replicas that cancelling a move half way leaves: the new order, as far as it was kept."""
    return (*(broker for broker in move.after if broker in move.before), *move.removed)


def _is_way_back(move: Move, ongoing: Ongoing) -> bool:
    # By the reassignment alone: the broker that tells the replicas may not know yet what the controller has begun.
    return ongoing.target == move.before and {*ongoing.target, *ongoing.removing} == {*move.before, *move.after}


def _between(move: Move) -> tuple[int, ...]:
    """Give the order of the replicas while a move is under way."""
    return (*move.after, *move.removed)


def costs_nothing(move: Move, partition: PartitionState, ongoing: Ongoing | None) -> bool:
    """Say whether a move that is pending copies nothing and takes no replica away but such as have not yet come."""
    return ongoing is not None or set(move.after) == set(partition.replicas)
