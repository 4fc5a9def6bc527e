"""The plan of a correction: every letter of the batch judged, and nothing written."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from redrive.deadletters.correction.batch import Batch, Unit
from redrive.deadletters.correction.context import Context
from redrive.deadletters.correction.copies import ONLY_CORRECTED
from redrive.deadletters.correction.diff import Change, diff
from redrive.deadletters.correction.doubles import ANOTHER_FIRST, SAME_EVENT
from redrive.deadletters.correction.order_guard import CORRECTED, Policy, Turn
from redrive.deadletters.correction.source import GONE, origins, read_letters
from redrive.deadletters.judging.judge import Judgement
from redrive.deadletters.judging.targets import NO_ANSWER, NO_CLUSTER, MovedWriter, Targets
from redrive.deadletters.letter_id import LetterId
from redrive.ledger import digest
from redrive.pump.evidence import fingerprint, pack

JOB = "dlq-correction"
"""The job's name, in the ledger and in Prefect."""

_MOST_REASONS = 100
_UNREACHABLE = (NO_CLUSTER, NO_ANSWER)
OTHER = "other reasons"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a correction is to do, in whichever state it finds things.

    Attributes:
        rules: digest of the rule set; empty: events go on as they are.
        policy: what becomes of letters that are overtaken.
        attempts: failures after which a letter is parked.
        selection: what was asked for, as JSON.
        upto: the ledger's entry up to which letters belong to the batch.
    """

    rules: str
    policy: Policy
    attempts: int
    selection: dict[str, Any]
    upto: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One letter before and after.

    Attributes:
        letter: which one.
        rules: what was applied.
        changes: the differences; masked fields are not shown.
    """

    letter: LetterId
    rules: tuple[str, ...]
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where events of a main topic go whose producers were switched to another one.

    Attributes:
        topic: that other one.
        schema_id: of the schema that events have there.
        generation: of the alias that says so.
        rules: what the rules are called that take events there; empty: Avro does.
    """

    topic: str
    schema_id: int
    generation: int
    rules: str


@dataclass(slots=True)
class Plan:
    """What would become of each letter of a batch.

    Attributes:
        terms: what it was made by.
        letters: how many there are.
        counts: outcome → letters: ``publish``, ``reject``, ``park``, ``skip``, ``leave`` and ``gone``, before the
            guard is asked.
        overtaken: of those to be published, how many have a newer event of their key on the main topic, or before them
            in the batch.
        diverted: of those to be published, how many are left since older events of their key may wait in the standby
            store; they count as nothing else below.
        deletions: of those to be published, how many delete their key: tombstones.
        fading: of those to be published, how many are of a time that their main topic no longer keeps: Kafka deletes
            them soon after they are published.
        stamped: main topic whose brokers give events their time → how many go there.
        several: main topic that is on other clusters, too → how many go there; the guard has looked on one alone.
        on_two_clusters: how many letters are of events that have a letter on another cluster, too.
        refused: why brokers will refuse events, as far as topics' settings tell → how many. They are parked.
        rules: name → letters that it was applied to.
        reasons: outcome and reason → letters; for all outcomes but ``publish``.
        details: outcome, reason and detail → letters; at most so many kinds, see `OTHER`.
        topics: topic → events to be published to it, before the guard is asked.
        targets: cluster → main topic → schema id to encode with, or why nothing can go there.
        elsewhere: cluster → main topic → where its events go, if not to it.
        no_answer: clusters that do not answer; their letters are left.
        samples: before and after, a few for each rule.
        stuck: letters of which nothing could go if it were their turn, of events that have several → why.
        seconds: how long judging took.
        content: cluster and dead-letter topic → outcome → the multiset hash of what becomes of these letters, 32
            hexadecimal digits.
    """

    terms: Terms
    letters: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    overtaken: int = 0
    diverted: int = 0
    deletions: int = 0
    fading: int = 0
    stamped: Counter[str] = field(default_factory=Counter)
    several: Counter[str] = field(default_factory=Counter)
    on_two_clusters: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    details: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    topics: Counter[str] = field(default_factory=Counter)
    targets: dict[str, dict[str, int | str]] = field(default_factory=dict)
    elsewhere: dict[str, dict[str, Elsewhere]] = field(default_factory=dict)
    no_answer: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    stuck: dict[LetterId, str] = field(default_factory=dict)
    seconds: float = 0.0
    content: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def publishes(self) -> int:
        """How many letters would be published, by the policy and what the guard has found."""
        return self.counts["publish"] - self.diverted - self.stays

    @property
    def stays(self) -> int:
        """How many letters are held or skipped, since they are overtaken."""
        return 0 if self.terms.policy == "publish" else self.overtaken

    @property
    def doubles(self) -> int:
        """How many letters do not go since another letter of the same event does, or did."""
        return self.reasons["skip", SAME_EVENT] + self.reasons["leave", ANOTHER_FIRST]

    @property
    def writes(self) -> int:
        """How many letters something would be written of, to Kafka or to the ledger, if lanes open meanwhile."""
        return self.letters - self.counts["leave"]

    def unreachable(self) -> dict[str, int]:
        """Give why letters stand where this run can't read them → how many. Who can may work at them meanwhile."""
        return {reason: self.reasons["leave", reason] for reason in _UNREACHABLE if self.reasons["leave", reason]}

    def canonical(self) -> dict[str, Any]:
        """Give what the plan's digest is made of: the terms, and what they make of each letter.

        What the order guard finds is no part of it: newer events may come, and lanes open, at any time. The guard looks
        again when the plan is carried out, and can only take letters away from what was approved.

        Neither are letters that can't be read, on clusters that do not answer or that the settings do not have, but
        which of the settings' clusters do not answer: nothing is done with these letters, and nobody holds their
        topics, so that others may discard them, or correct them as soon as their cluster is back.
        """
        elsewhere = {
            cluster: {name: [each.topic, each.schema_id, each.generation] for name, each in sorted(names.items())}
            for cluster, names in sorted(self.elsewhere.items())
            if names
        }
        unreachable = sum(self.unreachable().values())
        outcomes = self.counts - Counter(leave=unreachable)
        return {
            "job": JOB,
            "rules": self.terms.rules,
            "order": self.terms.policy,
            "attempts": self.terms.attempts,
            "selection": self.terms.selection,
            "upto": self.terms.upto,
            "letters": self.letters - unreachable,
            "outcomes": dict(sorted(outcomes.items())),
            "targets": self.targets,
            **({"elsewhere": elsewhere} if elsewhere else {}),
            "content": self.content,
            **({"no_answer": self.no_answer} if self.no_answer else {}),
        }

    @property
    def digest(self) -> str:
        """The plan's digest."""
        return digest(self.canonical())


