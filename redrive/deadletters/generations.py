"""Which letters of a partition that was made anew should still stand in it, by the ledger: of each generation, a range.

Of a partition that has lost its end, the older letters before that stay what they are, and those of the next generation
stand behind them: ``dlq.flights/0/0`` to ``79``, and from ``dlq.flights@2/0/80`` on.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from redrive.deadletters.letter_id import generation, kafka_topic
from redrive.ledger.letters import Letters

ACCEPT = "dlq-accept"
"""The job that begins a generation; see `redrive.deadletters.accepting`."""

_NO_END = 2**63 - 1


class Generation(NamedTuple):
    """The part of a partition that is one generation's.

    Attributes:
        topic: as the ledger names it.
        begin: its first offset.
        end: the first offset that is a later generation's, or beyond all that Kafka has.
    """

    topic: str
    begin: int
    end: int


def generations(letters: Letters, cluster: str, topic: str) -> dict[int, list[Generation]]:
    """Give the generations of each partition of a dead-letter topic that have a part of it; the last one first.

    Args:
        letters: the ledger's.
        cluster: the cluster's name.
        topic: as Kafka names it.
    """
    names: defaultdict[int, list[str]] = defaultdict(list)
    for _, name, partition in letters.positions(cluster):
        if kafka_topic(name) == topic:
            names[partition].append(name)
    begun = letters.begun_by(ACCEPT) if any(len(several) > 1 for several in names.values()) else {}
    found: defaultdict[int, list[Generation]] = defaultdict(list)
    for partition, several in names.items():
        end = _NO_END
        for name in sorted(several, key=generation, reverse=True):
            begin = begun.get((cluster, name, partition), 0)
            if begin < end:
                found[partition].append(Generation(name, begin, end))
                end = begin
    return dict(found)
