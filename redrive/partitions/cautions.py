"""What whoever has moves carried out should know of them before, beside how much they copy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from redrive.partitions.layout import Move
from redrive.partitions.state import Key

_SHOWN = 5


def losing(moves: Iterable[Move]) -> list[Move]:
    """Give the moves after which a partition has fewer replicas than before."""
    return [move for move in moves if len(move.after) < len(move.before)]


def of_unknown_size(moves: Iterable[Move], unsized: Collection[Key]) -> list[Move]:
    """Give the moves that copy nobody knows how much; ``unsized``: the partitions whose size no broker tells."""
    return [move for move in moves if move.added and not move.size and (move.topic, move.number) in unsized]


def cautions(moves: Sequence[Move], min_isr: Mapping[str, int], unsized: Collection[Key] = ()) -> list[str]:
    """Say in sentences what moves make less safe, or stop for a while.

    What takes part of the events that are acknowledged by all replicas in sync is the lesser of
    ``min.insync.replicas`` and the number of replicas, those on their way among them (Kafka's
    ``Partition.effectiveMinIsr``).

    Args:
        moves: what is to be done.
        min_isr: ``min.insync.replicas`` by topic, 1 for those not in it.
        unsized: partitions whose size no broker tells.
    """
    found = []
    fewer = losing(moves)
    if fewer:
        found.append(f"Fewer replicas than now: {_named(fewer)}.")
    if below := [move for move in fewer if len(move.after) < min_isr.get(move.topic, 1)]:
        found.append(
            f"Fewer replicas than min.insync.replicas asks for: {_named(below)}. Events are acknowledged all the same, "
            "and are on fewer brokers than that."
        )
    if stopped := [move for move in moves if move.added and len(move.before) < min_isr.get(move.topic, 1)]:
        found.append(
            f"Fewer replicas now than min.insync.replicas asks for: {_named(stopped)}. While such a partition moves, "
            "Kafka counts the replicas on their way as well, and refuses events that are to be acknowledged by all "
            "(acks=all) until they are in sync. Lower min.insync.replicas for as long, or move it when nobody "
            "publishes to it."
        )
    if unknown := of_unknown_size(moves, unsized):
        found.append(
            f"It is not known how large they are, and they count as nothing: {_named(unknown)}. No broker that holds "
            "them tells."
        )
    return found


def _named(moves: Sequence[Move]) -> str:
    names = ", ".join(f"{move.topic}/{move.number}" for move in moves[:_SHOWN])
    return names + (f" and {len(moves) - _SHOWN:,} more" if len(moves) > _SHOWN else "")
