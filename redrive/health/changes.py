"""What has changed since the last look: the events that tell of it, by name and shape."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redrive.health.facts import Facts, Standby, Unknown
from redrive.health.judging import Health
from redrive.ledger import Look

UNAVAILABLE = "redrive.cluster.unavailable"
"""Events of a cluster's topics can't be published any more."""
RECOVERED = "redrive.cluster.recovered"
"""They can be published again; what else is wrong then stands in it."""
UNWELL = "redrive.cluster.unwell"
"""Something else is wrong, and was not lately."""
LATELY = timedelta(minutes=15)
"""A trouble that comes and goes is told again only once it was away for so long: people are called by it."""
BACKLOG = "redrive.standby.backlog"
"""Events wait in the standby store of a cluster that takes events, and that has not just recovered."""


@dataclass(frozen=True, slots=True)
class Change:
    """An event about a cluster.

    Attributes:
        name: one of those above.
        payload: ``cluster``, ``verdict`` (now), ``before`` (the last verdict; None at the first look), ``reasons``
            (what and way out of each); of a backlog also ``events``, ``lanes`` and ``oldest``.
    """

    name: str
    payload: dict[str, Any]


def look_of(health: Health, before: Look | None) -> Look:
    """Give what is to be remembered of a look."""
    facts, verdict = health.facts, _verdict(before, health)
    since = before.since if before is not None and before.verdict == verdict else facts.at
    lags = {lag.group: lag.events for lag in facts.lags} if isinstance(facts.lags, tuple) else {}
    troubles = _known(before, facts.at) | {reason.code: facts.at.isoformat() for reason in health.reasons}
    backlog = health.backlog if health.backlog is not None else before is not None and before.backlog
    stayed, counted = _stayed(facts, before), _counted(facts, before)
    return Look(facts.cluster, facts.at, verdict, since, backlog, lags, troubles, stayed, counted)


def _known(before: Look | None, at: datetime) -> dict[str, str]:
    """Give the troubles of late that were told, with when each was seen last."""
    troubles = before.troubles if before is not None else {}
    return {code: seen for code, seen in troubles.items() if at - datetime.fromisoformat(seen) < LATELY}


def _verdict(before: Look | None, health: Health) -> str:
    """Give the verdict that is remembered: while nobody knows whether events can be published, the last one stands.

    Else a cluster that was away and can't be asked would pass for one that has recovered, and its recovery for no news.
    """
    return health.verdict if health.is_certain or before is None else before.verdict


def _counted(facts: Facts, before: Look | None) -> dict[str, Any]:
    """Give what the next look at the standby store goes on from."""
    if isinstance(facts.standby, Unknown):
        return before.counted if before else {}
    return dict(facts.standby.counted)


def _stayed(facts: Facts, before: Look | None) -> dict[str, Any]:
    """Give what the next look at topics that producers have left goes on from."""
    if isinstance(facts.stayed, Unknown):
        return before.stayed if before else {}
    return {
        each.name: {
            "generation": each.generation, "events": each.events, "since": each.since, "last": each.last,
            "read_to": {str(partition): offset for partition, offset in each.read_to.items()},
            "latest": {str(partition): offset for partition, offset in each.latest.items()},
        }
        for each in facts.stayed
    }  # fmt: skip


def changes(before: Look | None, health: Health) -> list[Change]:
    """Say what is new since the last look; None: there was none, and then what is bad is new."""
    was, now = before.verdict if before else None, _verdict(before, health)
    names = []
    if was != now and now == "unavailable":
        names.append(UNAVAILABLE)
    if was == "unavailable" and now != "unavailable":
        names.append(RECOVERED)
    known = _known(before, health.facts.at)
    # What is left after an outage stands in its recovery, and was told if it was there before: a cluster that comes and
    # goes with a broker down is not unwell anew each time.
    is_new = any(reason.code not in known for reason in health.reasons)
    if health.verdict == "unwell" and is_new:
        names.append(UNWELL)
    if health.backlog and not (before and before.backlog) and RECOVERED not in names:
        names.append(BACKLOG)
    return [Change(name, _payload(name, was, health)) for name in names]


def _payload(name: str, was: str | None, health: Health) -> dict[str, Any]:
    standby, payload = health.facts.standby, dict[str, Any]()
    if name == BACKLOG and isinstance(standby, Standby):
        oldest = None if standby.oldest is None else standby.oldest.isoformat()
        payload = {"events": standby.events, "lanes": standby.diverted, "oldest": oldest}
    return {
        "cluster": health.facts.cluster,
        "verdict": health.verdict,
        "before": was,
        "reasons": [{"what": reason.what, "way_out": reason.way_out} for reason in health.reasons],
        **payload,
    }
