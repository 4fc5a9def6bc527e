"""How a standby replay ended: counts, evidence, verdict; in the ledger, as an artifact, and as the flow run's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.clusters import ClusterTopic
from redrive.pump.proof import Proof
from tasks.board import Board
from tasks.ending import close, end_stopped, held_up
from tasks.judged import Judged
from tasks.operations import Run
from tasks.pace import Change
from tasks.pictures import curve
from tasks.report_parts import MOST_ROWS, opening, per_second, run_facts, why_not_done
from tasks.standby_replay.drain import LaneEnd
from tasks.standby_replay.earlier import Earlier
from tasks.standby_replay.plan import Plan
from tasks.standby_replay.plan_report import headline
from tasks.words import cell, count, duration, number, size, table

_TELLING = 1_000  # fewer events say nothing about speed


@dataclass(frozen=True, slots=True)
class Ending(Judged[LaneEnd]):
    """All that is known at the end of a replay that had something to do.

    Attributes:
        ends: how each lane has ended.
        proofs: what the read-back of each topic has found.
        earlier: runs that had no time to prove what they did, and what the read-back of theirs has found.
        unverified: why there was no read-back of some topics, if there was none.
        drain_seconds: how long draining took.
        started_pace: the pace that the run began with.
        changes: what was set in mid-run.
        left_out: topics that were left to other runs, with their names.
        speeds: seconds → events a second.
    """

    ends: Sequence[LaneEnd]
    proofs: Mapping[ClusterTopic, Proof]
    earlier: Sequence[tuple[Earlier, list[Proof]]]
    unverified: str
    drain_seconds: float
    started_pace: str
    changes: Sequence[Change]
    left_out: Sequence[str]
    speeds: Sequence[tuple[float, float]] = ()
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        outcomes = [end.result.outcome for end in self.ends if end.result]
        counts = {
            "read": sum(outcome.read for outcome in outcomes),
            "published": sum(outcome.published for outcome in outcomes),
            "skipped": sum(sum(outcome.skipped.values()) for outcome in outcomes),
            "parked": sum(sum(outcome.parked.values()) for outcome in outcomes),
            "bytes": sum(outcome.size for outcome in outcomes),
            "found": _found(self.proofs.values()),
            "found_of_earlier_runs": sum(_found(proofs) for _, proofs in self.earlier),
            "lanes": len(self.ends),
            "opened": sum(end.how == "open" for end in self.ends),
        }
        object.__setattr__(self, "counts", counts)

    @property
    def all_proofs(self) -> list[Proof]:
        """Everything that was read back."""
        return [*self.proofs.values(), *(proof for _, proofs in self.earlier for proof in proofs)]

    @property
    def findings(self) -> list[str]:
        """What is wrong with the events, from the evidence."""
        found = [finding for proof in self.all_proofs for finding in proof.findings]
        found += [
            f"{end.backlog.lane}: {number(end.result.outcome.read)} events were read, but published, skipped and "
            "parked ones do not add up to that"
            for end in self.ends
            if end.result and not end.result.outcome.balanced
        ]
        return found + [f"{end.backlog.lane}: {end.reason}" for end in self.ends if end.how == "failed"]

    @property
    def not_proved(self) -> list[ClusterTopic]:
        """Topics whose read-back has found something wrong, of this run or of an earlier one."""
        failed = {topic for topic, proof in self.proofs.items() if proof.verdict == "failed"}
        failed |= {
            topic
            for run, proofs in self.earlier
            if any(proof.verdict == "failed" for proof in proofs)
            for topic in run.topics
        }
        return sorted(failed)

    @property
    def held_up_by(self) -> list[str]:
        """What did not answer, by name; or why else lanes are not done."""
        return sorted({end.reason.partition(" is unavailable")[0] for end in self.unfinished})

    @property
    def speed(self) -> float | None:
        """Events a second; None if it was held back, or there were too few to tell."""
        held_back = self.started_pace != "full speed" or self.changes
        read = self.counts["read"]
        return None if held_back or read < _TELLING or not self.drain_seconds else read / self.drain_seconds

    @property
    def headline(self) -> str:
        """The end in one line, without that word."""
        counts = self.counts
        back = f"{count(counts['published'], 'event')} back in Kafka"
        if self.verdict == "failed":
            return self.findings[0]
        if self.unfinished:
            first = self.unfinished[0]
            return (
                f"{len(self.unfinished)} of {count(len(self.ends), 'lane')} not finished, nothing lost: "
                f"{first.backlog.lane}: {first.reason}. The next run goes on from there"
            )
        if self.unverified:
            which = "not all of them" if self.proofs else "they"
            return f"{back}, but {which} could {'' if self.proofs else 'not '}be verified: {self.unverified}"
        how = "each once, in order, unchanged" if self.verdict == "proved" else "each once and in order"
        theirs = counts["found_of_earlier_runs"]
        more = f", with {number(theirs)} that earlier runs had brought back" if theirs else ""
        if not self.ends:
            return f"nothing waited{more or ', and earlier runs had left nothing unproved'}"
        lanes = f"{count(counts['opened'], 'lane')} open again"
        return f"{back}, {how}{more}; {lanes}; {duration(self.drain_seconds)}"

    def evidence(self) -> dict[str, Any]:
        """Give what the verdict rests on, for the ledger."""
        return {
            "findings": self.findings,
            "unverified": self.unverified,
            "drain_seconds": round(self.drain_seconds, 3),
            "events_per_second": round(self.speed, 1) if self.speed else None,
            **self.pace_evidence(),
            "left_out": list(self.left_out),
            "earlier": {run.operation: _found(proofs) for run, proofs in self.earlier},
            "not_proved": self.not_proved,
            "topics": [
                {
                    "cluster": cluster,
                    "topic": topic,
                    "verdict": proof.verdict,
                    "found": sum(proof.counted.values()),
                    "records_read": proof.read,
                    "repeated": proof.repeated,
                    "superseded": proof.superseded,
                    "seconds": round(proof.seconds, 3),
                }
                for (cluster, topic), proof in self.proofs.items()
            ],
            "lanes": [_lane_evidence(end) for end in self.ends],
            "held_up_by": self.held_up_by,
        }


def finish(run: Run, ending: Ending) -> State[Any]:
    """Enter the end in the ledger, show it, and give the flow run's last state."""
    run.finish(ending.status, ending.verdict, ending.counts, ending.evidence())
    text = report_text(run, ending)
    message = close(run, ending.word, ending.headline, ending.counts, text)
    if ending.status == "paused":
        return held_up(run, message, {end.backlog.lane.cluster for end in ending.unfinished}, ending.held_up_by)
    return Completed(message=message) if ending.status == "done" else Failed(message=message)


