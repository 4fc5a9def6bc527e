"""Steps of a correction: select letters, settle what earlier runs have left, judge, correct, settle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from prefect import get_run_logger, task

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.deadletters.answering import away
from redrive.deadletters.correction import (
    Batch,
    Context,
    JudgeElsewhere,
    Judging,
    Plan,
    Policy,
    Terms,
    Unit,
    UnitResult,
    correct,
    find_context,
    make_plan,
    mark_doubles,
    note_copies,
    rounds,
    settle,
    to_settle,
    topics_of,
    twins_of,
)
from redrive.deadletters.correction import settle_earlier as settle_earlier_operations
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.ledger.letter_twins import Twin
from redrive.ledger.letters import PAGE
from redrive.pump.governor import Governor
from redrive.pump.proof import Mode, Proof
from redrive.pump.workers import Workers
from redrive.rules import RuleSet, load_rules
from redrive.schemas import SchemaRegistry
from tasks.board import Board
from tasks.operations import Run
from tasks.retrying import BRIEFLY, PATIENTLY, UNIT_BY_UNIT
from tasks.side_by_side import Hidden, UnitEnd, Work, unit_end, work_at
from tasks.step_progress import StepProgress
from tasks.words import count, number


class Correcting:
    """What the steps of one run share. Not one of the types that Prefect looks into when it is handed to a task.

    Attributes:
        touched: the topics that the letters go to, and stand in.
        saved: the units' checkpoints when the plan was made.
        earlier: operation → what a read-back has found of runs that had not entered what they did.
        away: clusters that do not answer while others do: their letters are left.
    """

    def __init__(self, config: Config, run: Run, terms: Terms, rules: RuleSet | None, selection: Selection) -> None:
        self.config, self.run, self.terms, self.rules, self.selection = config, run, terms, rules, selection
        self.touched: list[ClusterTopic] = []
        self.saved: dict[str, bytes] = {}
        self.earlier: dict[str, Proof] = {}
        self.away: set[str] = set()

    def record_fates(self, fates: Sequence[Fate]) -> None:
        """Enter fates in the ledger."""
        self.run.ledger.letters.record_fates(self.run.operation, fates)


End = UnitEnd[Unit, UnitResult]


def read_rules(config: Config, file: str | None) -> RuleSet | None:
    """Read the rule file; it must be in the folder of the settings.

    Raises:
        ConfigError: it is elsewhere.
        RulesError: it has mistakes.
    """
    return None if file is None else load_rules(config.rule_file(file))


@task(
    name="select letters",
    description="Asks the ledger which letters are meant, where they stand, and for their keys.",
    **BRIEFLY,
)
def select_letters(work: Correcting, settled: frozenset[LetterId] = frozenset()) -> Batch:
    """Give the batch of letters.

    Args:
        work: what the steps share.
        settled: letters that are only open because nobody has entered yet what became of them.

    Raises:
        UnavailableError: the ledger does not answer.
    """
    letters = work.run.ledger.letters.subjects(work.selection, upto=work.terms.upto, also_of=work.run.id)
    batch = Batch(
        (
            letter
            for letter in letters
            if LetterId(letter.cluster, letter.topic, letter.partition, letter.offset) not in settled
        ),
        clusters=work.config.clusters,
        away=work.away,
    )
    note_copies(batch, work.run.ledger.letters)
    if len(work.config.clusters) > 1:
        batch.on_two_clusters = work.run.ledger.letters.on_two_clusters(work.selection, upto=work.terms.upto)
    get_run_logger().info("%s in %s", count(batch.letters, "letter"), count(len(batch.units), "partition"))
    return batch


@task(
    name="find doubles",
    description="Asks the ledger which letters are of the same event, by whatever name of its topic: one of them goes.",
    **PATIENTLY,
)
def find_doubles(work: Correcting, batch: Batch, settled: frozenset[LetterId] = frozenset()) -> Batch:
    """Note on a batch which letters do not go since another one of their event does; gives the batch.

    Args:
        work: what the steps share.
        batch: the letters.
        settled: see `select_letters`.

    Raises:
        UnavailableError: a cluster, the registry or the ledger does not answer.
    """
    mark_doubles(batch, _twins(work, batch), settled, once_more=work.selection.names_skipped)
    return batch


def _twins(work: Correcting, batch: Batch) -> Iterator[list[Twin]]:
    registry = SchemaRegistry(work.config.registry_client_config())
    return twins_of(work.config, registry, work.run.ledger.letters, batch)


@task(
    name="look up topics",
    description="Finds out which topics the letters go to, and stand in: nobody else may touch them meanwhile.",
    **PATIENTLY,
)
def look_up_topics(work: Correcting, batch: Batch) -> list[ClusterTopic]:
    """Give the topics that a correction touches; see `redrive.deadletters.correction.topics_of`.

    Raises:
        UnavailableError: a cluster does not answer.
    """
    return topics_of(work.config, batch)


@task(
    name="ask clusters",
    description="Finds out which clusters with letters do not answer: theirs are left, and hold up no others.",
    **BRIEFLY,
)
def ask_clusters(work: Correcting, batch: Batch) -> None:
    """Note which clusters are away; see `redrive.deadletters.answering.away`."""
    if silent := away(work.config, batch.clusters):
        work.away |= silent
        names = ", ".join(sorted(silent))
        get_run_logger().warning("no answer from %s: letters that stand there are left for a later run", names)


@task(
    name="find other letters",
    description="Asks the ledger where other letters of the same events stand, of which a run may have published one.",
    **PATIENTLY,
)
def find_others(work: Correcting, batch: Batch) -> list[Unit]:
    """Give the units in which what earlier runs have left is to be settled; see `to_settle`.

    Raises:
        UnavailableError: a cluster, the registry or the ledger does not answer.
    """
    return to_settle(batch, _twins(work, batch))


@task(
    name="settle earlier runs",
    description="Reads back what runs have made of these letters that ended before they could enter it in the ledger.",
    **PATIENTLY,
)
def settle_earlier(
    work: Correcting, units: Sequence[Unit], *, record: bool
) -> tuple[dict[str, Proof], frozenset[LetterId]]:
    """Find out what became of letters whose correction nobody has entered.

    Args:
        work: what the steps share.
        units: where to look; see `find_others`.
        record: enter it. Else it is only looked at.

    Returns:
        By operation, what the read-back has found; and the letters in question, if they were not entered.

    Raises:
        StalePlanError: another run has gone on with what this one had begun.
        UnavailableError: Kafka or the ledger does not answer.
    """
    run = work.run
    earlier = settle_earlier_operations(work.config, run.ledger, units, run.operation, record=record)
    work.saved = earlier.saved
    for operation, proof in earlier.proofs.items():
        found = sum(proof.counted.values())
        get_run_logger().warning("operation %s had corrected %s and not entered it", operation, number(found))
    if earlier.unknown:
        get_run_logger().warning(
            "%s of these are not in this ledger, and no longer in their topic: nothing is entered of them",
            number(earlier.unknown),
        )
    return earlier.proofs, frozenset(earlier.letters)


@task(
    name="look at main topics",
    task_run_name="look at main topics of {cluster}",
    description="Finds out where letters can go, and reads main topics for newer events of their keys.",
    **PATIENTLY,
)
def look_at_main_topics(work: Correcting, batch: Batch, cluster: str) -> Context:
    """Prepare judging the letters of a cluster.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    config, attempts = work.config, work.terms.attempts
    registry = SchemaRegistry(config.registry_client_config())
    with StepProgress(work.run, "looking for newer events on", "event") as progress:
        return find_context(
            config, registry, batch, cluster, work.rules,
            attempts=attempts, operation=work.run.id, insisted=work.selection.insists, on_progress=progress.at,
        )  # fmt: skip


