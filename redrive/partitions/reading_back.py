"""What has come of moves, once no more are begun."""

from __future__ import annotations

import time
from collections.abc import Mapping

from redrive.partitions.orders import Orders, led_elsewhere
from redrive.partitions.outcome import Outcome
from redrive.partitions.progress import Step
from redrive.partitions.state import Key
from redrive.partitions.survey import Survey, key_of

NEWS = 5.0
"""Seconds in which news is taken to reach all brokers."""


def settled(orders: Orders, stopped: str) -> Survey:
    """Look once more; until each broker knows what the one knew that was asked before, some may tell an older story."""
    deadline = time.monotonic() + NEWS
    while True:
        survey = orders.look()
        done = (survey.partitions[key_of(move)] for move in survey.at(Step.DONE))
        late = survey.at(Step.PENDING, Step.IN_FLIGHT) or any(map(led_elsewhere, done))
        if stopped or not late or time.monotonic() > deadline:
            return survey
        time.sleep(0.2)


def outcome_of(survey: Survey, key: Key, refused: Mapping[Key, str]) -> Outcome:
    """Say what became of a move, and why; ``refused``: by the cluster, and its reasons."""
    step = survey.steps[key]
    reasons = {
        Step.REFUSED: lambda: refused[key],
        Step.CHANGED: lambda: f"its replicas are {list(survey.partitions[key].replicas)}",
        Step.TAKEN: lambda: f"it moves to {list(survey.ongoing[key].target)}",
    }
    return Outcome(step, reasons[step]() if step in reasons else "")
