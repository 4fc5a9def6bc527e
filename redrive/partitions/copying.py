"""`Copying`: how many bytes moves have copied, and what brokers send and receive for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redrive.partitions.inflow import rates, sizes
from redrive.partitions.layout import Move
from redrive.partitions.progress import Step
from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import Key
from redrive.partitions.survey import Survey, key_of


@dataclass(frozen=True, slots=True)
class Copying:
    """Bytes at one moment. What a broker does not tell counts as 0.

    Attributes:
        moves: all of them, by partition.
        done: those that are.
        leaders: who leads, of partitions that have a leader.
        led: of moves in flight, bytes of the leader's log.
        new: of moves in flight, broker → bytes of its new replica.
        copied, to_copy: bytes of all new replicas; without moves that came to nothing.
    """

    moves: Mapping[Key, Move]
    done: frozenset[Key]
    leaders: Mapping[Key, int]
    led: Mapping[Key, int]
    new: Mapping[Key, Mapping[int, int]]
    copied: int
    to_copy: int

    @classmethod
    def take(cls, survey: Survey, reader: PartitionReader) -> Copying:
        """Ask the brokers."""
        in_flight, done = survey.at(Step.IN_FLIGHT), survey.at(Step.DONE)
        led, new = _log_sizes(survey, reader, in_flight)
        arrived = sum(move.bytes for move in done)
        copied, to_copy = arrived, arrived + sum(move.bytes for move in survey.at(Step.PENDING))
        for move in in_flight:
            key = key_of(move)
            size = max(led.get(key, 0), move.size)
            to_copy += size * len(move.added)
            copied += sum(min(bytes_, size) for bytes_ in new[key].values())
        return cls(survey.moves, frozenset(map(key_of, done)), survey.leaders(), led, new, copied, to_copy)

    @property
    def in_flight(self) -> list[Move]:
        """The moves under way."""
        return [self.moves[key] for key in self.new]


def written(then: Copying, now: Copying, seconds: float) -> dict[Key, float]:
    """Give the bytes a second that producers have written to each partition in flight, as far as known."""
    return rates(then.led, now.led, seconds)


def throttled(then: Copying, now: Copying, seconds: float) -> dict[int, float]:
    """Give what of its throttle each broker has used, in bytes a second.

    A broker has one for what it sends and one for what it receives; the one that it has used more counts. New replicas
    receive what they copy, and leaders send it. What is written meanwhile leaders send to all other replicas as well,
    and Kafka counts that, too; see `redrive.partitions.convergence`.

    Args:
        then, now: the same moves at two moments.
        seconds: between them.
    """
    sent, received = Counter[int](), Counter[int]()
    flow = written(then, now, seconds)
    for key, move in now.moves.items():
        if not move.added or key in then.done or not (key in now.done or key in now.new):
            continue
        sender = then.leaders.get(key, move.before[0] if move.before else -1)
        before, arrived = then.new.get(key, {}), max(move.size, then.led.get(key, 0))
        for broker in move.added:
            has = arrived if key in now.done else now.new[key].get(broker, 0)
            came = max(0, has - before.get(broker, 0))
            received[broker] += came
            sent[sender] += came
        sent[sender] += int(flow.get(key, 0.0) * seconds) * max(0, len(move.before) - 1)
    return {broker: max(sent[broker], received[broker]) / seconds for broker in {*sent, *received}}


def _log_sizes(
    survey: Survey, reader: PartitionReader, moves: Sequence[Move]
) -> tuple[dict[Key, int], dict[Key, dict[int, int]]]:
    """Give for each partition the size of its leader, as far as known, and those of its new replicas."""
    keys = {key_of(move) for move in moves}
    if not keys:
        return {}, {}
    leaders = {id_ for key, id_ in survey.leaders().items() if key in keys}
    log_dirs = reader.log_dirs(sorted(leaders | {broker for move in moves for broker in move.added}), keys)
    led = sizes({key: survey.partitions[key] for key in keys}, log_dirs)
    return led, {key_of(move): {id_: log_dirs[id_].sizes.get(key_of(move), 0) for id_ in move.added} for move in moves}