def make_plan(
    terms: Terms,
    batch: Batch,
    contexts: Mapping[str, Context],
    *,
    samples: int = 3,
    masked: Set[str] = frozenset(),
    on_progress: Callable[[int], None] = lambda _judged: None,
) -> Plan:
    """Judge every letter of a batch. Nothing is written anywhere; memory does not grow with the batch.

    Args:
        terms: what is to be done.
        batch: the letters.
        contexts: by cluster.
        samples: how many letters to show for each rule.
        masked: fields whose values are not shown.
        on_progress: hears how many letters were judged, after each batch of records.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    plan = Plan(
        terms,
        targets={cluster: _shown(context.targets) for cluster, context in contexts.items()},
        elsewhere={cluster: _elsewhere(context.targets) for cluster, context in contexts.items()},
    )
    plan.on_two_clusters = batch.on_two_clusters
    plan.no_answer = list(batch.away)
    for reason, letters in ((NO_CLUSTER, batch.out_of_reach), (NO_ANSWER, batch.no_answer.total())):
        if letters:
            plan.reasons["leave", reason] = letters
            plan.letters += letters
            plan.counts["leave"] += letters
    content: defaultdict[str, Counter[str]] = defaultdict(Counter)
    shown: Counter[str] = Counter()
    queued = _queued(batch)
    turn: Turn | None = None
    began = time.monotonic()
    for unit in batch.units:
        context = contexts[unit.cluster]
        if turn is None or not unit.follows:
            turn = Turn(context.guard.overtaken, context.guard.time_of)
        apart = _apart(context, unit)
        place = (unit.cluster, unit.topic, unit.partition)
        in_queue = queued[place] - set(context.guard.corrected(unit.name))
        hashes = content[f"{unit.cluster}:{unit.topic}"]
        for offset, judged in _judged(context, unit):
            plan.letters += 1
            judgement = None if judged is None else apart.get(offset, judged)
            if judgement is None and offset in unit.only_corrected:
                judgement = Judgement("leave", ONLY_CORRECTED)
            own = judged or judgement
            if offset in in_queue and (own is None or own.kind == "leave"):
                plan.stuck[LetterId(*place, offset)] = GONE if own is None else own.reason
            if judgement is None:
                plan.counts["gone"] += 1
                plan.reasons["gone", GONE] += 1
                hashes["gone"] += fingerprint(pack((place, offset, "gone")))
                continue
            _add(plan, judgement, turn, context)
            made = (place, offset, judgement.kind, judgement.reason, *_content(judgement))
            hashes[judgement.kind] += fingerprint(pack(made))
            if judgement.kind == "publish" and judgement.rules and shown[judgement.rules[0]] < samples:
                shown[judgement.rules[0]] += 1
                changes = diff(judgement.before, judgement.after, masked)
                plan.samples.append(Sample(LetterId(*place, offset), judgement.rules, changes))
            if plan.letters % 5_000 == 0:
                on_progress(plan.letters)
    plan.seconds = time.monotonic() - began
    plan.content = {
        topic: {outcome: f"{total % (1 << 128):032x}" for outcome, total in sorted(hashes.items())}
        for topic, hashes in sorted(content.items())
    }
    return plan


def _queued(batch: Batch) -> defaultdict[tuple[str | None, str, int], set[int]]:
    """Give the letters of events of which several could go, by partition: who goes first, and who stands behind."""
    queued: defaultdict[tuple[str | None, str, int], set[int]] = defaultdict(set)
    for unit in batch.units:
        queued[unit.cluster, unit.topic, unit.partition].update(unit.behind)
        for behind in unit.behind.values():
            for letter in behind:
                queued[letter[:3]].add(letter.offset)
    return queued


def _apart(context: Context, unit: Unit) -> dict[int, Judgement]:
    """Say what becomes of letters that are not judged for their own sake."""
    reasons = unit.doubles | dict.fromkeys(context.guard.corrected(unit.name), CORRECTED)
    return {
        offset: Judgement("skip" if reason == SAME_EVENT else "leave", reason) for offset, reason in reasons.items()
    }


def _judged(context: Context, unit: Unit) -> Iterator[tuple[int, Judgement | None]]:
    origin = origins(unit)
    for record in read_letters(context.client, unit):
        if isinstance(record, int):
            yield record, None
        else:
            yield record.offset, context.judge.judge(record, origin % record.offset)


def _add(plan: Plan, judgement: Judgement, turn: Turn, context: Context) -> None:
    kind = judgement.kind
    plan.counts[kind] += 1
    for rule in judgement.rules:
        plan.rules[rule] += 1
    if kind == "publish":
        assert judgement.event is not None
        event = judgement.event
        plan.topics[event.topic] += 1
        if context.guard.diverted(event):
            plan.diverted += 1
            return
        plan.overtaken += turn.overtaken(event)
        plan.deletions += event.value is None
        plan.several[event.topic] += event.topic in context.several
        if topic := context.limits.get(event.topic):
            now, event.partition = time.time_ns() // 1_000_000, None  # which one is for the guard to say
            if refusal := topic.refusal(event, now):
                plan.refused[refusal] += 1
            plan.stamped[event.topic] += topic.stamped
            plan.fading += not topic.stamped and 0 <= topic.retention_ms < now - event.timestamp
        return
    plan.reasons[kind, judgement.reason] += 1
    if judgement.detail:
        detail = (kind, judgement.reason, judgement.detail)
        known = detail in plan.details or len(plan.details) < _MOST_REASONS
        plan.details[detail if known else (kind, judgement.reason, OTHER)] += 1


def _content(judgement: Judgement) -> Sequence[Any]:
    """Give what of a judgement must be the same when it is carried out; letters that go back bear the time of day."""
    event = judgement.event
    if event is None or judgement.kind != "publish":
        return judgement.rules
    return (event.topic, event.key, event.value, event.headers, event.timestamp, *judgement.rules)


def _shown(targets: Targets) -> dict[str, int | str]:
    return {topic: target if isinstance(target, str) else target.schema_id for topic, target in sorted(targets.items())}


def _elsewhere(targets: Targets) -> dict[str, Elsewhere]:
    return {
        topic: Elsewhere(alias.current, alias.schema_id, alias.generation, alias.file if alias.rules else "")
        for topic, target in targets.items()
        if isinstance(target, MovedWriter)
        for alias in [target.alias]
    }
