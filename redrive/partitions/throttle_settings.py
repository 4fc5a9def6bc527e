"""Kafka's settings that throttle replication, and what is written into them.

A rate, in bytes a second, is set on a broker. It holds for the replicas that the topics' lists name; a list is
``partition:broker,partition:broker,…``, or ``*`` for all. KIP-73 describes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from redrive.partitions.layout import Move

LEADER_RATE = "leader.replication.throttled.rate"
FOLLOWER_RATE = "follower.replication.throttled.rate"
RATES = (LEADER_RATE, FOLLOWER_RATE)
LEADER_REPLICAS = "leader.replication.throttled.replicas"
FOLLOWER_REPLICAS = "follower.replication.throttled.replicas"
REPLICAS = (LEADER_REPLICAS, FOLLOWER_REPLICAS)

ALL = "*"
_NOTHING = frozenset({"", "none"})

Entry = tuple[int, int]
"""A partition's number, and a broker."""


def replicas_to_throttle(moves: Iterable[Move]) -> dict[str, dict[str, set[Entry]]]:
    """Give topic → setting → entries, as ``kafka-reassign-partitions`` chooses them.

    Any replica of before may be the leader that sends; those that are added receive.
    """
    found: defaultdict[str, dict[str, set[Entry]]] = defaultdict(lambda: {name: set() for name in REPLICAS})
    for move in moves:
        if move.added:
            found[move.topic][LEADER_REPLICAS] |= {(move.number, broker) for broker in move.before}
            found[move.topic][FOLLOWER_REPLICAS] |= {(move.number, broker) for broker in move.added}
    return dict(found)


def brokers_to_throttle(moves: Iterable[Move]) -> set[int]:
    """Give the brokers that send or receive."""
    return {broker for move in moves if move.added for broker in (*move.before, *move.added)}


def with_entries(value: str | None, entries: Iterable[Entry]) -> str:
    """Give a list with entries added to those that it has."""
    if value is not None and _is_all(value):
        return value
    more = [f"{number}:{broker}" for number, broker in sorted(entries)]
    return ",".join(dict.fromkeys([*_entries(value), *more]))


def without_ours(value: str | None, ours: Iterable[str], previous: str | None) -> str | None:
    """Give a list without the entries that we have added: just as it was before, unless somebody else has changed it.

    Args:
        value: what is set now; None for nothing.
        ours: what we have set.
        previous: what was set before.
    """
    if value is None or _is_all(value):
        return value
    added = {entry for each in ours for entry in _entries(each)} - set(_entries(previous))
    left = [entry for entry in _entries(value) if entry not in added]
    return previous if set(left) == set(_entries(previous)) else ",".join(left) or None


def entries_in(value: str | None) -> set[Entry]:
    """Give the entries of a list; none if it is for all."""
    pairs = (entry.split(":") for entry in _entries(value) if entry != ALL)
    return {(int(number), int(broker)) for number, broker in pairs}


def _is_all(value: str) -> bool:
    return value.strip() == ALL


def _entries(value: str | None) -> list[str]:
    return [] if value is None or value.strip() in _NOTHING else [each.strip() for each in value.split(",")]
