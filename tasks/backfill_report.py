"""How a backfill ended: counts, evidence, verdict; in the ledger, as an artifact, and as the flow run's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.aliases.switching import Switched, way_back
from redrive.migrations.census import Count
from redrive.migrations.groups import Group
from redrive.migrations.moving import GroupMove
from redrive.migrations.plan import Plan
from redrive.migrations.source import GONE
from redrive.migrations.verifying import Checked
from redrive.pump.proof import Proof, Verdict
from tasks.backfill import SAMPLE_OF, End, How
from tasks.backfill_plan import headline, keys_table, moves_preview
from tasks.board import Board
from tasks.ending import close
from tasks.judged import Judged
from tasks.operations import Run
from tasks.pace import Change
from tasks.pictures import curve
from tasks.words import cell, count, duration, number, table

MOST_ROWS = 100


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
            "pace": self.started_pace,
            "pace_changes": [{"at": change.at, **change.pace.model_dump()} for change in self.changes],
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


_GONE = "deleted from the source before they were copied"

_OTHERS = (("parked", "parked"), ("left_out", "left out"), ("gone", _GONE))


def _left_out(reason: str) -> str:
    return _GONE if reason == GONE else f"left out: {reason}"


def finish(run: Run, ending: Ending) -> State[Any]:
    """Enter the end in the ledger, show it, and give the flow run's last state."""
    run.finish(ending.status, ending.verdict, ending.counts, ending.evidence())
    message = close(run, ending.word, ending.headline, ending.counts, report_text(run, ending))
    return Completed(message=message) if ending.status == "done" else Failed(message=message)


def finish_early(run: Run, plan: Plan) -> State[Any]:
    """End a run that was only to plan."""
    counts = {"events": plan.left}
    run.finish("done", counts=counts)
    return Completed(message=close(run, "planned", headline(plan), counts))


def finish_moved(
    run: Run, moved: Sequence[GroupMove], source: str, target: str, *, groups: Sequence[Group], mode: str
) -> State[Any]:
    """End a run that only moves consumer groups back.

    Args:
        run: the run.
        moved: what became of the groups, or would.
        source: the topic that they go back to.
        target: the topic that they leave.
        groups: as they stand.
        mode: whether that was only a plan.
    """
    stayed = [each for each in moved if each.reason]
    counts = {"groups_moved": len(moved) - len(stayed) if mode == "run" else 0}
    if mode == "plan":
        words = f"{count(len(groups), 'consumer group')} to move back"
        run.finish("done", counts=counts)
        text = "\n\n".join([_groups_table(groups), moves_preview(moved), _after_revert(source, target)])
        return Completed(message=close(run, "planned", words, counts, text))
    text = "\n\n".join(["## Consumer groups, moved back", _moves_table(moved), _after_revert(source, target)])
    evidence = {"groups": [{"group": each.group, "reason": each.reason} for each in moved]}
    if stayed:
        words = (
            f"{len(stayed)} of {count(len(moved), 'consumer group')} not moved: {stayed[0].group}: {stayed[0].reason}"
        )
        run.finish("paused", counts=counts, evidence=evidence)
        return Failed(message=close(run, "paused", words, counts, text))
    words = f"{count(len(moved), 'consumer group')} moved back"
    run.finish("done", counts=counts, evidence=evidence)
    return Completed(message=close(run, "reverted", words, counts, text))


def _after_revert(source: str, target: str) -> str:
    return (
        f"> **Go on with:** point the consumers of these groups at {cell(source)}. What producers publish to "
        f"{cell(target)} comes there by the goal feed_back alone: run it with `follow`, or they get nothing more. A "
        "group that follows switches by itself (`successors`) goes back by the goal switch_back, not by this."
    )


def still_storing(source: str, target: str, goal: str, rules: str | None) -> str:
    """Say what producers do after a switch that was begun and not ended, and what to do about it."""
    options = f" --rules {rules}" if rules else ""
    return (
        f"producers of {source} may be STORING what they publish, and readers get none of it until this is run again: "
        f"`redrive run schema-backfill {source} {target}{options} --goal {goal} --mode run`"
    )


def cancelled(run: Run, board: Board, storing: str = "") -> None:
    """End a run that was cancelled, at once: Prefect does not wait for long.

    Args:
        run: the run.
        board: what it has done.
        storing: see `still_storing`; it comes first.
    """
    totals = board.totals()
    counts = {"events": totals.read, "copied": totals.published}
    words = f"{number(totals.read)} of {count(totals.total, 'event')} done; a new run goes on with what is left"
    if storing:
        words = f"{storing}. {words}"
    run.finish("cancelled", counts=counts, evidence={"reason": "cancelled", "storing": storing})
    close(run, "cancelled", words, counts, f"## Cancelled\n\n{words}")


