"""Scaling as people see it: the load, what was decided and why, what is to be approved, and how it ended."""

from __future__ import annotations

from typing import Any, Literal

from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from redrive.errors import RedriveError
from redrive.fleets.decision import Decision, Terms
from redrive.fleets.growth import Growth
from redrive.ledger import Status, Verdict
from tasks.broker_scaling.steps import Moves, Scaling
from tasks.ending import Word, close, plan_key, show_plan
from tasks.operations import MOVING, ROLLING_BACK, Run
from tasks.partition_rebalance.plan import throttle_facts
from tasks.pictures import bars, curve
from tasks.report_parts import opening, run_facts
from tasks.words import cell, count, number, table

GOOD = ("proved", "counted", "nothing to move")
"""How moves to new brokers end that need nothing more."""


def way_on(work: Scaling, growth: Growth) -> str:
    """Give the command that brings partitions to the new brokers after all.

    The goal ``go_on`` takes up the run that was the last to move partitions of the cluster: that need not be ours.
    """
    last = [entry for kind in (MOVING, ROLLING_BACK) if (entry := work.run.ledger.latest(kind, work.cluster))]
    ours = bool(last) and max(last, key=lambda entry: entry.id).operation_id == growth.moves
    brokers = " ".join(f"--broker {id_}" for id_ in growth.brokers)
    goal = "go_on" if ours else f"add_brokers {brokers}"
    return f"redrive run partition-rebalance --cluster {work.cluster} --mode run --goal {goal}"


def emit_high(work: Scaling, decision: Decision) -> None:
    """Tell whoever listens that the load is high."""
    last = work.samples[-1].load
    load = {str(broker): round(last[broker], 1) for broker in sorted(work.up) if broker in last}
    emit_event(
        "redrive.broker.cpu_high",
        {"prefect.resource.id": f"redrive.cluster.{work.cluster}", "prefect.resource.name": work.cluster},
        related=[{"prefect.resource.id": f"prefect.flow-run.{work.run.flow_run}", "prefect.resource.role": "flow-run"}],
        payload={"cluster": work.cluster, "brokers": len(load), "load": load, "decided": decision.answer},
    )


def report_plan(work: Scaling, decision: Decision, terms: Terms, digest: str, *, mode: str) -> None:
    """Show the load, and what was decided."""
    facts = {"answer": decision.answer, "brokers": str(len(work.up)), "target": str(decision.target)}
    facts |= {"plan_digest": digest} if digest else {}
    show_plan(work.run, plan_text(work, decision, terms, digest, mode=mode), decision.why, facts)


def plan_text(work: Scaling, decision: Decision, terms: Terms, digest: str, *, mode: str) -> str:
    """Write it as Markdown."""
    doing = {
        "add": "This run adds brokers, and then has partitions moved to them.",
        "fill": "This run has partitions moved to those that are empty.",
        "leave": "Nothing is to be done.",
    }[decision.answer]
    if mode == "plan":
        doing = f"This is a plan: nothing was changed, and nothing will be. {doing.replace('This run', 'A run')}"
    facts = [
        ["high is, in percent of CPU", f"{terms.threshold:g}"],
        ["for, in seconds", number(terms.window)],
        ["brokers", number(len(work.up))],
        ["brokers there are to be", number(decision.target)],
        ["at most", number(terms.most)],
        *throttle_facts(work.moves.throttle, work.moves.strain),
        *([["digest of the plan", f"`{digest}`"]] if digest else []),
    ]
    why = decision.why[:1].upper() + decision.why[1:]
    return "\n\n".join(
        part for part in (f"## {cell(why)}", doing, load_text(work, terms), table(["", ""], facts, left=2)) if part
    )


def load_text(work: Scaling, terms: Terms) -> str:
    """Show the load by broker, and over time."""
    if not work.samples:
        return ""
    series = {
        broker: [sample.load[broker] for sample in work.samples if broker in sample.load] for broker in sorted(work.up)
    }
    last = {broker: loads[-1] for broker, loads in series.items() if loads}
    over = {broker: load if load >= terms.threshold else 0 for broker, load in last.items()}
    picture = bars(
        f"CPU of each broker; amber: not below {terms.threshold:g} %",
        [(f"broker {broker}", load, over[broker], f"{load:.0f} %") for broker, load in last.items()],
    )
    begun = work.samples[0].at
    means = curve("CPU of all brokers together", [(each.at - begun, each.mean) for each in work.samples], "percent")
    rows = [
        [str(broker), *(f"{value:.1f}" for value in (loads[-1], sum(loads) / len(loads), max(loads)))]
        for broker, loads in series.items()
        if loads
    ]
    heads = ["broker", "CPU now, in percent", "on average", "at most"]
    return "\n\n".join(part for part in (picture, means, table(heads, rows)) if part)


