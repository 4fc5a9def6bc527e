"""The plan of a backfill as people see it: what there is to copy, what the rules make of it, who moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redrive.migrations.groups import Group
from redrive.migrations.migrator import REASONS
from redrive.migrations.moving import GroupMove
from redrive.migrations.plan import Plan
from redrive.migrations.trial import Trial
from redrive.migrations.unit import JOB
from tasks.ending import plan_key, show_plan
from tasks.operations import Run
from tasks.pictures import bars
from tasks.words import cell, count, duration, number, size, table

MOST_ROWS = 50

_NO_WAY_BACK = (
    "> **No way back:** the rules have no `down`. Consumers that have moved can go back to the old topic, but events "
    "that are published under the new schema can't."
)

_MOVE_ON = {"copy", "cut_over", "switch_producers"}
"""Goals that lead from the source to the target."""

_BACK = (
    "> **The way back:** what others have published to {source} goes to {target}, whose readers get it {how}. What has "
    "come from {target} is left out. This is the only thing that writes to {target}."
)

_NO_UNDOING = (
    "> **No way back:** compaction takes the old events away. Whoever reads the topic gets the new events as well, and "
    "has to know their schema; producers that write the old one should know the new one first."
)


def report_plan(run: Run, plan: Plan, digest: str, *, mode: str, rate: float | None) -> None:
    """Show the plan of a run."""
    trial = plan.trial
    facts = {
        "plan_digest": digest,
        "planned_events": str(plan.left),
        "tried": str(trial.events),
        "tried_rejected": str(sum(trial.rejected.values())),
    }
    show_plan(run, plan_text(plan, digest, mode=mode, rate=rate), headline(plan), facts)


def headline(plan: Plan) -> str:
    """Say the plan in one line."""
    trial = plan.trial
    source, target = plan.migration.source, plan.migration.target
    if plan.stock is not None:
        line = f"{number(plan.left)} of {count(plan.stock.live, 'live key')} of {source} to migrate in place"
    elif plan.goal in {"feed_back", "switch_back"}:
        line = f"{count(plan.left, 'event')} of {source} to look through, for what others have published, to {target}"
    else:
        line = f"{count(plan.left, 'event')} to copy from {source} to {target}"
    if trial.rejected:
        line += f"; {number(sum(trial.rejected.values()))} of {number(trial.events)} tried can't be migrated"
    if plan.goal == "cut_over":
        line += f"; {count(len(plan.groups), 'consumer group')} to move"
    if plan.goal == "switch_producers":
        line += f"; then producers of {source} publish to {target}"
    if plan.goal == "switch_back":
        line += f"; then producers that were switched to {source} publish to {target} again"
    return line


def plan_text(plan: Plan, digest: str, *, mode: str, rate: float | None) -> str:
    """Write the plan as Markdown."""
    doing = (
        "This is a plan: nothing was changed, and nothing will be." if mode == "plan" else "This run carries it out."
    )
    stock = plan.stock
    parts = [
        f"## {count(plan.left, 'event')} to copy to {cell(plan.migration.target)}"
        if stock is None
        else f"## {count(plan.left, 'event')} to publish again in {cell(plan.migration.target)}",
        doing,
        *([] if stock is None else [keys_table(dict(stock.ids), stock.unframed, stock.deleted, plan), _NO_UNDOING]),
        bars(
            "Events to copy, by partition" if stock is None else "Offsets to look through, by partition",
            [(f"partition {s.unit.partition}", s.left, 0, number(s.left)) for s in plan.standings[:MOST_ROWS]],
        ),
        *_trial(plan),
        *_way_back(plan),
        *_schemas(plan),
        *_groups(plan),
        *_topics(plan),
        table(["", ""], _facts(plan, digest, rate), left=2),
    ]
    return "\n\n".join(part for part in parts if part)


def approval_text(plan: Plan, digest: str) -> str:
    """Say in a few lines what is to be approved."""
    return "\n\n".join(
        [
            f"**{headline(plan)}.**",
            *(_groups(plan) if plan.goal == "cut_over" else []),
            *([_NO_WAY_BACK] if plan.back is None and plan.goal in _MOVE_ON else []),
            *([] if plan.stock is None else [_NO_UNDOING]),
            f"The plan with all details is the artifact `{plan_key(JOB)}` of this run. You approve exactly that plan, "
            f"with the digest `{digest[:16]}…`; if the rules, the schema, the topics' settings or the groups have "
            "changed by the time the run goes on, it stops.",
        ]
    )


def revert_text(groups: Sequence[Group], source: str, digest: str) -> str:
    """Say in a few lines which groups are to be moved back."""
    names = ", ".join(cell(group.name) for group in groups[:MOST_ROWS]) or "none"
    line = f"**{count(len(groups), 'consumer group')} to move back to {cell(source)}:** {names}."
    return f"{line}\n\nYou approve exactly these, with the digest `{digest[:16]}…`."


def _trial(plan: Plan) -> list[str]:
    trial = plan.trial
    if not trial.events:
        return ["Nothing was tried: there is nothing to copy."]
    some = "from five places of each partition" if plan.stock is None else "evenly spread"
    which = "all that there are" if trial.whole else some
    rows = [
        ("migrated", trial.migrated),
        ("go on as they are", trial.unchanged),
        ("left out by a rule", sum(trial.skipped.values())),
        ("can't be migrated", sum(trial.rejected.values())),
    ]
    parts = [
        f"### What the rules make of {count(trial.events, 'event')} ({which})",
        table(["events", "what becomes of them"], [[number(events), word] for word, events in rows if events], left=2),
    ]
    if trial.rejected:
        head = ["why not", "what it means", "the first of them", "events"]
        parts.append(
            table(
                head,
                [
                    [cell(reason), REASONS.get(reason.partition(":")[0], ""), _places(trial, reason), events]
                    for reason, events in trial.rejected.most_common(MOST_ROWS)
                ],
                left=3,
            )
        )
    if trial.skipped:
        rows_of_reasons = [[cell(reason), events] for reason, events in trial.skipped.most_common(MOST_ROWS)]
        parts.append(table(["left out because", "events"], rows_of_reasons))
        if plan.stock is None and "compact" in plan.topics.config.get("cleanup.policy", ""):
            parts.append(
                f"> {cell(plan.topics.name)} is compacted: if a key's newest event is left out, its value there is "
                "that of an older one, for good."
            )
    return parts


def _places(trial: Trial, reason: str) -> str:
    return ", ".join(f"`{place}`" for place in trial.places[reason])


def _way_back(plan: Plan) -> list[str]:
    back = plan.back
    if plan.goal == "in_place":
        return []
    if plan.goal in {"feed_back", "switch_back"}:
        how = "by Avro's resolution alone: a field that the new schema lacks gets its default"
        if plan.migration.recipe.rules:
            how = "by the rules' `down`"
        return [_BACK.format(source=cell(plan.migration.source), target=cell(plan.migration.target), how=how)]
    if back is None:
        return [_NO_WAY_BACK]
    if not back.events:
        return []
    stayed = sum(back.stayed.values())
    if not back.lost and not stayed:
        return [f"Up and down again, {count(back.events, 'event')} came back as they were."]
    parts = [f"### What the way back loses, of {count(back.events, 'event')}"]
    if back.lost:
        rows = [[f"`{cell(path)}`", events] for path, events in back.lost.most_common(MOST_ROWS)]
        parts.append(table(["field that differs", "events"], rows))
    if stayed:
        rows = [[cell(reason), events] for reason, events in back.stayed.most_common(MOST_ROWS)]
        parts.append(table(["did not come back", "events"], rows))
    return parts


def keys_table(ids: Mapping[int, int], unframed: int, deleted: int, plan: Plan) -> str:
    """Show keys by what their newest events are."""
    now = plan.migration.recipe.target
    rows: list[list[object]] = [
        [f"schema id {schema_id}" + (", which all are to have" if schema_id == now else ""), keys]
        for schema_id, keys in sorted(ids.items(), key=lambda each: -each[1])[:MOST_ROWS]
    ]
    others = (("no frame", unframed), ("a deletion, which stays", deleted))
    rows += [[word, keys] for word, keys in others if keys]
    return "### Keys, by their newest events\n\n" + table(["newest event", "keys"], rows)


def _schemas(plan: Plan) -> list[str]:
    if not plan.trial.schemas:
        return []
    rows = [
        ["none" if schema_id is None else str(schema_id), _difference(plan, schema_id), events]
        for schema_id, events in plan.trial.schemas.most_common(MOST_ROWS)
    ]
    head = ["schema id", "to the target's schema", "events tried"]
    parts = ["### What the events are written with", table(head, rows, left=2)]
    findings = [
        [str(schema_id), f"`{cell(finding.path or '(value)')}`", cell(finding.reason), cell(finding.supply)]
        for schema_id, found in plan.differences.items()
        for finding in found
    ]
    if findings:
        head = ["schema id", "field", "what is there", "what a rule has to do"]
        parts.append(table(head, findings[:MOST_ROWS], left=4))
    return parts


def _difference(plan: Plan, schema_id: int | None) -> str:
    if schema_id is None:
        return "no frame, or a tombstone"
    if schema_id == plan.migration.recipe.target:
        return "is the target's"
    found = plan.differences.get(schema_id, ())
    broken = sum(finding.breaks for finding in found)
    if broken:
        return f"{count(broken, 'difference')} that Avro can't resolve"
    return "Avro resolves it" + (", with losses" if found else "")


def _groups(plan: Plan) -> list[str]:
    if plan.goal != "cut_over":
        return []
    if not plan.groups:
        return ["> No consumer group has a place on the topic: none is to be moved."]
    ends = {standing.unit.partition: standing.end for standing in plan.standings}
    rows = [
        [
            group.name,
            "**consuming: stop it, or it is not moved**" if group.active else "stopped",
            sum(max(0, ends.get(partition, 0) - offset) for partition, offset in group.offsets.items()),
        ]
        for group in plan.groups[:MOST_ROWS]
    ]
    return ["### Who moves", table(["consumer group", "now", "behind by"], rows, left=2), moves_preview(plan.moves)]


def moves_preview(moves: Sequence[GroupMove]) -> str:
    """Show where groups would be placed as of now, and what is in the way of that."""
    rows = [
        [
            each.group,
            ", ".join(f"{partition}: {here} → {there}" for partition, (here, there) in list(each.places.items())[:20]),
            cell(each.reason),
        ]
        for each in moves[:MOST_ROWS]
    ]
    head = ["consumer group", "partition: its place here → there, as of now", "what is in the way, as of now"]
    return table(head, rows, left=3) if rows else ""


def _topics(plan: Plan) -> list[str]:
    if plan.stock is not None:
        return []
    topics = plan.topics
    word = "is created" if topics.target is None else "is there"
    parts = [f"### The topic {cell(topics.name)} {word}, with {count(topics.source.partitions, 'partition')}"]
    if topics.differences:
        parts.append("Other than the source:\n\n" + "\n".join(f"- {cell(each)}" for each in topics.differences))
    else:
        parts.append("Its settings are those of the source.")
    return parts


def _facts(plan: Plan, digest: str, rate: float | None) -> list[list[str]]:
    trial, migration = plan.trial, plan.migration
    seconds = plan.seconds
    if seconds is not None and rate:
        seconds = max(seconds, plan.left / rate)
    facts = [
        ["rules", f"`{migration.recipe.file}`" if migration.recipe.rules else "none: what Avro resolves by itself"],
        ["schema id", str(migration.recipe.target) if migration.is_registered else "none yet: it will be registered"],
        ["estimated time", "unknown" if seconds is None else f"{duration(seconds)} (by how long trying took)"],
    ]
    if trial.migrated:
        growth = trial.after / trial.before if trial.before else 1.0
        facts.append(["size of values", f"{size(trial.before)} → {size(trial.after)} ({growth:.2f} times)"])
    return [*facts, ["digest of the plan", f"`{digest}`"]]
