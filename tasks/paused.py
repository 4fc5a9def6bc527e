"""*Pause*, in the menu of a run's page in Prefect's UI: it sets the run's state, and tells the process nothing.

Prefect's engine looks out for that (at once, or each ten seconds), and ends the process when the step that is at work
has ended, which may take hours. So whatever works for long asks here, and stops as for a cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

PAUSED = "paused in Prefect's UI"
RESUME = "Resume, in the menu of its page, goes on with it until the pause is over; a new run does so at any time"


@dataclass(frozen=True, slots=True)
class StoppedByHand:
    """How a run ends that somebody has stopped.

    Attributes:
        word: the last one of the run.
        reason: why it ends.
        way_on: one more sentence of its report, after others; empty if there is nothing more to say.
    """

    word: Literal["paused", "cancelled"]
    reason: str
    way_on: str = ""


def was_paused() -> bool:
    """Say whether somebody has paused this flow run while it works, in Prefect's UI or as that does."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run_suspension_request.is_requested()


def is_paused(run: FlowRun) -> bool:
    """Say whether somebody has paused a flow run, and it has stopped; one that waits for approval has another tag."""
    return run.state is not None and run.state.is_paused() and "paused" in run.tags


def stopped_by_hand() -> StoppedByHand:
    """Say how a run ends that somebody has stopped: was it paused, or cancelled?"""
    if was_paused():
        return StoppedByHand("paused", PAUSED, f". It was {PAUSED}: {RESUME}")
    return StoppedByHand("cancelled", "cancelled")
