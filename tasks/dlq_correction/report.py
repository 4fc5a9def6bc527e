"""How a correction ended: counts, evidence, verdict; in the ledger, as an artifact, and as the flow run's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from redrive.deadletters.correction import Plan
from redrive.deadletters.correction.source import LEFT
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.proof import Proof
from tasks.board import Board
from tasks.dlq_correction.plan import REASONS, headline
from tasks.dlq_correction.steps import End
from tasks.ending import close, end_stopped
from tasks.judged import Judged
from tasks.operations import Run
from tasks.pace import Change
from tasks.pictures import bars, curve
from tasks.report_parts import MOST_ROWS, opening, per_second, run_facts, why_not_done
from tasks.words import cell, count, duration, number, table

FATES = ("published", "held", "skipped", "rejected", "parked", "left")
"""What a letter of the batch can come to; all but ``left`` are fates in the ledger."""


@dataclass(frozen=True, slots=True)
class Ending(Judged[End]):
    """All that is known at the end of a correction that had something to do.

    Attributes:
        plan: what was to be done.
        approved: who has approved it, and why; empty if nobody had to.
        ends: how the work at each partition has ended.
        proofs: by cluster, what the read-back has found.
        earlier: by operation, what the read-back of runs has found that had not entered what they did.
        fates: how many letters have which fate by this operation, in the ledger.
        unverified: why there was no read-back, if there was none.
        seconds: how long correcting took.
        started_pace: the pace that the run began with.
        changes: what was set in mid-run.
        speeds: seconds → letters a second.
    """

    UNIT: ClassVar[str] = "letters/s"

    plan: Plan
    approved: str
    ends: Sequence[End]
    proofs: Mapping[str, Proof]
    earlier: Mapping[str, Proof]
    fates: Mapping[str, int]
    unverified: str
    seconds: float
    started_pace: str
    changes: Sequence[Change]
    speeds: Sequence[tuple[float, float]] = ()
    counts: dict[str, int] = field(init=False)
    reasons: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        counts: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for end in self.ends:
            if end.result is None:
                continue
            outcome = end.result.outcome
            counts["letters"] += outcome.read
            for topic, evidence in outcome.evidence.items():
                fate = {PARKING_TOPIC: "parked", end.unit.kafka_topic: "rejected"}.get(topic, "published")
                counts[fate] += evidence.count
            for reason, letters in outcome.skipped.items():
                counts["left" if reason.startswith(LEFT) else reason.partition(":")[0]] += letters
                reasons[reason] += letters
        for reason, letters in self.plan.unreachable().items():
            counts["letters"] += letters
            counts["left"] += letters
            reasons[LEFT + reason] += letters
        object.__setattr__(self, "counts", {name: counts[name] for name in ("letters", *FATES)})
        object.__setattr__(self, "reasons", reasons)

    @property
    def read(self) -> int:
        """Letters that were worked at: all but those on clusters that can't be read."""
        return self.counts["letters"] - sum(self.plan.unreachable().values())

    @property
    def found(self) -> int:
        """Events that were read back."""
        return sum(sum(proof.counted.values()) for proof in self.proofs.values())

    @property
    def written(self) -> int:
        """Events that were written, by the pump's count."""
        return self.counts["published"] + self.counts["rejected"] + self.counts["parked"]

    @property
    def all_proofs(self) -> list[Proof]:
        """Everything that was read back."""
        return [*self.proofs.values(), *self.earlier.values()]

    @property
    def findings(self) -> list[str]:
        """What is wrong, from the evidence: of Kafka, and of the three sums."""
        found = [finding for proof in self.all_proofs for finding in proof.findings]
        found += [f"{end.unit}: {end.reason}" for end in self.ends if end.how == "failed"]
        found += [
            f"{end.unit}: {number(end.result.outcome.read)} letters were read, of {number(len(end.unit.offsets))}"
            for end in self.ends
            if end.result and (not end.result.outcome.balanced or end.result.outcome.read != len(end.unit.offsets))
        ]
        if not found and not self.unfinished and not self.unverified:
            found += [
                f"the ledger has {count(self.fates.get(fate, 0), 'letter')} as {fate} by this run; it should be "
                f"{number(self.counts[fate])}"
                for fate in FATES
                if fate != "left" and self.fates.get(fate, 0) != self.counts[fate]
            ]
        return found

    @property
    def headline(self) -> str:
        """The end in one line, without that word."""
        if self.verdict == "failed":
            return self.findings[0]
        if self.unfinished:
            first = self.unfinished[0]
            return (
                f"{len(self.unfinished)} of {count(len(self.ends), 'partition')} not finished, nothing lost: "
                f"{first.unit}: {first.reason}. A new run goes on with what is left"
            )
        published = f"{count(self.counts['published'], 'letter')} published again"
        if self.unverified:
            return f"{published}, but they could not be verified: {self.unverified}"
        how = "each once, in order, as it was sent" if self.verdict == "proved" else "each once and in order"
        others = "".join(f", {number(self.counts[fate])} {fate}" for fate in FATES[1:] if self.counts[fate])
        return f"{published}, {how}{others}; {duration(self.seconds)}"

    def evidence(self) -> dict[str, Any]:
        """Give what the verdict rests on, for the ledger."""
        return {
            "findings": self.findings,
            "unverified": self.unverified,
            "seconds": round(self.seconds, 3),
            **self.pace_evidence(),
            "reasons": dict(self.reasons),
            "rules": dict(self.plan.rules),
            "fates": dict(self.fates),
            "earlier": {operation: sum(proof.counted.values()) for operation, proof in self.earlier.items()},
            "clusters": {
                cluster: {
                    "verdict": proof.verdict,
                    "found": sum(proof.counted.values()),
                    "records_read": proof.read,
                    "seconds": round(proof.seconds, 3),
                }
                for cluster, proof in self.proofs.items()
            },
            "units": [_unit_evidence(end) for end in self.ends],
        }


