"""How a backfill ended: entered in the ledger, shown as an artifact, and given as the flow run's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.aliases.switching import Switched
from redrive.migrations.groups import Group
from redrive.migrations.moving import GroupMove
from redrive.migrations.plan import Plan
from redrive.migrations.source import GONE
from tasks.board import Board
from tasks.ending import close, end_stopped
from tasks.operations import Run
from tasks.pictures import curve
from tasks.report_parts import MOST_ROWS, opening, per_second, run_facts, why_not_done
from tasks.schema_backfill.comparing import SAMPLE_OF
from tasks.schema_backfill.copying import End
from tasks.schema_backfill.ending import GONE_BEFORE, Ending
from tasks.schema_backfill.plan import headline, keys_table, moves_preview
from tasks.words import cell, count, duration, number, table


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
        f"{cell(target)} comes there by the goal feed_back alone: run it with `follow_for`, or they get nothing more. "
        "A group that follows switches by itself (`successors`) goes back by the goal switch_back, not by this."
    )


def still_storing(source: str, target: str, goal: str, rules: str | None) -> str:
    """Say what producers do after a switch that was begun and not ended, and what to do about it."""
    options = f" --rules {rules}" if rules else ""
    return (
        f"producers of {source} may be STORING what they publish, and readers get none of it until this is run again: "
        f"`redrive run schema-backfill {source} {target}{options} --goal {goal} --mode run`"
    )


def cancelled(run: Run, board: Board, storing: str = "") -> None:
    """End a run that somebody has stopped: see `end_stopped`.

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
    end_stopped(run, words, counts, storing=storing)


def report_text(run: Run, ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    counts = ending.counts
    copied = f"{count(counts['copied'], 'event')} {ending.done}"
    parts = opening(ending.word, ending.headline, ending.findings, about=copied)
    facts = [
        ["events of the source, in this run", number(counts["events"])],
        [ending.done, number(counts["copied"])],
        ["parked", number(counts["parked"])],
        ["left out", number(counts["left_out"])],
        *([[GONE_BEFORE, number(counts["gone"])]] if counts["gone"] else []),
        ["compared, with what earlier runs have copied", f"{number(counts['compared'])} ({_HOW[ending.how]})"],
        ["time to copy", duration(ending.seconds) + per_second(counts["events"], ending.seconds, ending.UNIT)],
        ["time to compare", duration(ending.compare_seconds)],
        ["pace", ending.pace],
        *run_facts(run, ending.approved),
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
            f"to {cell(ending.plan.migration.source)}, run the goal copy with `follow_for`, or nothing more comes from "
            "it."
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
    parts += why_not_done([(end.unit, end.reason) for end in ending.ends], "partitions")
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
        f"{'copy' if alias.left == alias.name else 'feed_back'} with `follow_for`."
    )


_HOW = {
    "full": "each event, with its value",
    "sample": f"each event, and the value of one in {SAMPLE_OF}",
    "new": "each event that this run has copied, with its value",
}


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


def _row(end: End) -> list[object]:
    if end.result is None:
        return [end.unit, end.how, "", "", "", "", "", ""]
    outcome = end.result.outcome
    gone = outcome.skipped.get(GONE, 0)
    others = sum(outcome.parked.values()), sum(outcome.skipped.values()) - gone, gone
    return [end.unit, end.how, end.result.next, outcome.read, outcome.published, *others]
