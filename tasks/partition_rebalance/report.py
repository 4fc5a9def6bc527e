"""How moves of partitions ended, as people see it and as the ledger keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.errors import RedriveError
from redrive.ledger import Status, Verdict
from redrive.partitions.layout import Move
from redrive.partitions.outcome import SOMEBODY_ELSE, Result
from redrive.partitions.progress import Step
from redrive.partitions.removal import Drained
from redrive.partitions.survey import key_of
from tasks.ending import Word, close, end_stopped
from tasks.operations import Run
from tasks.partition_rebalance.plan import headline
from tasks.partition_rebalance.steps import Decided, Moved
from tasks.pictures import curve
from tasks.report_parts import opening, run_facts
from tasks.words import cell, count, duration, number, size, table

MOST_ROWS = 50
NOT_EMPTY = "not all brokers that were to be drained are empty: plan the drain anew"
NOT_WITHOUT_VOTE = "not all brokers that were drained are brokers only"
NOT_TOGETHER = "the brokers that were drained are not those that have to go together"


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
        self, decided: Decided, moved: Moved, seconds: float, approved: str, drained: Drained | None = None
    ) -> None:
        self.decided, self.moved, self.seconds, self.approved = decided, moved, seconds, approved
        self.drained = drained
        moves, result = decided.moves, moved.back or moved.result
        self.findings = _findings(result)
        if not (self.findings or result.stopped or moved.back):
            self.findings = unsafe(drained)
        foreign = [outcome for outcome in result.outcomes.values() if outcome.step in SOMEBODY_ELSE]
        done = sum(outcome.step is Step.DONE for outcome in result.outcomes.values())
        self.counts = {"moves": len(moves), "done": done, "foreign": len(foreign), "bytes": _copied(decided, moved)}
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
        changes = [{"at": each.at, **each.pace.model_dump()} for each in self.moved.live.pace.changes]
        return {
            "findings": self.findings,
            "seconds": round(self.seconds, 3),
            **_evidence(self.moved),
            **(self.drained.evidence() if self.drained else {}),
            **(self.moved.times.evidence() if self.moved.times else {}),
            **(
                {"throttle": dict(zip(("lowest", "highest"), rates, strict=True))}
                if (rates := self.moved.rates)
                else {}
            ),
            "pace_changes": changes,
        }

    def _headline(self, result: Result, done: int, foreign: int) -> str:
        if self.findings:
            return self.findings[0]
        what = f"{number(done)} of {count(len(self.decided.moves), 'partition')}"
        others = f"; {count(foreign, 'partition')} left as somebody else has placed or deleted them" if foreign else ""
        if self.word == "paused":
            why = result.stopped or "not all is done"
            if self.moved.back:
                return f"{what} back where they were, {why}. To go on with that: goal roll_back{others}"
            return f"{what} moved, {why}. {self.decided.way_on}{others}"
        if self.word == "rolled back":
            why = self.moved.result.stopped or "not all moves came to a good end"
            return f"{what} are as they were before, in their order, because {why}{others}"
        return (
            f"{what} moved, {size(self.counts['bytes'])} copied, all replicas in sync, led as planned, settings as "
            f"before{others}; {duration(self.seconds)}"
        )


def _copied(decided: Decided, moved: Moved) -> int:
    """Give the bytes that have been copied: there, and back again as far as moves had come to their end."""
    there = [move for move in decided.moves if moved.result.outcomes[key_of(move)].step is Step.DONE]
    left = {key_of(move): move.bytes for move in decided.left}
    copied = sum(left.get(key_of(move), 0) for move in there)
    if moved.back is None:
        return copied
    back = (move.back() for move in there if moved.back.outcomes[key_of(move)].step is Step.DONE)
    return copied + sum(move.bytes for move in back)


def unsafe(drained: Drained | None) -> list[str]:
    """Find that brokers which were drained may not be taken away."""
    if drained is None:
        return []
    votes = any(each.voter for each in drained.removals)
    return (
        [NOT_EMPTY] * any(each.left for each in drained.removals)
        + [NOT_WITHOUT_VOTE] * votes
        + [NOT_TOGETHER] * bool(drained.together)
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
    evidence, message = drained.evidence() if drained else None, headline(moves) + _and(drained)
    if findings := unsafe(drained):
        run.finish("failed", "failed", counts, {"findings": findings, **(evidence or {})})
        return Failed(message=close(run, "failed", message, counts))
    run.finish("done", counts=counts, evidence=evidence)
    return Completed(message=close(run, word, message, counts))


def cut_off(run: Run, decided: Decided, error: RedriveError, moved: Moved | None) -> State[Any]:
    """End a run whose cluster did not answer, or refused a throttle; ``moved``: what is known of the moves."""
    way_on = f"{_way_on(run, decided)}. That restores the settings, too"
    going_on = "If anything is under way, it goes on in the cluster, throttled"
    if moved is None:
        words = f"{error}. {going_on}. {way_on}"
    elif _goes_back(run, moved):
        words = f"{error}. The moves had ended, {_steps(moved)}, and were being taken back. {going_on}. {way_on}"
    else:
        words = f"{error}. The moves have ended before: {_steps(moved)}. {way_on}"
    counts = _counts(decided, moved)
    run.finish("paused", counts=counts, evidence={"reason": str(error), **_evidence(moved)})
    return Failed(message=close(run, "paused", words, counts, f"## Paused\n\n{cell(words)}"))


def cancelled(run: Run, decided: Decided, moved: Moved | None) -> None:
    """End a run that somebody has stopped: see `end_stopped`.

    Args:
        run: the run.
        decided: what was to be moved.
        moved: what has come of the moves; None if that is not known in time.
    """
    seen = None if moved is None or _goes_back(run, moved) else moved
    words = f"{_after_cancel(seen)}; what was done stays. {_way_on(run, decided)}"
    end_stopped(run, words, _counts(decided, moved), **_evidence(moved))


def _goes_back(run: Run, moved: Moved) -> bool:
    """Say whether moves are being taken back, and it is not known how far that has come."""
    return moved.back is None and run.goes_back()


def _way_on(run: Run, decided: Decided) -> str:
    return replace(decided, back=decided.back or run.goes_back()).way_on


def _counts(decided: Decided, moved: Moved | None) -> dict[str, int]:
    if moved is None:
        return {}
    result = moved.back or moved.result
    done = sum(outcome.step is Step.DONE for outcome in result.outcomes.values())
    return {"moves": len(decided.moves), "done": done, "bytes": _copied(decided, moved)}


def _after_cancel(moved: Moved | None) -> str:
    if moved is None:
        return "what was under way was not seen to be taken back: it may go on, throttled (see redrive debts list)"
    result = moved.back or moved.result
    under_way = sum(result.outcomes[key].step not in SOMEBODY_ELSE for key in result.ongoing)
    if under_way:
        return f"{count(under_way, 'partition')} could not be taken back in time, and may go on; {_steps(moved)}"
    if result.owed:
        return f"what was under way was taken back, but settings are owed still: {'; '.join(result.owed)}"
    return "what was under way was taken back"


def _steps(moved: Moved) -> str:
    result = moved.back or moved.result
    told = ", ".join(f"{number(moves)} {step}" for step, moves in result.counts.items())
    return f"{'on the way back, ' if moved.back else ''}{told}"


def _evidence(moved: Moved | None) -> dict[str, Any]:
    if moved is None:
        return {}
    return moved.result.evidence() | ({"back": moved.back.evidence()} if moved.back else {})


def report_text(run: Run, ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    result = ending.moved.back or ending.moved.result
    parts = opening(ending.word, ending.headline, ending.findings)
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
        *([["owed still by runs before", "; ".join(result.owed_before)]] if result.owed_before else []),
        *run_facts(run, ending.approved),
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
    parts.append(curve("Bytes copied a second", ending.moved.live.speeds, "a second", size))
    return "\n\n".join(part for part in parts if part)
