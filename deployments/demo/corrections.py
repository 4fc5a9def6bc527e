"""The demo's second act: the cancelled flights, which are dead letters, are put right by rules and arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from deployments import follow as following
from redrive.errors import RedriveError
from tasks.approval import Approval, is_asking, send_answer

RULES = "rules/cancelled_flights.yaml"
WHO = "the demo"
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Corrected:
    """What came of it.

    Attributes:
        letters: letters of the batch.
        published: those that were published again.
        verdict: the run's word, ``proved`` if all is well.
        seconds: how long it took, from triage to the verdict.
    """

    letters: int
    published: int
    verdict: str
    seconds: float


def start_triage() -> UUID:
    """Start the triage of the dead letters; give its run."""
    with following.connected() as client:
        return following.start(client, "dlq-triage", {"triage": {"mode": "run"}}, WHO).id


def correct_letters(triage: UUID, say: Callable[[str], None]) -> Corrected:
    """Correct what a triage enters, as an operator would, and approve the plan.

    Raises:
        RedriveError: a run did not end well.
    """
    began = time.monotonic()
    with following.connected() as client:
        end = following.follow(client, triage, _patience("triage"))
        say(f"triage of the dead letters: {end.message}")
        # A cancelled flight is a fact of its own: that its plane has flown since does not make it less so.
        given = {"mode": "run", "rules": RULES, "order": "publish"}
        run = following.start(client, "dlq-correction", {"correction": given}, WHO)
        say(f"the correction plans by [bold]{RULES}[/]  {following.run_url(run.id)}")
        _approve(client, run.id, say)
        end = following.follow(client, run.id, _patience("the correction"))
    if not end.good:
        raise RedriveError(f"the correction has failed: {end.message}")
    say(f"correction [bold]{end.message}[/]")
    letters, published = (int(end.facts.get(name, 0)) for name in ("letters", "published"))
    return Corrected(letters, published, end.word, time.monotonic() - began)


def _patience(what: str) -> Callable[[following.Moment], None]:
    """Give what ends the waiting for a run that does not end."""
    deadline = time.monotonic() + PATIENCE

    def wait(moment: following.Moment) -> None:
        if time.monotonic() > deadline:
            raise RedriveError(f"{what} is {moment.state.name} after {PATIENCE:.0f} s; see the worker's log")

    return wait


def _approve(client: SyncPrefectClient, run: UUID, say: Callable[[str], None]) -> None:
    """Wait for the plan, and approve it."""
    deadline = time.monotonic() + PATIENCE
    while not is_asking(now := client.read_flow_run(run)):
        if now.state is not None and now.state.is_final():
            raise RedriveError(f"the correction did not wait for approval: {now.state.message}")
        if time.monotonic() > deadline:
            raise RedriveError(f"the correction has not planned within {PATIENCE:.0f} s; see the worker's log")
        time.sleep(0.3)
    (plan,) = (artifact for key, artifact in following.artifacts_of(client, run).items() if key.endswith("-plan"))
    say(f"its plan waits for approval: {plan.description}; [bold]approved[/]")
    send_answer(client, run, Approval(decision="approve", name=WHO, reason="the plan shows what was wanted"))