def report_text(run: Run, ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    counts = ending.counts
    copied = f"{count(counts['copied'], 'event')} {ending.done}"
    words = ending.headline.removeprefix(f"{copied}, ").removeprefix(f"{copied}; ")
    parts = [f"## {ending.word.capitalize()}: {copied}", cell(words[:1].upper() + words[1:]) + "."]
    if ending.findings:
        parts.append("\n".join(f"- {cell(finding)}" for finding in ending.findings[:50]))
    facts = [
        ["events of the source, in this run", number(counts["events"])],
        [ending.done, number(counts["copied"])],
        ["parked", number(counts["parked"])],
        ["left out", number(counts["left_out"])],
        *([[_GONE, number(counts["gone"])]] if counts["gone"] else []),
        ["compared, with what earlier runs have copied", f"{number(counts['compared'])} ({_HOW[ending.how]})"],
        ["time to copy", duration(ending.seconds) + _pace_of(counts["events"], ending.seconds)],
        ["time to compare", duration(ending.compare_seconds)],
        ["pace", ", then ".join([ending.started_pace, *(str(change.pace) for change in ending.changes)])],
        ["started by", run.who],
        *([["approved by", cell(ending.approved)]] if ending.approved else []),
        ["operation", f"`{run.id}`" + (f" ([flow run]({run.url}))" if run.url else "")],
    ]
    parts.append(table(["", ""], facts, left=2))
    if expired := sum(each.expired for each in ending.checked):
        parts.append(
            f"> {count(expired, 'event')} of the source could not be compared: the target's retention has deleted what "
            "came before its first copy."
        )
    if ending.moved:
        target = ending.plan.migration.target
        parts.append(
            f"> **Go on with:** point the consumers of the moved groups at {cell(target)}. As long as producers write "
            f"to {cell(ending.plan.migration.source)}, run the goal copy with `follow`, or nothing more comes from it."
        )
    if ending.switched:
        parts.append(_switched(ending.switched))
    if ending.plan.stock is not None:
        schemas = ending.schemas
        parts.append(keys_table(schemas.ids, schemas.unframed, schemas.tombstones, ending.plan))
    elif ending.schemas.events:
        parts += ["### Schema ids in the target", _schemas_table(ending)]
    if ending.moved:
        parts += ["### Consumer groups", _moves_table(ending.moved)]
    if ending.reasons:
        rows = [[cell(reason), events] for reason, events in ending.reasons.most_common(MOST_ROWS)]
        parts += ["### Why not the others", table(["", "events"], rows)]
    parts.append(curve("Events a second, over the whole run", ending.speeds, "events/s"))
    rows_of_units = [_row(end) for end in ending.ends[:MOST_ROWS]]
    head = ["partition", "end", "copied up to", "events", "copied", "parked", "left out", "gone"]
    parts.append(table(head, rows_of_units, left=2))
    parts += [f"- **{end.unit}**: {cell(end.reason)}" for end in ending.ends[:MOST_ROWS] if end.reason]
    if len(ending.ends) > MOST_ROWS:
        parts.append(f"… and {len(ending.ends) - MOST_ROWS} more partitions, which the totals include.")
    return "\n\n".join(part for part in parts if part)


def _switched(switched: Switched) -> str:
    alias = switched.alias
    if switched.no_places:
        consumers = "Consumers can't follow by themselves yet: see above."
    elif alias.unmoved:
        consumers = "Consumers had not followed the switch that this has taken back, and stay where they are."
    else:
        consumers = "Consumers of the SDK that name it as a successor follow by themselves."
    return (
        f"> **Producers:** who publishes to {cell(alias.name)} by the SDK reaches {cell(alias.current)} now. "
        f"{count(switched.stored, 'event')} came in the {duration(switched.seconds)} that it took, and were stored "
        f"till then. {consumers} What others still publish to {cell(alias.left)} has to be copied: run the goal "
        f"{'copy' if alias.left == alias.name else 'feed_back'} with `follow`."
    )


_HOW = {
    "full": "each event, with its value",
    "sample": f"each event, and the value of one in {SAMPLE_OF}",
    "new": "each event that this run has copied, with its value",
}


def _compared(how: How, events: int) -> str:
    what = f"{number(events)} compared with the source"
    return f"{what}: each once, in order, as the rules make it" if how != "sample" else f"{what}: each once, in order"


def _schemas_table(ending: Ending) -> str:
    now, schemas = ending.plan.migration.recipe.target, ending.schemas
    rows: list[list[object]] = [
        [f"{schema_id}, the target's" if schema_id == now else f"{schema_id}", events]
        for schema_id, events in sorted(schemas.ids.items(), key=lambda each: -each[1])[:MOST_ROWS]
    ]
    others = (("tombstones", schemas.tombstones), ("no frame", schemas.unframed))
    rows += [[word, events] for word, events in others if events]
    return table(["schema id", "events"], rows)


def _moves_table(moved: Sequence[GroupMove]) -> str:
    rows = [
        [
            each.group,
            f"not moved: {cell(each.reason)}" if each.reason else "moved",
            ", ".join(f"{partition}: {here} → {there}" for partition, (here, there) in list(each.places.items())[:20]),
        ]
        for each in moved[:MOST_ROWS]
    ]
    return table(["consumer group", "", "partition: its place here → there"], rows, left=3)


def _groups_table(groups: Sequence[Group]) -> str:
    rows = [[group.name, "consuming" if group.active else "stopped"] for group in groups[:MOST_ROWS]]
    return table(["consumer group", "now"], rows, left=2)


def _pace_of(events: int, seconds: float) -> str:
    return f" ({number(events / seconds)} events/s)" if events and seconds else ""


def _row(end: End) -> list[object]:
    if end.result is None:
        return [end.unit, end.how, "", "", "", "", "", ""]
    outcome = end.result.outcome
    gone = outcome.skipped.get(GONE, 0)
    others = sum(outcome.parked.values()), sum(outcome.skipped.values()) - gone, gone
    return [end.unit, end.how, end.result.next, outcome.read, outcome.published, *others]


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