def finish(run: Run, ending: Ending) -> State[Any]:
    """Enter the end in the ledger, show it, and give the flow run's last state."""
    run.finish(ending.status, ending.verdict, ending.counts, ending.evidence())
    message = close(run, ending.word, ending.headline, ending.counts, report_text(run, ending))
    return Completed(message=message) if ending.status == "done" else Failed(message=message)


def finish_early(run: Run, word: Literal["planned", "nothing to correct"], plan: Plan) -> State[Any]:
    """End a run that was only to plan, or had nothing to do."""
    counts = {"letters": plan.letters, "to_publish": plan.publishes}
    run.finish("done", counts=counts)
    return Completed(message=close(run, word, headline(plan), counts))


def cancelled(run: Run, board: Board) -> None:
    """End a run that somebody has stopped: see `end_stopped`."""
    totals = board.totals()
    counts = {"letters": totals.read, "published": totals.published}
    words = f"{number(totals.read)} of {count(totals.total, 'letter')} done; a new run goes on with what is left"
    end_stopped(run, words, counts)


def report_text(run: Run, ending: Ending) -> str:
    """Write the report as Markdown: the verdict first."""
    counts = ending.counts
    published = f"{count(counts['published'], 'letter')} published again"
    parts = opening(ending.word, ending.headline, ending.findings, about=published)
    parts.append(
        bars(
            "What became of the letters",
            [(fate, counts[fate], 0, number(counts[fate])) for fate in FATES if counts[fate]],
        )
    )
    verified = f"not verified: {ending.unverified}" if ending.unverified else number(ending.found)
    facts = [
        ["letters of the batch", number(counts["letters"])],
        ["written to Kafka", f"{number(ending.written)}, with those that went back or were parked"],
        ["found again in Kafka", verified],
        ["entered in the ledger", number(sum(ending.fates.values()))],
        ["time to correct", duration(ending.seconds) + per_second(ending.read, ending.seconds, ending.UNIT)],
        ["time to verify", duration(sum(proof.seconds for proof in ending.proofs.values()))],
        ["pace", ending.pace],
        *([["no answer from", cell(", ".join(ending.plan.no_answer))]] if ending.plan.no_answer else []),
        *run_facts(run, ending.approved),
    ]
    parts.append(table(["", ""], facts, left=2))
    parts += [
        f"> Operation `{operation}` had corrected {number(sum(proof.counted.values()))} letters and not entered them; "
        "they are in the ledger now."
        for operation, proof in ending.earlier.items()
    ]
    if ending.reasons:
        rows = [[reason, _meaning(reason), letters] for reason, letters in ending.reasons.most_common(MOST_ROWS)]
        parts += ["### Why not the others", table(["", "what it means", "letters"], rows, left=2)]
    parts.append(curve("Letters a second, over the whole run", ending.speeds, "letters/s"))
    rows_of_units = [_row(end) for end in ending.ends[:MOST_ROWS]]
    parts.append(table(["partition", "cluster", "end", "letters", "published", "others"], rows_of_units, left=3))
    parts += why_not_done([(end.unit, end.reason) for end in ending.ends], "partitions")
    return "\n\n".join(part for part in parts if part)


def _meaning(reason: str) -> str:
    return REASONS.get(reason.rpartition(": ")[2], "a newer event of its key is on the main topic")


def _row(end: End) -> list[object]:
    if end.result is None:
        return [end.unit, end.unit.cluster, end.how, len(end.unit.offsets), "", ""]
    outcome = end.result.outcome
    elsewhere = (PARKING_TOPIC, end.unit.kafka_topic)
    published = sum(evidence.count for topic, evidence in outcome.evidence.items() if topic not in elsewhere)
    return [end.unit, end.unit.cluster, end.how, outcome.read, published, outcome.read - published]


def _unit_evidence(end: End) -> dict[str, Any]:
    facts: dict[str, Any] = {"unit": end.unit.name, "end": end.how, "reason": end.reason}
    if end.result:
        outcome = end.result.outcome
        facts |= {
            "read": outcome.read,
            "written": {topic: evidence.count for topic, evidence in outcome.evidence.items()},
            "stayed": outcome.skipped,
            "digests": {topic: evidence.digest.hex() for topic, evidence in outcome.evidence.items()},
            "longest_transaction": round(outcome.longest_transaction, 3),
        }
    return facts
