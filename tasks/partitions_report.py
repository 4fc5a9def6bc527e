"""Moves of partitions as people see them: the plan, what is to be approved, and how it ended."""

from __future__ import annotations

from typing import Any, Literal

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.errors import RedriveError
from redrive.ledger import Status, Verdict
from redrive.partitions.layout import Move, reassignment_json
from redrive.partitions.outcome import SOMEBODY_ELSE, Result
from redrive.partitions.planner import Plan
from redrive.partitions.progress import Step
from redrive.partitions.rebalancing import JOB
from redrive.partitions.removal import Drained
from tasks import artifacts
from tasks.ending import Word, close, plan_key
from tasks.moves_pace import UNIT
from tasks.operations import Run
from tasks.partitions import AUTO_START, Moved, Terms
from tasks.pictures import curve, heat
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
    return line + (f"; {count(orders, 'partition')} to be led by another broker" if orders else "")


def report_plan(run: Run, plan: Plan | None, moves: list[Move], digest: str, terms: Terms, *, mode: str) -> None:
    """Show the plan of a run; without one, the moves that an earlier run has left."""
    facts = {"plan_digest": digest, "moves": str(len(moves)), "bytes": str(sum(move.bytes for move in moves))}
    with get_client(sync_client=True) as client:
        artifacts.create(
            client,
            run.id,
            key=plan_key(run.job),
            kind="markdown",
            data=plan_text(plan, moves, digest, terms, mode=mode),
            description=headline(moves),
            facts=facts,
        )


