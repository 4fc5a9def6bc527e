"""Approval: a run shows its plan, suspends, and goes on when a person has said so; it binds the plan's digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from redrive.errors import StalePlanError
from tasks.operations import ASKED, NOBODY, Run

DAYS = 7
_MOST = 20  # things that have moved are named
_HASH = re.compile(r"[0-9a-f]{32}")  # of contents, which says nothing to people
KEY = "approval"
WAITS = "waits for approval"


class Approval(RunInput):
    """What a person says to a plan."""

    decision: Annotated[
        Literal["approve", "refuse"],
        Field(title="Decision", description="approve: carry the plan out, exactly as it was shown. refuse: end here."),
    ]
    name: Annotated[str, Field(title="Your name", min_length=1, description="Goes into the ledger, for good.")]
    reason: Annotated[str, Field(title="Why", min_length=1, description="Goes into the ledger, too.")]


class RefusedByPersonError(Exception):
    """A person has refused the plan, or may not approve it."""


class NotAskingError(Exception):
    """A run does not take an answer."""


def approve(run: Run, digest: str, summary: str, *, four_eyes: bool) -> str:
    """Have the plan approved: suspends the run, which is started anew from its top when somebody has answered.

    Gives who has approved it, and why.

    Args:
        run: the run.
        digest: the plan's.
        summary: the plan in Markdown, short; stands above the form.
        four_eyes: whoever started the run can't approve it; so it must be known who that is.

    Raises:
        RefusedByPersonError: the answer is no, or it is of somebody who may not give it, or nobody could be told from
            who has started it.
    """
    if four_eyes and run.who == NOBODY:
        raise RefusedByPersonError(
            "with four_eyes, somebody else than who has started a run has to approve it, and Prefect does not say who "
            f"has started this one: start it with `redrive run {run.job} --mode run …`"
        )
    try:
        answer = suspend_flow_run(
            wait_for_input=Approval.with_initial_data(description=summary), timeout=DAYS * 86_400, key=KEY
        )
    except Pause:
        run.note(ASKED, {"digest": digest})
        run.finish("paused", evidence={"reason": WAITS})
        with get_client(sync_client=True) as client:
            run.tag(client, WAITS, instead_of=())
        get_run_logger().info(
            "the plan %s… waits for approval, for %d days: Resume, in the menu of its page; or redrive approve %s",
            digest[:12], DAYS, run.flow_run,
        )  # fmt: skip
        raise
    with get_client(sync_client=True) as client:
        run.untag(client, WAITS)
    said = {"by": answer.name, "reason": answer.reason, "digest": digest}
    if answer.decision != "approve":
        run.note("refused by a person", said)
        raise RefusedByPersonError(f"{answer.name} has refused it: {answer.reason}")
    if four_eyes and answer.name.strip().casefold() == run.who.strip().casefold():
        run.note("approval not taken", said)
        raise RefusedByPersonError(f"{answer.name} has started this run, and somebody else has to approve it")
    run.note("approved", said)
    get_run_logger().info("approved by %s: %s", answer.name, answer.reason)
    return f"{answer.name}: {answer.reason}"


def is_asking(run: FlowRun) -> bool:
    """Say whether a run waits for approval, and has come to rest."""
    return run.state is not None and run.state.is_paused() and WAITS in run.tags


def asking(client: SyncPrefectClient) -> list[FlowRun]:
    """Give the runs that wait for approval."""
    paused = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(state=paused, tags=FlowRunFilterTags(all_=[WAITS])))


def send_answer(client: SyncPrefectClient, run_id: UUID, said: Approval) -> None:
    """Answer a run that waits for approval, as the form in the UI does; a worker then goes on with it.

    Raises:
        NotAskingError: it does not wait, or no longer: somebody has answered it, or its time is over.
    """
    result = client.resume_flow_run(run_id, said.model_dump(mode="json"))
    if result.status is not SetStateStatus.ACCEPT or result.state is None or not result.state.is_scheduled():
        reason = getattr(result.details, "reason", None) or (result.state and result.state.message) or "Prefect refuses"
        raise NotAskingError(str(reason))


def bind(run: Run, canonical: dict[str, Any], known: dict[str, Any] | None) -> str:
    """Keep the plan; if the run has shown one before, this one must be the same. Gives its digest.

    Args:
        run: the run.
        canonical: the plan as it is now.
        known: the plan that the run has shown before it was suspended, or began to carry out before it was cut off.

    Raises:
        StalePlanError: it is another one.
    """
    if known is None:
        return run.keep_plan(canonical)
    moved = [each for name, now in canonical.items() for each in _moved(name, known.get(name), now)]
    if moved:
        more = f"; and {len(moved) - _MOST} more" if len(moved) > _MOST else ""
        raise StalePlanError("; ".join(moved[:_MOST]) + more)
    return str(run.ledger.operation(run.id).plan_digest)


def _moved(name: str, before: object, now: object) -> Iterator[str]:
    """Say what of a plan is not what it was, as far down as it goes."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _moved(f"{name} › {key}", before.get(key), now.get(key))
    elif _HASH.fullmatch(str(before)) and _HASH.fullmatch(str(now)):
        yield f"{name} has changed"
    else:
        yield f"{name} was {_short(before)}, and is {_short(now)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:119] + "…"