@task(
    name="enter what is there already",
    description="Enters letters of which an event is on the main topic, and the ledger does not know.",
    **BRIEFLY,
)
def enter_corrected(work: Correcting, contexts: Mapping[str, Context]) -> int:
    """Enter the letters that earlier operations have corrected, as those', and give how many there are.

    Raises:
        UnavailableError: the ledger does not answer.
    """
    entered = 0
    for context in contexts.values():
        for operation, fates in context.guard.found.items():
            for page in range(0, len(fates), PAGE):
                letters, some = work.run.ledger.letters, fates[page : page + PAGE]
                entered += letters.record_fates(work.run.operation, some, of=operation)
            get_run_logger().warning("operation %s had corrected %s and not entered it", operation, number(len(fates)))
    return entered


@task(
    name="judge letters",
    description="Says of each letter what would become of it. Writes nothing.",
    **PATIENTLY,
)
def judge_letters(work: Correcting, batch: Batch, contexts: Mapping[str, Context], samples: int) -> Plan:
    """Make the plan.

    Raises:
        UnavailableError: Kafka or the registry does not answer.
    """
    masked = work.config.corrections.masked
    with StepProgress(work.run, "judging", "letter") as progress:
        return make_plan(
            work.terms, batch, contexts,
            samples=samples, masked=masked, on_progress=lambda judged: progress(judged, batch.letters),
        )  # fmt: skip