def plan_text(plan: Plan | None, moves: list[Move], digest: str, terms: Terms, *, mode: str) -> str:
    """Write the plan as Markdown."""
    doing = (
        "This is a plan: nothing was changed, and nothing will be." if mode == "plan" else "This run carries it out."
    )
    line = headline(moves)
    parts = [f"## {line[:1].upper()}{line[1:]}", doing if moves else "The cluster is as it should be."]
    if plan is not None:
        parts.append(heat_map(plan))
        parts += [f"> {cell(finding)}" for finding in plan.findings[:MOST_ROWS]]
        head = ["broker", "rack", "bytes", "after", "target", "replicas", "after", "leaders", "after"]
        parts.append(table(head, _rows(plan), left=2))
    copied = sum(move.bytes for move in moves)
    facts = [["to copy", size(copied)]]
    if plan is not None:
        ratio = f" ({plan.ratio:.3f} times that is planned)" if plan.least_bytes else ""
        facts.append(["the least that any plan copies", size(plan.least_bytes) + ratio])
        if plan.mended:
            facts.append(["to spread replicas over racks", count(plan.mended, "partition")])
    facts += [
        ["throttle", _throttle(terms)],
        *([["pauses while", cell(limits)]] if (limits := _limits(terms)) else []),
        ["estimated time", estimate(moves, terms)],
        ["digest of the plan", f"`{digest}`"],
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
        if len(moves) <= MOST_AS_JSON:
            parts += ["For `kafka-reassign-partitions`:", f"```json\n{reassignment_json(moves)}\n```"]
    return "\n\n".join(part for part in parts if part)


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


def approval_text(moves: list[Move], terms: Terms, digest: str) -> str:
    """Say in a few lines what is to be approved."""
    return "\n\n".join(
        [
            f"**{headline(moves)}**, in {estimate(moves, terms)}.",
            f"The plan with all details is the artifact `{plan_key(JOB)}` of this run. You approve exactly that plan, "
            f"with the digest `{digest[:16]}…`; if one of its partitions has moved by the time it goes on, it stops.",
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


def _throttle(terms: Terms) -> str:
    if terms.throttle == "auto":
        return f"as limits allow, from {AUTO_START:g} {UNIT}"
    return "none" if terms.throttle is None else f"{terms.throttle:,g} {UNIT}"


def _limits(terms: Terms) -> str:
    found = [f"group {each.group} is more than {each.max_lag:,} events behind" for each in terms.strain.groups]
    if terms.strain.produce_latency is not None:
        found.insert(0, f"1 of 100 events takes more than {1000 * terms.strain.produce_latency:,g} ms to publish")
    return ", or ".join(found)


class Ending:
    """How moves ended.

    Attributes:
        moved: what came of them.
        drained: whether brokers may be taken away; None if none were drained.
        status, verdict, word: the end.
        headline: the end in one line, without that word.
        counts: for the ledger.
    """

    def __init__(
        self, moves: list[Move], moved: Moved, seconds: float, approved: str, drained: Drained | None = None
    ) -> None:
        self.moves, self.moved, self.seconds, self.approved = moves, moved, seconds, approved
        self.drained = drained
        result = moved.back or moved.result
        self.findings = _findings(result)
        foreign = [outcome for outcome in result.outcomes.values() if outcome.step in SOMEBODY_ELSE]
        done = sum(outcome.step is Step.DONE for outcome in result.outcomes.values())
        self.counts = {"moves": len(moves), "done": done, "foreign": len(foreign), "bytes": self._copied(result)}
        self.status: Status
        self.verdict: Verdict | None
        self.word: Word
        if self.findings:
            self.status, self.verdict, self.word = "failed", "failed", "failed"
        elif result.stopped or done + len(foreign) < len(moves):
            self.status, self.verdict, self.word = "paused", None, "paused"
        elif moved.back is not None:
            self.status, self.verdict, self.word = "failed", None, "rolled back"
        else:
            self.status, self.verdict = "done", "counted" if foreign else "proved"
            self.word = "counted" if foreign else "proved"
        self.headline = self._headline(result, done, len(foreign)) + _and(drained)

    def evidence(self) -> dict[str, Any]:
        """Give what the verdict rests on, for the ledger."""
        back = {} if self.moved.back is None else {"back": self.moved.back.evidence()}
        changes = [{"at": each.at, **each.pace.model_dump()} for each in self.moved.live.pace.changes]
        return {
            "findings": self.findings,
            "seconds": round(self.seconds, 3),
            **self.moved.result.evidence(),
            **back,
            **(self.drained.evidence() if self.drained else {}),
            **(self.moved.times.evidence() if self.moved.times else {}),
            **(
                {"throttle": dict(zip(("lowest", "highest"), rates, strict=True))}
                if (rates := self.moved.rates)
                else {}
            ),
            "pace_changes": changes,
        }

    def _copied(self, result: Result) -> int:
        return sum(move.bytes for move in self.moves if result.outcomes[move.topic, move.number].step is Step.DONE)

    def _headline(self, result: Result, done: int, foreign: int) -> str:
        if self.findings:
            return self.findings[0]
        what = f"{number(done)} of {count(len(self.moves), 'partition')}"
        others = f"; {count(foreign, 'partition')} left as somebody else has placed or deleted them" if foreign else ""
        if self.word == "paused":
            why = result.stopped or "not all is done"
            if self.moved.back:
                return f"{what} back where they were, {why}. To go on with that: goal roll_back{others}"
            return f"{what} moved, {why}. To go on: goal go_on; to take it back: goal roll_back{others}"
        if self.word == "rolled back":
            why = self.moved.result.stopped or "not all moves came to a good end"
            return f"{what} are as they were before, in their order, because {why}{others}"
        return (
            f"{what} moved, {size(self.counts['bytes'])} copied, all replicas in sync, led as planned, settings as "
            f"before{others}; {duration(self.seconds)}"
        )


def _findings(result: Result) -> list[str]:
    found = [
        f"{topic}/{number_}: {outcome.reason}"
        for (topic, number_), outcome in result.outcomes.items()
        if outcome.step is Step.REFUSED
    ]
    if result.stopped:
        return found  # what is under way has an excuse
    found += [f"{topic}/{number_} has a replica that is not in sync" for topic, number_ in result.not_in_sync]
    found += [f"{topic}/{number_} is not led by the first of its replicas" for topic, number_ in result.led_elsewhere]
    return found + [f"still owed: {owed}" for owed in result.owed]


def _and(drained: Drained | None) -> str:
    return f"; {drained}" if drained else ""


def finish(run: Run, ending: Ending) -> State[Any]:
    """Enter the end in the ledger, show it, and give the flow run's last state."""
    run.finish(ending.status, ending.verdict, ending.counts, ending.evidence())
    message = close(run, ending.word, ending.headline, ending.counts, report_text(run, ending))
    return Completed(message=message) if ending.status == "done" else Failed(message=message)


def finish_early(
    run: Run, word: Literal["planned", "nothing to move"], moves: list[Move], drained: Drained | None = None
) -> State[Any]:
    """End a run that was only to plan, or had nothing to do."""
    counts = {"moves": len(moves), "bytes": sum(move.bytes for move in moves)}
    run.finish("done", counts=counts, evidence=drained.evidence() if drained else None)
    return Completed(message=close(run, word, headline(moves) + _and(drained), counts))


def cut_off(run: Run, error: RedriveError) -> State[Any]:
    """End a run whose cluster did not answer, or refused a throttle: how far it is, the next one finds out."""
    words = (
        f"{error}. What is under way goes on in the cluster, throttled. To go on when it answers: goal go_on; to take "
        "it back: goal roll_back; either restores the settings"
    )
    run.finish("paused", evidence={"reason": str(error)})
    return Failed(message=close(run, "paused", words, {}, f"## Paused\n\n{cell(words)}"))


def cancelled(run: Run, *, clean: bool) -> None:
    """End a run that was cancelled; ``clean``: what was under way was taken back in time."""
    under_way = (
        "what was under way was taken back"
        if clean
        else "there was no time to take back what is under way: it may go on, throttled (see redrive debts list)"
    )
    words = f"{under_way}; what was done stays. To go on: goal go_on; to take it back: goal roll_back"
    run.finish("cancelled", evidence={"reason": "cancelled"})
    close(run, "cancelled", words, {}, f"## Cancelled\n\n{words}")


def report_text(run: Run, ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    result = ending.moved.back or ending.moved.result
    words = ending.headline
    parts = [f"## {ending.word.capitalize()}", cell(words[:1].upper() + words[1:]) + "."]
    parts += [f"- {cell(finding)}" for finding in ending.findings[:MOST_ROWS]]
    facts = [
        *([step, number(moves)] for step, moves in result.counts.items()),
        ["bytes copied", size(ending.counts["bytes"])],
        ["time", duration(ending.seconds)],
        *([["produce latency, 99th percentile", cell(ending.moved.times)]] if ending.moved.times else []),
        *([["throttle", f"{size(rates[0])} to {size(rates[1])} a second"]] if (rates := ending.moved.rates) else []),
        ["settings", "as before" if not result.owed else "; ".join(result.owed)],
        ["started by", run.who],
        *([["approved by", cell(ending.approved)]] if ending.approved else []),
        ["operation", f"`{run.id}`" + (f" ([flow run]({run.url}))" if run.url else "")],
    ]
    parts.append(table(["", ""], facts, left=2))
    parts += [f"> Left as somebody else has set it: {cell(setting)}" for setting in result.respected[:MOST_ROWS]]
    others = [
        [f"{topic}/{number_}", outcome.step.value, outcome.reason]
        for (topic, number_), outcome in result.outcomes.items()
        if outcome.step is not Step.DONE
    ]
    if others:
        parts.append(table(["partition", "how far", "why"], others[:MOST_ROWS], left=3))
    parts.append(curve("Bytes copied a second", ending.moved.live.speeds, "bytes/s"))
    return "\n\n".join(part for part in parts if part)


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
