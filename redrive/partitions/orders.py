"""`Orders`: what an execution orders the cluster to do, always throttled, and only as long as it may."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from redrive.ledger import Operation
from redrive.partitions.layout import Move
from redrive.partitions.progress import Step
from redrive.partitions.state import Key, PartitionState
from redrive.partitions.survey import Survey, key_of
from redrive.partitions.throttle import Throttle
from redrive.partitions.writer import PartitionWriter

_AT_ONCE = 1_000  # orders in one request
NEWS = 5.0
"""Seconds in which news is taken to reach all brokers."""
Each = TypeVar("Each")


class Orders:
    """Orders moves and elections, and keeps in mind which the cluster has refused.

    Attributes:
        refused: partition → why.
    """

    def __init__(
        self, writer: PartitionWriter, operation: Operation, throttle: Throttle | None, moves: Mapping[Key, Move]
    ) -> None:
        self.refused: dict[Key, str] = {}
        self._under_way: set[Key] = set()  # as this execution has seen, and not ended itself
        self._missed_since: dict[Key, float] = {}
        self._throttled: set[Key] = set()  # by this execution, and still named in the topics' lists
        self._writer, self._operation, self._throttle, self._moves = writer, operation, throttle, moves

    def look(self) -> Survey:
        """Look at how far the moves have come; those that were refused, or that somebody else has ended, stay so."""
        survey = Survey.take(self._writer, self._moves)
        pending = {key for key in self.refused if survey.steps[key] is Step.PENDING}
        steps = {key: Step.REFUSED if key in pending else step for key, step in survey.steps.items()}
        steps |= self._ended_by_others(survey)
        self._under_way |= {key for key in survey.ongoing if survey.steps[key] is Step.IN_FLIGHT}
        return Survey(survey.moves, survey.partitions, survey.ongoing, steps)

    def _ended_by_others(self, survey: Survey) -> dict[Key, Step]:
        """Give those that were under way, and that somebody else has cancelled or ordered back.

        By one look alone it can't be told from a move that has just ended, of which the broker that was asked knows
        nothing yet.
        """
        now, found = time.monotonic(), dict[Key, Step]()
        for key in list(self._under_way):
            if survey.steps[key] is not Step.PENDING:
                self._missed_since.pop(key, None)
                if survey.steps[key] is not Step.IN_FLIGHT:
                    self._under_way.discard(key)
            elif key in survey.ongoing:
                found[key] = Step.TAKEN
            else:
                late = now - self._missed_since.setdefault(key, now) > NEWS
                found[key] = Step.CHANGED if late else Step.IN_FLIGHT
        return found

    def begin(self, moves: Sequence[Move], beside: Iterable[Move]) -> None:
        """Order moves, throttled together with those that are under way already."""
        self.throttle([*beside, *moves])
        self._reassign(moves)

    def begin_free(self, survey: Survey, moves: Sequence[Move]) -> None:
        """Order moves that copy nothing, and so need no throttle.

        Where the way back of a move is under way, that is cancelled. (To order the opposite on top of it is not enough:
        Kafka first waits until the replicas that are no longer wanted are in sync.) What the order of the replicas
        then lacks is the next look's to find.
        """
        self._cancel([move for move in moves if key_of(move) in survey.ongoing])
        self._reassign([move for move in moves if key_of(move) not in survey.ongoing])

    def take_back(self, survey: Survey) -> bool:
        """Cancel what is under way, and restore the order of replicas that cancelling has changed; False if all is."""
        in_flight = survey.at(Step.IN_FLIGHT)
        self._cancel(in_flight)
        pending = [(move, survey.partitions[key_of(move)].replicas) for move in survey.at(Step.PENDING)]
        disordered = [move.back() for move, now in pending if now != move.before and set(now) == set(move.before)]
        self._reassign(disordered)
        return bool(in_flight or disordered)

    def _cancel(self, moves: Sequence[Move]) -> None:
        if moves:
            self._operation.heartbeat()
        self._under_way -= {key_of(move) for move in moves}
        for batch in _batches(moves):
            self._writer.cancel(map(key_of, batch))

    def _reassign(self, moves: Sequence[Move]) -> None:
        if moves:
            self._operation.heartbeat()  # is it still ours to order anything?
        for batch in _batches(moves):
            self.refused |= self._writer.reassign({key_of(move): move.after for move in batch})

    def throttle(self, moves: Sequence[Move]) -> None:
        """Throttle these moves, and no others."""
        keys = {key_of(move) for move in moves}
        self._throttled |= keys
        if self._throttle is not None:
            self._throttle.cover(moves)
        self._throttled = keys

    def release(self, survey: Survey) -> None:
        """Throttle no longer what is not under way any more, as Kafka counts all that is listed against the rate."""
        # What has just been ordered may still look pending to the broker that was asked.
        here = {key for key in self._throttled if survey.steps[key] in (Step.IN_FLIGHT, Step.PENDING)}
        if here < self._throttled:
            here |= {key_of(move) for move in survey.at(Step.IN_FLIGHT)}
            self.throttle([self._moves[key] for key in sorted(here)])

    def elect(self, survey: Survey) -> str:
        """Have moved partitions led by the first of their replicas; says what they wait for, empty if for nothing.

        A broker that has just come back can't lead before it has caught up.
        """
        done = [survey.partitions[key_of(move)] for move in survey.at(Step.DONE)]
        wanted = [each.key for each in done if led_elsewhere(each) and each.replicas[0] in each.isr]
        if wanted:
            self._operation.heartbeat()
        for batch in _batches(wanted):
            self._writer.elect_preferred(batch)
        if behind := sum(map(lags, done)):
            return f"replicas of {behind:,} partitions to be in sync"
        return f"{len(wanted):,} partitions to be led by the first of their replicas" if wanted else ""


def lags(partition: PartitionState) -> bool:
    """Say whether one of the replicas is not in sync."""
    return not set(partition.replicas) <= partition.isr


def led_elsewhere(partition: PartitionState) -> bool:
    """Say whether another broker leads than the first of the replicas."""
    return partition.leader != partition.replicas[0]


def _batches(of: Sequence[Each]) -> Iterable[Sequence[Each]]:
    return (of[at : at + _AT_ONCE] for at in range(0, len(of), _AT_ONCE))
