"""How moves of partitions ended, as people see it and as the ledger keeps it."""

from __future__ import annotations

from typing import Any, Literal

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.errors import RedriveError
from redrive.ledger import Status, Verdict
from redrive.partitions.layout import Move
from redrive.partitions.outcome import SOMEBODY_ELSE, Result
from redrive.partitions.progress import Step
from redrive.partitions.removal import Drained
from tasks.ending import Word, close
from tasks.operations import Run
from tasks.partitions import Moved
from tasks.partitions_plan import headline
from tasks.pictures import curve
from tasks.words import cell, count, duration, number, size, table

MOST_ROWS = 50


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
        *(
            [["throttle", f"{' to '.join(dict.fromkeys(map(size, rates)))} a second"]]
            if (rates := ending.moved.rates)
            else []
        ),
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
