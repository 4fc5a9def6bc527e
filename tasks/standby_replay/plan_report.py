"""The plan as people see it: a table, totals and a picture, in one Markdown artifact."""

from __future__ import annotations

from tasks.ending import show_plan
from tasks.operations import Run
from tasks.pictures import bars
from tasks.standby_replay.plan import Plan
from tasks.words import cell, count, duration, moment, number, size, table

MOST_ROWS = 100


def report_plan(run: Run, plan: Plan, digest: str, mode: str) -> None:
    """Show the plan of a run."""
    show_plan(run, plan_text(plan, digest, mode), headline(plan), _facts(plan, digest))


def _facts(plan: Plan, digest: str) -> dict[str, str]:
    return {
        "plan_digest": digest,
        "planned_events": str(plan.events),
        "planned_bytes": str(plan.bytes),
        "planned_lanes": str(len(plan.lanes)),
        "planned_seconds": "" if plan.seconds is None else f"{plan.seconds:.1f}",
        "unknown_schema_ids": ",".join(map(str, plan.schemas.unknown)),
    }


def headline(plan: Plan) -> str:
    """Say the plan in one line."""
    if plan.is_empty:
        return _all_open(plan)
    where = f"{count(len(plan.lanes), 'lane')} of {count(len(plan.topics), 'topic')}"
    return f"{count(plan.events, 'event')} in {where}, {size(plan.bytes)}; estimated time {duration(plan.seconds)}"


def plan_text(plan: Plan, digest: str, mode: str) -> str:
    """Write the plan as Markdown."""
    if plan.is_empty:
        return f"## Nothing to replay\n\nProducers use Kafka: {_all_open(plan)}."
    now = plan.surveyed_at
    mode_line = (
        "This is a plan: nothing was changed, and nothing will be." if mode == "plan" else "This run carries it out."
    )
    parts = [
        f"## {count(plan.events, 'event')} to bring back",
        mode_line,
        table(
            ["", ""],
            [
                ["events", number(plan.events)],
                ["packed size", size(plan.bytes)],
                ["lanes to reopen", f"{len(plan.lanes)} (open already: {len(plan.open)})"],
                ["oldest event", _age(plan.oldest, now)],
                ["events that may be in Kafka already", f"{number(plan.doubtful)} (each is looked up first)"],
                ["pace", "full speed" if plan.rate is None else f"at most {plan.rate:,g} events/s"],
                ["estimated time", _estimate(plan)],
                ["schema ids", schemas_line(plan)],
                ["surveyed at", moment(now)],
                ["digest of the plan", f"`{digest}`"],
            ],
            left=2,
        ),
        *_warnings(plan),
        "### Where it waits",
        bars(
            "Events that wait, by lane; those in doubt in amber",
            [
                (str(lane.lane), lane.events, lane.doubtful, f"{number(lane.events)} · {_short_age(lane.oldest, now)}")
                for lane in plan.lanes
            ],
        ),
        "Behind each bar: events, and the age of the oldest. Amber: in doubt.",
        table(
            ["lane", "cluster", "state", "events", "size", "oldest", "streams", "in doubt"],
            [
                [
                    lane.lane, lane.lane.cluster, lane.state, lane.events, size(lane.bytes),
                    _short_age(lane.oldest, now), lane.streams, lane.doubtful,
                ]
                for lane in plan.lanes[:MOST_ROWS]
            ],
            left=3,
        ),
    ]  # fmt: skip
    if len(plan.lanes) > MOST_ROWS:
        parts.append(f"… and {len(plan.lanes) - MOST_ROWS} more lanes, which the totals include.")
    return "\n\n".join(parts)


def schemas_line(plan: Plan) -> str:
    """Say what was checked about the schemas of the backlog, and what came out."""
    schemas = plan.schemas
    if not schemas.looked_at:
        return "no event was looked at"
    share = "all" if schemas.looked_at >= plan.events else f"the first {number(schemas.looked_at)}"
    found = (
        ", ".join(f"id {schema_id}: {number(events)}" for schema_id, events in sorted(schemas.ids.items())) or "none"
    )
    without = f"; {number(schemas.without)} without one (tombstones or unframed)" if schemas.without else ""
    if schemas.not_asked:
        verdict = "**not checked**"
    elif schemas.unknown:
        verdict = f"**unknown to the registry: {', '.join(map(str, schemas.unknown))}**"
    else:
        verdict = "all known to the registry"
    return f"{found}{without}; {verdict} (looked at {share} of {number(plan.events)} events)"


def _warnings(plan: Plan) -> list[str]:
    return [*_expiring(plan), *_unknown_schemas(plan)]


def _expiring(plan: Plan) -> list[str]:
    """Warn of events that brokers may delete as soon as they are back."""
    return [
        f"> **Events that wait for {cell(topic)} on {cell(cluster)} are older than it keeps any** (`retention.ms`: "
        f"{duration(kept / 1000)}). They keep their times, so brokers may delete them soon after the replay, and "
        "consumers that are behind may miss them. Raise it first, and put it back once they have read them."
        for (cluster, topic), kept in plan.expiring.items()
    ]


def _unknown_schemas(plan: Plan) -> list[str]:
    schemas = plan.schemas
    if schemas.unknown:
        ids = ", ".join(map(str, schemas.unknown))
        return [
            f"> **The registry does not know schema id {ids}.** The events are replayed as they are, since producers "
            "checked them when they accepted them; but no consumer can read them until the registry knows the id "
            "again. Restore it first if you can."
        ]
    if schemas.not_asked:
        return [f"> The schema ids could not be checked: {schemas.not_asked}. A replay does not need the registry."]
    return []


def _estimate(plan: Plan) -> str:
    if plan.seconds is None:
        return "unknown: no earlier replay has measured a speed, and no rate is set"
    if plan.speed and (plan.rate is None or plan.speed < plan.rate):
        return f"{duration(plan.seconds)} (earlier replays: {number(plan.speed)} events/s)"
    return f"{duration(plan.seconds)} (by the rate)"


def _age(oldest: int | None, now: int) -> str:
    if oldest is None:
        return "none: the lanes only have to be reopened"
    return f"{moment(oldest)}, {duration(max(0, now - oldest) / 1000)} ago"


def _short_age(oldest: int | None, now: int) -> str:
    return "no event" if oldest is None else duration(max(0, now - oldest) / 1000)


def _all_open(plan: Plan) -> str:
    return f"all {count(len(plan.open), 'lane')} are open" if plan.open else "no topic has any lane yet"
