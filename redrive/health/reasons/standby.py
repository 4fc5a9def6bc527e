"""What is wrong with the standby store, and with what waits there."""

from __future__ import annotations

from collections.abc import Iterator

from redrive.health.facts import Books, Facts, Unknown
from redrive.health.reasons.cluster import of_state
from redrive.health.reasons.reason import Reason

_REPLAY = "standby-replay"


def of_standby(facts: Facts) -> Iterator[Reason]:
    """Judge what waits in the standby store."""
    standby, books = facts.standby, facts.books
    if isinstance(standby, Unknown) and standby.why in ("slow", "fault"):
        if standby.why == "slow":
            what = f"what waits in the standby store could not be counted in time: {standby.reason}"
            way_out = "producers are not held up by that; `redrive standby status` takes the time that it takes"
            yield Reason("standby-slow", what, way_out)
        return
    if isinstance(standby, Unknown) and standby.why == "not-asked":
        yield Reason(
            "standby-not-asked",
            f"the standby store answers, and is of no use: {standby.reason}",
            "a table that was never made: `redrive topics apply`; one that has held events: see "
            "docs/runbooks/standby-store.md; rights: `redrive security iam cluster-health`. First of all: an outage of "
            "the cluster would now be one of its producers",
        )
        return
    if isinstance(standby, Unknown):
        yield Reason(
            "standby-unknown",
            f"the standby store does not answer: {standby.reason}",
            "mend it first: an outage of the cluster would now be one of its producers",
        )
        return
    if not standby.diverted or isinstance(facts.state, Unknown):
        return
    replaying = isinstance(books, Books) and books.at_work(_REPLAY, facts.at)
    if not replaying and not any(reason.verdict == "unavailable" for reason in of_state(facts)):
        yield Reason(
            "backlog",
            f"{'' if standby.is_whole else 'at least '}{standby.events:,} events wait in {standby.diverted} lanes of "
            "the standby store; no replay is at work",
            f"one starts by itself; at once: `redrive run standby-replay --cluster {facts.cluster} --mode run`",
        )
