"""The job `dlq-correction`: put dead letters right by rules, publish them again exactly once, and prove it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.deadletters.correction import JOB, Batch, Context, Plan, Terms, give_way, topics_in
from redrive.errors import HeldError, StalePlanError, UnavailableError
from redrive.pump.governor import Governor
from redrive.rules import RuleSet
from tasks.approval import RefusedByPersonError, approve, bind
from tasks.board import Board
from tasks.dlq_correction.form import Correction
from tasks.dlq_correction.plan import approval_text, headline, report_plan
from tasks.dlq_correction.report import Ending, cancelled, finish, finish_early
from tasks.dlq_correction.steps import (
    Correcting,
    CorrectingUnits,
    ask_clusters,
    correct_partitions,
    enter_corrected,
    find_doubles,
    find_others,
    judge_letters,
    look_at_main_topics,
    look_up_topics,
    read_rules,
    select_letters,
    settle_all,
    settle_earlier,
    workers_for,
)
from tasks.ending import refused
from tasks.live import Live, Words
from tasks.operations import Run, operation
from tasks.pace import Pace
from tasks.protection import governor_for, see_that_group_is_known


def _run_name() -> str:
    correction = Correction.model_validate(runtime.parameters["correction"])
    return f"{correction.mode} {correction.rules or 'as they are'}"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False)
def dlq_correction(correction: Correction = Correction()) -> State[Any]:  # noqa: B008 (nothing changes it)
    """Put dead letters right by a file of rules, and publish them again to the topics that they were meant for.

    Selects letters that triage has entered, says of each what would become of it, and, with `mode: run`, does exactly
    that: each corrected event is checked strictly, and published once, with the key, time and id that it had. What
    became of each letter is in the ledger, for good. It may be cancelled or killed at any time; a large correction
    waits for a person's approval first.

    Args:
        correction: Which dead letters to correct, and how.
    """
    config = Config.load()
    rules = read_rules(config, correction.rules)
    clusters = correction.selection.clusters or sorted(config.clusters)
    parameters = correction.model_dump(mode="json")
    named = ", ".join(clusters)
    with operation(config, JOB, correction.mode, cluster=named, resources=clusters, parameters=parameters) as run:
        try:
            return correct_letters(config, run, correction, rules)
        except (HeldError, StalePlanError, RefusedByPersonError) as error:
            run.finish("refused", evidence={"reason": str(error)})
            return refused(run, str(error))


def correct_letters(config: Config, run: Run, correction: Correction, rules: RuleSet | None) -> State[Any]:
    """Select, look, judge, have it approved, and carry it out; what a run that was cut off has begun is gone on with.

    Raises:
        HeldError: another run works at the letters' topics.
        StalePlanError: this is not what was planned or approved before.
        RefusedByPersonError: a person has refused the plan.
    """
    known = run.known_plan if correction.mode == "run" else None
    terms = Terms(
        rules=rules.digest if rules else "",
        policy=correction.order,
        attempts=config.corrections.attempts,
        selection=correction.selection.model_dump(mode="json"),
        upto=known["upto"] if known else run.ledger.letters.last_entry(),
    )
    work = Correcting(config, run, terms, rules, correction.selection)
    batch = gather(run, work, correction, known)
    see_that_group_is_known(config, correction.protect, corrected_topics(work.touched, batch))
    contexts = {cluster: look_at_main_topics(work, batch, cluster) for cluster in batch.clusters}
    if correction.mode == "run" and enter_corrected(work, contexts):
        batch = find_doubles(work, select_letters(work))
    plan = judge_letters(work, batch, contexts, correction.samples)
    # Another letter of the same event may be one that rules are for. Once, but for what is deleted meanwhile.
    while give_way(batch, plan.stuck):
        plan = judge_letters(work, batch, contexts, correction.samples)
    digest = bind(run, plan.canonical(), known)
    report_plan(run, plan, digest, mode=correction.mode, rate=correction.rate)
    get_run_logger().info("plan: %s", headline(plan))
    if correction.mode == "plan" or not plan.writes:
        return finish_early(run, "planned" if correction.mode == "plan" else "nothing to correct", plan)
    approved = ""
    if config.corrections.needs_approval(plan.writes):
        approved = approve(run, digest, approval_text(plan, digest), four_eyes=config.corrections.four_eyes)
    return carry_out(work, correction, plan, batch, contexts, approved)


def gather(run: Run, work: Correcting, correction: Correction, known: Mapping[str, Any] | None = None) -> Batch:
    """Select the letters, without those that an earlier run has corrected and could not enter.

    If one of several clusters does not answer, its letters are left, and hold up no others. A plan that this run has
    shown before says which ones are left: then no cluster is asked, and one that is away now is waited for, since with
    other letters it would be another plan than what was approved.

    Raises:
        HeldError: another run works at their topics.
        StalePlanError: one has ended just now, and letters of further topics are among those that are meant, or others
            of their events stand where nobody has looked.
    """
    work.away |= set(known.get("no_answer", ()) if known else ())
    batch = select_letters(work)
    if known is None and len(batch.clusters) > 1:
        ask_clusters(work, batch)
        batch = select_letters(work) if work.away else batch
    work.touched = look_up_topics(work, batch)
    units = find_others(work, batch)
    if correction.mode == "plan":
        work.earlier, settled = settle_earlier(work, units, record=False)
        return find_doubles(work, select_letters(work, settled) if work.earlier else batch, settled)
    if work.touched:
        run.claim(sorted({*work.touched, *topics_in(units)}), all_or_none=True)
    work.earlier, _ = settle_earlier(work, units, record=True)
    # Whoever held these topics may have ended while this run waited for it: what it has made of letters counts.
    batch = select_letters(work)
    more = set(look_up_topics(work, batch)) - set(work.touched)
    # Triage holds nothing: it may have entered other letters of the same events since, where nothing was settled.
    looked_at = {unit.kafka_partition for unit in units}
    more |= topics_in(unit for unit in find_others(work, batch) if unit.kafka_partition not in looked_at)
    if more:
        names = ", ".join("/".join(topic) for topic in sorted(more))
        raise StalePlanError(
            f"another run has just changed what is selected in {names}, goes there, or is of its events"
        )
    return find_doubles(work, batch)


def carry_out(  # noqa: PLR0917 (what the steps before it have found)
    work: Correcting,
    correction: Correction,
    plan: Plan,
    batch: Batch,
    contexts: dict[str, Context],
    approved: str,
) -> State[Any]:
    """Correct, settle, report."""
    run, log = work.run, get_run_logger()
    board = Board({unit: len(unit.offsets) for unit in batch.units})
    began = time.monotonic()
    with (
        workers_for(work.config, batch.letters) as workers,
        governed(work.config, correction, contexts) as governor,
        Live(run, board, governor, correction.rate, Words("partition", "done", "letter")) as live,
    ):
        at_work = CorrectingUnits(work, contexts, governor, board, workers, patience=correction.patience)
        ends = correct_partitions(
            at_work, batch.units, parallel=correction.partitions, on_cancel=lambda: cancelled(run, board)
        )
    seconds = time.monotonic() - began
    unverified, proofs = "", {}
    try:
        proofs = settle_all(work, ends, mode=correction.verify)
    except UnavailableError as error:
        unverified = str(error)
    ending = Ending(
        plan=plan,
        approved=approved,
        ends=ends,
        proofs=proofs,
        earlier=work.earlier,
        fates=run.ledger.letters.fates_by(run.id),
        unverified=unverified,
        seconds=seconds,
        started_pace=Pace(rate=correction.rate).told(Ending.UNIT),
        changes=live.pace.changes,
        speeds=board.speeds(),
    )
    log.info("%s: %s", ending.word, ending.headline)
    return finish(run, ending)


def corrected_topics(touched: Sequence[ClusterTopic], batch: Batch) -> list[ClusterTopic]:
    """Give the topics that letters may go to; the settings need not have the one that producers were switched to."""
    stand = {(unit.cluster, unit.kafka_topic) for unit in batch.units}
    return [each for each in touched if each not in stand]


def governed(config: Config, correction: Correction, contexts: Mapping[str, Context]) -> Governor:
    """Make what decides the pace."""
    topics = [(cluster, topic) for cluster, context in sorted(contexts.items()) for topic in context.protected]
    left = {(cluster, topic): to for cluster, context in contexts.items() for topic, to in context.left.items()}
    return governor_for(config, correction.rate, correction.protect, topics, patience=correction.patience, left=left)
