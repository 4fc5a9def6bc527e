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


def of_health(
    under_min_isr: Collection[Key], without_leader: Collection[Key], before: Collection[Key] | None = None
) -> list[str]:
    """Say in sentences which partitions are not well, and whether moves wait for them; see `Wellness.why_unwell`.

    Args:
        under_min_isr: those that are so now, those without a leader perhaps among them.
        without_leader: those that have none now.
        before: those that were under min ISR when the moves began; None: they begin now, or go back.
    """
    under = [key for key in under_min_isr if key not in without_leader]
    new = [] if before is None else [key for key in under if key not in before]
    known = [key for key in under if before is None or key in before]
    found = []
    if without_leader:
        found.append(f"Without a leader: {_listed(list(without_leader))}. No move begins before that is mended.")
    if known:
        found.append(
            f"Under min ISR already, and so nothing that moves wait for: {_listed(known)}. Kafka refuses events there "
            "that are to be acknowledged by all (acks=all)."
        )
    if new:
        found.append(f"Under min ISR since these moves began: {_listed(new)}. No more begin before that is mended.")
    return found


def _named(moves: Sequence[Move]) -> str:
    return _listed([(move.topic, move.number) for move in moves])


def _listed(keys: Sequence[Key]) -> str:
    names = ", ".join(f"{topic}/{number}" for topic, number in keys[:_SHOWN])
    return names + (f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else "")
