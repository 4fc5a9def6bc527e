"""What a run shows: its plan, and how it ends, in one word and one line, as a tag, a report, an event and a message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Cancelled, Failed

from tasks import artifacts
from tasks.operations import Run
from tasks.paused import stopped_by_hand
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
    "started",
]
"""How a run ended, in one word. ``started``: others, which have ends of their own."""

FRESH = timedelta(minutes=5)
"""So long a look at a cluster says how it is; one is made each minute."""

PLAN, REPORT = "-plan", "-report"
"""How the keys of a job's plans and reports end."""


def plan_key(job: str) -> str:
    """Give the key of the artifacts that show plans of a job."""
    return job + PLAN


def report_key(job: str) -> str:
    """Give the key of the artifacts that are reports of a job's runs."""
    return job + REPORT


def show_plan(run: Run, text: str, words: str, facts: dict[str, str]) -> None:
    """Show the plan of a run.

    Args:
        run: the run.
        text: the plan, as Markdown.
        words: the same in one line.
        facts: for programs that follow the run.
    """
    with get_client(sync_client=True) as client:
        artifacts.create(
            client, run.flow_run, key=plan_key(run.job), kind="markdown", data=text, description=words, facts=facts
        )


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
                run.flow_run,
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
        related=[{"prefect.resource.id": f"prefect.flow-run.{run.flow_run}", "prefect.resource.role": "flow-run"}],
        payload={**facts, "message": words},
    )
    return f"{word}: {words}"


def end_stopped(run: Run, words: str, counts: dict[str, int], **evidence: Any) -> None:
    """End a run that was cancelled, or paused in Prefect's UI, at once: Prefect does not wait for long.

    Args:
        run: the run.
        words: how far it has come, and how to go on.
        counts: of what it has done.
        evidence: goes into the ledger, beside the reason.
    """
    stopped = stopped_by_hand()
    words += stopped.way_on
    run.finish(stopped.word, counts=counts, evidence={"reason": stopped.reason, **evidence})
    close(run, stopped.word, words, counts, f"## {stopped.word.capitalize()}\n\n{cell(words)}")


def refused(run: Run, reason: str) -> State[object]:
    """End a run that another one leaves nothing to do. Neither a success nor a failure: so it is not red."""
    return Cancelled(message=close(run, "refused", reason, {}, f"## Refused\n\n{cell(reason)}"))


def held_up(run: Run, message: str, clusters: Iterable[str], by: Sequence[str] = ()) -> State[Any]:
    """Give the last state of a run that an outage has kept from its work.

    People are told of each run that fails, and jobs start by the clock for as long as an outage lasts. So a run that
    comes up against what people know ends as cancelled, with the same message and verdict.

    Args:
        run: the run.
        message: what the state says.
        clusters: whose work was held up. That they are away is known if a look has found each of them unavailable.
        by: what has held it up, by name; the ledger has it as ``held_up_by``. That is known if the run before ended as
            paused for just the same.
    """
    names = set(clusters)
    if (names and all(_is_away(run, name) for name in names)) or (by and _before(run) == list(by)):
        return Cancelled(message=message)
    return Failed(message=message)


def _is_away(run: Run, cluster: str) -> bool:
    look = run.ledger.looks.last(cluster)
    return look is not None and look.verdict == "unavailable" and datetime.now(UTC) - look.at < FRESH


def _before(run: Run) -> list[str] | None:
    """What has held up the run before this one; None if it did not pause."""
    before = next((row for row in run.earlier() if row.mode == "run" and row.status != "running"), None)
    if before is None or before.status != "paused":
        return None
    return (before.evidence or {}).get("held_up_by")
