"""What a backfill has come to: counts, evidence, and the verdict in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from redrive.aliases.switching import Switched, way_back
from redrive.migrations.census import Count
from redrive.migrations.moving import GroupMove
from redrive.migrations.plan import Plan
from redrive.migrations.source import GONE
from redrive.migrations.verifying import Checked
from redrive.pump.proof import Proof
from redrive.verdict import Verdict
from tasks.judged import Judged
from tasks.pace import Change, Pace
from tasks.schema_backfill.comparing import How
from tasks.schema_backfill.copying import End
from tasks.schema_backfill.so_far import Done
from tasks.words import count, duration, number

GONE_BEFORE = "deleted from the source before they were copied"

_OTHERS = (("parked", "parked"), ("left_out", "left out"), ("gone", GONE_BEFORE))


def _left_out(reason: str) -> str:
    return GONE_BEFORE if reason == GONE else f"left out: {reason}"


@dataclass(frozen=True, slots=True)
class Ending(Judged[End]):
    """All that is known at the end of a backfill.

    Attributes:
        plan: what was to be done.
        approved: who has approved it, and why; empty if nobody had to.
        ends: how the work at each partition has ended.
        checked: what comparing both topics has found.
        how: what was compared.
        schemas: the target's events, by the schema that they are written with.
        moved: what became of the consumer groups.
        switched: what became of the producers, if they were to be switched and were.
        storing: that they may store what they publish, if the switch was begun and not ended; see `still_storing`.
        unverified: why there was no comparison, if there was none.
        seconds: how long copying took.
        compare_seconds: how long comparing took.
        started_pace: the pace that the run began with.
        changes: what was set in mid-run.
        speeds: seconds → events a second.
    """

    plan: Plan
    approved: str
    ends: Sequence[End]
    checked: Sequence[Checked]
    how: How
    schemas: Count
    moved: Sequence[GroupMove]
    unverified: str
    seconds: float
    compare_seconds: float
    started_pace: str
    changes: Sequence[Change]
    speeds: Sequence[tuple[float, float]] = ()
    switched: Switched | None = None
    storing: str = ""
    counts: dict[str, int] = field(init=False)
    reasons: Counter[str] = field(init=False)

    @classmethod
    def of(
        cls,
        plan: Plan,
        done: Done,
        approved: str,
        *,
        how: How,
        rate: float | None,
        speeds: Sequence[tuple[float, float]],
    ) -> Self:
        """Make it of what a run has come to; `rate` is what it began with, in events a second."""
        return cls(
            plan=plan,
            approved=approved,
            ends=done.ends,
            checked=done.checked,
            how=how,
            schemas=done.schemas,
            moved=done.moved,
            switched=done.switched,
            storing=done.storing,
            unverified=done.unverified or (done.switched.unverified if done.switched else ""),
            seconds=done.copy_seconds,
            compare_seconds=done.compare_seconds,
            started_pace=str(Pace(rate=rate)),
            changes=done.changes,
            speeds=speeds,
        )

    def __post_init__(self) -> None:
        reasons: Counter[str] = Counter()
        outcomes = [end.result.outcome for end in self.ends if end.result]
        for outcome in outcomes:
            reasons.update({f"parked: {reason}": events for reason, events in outcome.parked.items()})
            reasons.update({_left_out(reason): events for reason, events in outcome.skipped.items()})
        counts = {
            "events": sum(outcome.read for outcome in outcomes),
            "copied": sum(outcome.published for outcome in outcomes),
            "parked": sum(sum(outcome.parked.values()) for outcome in outcomes),
            "left_out": sum(sum(outcome.skipped.values()) - outcome.skipped.get(GONE, 0) for outcome in outcomes),
            "gone": sum(outcome.skipped.get(GONE, 0) for outcome in outcomes),
            "compared": sum(each.events for each in self.checked),
            "groups_moved": sum(not each.reason for each in self.moved),
        }
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "reasons", reasons)

    @property
    def all_proofs(self) -> list[Proof]:
        """What was compared, as proofs. That all is there is not proved if some was deleted before it was copied."""
        good: Verdict = "counted" if self.how == "sample" or self.counts["gone"] else "proved"
        return [
            Proof(
                "failed" if each.findings else good,
                each.findings,
                {each.unit.name: each.found},
                each.events,
                each.seconds,
            )
            for each in self.checked
        ]

    @property
    def findings(self) -> list[str]:
        """What is wrong, from the evidence."""
        found = [finding for each in self.checked for finding in each.findings]
        found += self.switched.findings if self.switched else ()
        found += [f"{end.unit}: {end.reason}" for end in self.ends if end.how == "failed"]
        found += self._others
        found += [
            f"{end.unit}: {number(end.result.outcome.read)} events were read, which is not what became of them in all"
            for end in self.ends
            if end.result and not end.result.outcome.balanced
        ]
        return found

    @property
    def _others(self) -> list[str]:
        """What of the target has not the schema that all is to have; if others publish there, that is their affair."""
        if len(self.checked) < len(self.ends) or any(each.foreign is not None for each in self.checked):
            return []
        if not self.checked or self.how == "new" or self.plan.stock is not None:
            return []
        now, target = self.plan.migration.recipe.target, self.plan.migration.target
        found = {f"schema id {each}": events for each, events in self.schemas.ids.items() if each != now}
        found |= {"no frame": self.schemas.unframed} if self.schemas.unframed else {}
        return [
            f"{target}: {count(each, 'event')} with {what}, and not schema id {now}" for what, each in found.items()
        ]

    @property
    def stayed(self) -> list[GroupMove]:
        """Consumer groups that were to be moved, and were not."""
        return [each for each in self.moved if each.reason]

    @property
    def pending(self) -> bool:
        """Whether something is left for a later run, if only a consumer group."""
        return bool(self.unfinished or self.stayed or self._stranded)

    @property
    def _stranded(self) -> str:
        """Why consumers can't follow producers that were switched; empty: they can, or need not."""
        if self.switched is None or not self.switched.no_places:
            return ""
        alias = self.switched.alias
        return (
            f"producers of {alias.name} publish to {alias.current}, and consumers that follow them get nothing more: "
            f"{self.switched.no_places}. Run the goal {way_back(alias)}, then {self.plan.goal} again"
        )

    @property
    def _keys(self) -> str:
        """What a topic that was migrated in place holds now."""
        now = self.plan.migration.recipe.target
        live = sum(self.schemas.ids.values()) + self.schemas.unframed
        old = live - self.schemas.ids.get(now, 0)
        return f"; {number(old)} of {count(live, 'live key')} have another schema still"

    @property
    def done(self) -> str:
        """What was done with events, in a word or two."""
        return "copied" if self.plan.stock is None else "published again"

    @property
    def headline(self) -> str:
        """The end in one line, without that word."""
        if self.storing:
            reasons = [self.unverified, *self.findings, *(end.reason for end in self.unfinished)]
            return f"{self.storing}. Why it has ended: {next(filter(None, reasons), 'it is not known')}"
        if self.findings or self._stranded:
            return [*self.findings, self._stranded][0]
        if self.unfinished:
            first = self.unfinished[0]
            return (
                f"{len(self.unfinished)} of {count(len(self.ends), 'partition')} not finished, nothing lost: "
                f"{first.unit}: {first.reason}. A new run goes on{self._over}"
            )
        counts = self.counts
        line = f"{count(counts['copied'], 'event')} {self.done}"
        if self.unverified:
            return f"{line}{self._over}, but what comes after that could not be done: {self.unverified}"
        if self.stayed:
            first_group = self.stayed[0]
            return (
                f"{line}; {len(self.stayed)} of {count(len(self.moved), 'consumer group')} not moved: "
                f"{first_group.group}: {first_group.reason}. A new run goes on"
            )
        line += f", {_compared(self.how, counts['compared'])}" if self.plan.stock is None else self._keys
        line += "".join(f", {number(counts[name])} {word}" for name, word in _OTHERS if counts[name])
        if self.moved:
            line += f"; {count(len(self.moved), 'consumer group')} moved"
        return f"{line}{self._over}; {duration(self.seconds)}"

    @property
    def _over(self) -> str:
        """Where producers publish now, if they were switched."""
        if not self.switched:
            return ""
        return f"; producers of {self.switched.alias.name} publish to {self.switched.alias.current}"

    @property
    def _not_proved(self) -> list[tuple[str, str]]:
        """Topics whose stored events were published and not found again: what is in the standby store is evidence."""
        if self.switched is None or not self.switched.findings:
            return []
        return [(self.plan.topics.cluster, self.switched.alias.name)]

    def evidence(self) -> dict[str, Any]:
        """Give what the verdict rests on, for the ledger."""
        return {
            "findings": self.findings,
            "unverified": self.unverified,
            "storing": self.storing,
            "seconds": round(self.seconds, 3),
            **self.pace_evidence(),
            "reasons": dict(self.reasons),
            "schemas": {str(schema_id): events for schema_id, events in self.schemas.ids.items()},
            "groups": [
                {
                    "group": each.group,
                    "places": {str(partition): list(place) for partition, place in each.places.items()},
                    "reason": each.reason,
                }
                for each in self.moved
            ],
            "switched": self.switched and {
                "name": self.switched.alias.name, "to": self.switched.alias.current,
                "generation": self.switched.alias.generation, "stored": self.switched.stored,
                "seconds": round(self.switched.seconds, 3), "no_places": self.switched.no_places,
                "read_back": not self.switched.unverified,
            },
            "earlier": dict(self.switched.earlier) if self.switched else {},
            "not_proved": self._not_proved,
            "units": [_unit_evidence(end) for end in self.ends],
            "compared": [
                {
                    "unit": each.unit.name, "events": each.events, "found": each.found, "parked": each.parked,
                    "compacted": each.compacted, "expired": each.expired,
                    "gone": each.gone, "values": each.compared, "foreign": each.foreign,
                    "seconds": round(each.seconds, 3),
                }
                for each in self.checked
            ],
        }  # fmt: skip


def _compared(how: How, events: int) -> str:
    what = f"{number(events)} compared with the source"
    return f"{what}: each once, in order, as the rules make it" if how != "sample" else f"{what}: each once, in order"


def _unit_evidence(end: End) -> dict[str, Any]:
    facts: dict[str, Any] = {"unit": end.unit.name, "end": end.how, "reason": end.reason}
    if end.result:
        outcome = end.result.outcome
        facts |= {
            "read": outcome.read,
            "copied": outcome.published,
            "up_to": end.result.next,
            "longest_transaction": round(outcome.longest_transaction, 3),
        }
    return facts
