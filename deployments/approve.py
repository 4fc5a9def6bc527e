"""``redrive approve``: answering a run that shows its plan and waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from redrive.cli.output import out
from redrive.errors import ConfigError
from redrive.person import person

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun


def approve(
    run: Annotated[str, typer.Argument(help="The run that waits: its id, or the first letters of it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the ledger.")],
    name: Annotated[str | None, typer.Option("--name", help="Who answers; else who you are logged in as.")] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it: the run ends, and nothing was changed.")] = False,
) -> None:
    """Approve the plan of a run that waits for that, or refuse it.

    It binds the plan's digest: if anything of the plan has changed when the run goes on, it stops.
    """
    from deployments.follow import artifacts_of, connected, run_url
    from tasks.approval import Approval, NotAskingError, send_answer
    from tasks.ending import PLAN

    name = person() if name is None else name
    for option, text in (("--name", name), ("--reason", reason)):
        if not text.strip():
            raise ConfigError(option, "is empty; it goes into the ledger")
    with connected() as client:
        waiting = _find(client, run)
        plans = [plan for key, plan in artifacts_of(client, waiting.id).items() if key.endswith(PLAN)]
        for plan in plans:
            digest = (plan.metadata_ or {}).get("plan_digest", "")
            out.print(f"plan {digest[:16]}…: {plan.description}", markup=False, highlight=False, soft_wrap=True)
        said = Approval(decision="refuse" if refuse else "approve", name=name, reason=reason)
        try:
            send_answer(client, waiting.id, said)
        except NotAskingError as error:
            raise ConfigError("approve", f"run {waiting.id} does not take the answer: {error}") from None
        done = f"refused by {name}; the run ends" if refuse else f"approved by {name}; the run goes on"
        out.print(f"{done}  {run_url(waiting.id)}".rstrip(), markup=False, highlight=False, soft_wrap=True)


def _find(client: SyncPrefectClient, run: str) -> FlowRun:
    from uuid import UUID

    from prefect.exceptions import ObjectNotFound

    from tasks.approval import asking

    waiting = asking(client)
    found = [each for each in waiting if str(each.id).startswith(run)] if run else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError("approve", f"{len(found)} runs wait whose ids begin with {run}; give more of it")
    try:
        other = client.read_flow_run(UUID(run))
    except (ValueError, ObjectNotFound):
        ids = ", ".join(str(each.id) for each in waiting) or "none does"
        raise ConfigError("approve", f"no run {run!r} waits for approval; those that do: {ids}") from None
    state = other.state.name.lower() if other.state and other.state.name else "unknown"
    raise ConfigError("approve", f"run {run} ({other.name}) does not wait for approval: it is {state}")