def finish_early(run: Run, word: Literal["planned", "nothing to replay"], plan: Plan) -> State[Any]:
    """End a run that was only to plan, or had nothing to do."""
    counts = {"events": plan.events, "lanes": len(plan.lanes)}
    run.finish("done", counts=counts)
    return Completed(message=close(run, word, headline(plan), counts))


def cancelled(run: Run, board: Board) -> None:
    """End a run that somebody has stopped: see `end_stopped`."""
    totals = board.totals()
    counts = {"read": totals.read, "published": totals.published, "skipped": totals.skipped, "parked": totals.parked}
    words = f"{number(totals.read)} of {count(totals.total, 'event')} done; the next run goes on from there"
    end_stopped(run, words, counts)


def report_text(run: Run, ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    counts = ending.counts
    back = f"{count(counts['published'], 'event')} back in Kafka"
    speed = per_second(counts["read"], ending.drain_seconds, ending.UNIT)
    parts = opening(ending.word, ending.headline, ending.findings, about=back)
    facts = [
        ["read from the standby store", number(counts["read"])],
        ["published", f"{number(counts['published'])} ({size(counts['bytes'])})"],
        ["skipped", _with_reasons(ending, "skipped")],
        ["parked", _with_reasons(ending, "parked")],
        ["found again in Kafka", _verified(ending)],
        *([["may be there twice", unsure]] if (unsure := _unsure(ending)) else []),
        *([["of these, sent again by their senders", repeated]] if (repeated := _repeated(ending)) else []),
        *([["found of earlier runs", _of_earlier(ending)]] if any(run.events for run, _ in ending.earlier) else []),
        ["lanes open again", f"{counts['opened']} of {counts['lanes']}"],
        ["time to drain", duration(ending.drain_seconds) + speed],
        ["time to verify", duration(sum(proof.seconds for proof in ending.all_proofs))],
        ["pace", ending.pace],
        *run_facts(run),
    ]
    parts.append(table(["", ""], facts, left=2))
    parts += [f"> {cell(words)}" for words in ending.left_out]
    picture = curve("Events a second, over the whole run", ending.speeds, "events/s")
    if picture:
        parts.append(picture)
    if ending.proofs:
        parts.append(
            table(["topic", "cluster", "verdict", "found", "records read", "seconds"], _proofs(ending), left=3)
        )
    parts.append(table(["lane", "end", "read", "published", "skipped", "parked", "epochs"], _lanes(ending), left=2))
    parts += why_not_done([(end.backlog.lane, end.reason) for end in ending.ends], "lanes")
    return "\n\n".join(parts)


def _with_reasons(ending: Ending, what: str) -> str:
    reasons: Counter[str] = Counter()
    for end in ending.ends:
        if end.result:
            reasons.update(getattr(end.result.outcome, what))
    words = ", ".join(f"{reason}: {number(events)}" for reason, events in reasons.most_common(5))
    return f"{number(reasons.total())}" + (f" ({words})" if words else "")


def _found(proofs: Iterable[Proof]) -> int:
    return sum(sum(proof.counted.values()) for proof in proofs)


def _verified(ending: Ending) -> str:
    if not ending.proofs:
        return f"not verified: {ending.unverified}" if ending.unverified else "not verified"
    superseded = sum(proof.superseded for proof in ending.proofs.values())
    more = f" (and {number(superseded)} that compaction has taken since: a later event of their key is there)"
    rest = f"; others are not verified: {ending.unverified}" if ending.unverified else ""
    return number(ending.counts["found"]) + (more if superseded else "") + rest


def _repeated(ending: Ending) -> str:
    """Say how many events in doubt are there under one id, but accepted more than once: no fault of the replay."""
    repeated = sum(proof.repeated for proof in ending.all_proofs)
    return f"{number(repeated)} (the same id, accepted again; consumers of the SDK drop them)" if repeated else ""


def _unsure(ending: Ending) -> str:
    """Say how many events could not be looked up for certain, since the topic has deleted records of their time."""
    unsure = sum(end.result.unsure for end in ending.ends if end.result)
    why = "in doubt, and their topic has deleted records of their time: if they were among those, they are there again"
    return f"{number(unsure)} ({why})" if unsure else ""


def _of_earlier(ending: Ending) -> str:
    return ", ".join(
        f"{number(_found(proofs))} of {number(run.events)} that `{run.operation}` had published"
        for run, proofs in ending.earlier
        if run.events
    )


def _proofs(ending: Ending) -> list[list[object]]:
    return [
        [topic, cluster, proof.verdict, sum(proof.counted.values()), proof.read, f"{proof.seconds:.1f}"]
        for (cluster, topic), proof in ending.proofs.items()
    ]


def _lanes(ending: Ending) -> list[list[object]]:
    rows: list[list[object]] = []
    for end in ending.ends[:MOST_ROWS]:
        if end.result is None:
            rows.append([end.backlog.lane, end.how, "", "", "", "", ""])
            continue
        outcome = end.result.outcome
        epochs = ", ".join(map(str, end.result.epochs))
        skipped, parked = sum(outcome.skipped.values()), sum(outcome.parked.values())
        rows.append([end.backlog.lane, end.how, outcome.read, outcome.published, skipped, parked, epochs])
    return rows


def _lane_evidence(end: LaneEnd) -> dict[str, Any]:
    lane = end.backlog.lane
    facts: dict[str, Any] = {
        "cluster": lane.cluster, "topic": lane.topic, "lane": lane.number, "end": end.how, "reason": end.reason,
    }  # fmt: skip
    if end.result:
        outcome = end.result.outcome
        facts |= {
            "read": outcome.read,
            "published": outcome.published,
            "skipped": outcome.skipped,
            "parked": outcome.parked,
            "epochs": list(end.result.epochs),
            "looked_up": len(end.result.doubtful),
            "unsure": end.result.unsure,
            "digests": {topic: evidence.digest.hex() for topic, evidence in outcome.evidence.items()},
            "longest_transaction": round(outcome.longest_transaction, 3),
        }
    return facts
