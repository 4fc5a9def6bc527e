"""The plan of moves as people see it, and what is to be approved."""

from __future__ import annotations

from typing import Literal

from redrive.partitions.cautions import losing
from redrive.partitions.layout import Move, reassignment_json
from redrive.partitions.planner import Plan
from redrive.partitions.rebalancing import JOB
from tasks.ending import plan_key, show_plan
from tasks.operations import Run
from tasks.partition_rebalance.limits import StrainLimits
from tasks.partition_rebalance.pace import UNIT
from tasks.partition_rebalance.steps import AUTO_START, Decided, Terms
from tasks.pictures import heat
from tasks.words import cell, count, duration, number, size, table

MOST_ROWS = 50
MOST_AS_JSON = 200


def headline(moves: list[Move]) -> str:
    """Say in one line what is to be moved."""
    if not moves:
        return "nothing to move"
    copied, copies = sum(move.bytes for move in moves), sum(bool(move.added) for move in moves)
    orders = sum(not move.added and not move.removed for move in moves)
    line = f"{count(copies, 'partition')} to move, {size(copied)} to copy"
    if orders:
        line += f"; {count(orders, 'partition')} to be led by another broker"
    if fewer := len(losing(moves)):
        line += f"; {number(fewer)} {'partition loses' if fewer == 1 else 'partitions lose'} replicas"
    return line


def report_plan(run: Run, plan: Plan | None, decided: Decided, terms: Terms, *, mode: str) -> None:
    """Show the plan of a run; without one, the moves that an earlier run has left."""
    facts = {"plan_digest": decided.digest, "moves": str(len(decided.left)), "bytes": str(decided.bytes)}
    show_plan(run, plan_text(plan, decided, terms, mode=mode, run_id=run.id), headline(decided.left), facts)


def plan_text(plan: Plan | None, decided: Decided, terms: Terms, *, mode: str, run_id: str) -> str:
    """Write the plan as Markdown."""
    moves = decided.left
    doing = (
        "This is a plan: nothing was changed, and nothing will be." if mode == "plan" else "This run carries it out."
    )
    line = headline(moves)
    parts = [f"## {line[:1].upper()}{line[1:]}", doing if moves else "The cluster is as it should be."]
    parts += [f"> **{cell(note)}**" for note in decided.notes]
    if plan is not None:
        parts.append(heat_map(plan))
        parts += [f"> {cell(finding)}" for finding in plan.findings[:MOST_ROWS]]
        head = ["broker", "rack", "bytes", "after", "target", "replicas", "after", "leaders", "after"]
        parts.append(table(head, _rows(plan), left=2))
    facts = [["to copy", size(decided.bytes)]]
    if plan is not None:
        ratio = f" ({plan.ratio:.3f} times that is planned)" if plan.least_bytes else ""
        facts.append(["the least that any plan copies", size(plan.least_bytes) + ratio])
        if plan.mended:
            facts.append(["to spread replicas over racks", count(plan.mended, "partition")])
    facts += [
        *throttle_facts(terms.throttle, terms.strain),
        ["estimated time", estimate(moves, terms)],
        ["digest of the plan", f"`{decided.digest}`"],
    ]
    parts.append(table(["", ""], facts, left=2))
    if moves:
        largest = sorted(moves, key=lambda move: (-move.bytes, move.topic, move.number))
        parts.append(
            table(
                ["partition", "from", "to", "to copy"],
                [[f"{m.topic}/{m.number}", _ids(m.before), _ids(m.after), size(m.bytes)] for m in largest[:MOST_ROWS]],
                left=3,
            )
        )
        if len(moves) > MOST_ROWS:
            parts.append(f"The {MOST_ROWS} largest of {number(len(moves))}; `redrive operations show` has them all.")
        parts += ["For `kafka-reassign-partitions`:", _as_json(moves, run_id)]
    return "\n\n".join(part for part in parts if part)


def _as_json(moves: list[Move], run_id: str) -> str:
    if len(moves) <= MOST_AS_JSON:
        return f"```json\n{reassignment_json(moves)}\n```"
    return f"```\nredrive operations show {run_id} --reassignment-json FILE\n```"


def heat_map(plan: Plan) -> str:
    """Draw what each broker has, before and after."""
    racks = {broker.id: broker.rack for broker in plan.layout.brokers}
    used = [before.replicas > 0 or after.replicas > 0 for before, after in zip(plan.before, plan.after, strict=True)]
    columns: list[list[int]] = [
        [getattr(each, what) for each in figures]
        for what in ("bytes", "replicas", "leaders")
        for figures in (plan.before, plan.after)
    ]
    means = [sum(column) / max(1, sum(used)) for column in columns]
    rows = []
    for at, each in enumerate(plan.before):
        cells = [
            (column[at] / mean - 1 if mean else 0.0, size(column[at]) if number_ < 2 else number(column[at]))
            for number_, (column, mean) in enumerate(zip(columns, means, strict=True))
        ]
        rack = racks.get(each.broker)
        rows.append((f"broker {each.broker}" + (f" · {rack}" if rack else ""), cells))
    names = ("bytes before", "after", "replicas before", "after", "leaders before", "after")
    return heat("Load of each broker, before and after; amber: above the mean, blue: below", names, rows)


def approval_text(decided: Decided, terms: Terms) -> str:
    """Say in a few lines what is to be approved."""
    return "\n\n".join(
        [
            f"**{headline(decided.left)}**, in {estimate(decided.left, terms)}.",
            *decided.notes,
            f"The plan with all details is the artifact `{plan_key(JOB)}` of this run. You approve exactly that plan, "
            f"with the digest `{decided.digest[:16]}…`; if by the time it goes on somebody else has moved one of its "
            "partitions, or moves any, or there is no room for it any more, it stops.",
        ]
    )


def estimate(moves: list[Move], terms: Terms) -> str:
    """Say how long it takes at the throttle: as long as the broker that receives or sends most."""
    if not any(move.bytes for move in moves):
        return "seconds"
    if terms.rate is None:
        return "unknown: there is no throttle"
    loads: dict[tuple[str, int], int] = {}
    for move in moves:
        for broker in move.added:
            loads["to", broker] = loads.get(("to", broker), 0) + move.size
        if move.added and move.before:
            source = "from", move.before[0]
            loads[source] = loads.get(source, 0) + move.bytes
    at_first = ", at the rate that it begins with" if terms.throttle == "auto" else ""
    return duration(max(loads.values(), default=0) / terms.rate) + at_first


def throttle_facts(throttle: float | Literal["auto"] | None, strain: StrainLimits) -> list[list[str]]:
    """Give rows of a table that say how moves are held back."""
    if throttle == "auto":
        words = f"as limits allow, from {AUTO_START:g} {UNIT}"
    else:
        words = "none" if throttle is None else f"{throttle:,g} {UNIT}"
    limits = cell(str(strain))
    while_ = "moves pause while" if throttle is None else "moves pause, and are slower, while"
    return [["throttle", words], *([[while_, limits]] if limits else [])]


def _rows(plan: Plan) -> list[list[object]]:
    racks = {broker.id: broker.rack for broker in plan.layout.brokers}
    return [
        [
            str(before.broker),
            racks.get(before.broker) or "–",
            size(before.bytes),
            size(after.bytes),
            size(plan.targets[before.broker]) if before.broker in plan.targets else "–",
            *(number(value) for value in (before.replicas, after.replicas, before.leaders, after.leaders)),
        ]
        for before, after in zip(plan.before, plan.after, strict=True)
    ]


def _ids(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))