def approval_text(growth: Growth, why: str, digest: str, job: str) -> str:
    """Say in a few lines what is to be approved."""
    more = growth.target - len(growth.before)
    return (
        f"**{count(more, 'broker')} to be added, {growth.target} in all.** {cell(why)}.\n\n"
        f"The load is in the artifact `{plan_key(job)}` of this run. You approve just that number, with the digest "
        f"`{digest[:16]}…`; if by the time it goes on there are other brokers, the load has gone, or something is in "
        "the way, it stops. Moves of partitions have an approval of their own."
    )


class Ending:
    """How a scaling ended.

    Attributes:
        status, verdict, word: the end.
        headline: the end in one line, without that word.
        counts: for the ledger.
    """

    def __init__(self, work: Scaling, growth: Growth, moves: Moves, approved: str) -> None:
        self.work, self.growth, self.moves, self.approved = work, growth, moves, approved
        self.held = {broker.id: broker for broker in work.picture.brokers if broker.id in growth.brokers}
        self.gone = sorted(set(growth.brokers) - work.up)
        self.counts = {
            "new_brokers": len(growth.brokers),
            "brokers": len(work.up),
            "replicas": sum(each.replicas for each in self.held.values()),
        }
        self.status: Status
        self.verdict: Verdict | None
        self.word: Word
        if not moves.word:
            self.status, self.verdict, self.word = "paused", None, "paused"
        elif self.gone or moves.word not in GOOD:
            self.status, self.verdict, self.word = "failed", "failed", "failed"
        else:
            self.status = "done"
            self.verdict = self.word = "counted" if moves.word == "counted" else "proved"
        self.headline = self._headline()

    def _headline(self) -> str:
        ids = ", ".join(map(str, self.growth.brokers))
        brokers = f"broker {ids}" if len(self.growth.brokers) == 1 else f"brokers {ids}"
        said = f"{brokers} there; moves {self.moves.word or 'not ended'}: {self.moves.message}"
        if self.word == "paused":
            return f"{said}; the next run here enters how they end"
        if self.moves.word not in GOOD:
            said += f"; to go on: {way_on(self.work, self.growth)}"
        return f"broker {', '.join(map(str, self.gone))} is down again; {said}" if self.gone else said

    def evidence(self) -> dict[str, Any]:
        """Give what the verdict rests on, for the ledger."""
        held = {str(id_): {"replicas": each.replicas, "leaders": each.leaders} for id_, each in self.held.items()}
        return {"brokers": held, "moves": {"run": self.growth.moves, "ended": self.moves.word}, "down": self.gone}


def finish(work: Scaling, ending: Ending) -> State[Any]:
    """Enter the end in the ledger, show it, and give the flow run's last state."""
    work.run.finish(ending.status, ending.verdict, ending.counts, ending.evidence())
    message = close(work.run, ending.word, ending.headline, ending.counts, report_text(ending))
    return Completed(message=message) if ending.status == "done" else Failed(message=message)


def finish_early(run: Run, word: Literal["planned", "nothing to add"], why: str) -> State[Any]:
    """End a run that was only to plan, or has nothing to do."""
    run.finish("done", counts={"new_brokers": 0}, evidence={"reason": why})
    return Completed(message=close(run, word, why, {"new_brokers": 0}))


def cut_off(run: Run, word: Literal["paused", "failed"], error: RedriveError | str) -> State[Any]:
    """End a run that can't go on: ``paused``, if the next one may; or ``failed``."""
    words = f"{error}" + ("; the next run here goes on" if word == "paused" else "")
    run.finish(word, evidence={"reason": words})
    return Failed(message=close(run, word, words, {}, f"## {word.capitalize()}\n\n{cell(words)}"))


def report_text(ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    run, growth = ending.work.run, ending.growth
    rows = [
        [str(id_), each.rack or "–", number(each.replicas), number(each.leaders)] for id_, each in ending.held.items()
    ]
    where = f"[`{growth.moves}`]({ending.moves.url})" if ending.moves.url else f"`{growth.moves}`"
    facts = [
        ["brokers before", ", ".join(map(str, growth.before))],
        ["brokers that there were to be", number(growth.target)],
        ["moves of partitions", f"{where}: {cell(ending.moves.message)}"],
        *run_facts(run, ending.approved),
    ]
    return "\n\n".join(
        [
            *opening(ending.word, ending.headline),
            table(["new broker", "rack", "replicas", "leaders"], rows, left=2),
            table(["", ""], facts, left=2),
        ]
    )
