"""What an execution tells: how it gets on, and what became of each move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redrive.partitions.progress import Step
from redrive.partitions.state import Key

SOMEBODY_ELSE = (Step.GONE, Step.CHANGED, Step.TAKEN)
"""What moves come to by what somebody else has done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How an execution gets on.

    Attributes:
        moves: all of them.
        steps: how many have come how far.
        copied, to_copy: bytes of new replicas; without moves that came to nothing.
        per_second: bytes copied a second since the execution began; None if that says nothing yet.
        seconds_left: at that pace; None if there is none.
        waiting_for: why nothing more is begun, if so.
        slowed_by: which limit keeps the throttle below what is asked for, if so.
        too_low: why moves never end at the throttle that is asked for, if so.
    """

    moves: int
    steps: Mapping[Step, int]
    copied: int
    to_copy: int
    per_second: float | None
    seconds_left: float | None
    waiting_for: str
    slowed_by: str = ""
    too_low: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a move.

    Attributes:
        reason: why it is not done, where that needs saying.
    """

    step: Step
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an execution, read back from the cluster.

    Attributes:
        outcomes: of each move, by its partition.
        stopped: why it ended before all was done; empty if it did not.
        not_in_sync: moved partitions of which a replica is not in sync.
        led_elsewhere: moved partitions that another broker leads than the first of their replicas.
        ongoing: partitions of the moves with a reassignment under way, whoever has ordered it.
        owed: settings of this execution that are not yet what they were, and why.
        owed_before: the same of runs before it.
        respected: settings that somebody else has changed meanwhile.
    """

    outcomes: Mapping[Key, Outcome]
    stopped: str = ""
    not_in_sync: tuple[Key, ...] = ()
    led_elsewhere: tuple[Key, ...] = ()
    ongoing: tuple[Key, ...] = ()
    owed: tuple[str, ...] = ()
    owed_before: tuple[str, ...] = ()
    respected: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> dict[str, int]:
        """How many moves have come how far."""
        counted = Counter(outcome.step.value for outcome in self.outcomes.values())
        return {step.value: counted[step.value] for step in Step if counted[step.value]}

    @property
    def complete(self) -> bool:
        """Whether all has moved that can: what somebody else has deleted or placed otherwise meanwhile is theirs."""
        ended = all(outcome.step in (Step.DONE, *SOMEBODY_ELSE) for outcome in self.outcomes.values())
        return ended and not self.stopped

    @property
    def proved(self) -> bool:
        """Whether all moves are done, their replicas in sync and led as planned, and nothing is left behind."""
        done = all(outcome.step is Step.DONE for outcome in self.outcomes.values())
        left = self.not_in_sync or self.led_elsewhere or self.owed or self.ongoing
        return done and self.complete and not left

    def evidence(self) -> dict[str, Any]:
        """Give what a verdict rests on, for the ledger."""
        others = {
            f"{topic}/{number}": f"{outcome.step}: {outcome.reason}".rstrip(": ")
            for (topic, number), outcome in self.outcomes.items()
            if outcome.step is not Step.DONE
        }
        lists = {"not_in_sync": self.not_in_sync, "led_elsewhere": self.led_elsewhere, "ongoing": self.ongoing}
        return {
            "stopped": self.stopped,
            "not_done": others,
            **{name: [f"{topic}/{number}" for topic, number in keys] for name, keys in lists.items()},
            "owed": list(self.owed),
            "owed_before": list(self.owed_before),
            "respected": list(self.respected),
        }
