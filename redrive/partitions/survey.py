"""`Survey`: how far all moves have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
