"""What has come of moves, once no more are begun."""

from __future__ import annotations

import time
from collections.abc import Mapping

from redrive.partitions.orders import NEWS, Orders, lags, led_elsewhere
from redrive.partitions.outcome import Outcome, Result
from redrive.partitions.progress import Step
from redrive.partitions.state import Key
from redrive.partitions.survey import Survey, key_of


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


def result_of(survey: Survey, refused: Mapping[Key, str]) -> Result:
    """Say what became of all moves, by the last look; ``refused``: by the cluster, and its reasons."""
    done = [survey.partitions[key_of(move)] for move in survey.at(Step.DONE)]
    return Result(
        outcomes={key: outcome_of(survey, key, refused) for key in survey.moves},
        not_in_sync=tuple(each.key for each in done if lags(each)),
        led_elsewhere=tuple(each.key for each in done if led_elsewhere(each)),
        ongoing=tuple(survey.ongoing),
    )


def outcome_of(survey: Survey, key: Key, refused: Mapping[Key, str]) -> Outcome:
    """Say what became of a move, and why; ``refused``: by the cluster, and its reasons."""
    step = survey.steps[key]
    reasons = {
        Step.REFUSED: lambda: refused[key],
        Step.CHANGED: lambda: _changed(survey, key),
        Step.TAKEN: lambda: f"it moves to {list(survey.ongoing[key].target)}",
    }
    return Outcome(step, reasons[step]() if step in reasons else "")


def _changed(survey: Survey, key: Key) -> str:
    now = survey.partitions[key].replicas
    back = set(now) == set(survey.moves[key].before)
    return f"its replicas are {list(now)}" + (", as somebody has cancelled the move or taken it back" if back else "")
