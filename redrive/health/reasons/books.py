"""What is wrong with jobs, as the ledger has them."""

from __future__ import annotations

from collections.abc import Iterator

from redrive.health.facts import ALIVE, Facts, Unknown
from redrive.health.reasons.reason import Reason


def of_books(facts: Facts) -> Iterator[Reason]:
    """Judge what the ledger has of jobs."""
    books = facts.books
    if isinstance(books, Unknown):
        if books.why == "fault":
            return
        what = f"the ledger does not answer: {books.reason}"
        yield Reason("ledger-unknown", what, "mend it: no job can run without it")
        return
    signs = {run.id: run.heartbeat_at for run in books.runs if run.status == "running"}
    signs |= {hold.operation: hold.heartbeat_at for hold in books.holds}
    running = {operation for operation, sign in signs.items() if facts.at - sign < ALIVE}
    left = sum(count for operation, count in books.debts.items() if operation not in running)
    if left:
        yield Reason(
            "debts",
            f"{left} settings are still as a job left them that has ended",
            _way_to_settle(facts),
        )
    for run in books.runs:
        if run.status == "running" and run.id not in running:
            yield Reason(
                f"run-silent:{run.job}",
                f"the last {run.job} shows no sign of life since {run.heartbeat_at:%H:%M} UTC",
                "it was killed, or its machine is gone; run the job again: it goes on",
            )
        if run.status == "failed":
            yield Reason(
                f"run-failed:{run.job}",
                f"the last {run.job} has failed",
                f"`redrive operations show {run.id[:8]}`" + (f", or {run.run_url}" if run.run_url else ""),
            )


def _way_to_settle(facts: Facts) -> str:
    settle = f"`redrive debts settle {facts.cluster}`; one that nobody can pay any more: `redrive debts write-off`"
    if isinstance(facts.state, Unknown) or not facts.state.moving:
        return settle
    return (
        "partitions still move: have the run that moves them gone on with, which restores the settings, too: `redrive "
        f"run partition-rebalance --cluster {facts.cluster} --goal go_on --mode run`, or roll_back; then {settle}"
    )
