"""`Survey`: how far all moves have come, and how many bytes they have copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redrive.partitions.inflow import sizes
from redrive.partitions.layout import Move
from redrive.partitions.progress import Step, costs_nothing, step_of
from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import Key, Ongoing, PartitionState


def key_of(move: Move) -> Key:
    """Give the partition that a move is about."""
    return move.topic, move.number


@dataclass(frozen=True, slots=True)
class Survey:
    """The moves at one moment.

    Attributes:
        moves: all of them, by partition.
        steps: how far each has come.
    """

    moves: Mapping[Key, Move]
    partitions: Mapping[Key, PartitionState]
    ongoing: Mapping[Key, Ongoing]
    steps: Mapping[Key, Step]

    @classmethod
    def take(cls, reader: PartitionReader, moves: Mapping[Key, Move]) -> Survey:
        """Look at the cluster: first at what is under way, so that nothing ends unseen between the two looks."""
        ongoing = reader.ongoing()
        partitions = reader.partitions({topic for topic, _ in moves})
        ours = {key: ongoing[key] for key in moves if key in ongoing}
        steps = {key: step_of(move, partitions.get(key), ours.get(key)) for key, move in moves.items()}
        return cls(moves, partitions, ours, steps)

    def at(self, *steps: Step) -> list[Move]:
        """Give the moves that have come just so far, in their order."""
        return [move for key, move in self.moves.items() if self.steps[key] in steps]

    def under_way(self) -> list[Move]:
        """Give the moves that this run, or one before it, has under way: there, or back."""
        back = [move for move in self.at(Step.PENDING) if key_of(move) in self.ongoing]
        return [*self.at(Step.IN_FLIGHT), *back]

    def costs_nothing(self, move: Move) -> bool:
        """See `redrive.partitions.progress.costs_nothing`."""
        key = key_of(move)
        return costs_nothing(move, self.partitions[key], self.ongoing.get(key))

    def leaders(self) -> dict[Key, int]:
        """Give who leads the partitions, of those that have a leader."""
        return {key: each.leader for key, each in self.partitions.items() if each.leader is not None}

    def copied(self, reader: PartitionReader) -> tuple[int, int]:
        """Give how many bytes of new replicas have been copied, of how many. What a broker does not tell counts as 0.

        Moves that came to nothing count nowhere.
        """
        copied = total = 0
        in_flight = self.at(Step.IN_FLIGHT)
        for move in self.at(Step.DONE):
            copied, total = copied + move.bytes, total + move.bytes
        receiving = self._log_sizes(reader, in_flight)
        for move in in_flight:
            size, new = receiving.get(key_of(move), (move.size, {}))
            total += size * len(move.added)
            copied += sum(min(new.get(broker, 0), size) for broker in move.added)
        return copied, total + sum(move.bytes for move in self.at(Step.PENDING))

    def _log_sizes(self, reader: PartitionReader, moves: Sequence[Move]) -> dict[Key, tuple[int, dict[int, int]]]:
        """Give for each partition the size of its leader, at least that of the plan, and those of its new replicas."""
        keys = [key_of(move) for move in moves]
        if not keys:
            return {}
        leaders = {id_ for key, id_ in self.leaders().items() if key in self.moves}
        log_dirs = reader.log_dirs(sorted(leaders | {broker for move in moves for broker in move.added}), keys)
        led = sizes({key: self.partitions[key] for key in keys}, log_dirs)
        return {
            key_of(move): (
                max(led.get(key_of(move), 0), move.size),
                {id_: log_dirs[id_].sizes.get(key_of(move), 0) for id_ in move.added},
            )
            for move in moves
        }
