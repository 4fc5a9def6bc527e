"""What is wrong with topics whose producers have been switched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from redrive.health.facts import Facts
from redrive.health.reasons.reason import Reason
from redrive.pump.names import ALIASES_TOPIC

_STILL = timedelta(hours=1)
"""So long after its last event to a topic that was left a producer passes for one that still publishes there."""
_MOST_ODD = 10
"""Aliases that are named one by one: anybody may have written any number of them."""


def of_stayed(facts: Facts) -> Iterator[Reason]:
    """Judge what is still published to topics that were left."""
    for each in facts.stayed if isinstance(facts.stayed, tuple) else ():
        if each.since is None or each.last is None:
            continue
        since, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (each.since, each.last))
        if each.is_copied and facts.at - last > _STILL:
            continue  # whoever it was publishes there no more, and nothing is missing
        goal = "copy" if each.topic == each.name else "feed_back"
        yield Reason(
            f"stayed-behind:{each.topic}",
            f"{each.events:,} events have come to {each.topic} since {since:%Y-%m-%d %H:%M} UTC, the last "
            f"{last:%Y-%m-%d %H:%M}, though its producers were switched to {each.current}"
            + ("" if each.is_copied else f"; not all are in {each.current}"),
            f"see who it is: `redrive schemas writers {each.topic}`; a producer of the SDK: bring it up to date, and "
            "start it again; another: have it publish to "
            f"{each.current}. To have the events copied: `redrive run schema-backfill {each.name} {each.target} "
            f"--goal {goal} --mode run`, with the rules of the switch",
        )


def of_odd_aliases(facts: Facts) -> Iterator[Reason]:
    """Name the records of the control topic that can't be read."""
    names = sorted(facts.odd_aliases, key=lambda name: (name not in facts.ours, name))
    for name in names[:_MOST_ODD]:
        what = f"the record of {name or 'no name'} in {ALIASES_TOPIC} can't be read: {facts.odd_aliases[name]}"
        way_out = "delete it: see docs/runbooks/schema-change.md"
        if name in facts.ours:
            what += "; so nobody knows where its events go, its replays wait, and its letters are not corrected"
            way_out = (
                f"if its producers are switched: `redrive run schema-backfill {name} TARGET --goal switch_producers "
                f"--mode run`, with the rules of the switch, writes it anew; else {way_out}"
            )
        yield Reason(f"odd-alias:{name}", what, way_out)
    if len(names) > _MOST_ODD:
        what = f"{len(names) - _MOST_ODD:,} more records in {ALIASES_TOPIC} can't be read"
        yield Reason("odd-aliases", what, "see who writes there; delete them: docs/runbooks/schema-change.md")
