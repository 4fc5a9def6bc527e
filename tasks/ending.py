"""How a run ends: in one word and one line; as a tag, a report, an event, and the message of its last state."""

from __future__ import annotations

from typing import Literal, get_args

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Cancelled

from tasks import artifacts
from tasks.operations import Run
from tasks.words import cell

Word = Literal[
    "proved",
    "counted",
    "failed",
    "paused",
    "cancelled",
    "refused",
    "planned",
    "nothing to replay",
    "triaged",
    "nothing to correct",
    "nothing to move",
    "rolled back",
    "reverted",
    "nothing to add",
]
"""How a run ended, in one word."""

PLAN, REPORT = "-plan", "-report"
"""How the keys of a job's plans and reports end."""


def plan_key(job: str) -> str:
    """Give the key of the artifacts that show plans of a job."""
    return job + PLAN


def report_key(job: str) -> str:
    """Give the key of the artifacts that are reports of a job's runs."""
    return job + REPORT


def close(run: Run, word: Word, words: str, counts: dict[str, int], text: str = "") -> str:
    """Show how a run ended, and tell whoever listens; give the message of its last state.

    The word becomes a tag of the flow run, which every list shows. It is not the state's name: pages of Prefect's UI
    leave out runs in states whose names they do not know.
    """
    facts = {"operation": run.id, "ended": word, **{name: str(value) for name, value in counts.items()}}
    with get_client(sync_client=True) as client:
        if text:
            artifacts.create(
                client,
                run.id,
                key=report_key(run.job),
                kind="markdown",
                data=text,
                description=f"{word}: {words}",
                facts=facts,
            )
        run.tag(client, word, instead_of=get_args(Word))
    emit_event(
        "redrive.operation.finished",
        {"prefect.resource.id": f"redrive.operation.{run.id}", "prefect.resource.name": run.job},
        related=[{"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.role": "flow-run"}],
        payload={**facts, "message": words},
    )
    return f"{word}: {words}"


def refused(run: Run, reason: str) -> State[object]:
    """End a run that another one leaves nothing to do. Neither a success nor a failure: so it is not red."""
    return Cancelled(message=close(run, "refused", reason, {}, f"## Refused\n\n{cell(reason)}"))