MANY_LETTERS = 20_000
"""Letters from which on other processes are worth starting, which takes about two seconds of each."""


def workers_for(config: Config, letters: int) -> Workers:
    """Give the processes in which so many letters are judged; none for a few."""
    return Workers(config.jobs.worker_processes() if letters >= MANY_LETTERS else 0)


class CorrectingUnits(Work):
    """What the tasks that work at units share.

    Attributes:
        judges: by cluster.
    """

    def __init__(
        self,
        work: Correcting,
        contexts: Mapping[str, Context],
        governor: Governor,
        board: Board,
        workers: Workers,
        *,
        patience: float,
    ) -> None:
        super().__init__(governor, board, patience=patience)
        self.correcting, self.contexts = work, contexts
        self.judges = {cluster: _judge(work, context, workers) for cluster, context in contexts.items()}


def _judge(work: Correcting, context: Context, workers: Workers) -> Judging:
    if not workers.processes:
        return context.judge
    return JudgeElsewhere(
        workers, work.rules, context.targets, work.config.registry_client_config(),
        attempts=work.terms.attempts, insisted=work.selection.insists,
    )  # fmt: skip


@task(
    name="correct partition",
    task_run_name="correct {unit}",
    description="Corrects the letters of one partition. A retry goes on from the cursor that is in Kafka.",
    **UNIT_BY_UNIT,
)
def correct_partition(unit: str, letters: Hidden[Unit], work: CorrectingUnits) -> UnitResult:
    """Correct the letters of one partition.

    Raises:
        RedriveError: see `redrive.deadletters.correction.correct`.
    """
    of, context = work.correcting, work.contexts[letters.of.cluster]
    policy: Policy = of.terms.policy
    with work.at(letters.of):
        return correct(
            of.config,
            letters.of,
            work.judges[letters.of.cluster],
            context.guard,
            policy,
            operation=of.run.id,
            targets=context.targets,
            seen=of.saved.get(letters.of.name),
            record_fates=of.record_fates,
            governor=work.governor,
            on_progress=partial(work.board.moved, letters.of),
        )


def correct_partitions(
    work: CorrectingUnits, units: Sequence[Unit], *, parallel: int, on_cancel: Callable[[], None]
) -> list[End]:
    """Correct partitions, so many at a time, and say how each has ended; see `tasks.side_by_side.work_at`.

    Of a partition whose letters are in several units, newer ones wait until all older ones are done.
    """
    ends: dict[Unit, End] = {}
    last: dict[tuple[str, str, int], End] = {}
    for some in rounds(units):
        for unit in some:
            if unit.follows and (older := last[unit.kafka_partition]).how != "done":
                reason = f"waits for older letters of its partition: {older.unit}"
                ends[unit] = UnitEnd(unit, "stopped" if older.how == "failed" else older.how, reason=reason)
                work.board.ended(unit, "stopped", reason)
        free = {unit: {"unit": str(unit), "letters": Hidden(unit), "work": work} for unit in some if unit not in ends}
        found = work_at(work, correct_partition, free, parallel=parallel, on_cancel=on_cancel)
        ends |= {unit: unit_end(unit, result) for unit, result in found.items()}
        last |= {unit.kafka_partition: ends[unit] for unit in some}
    return [ends[unit] for unit in units]


@task(
    name="settle",
    task_run_name="settle {cluster}",
    description="Reads back what was written, compares it with what the run says, and enters each letter's fate.",
    **PATIENTLY,
)
def settle_cluster(work: Correcting, cluster: str, results: Sequence[UnitResult], *, mode: Mode) -> Proof:
    """Prove what was written to a cluster, and enter the fates.

    Raises:
        UnavailableError: Kafka or the ledger does not answer.
    """
    return settle(
        work.config.cluster(cluster).client_config(),
        [result.unit for result in results],
        {result.unit.name: result.outcome.evidence for result in results},
        operation=work.run.id,
        record_fates=work.record_fates,
        mode=mode,
    )


def settle_all(work: Correcting, ends: Sequence[End], *, mode: Mode) -> dict[str, Proof]:
    """Settle what the finished units have done, cluster by cluster; the rest is for the next run."""
    by_cluster: defaultdict[str, list[UnitResult]] = defaultdict(list)
    for end in ends:
        if end.result is not None:
            by_cluster[end.unit.cluster].append(end.result)
    return {
        cluster: settle_cluster(work, cluster, results, mode=mode) for cluster, results in sorted(by_cluster.items())
    }
