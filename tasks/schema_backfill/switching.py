"""The step of a backfill that takes producers from one topic to the other, while the copy goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

from prefect import get_run_logger, task

from redrive.aliases.alias import Alias, read_alias
from redrive.aliases.switching import Switched, is_under_way, switch
from redrive.aliases.turning import alias_back, alias_forth
from redrive.errors import ConfigError, UnavailableError
from redrive.migrations.ends import Ends
from redrive.pump.governor import Governor
from redrive.pump.proof import Proof
from redrive.standby.drain import open_store
from redrive.standby.survey import survey
from tasks.board import Board
from tasks.retrying import BRIEFLY
from tasks.schema_backfill.copying import Copying, End, copy_partitions
from tasks.schema_backfill.in_turns import copy_in_turns
from tasks.schema_backfill.kept_aliases import keep_alias, kept_alias
from tasks.schema_backfill.steps import Backfilling, make_ready
from tasks.standby_replay.drain import tidy_up
from tasks.standby_replay.earlier import SWITCHING, Earlier, keep_evidence, still_owed, unproved, verify_all_earlier
from tasks.standby_replay.verify import verify_topic
from tasks.words import count

_BETWEEN_TURNS = 0.5
"""Seconds between two looks which partitions have got more to copy."""


@task(task_run_name="look what the topic's name stands for", **BRIEFLY)
def look_at_alias(work: Backfilling, may_lag: Sequence[str]) -> Alias:
    """Say what the name that producers publish by is to stand for.

    Args:
        work: what the steps share.
        may_lag: consumer groups that are not waited for.

    Raises:
        ConfigError: it stands for a third topic, or is to be taken back and was never switched.
        LateGroupsError: other consumer groups have not come to where it stands now.
        UnavailableError: Kafka does not answer.
    """
    return _alias(work, may_lag)


@task(task_run_name="look whether producers have been switched", **BRIEFLY)
def is_switched(work: Backfilling) -> bool:
    """Say whether what is published by the name of the topic that events go back to goes to where they come from.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    alias = read_alias(work.client, work.target)
    return alias is not None and alias.current == work.source


@task(task_run_name="look whether a switch of {name} was cut off", **BRIEFLY)
def was_cut_off(work: Backfilling, name: str) -> bool:
    """Say whether the switch was begun by an earlier run, and not ended: producers store what they publish by then.

    Raises:
        UnavailableError: Kafka or the standby store does not answer.
    """
    return is_under_way(work.config, name, work.target)


def _alias(work: Backfilling, may_lag: Sequence[str]) -> Alias:
    if work.direction == "up":
        kept = kept_alias(work.run, work.cluster, work.source)
        return alias_forth(work.config, work.migration, may_lag=may_lag, kept=kept)
    kept = kept_alias(work.run, work.cluster, work.target)
    back = alias_back(work.config, work.target, work.source, may_lag=may_lag, kept=kept)
    if back is None:
        raise ConfigError("goal", f"producers of {work.target} were never switched to {work.source}")
    return back


def switch_producers(
    work: Backfilling,
    rules: str | None,
    board: Board,
    *,
    rate: float | None,
    parallel: int,
    patience: float,
    most_parked: int,
    may_lag: Sequence[str],
    on_cancel: Callable[[], None],
) -> tuple[Switched, list[End]]:
    """Take producers over, and follow the topic that they leave until all are; also says how the copying has ended.

    Args:
        work: what the steps share.
        rules: the file of rules, relative to the settings' folder.
        board: where the units of the run stand.
        rate: copy at most so many events a second, over all partitions.
        parallel: so many partitions are copied at the same time.
        patience: seconds to wait for what does not answer.
        most_parked: so many events may be parked, with those that were before.
        may_lag: see `look_at_alias`.
        on_cancel: called when all has stopped after a cancel.

    Raises:
        RedriveError: see `redrive.aliases.switching.switch`, and why the copy stopped.
    """
    make_ready(work, rules)
    alias, governor = _alias(work, may_lag), Governor(rate)
    known = keep_evidence_of_others(work, alias.name)
    work.run.note(SWITCHING, {"cluster": work.cluster, "topic": alias.name})
    in_turns = len(work.standings) > parallel
    ends = Ends(work.client, work.source, len(work.standings), follow=0.0 if in_turns else float("inf"))
    copying = Copying(work, ends, governor, board, patience=patience, most_parked=most_parked)
    with ThreadPoolExecutor(1, "switch") as pool:
        switching = pool.submit(
            switch,
            work.config,
            alias,
            operation=work.run.id,
            patience=patience,
            may_lag=may_lag,
            check=governor.check,
            keep=lambda each: keep_alias(work.run, each),
        )
        switching.add_done_callback(lambda _: ends.stop())
        if in_turns:
            # Soon after producers have left the topic nothing comes any more, so the next turn takes all they wait for.
            copied = copy_in_turns(
                copying,
                switching.done,
                lambda: wait([switching], timeout=_BETWEEN_TURNS),
                parallel=parallel,
                on_cancel=on_cancel,
            )
        else:
            copied = copy_partitions(copying, parallel=parallel, on_cancel=on_cancel)
        if stuck := [end for end in copied if end.how != "done"]:
            governor.stop(f"{stuck[0].unit}: {stuck[0].reason}")
        done = switching.result()
    get_run_logger().info(
        "producers of %s publish to %s; %s meanwhile", alias.name, alias.current, count(done.stored, "event")
    )
    work.run.note("producers switched", {"name": alias.name, "to": alias.current, "generation": alias.generation})
    return prove_what_was_brought(work, done, known), copied


def keep_evidence_of_others(work: Backfilling, topic: str) -> list[Earlier]:
    """Note what other runs have published of a topic and not proved; to bring lanes over replaces their checkpoints.

    Raises:
        UnavailableError: Kafka or the standby store does not answer.
    """
    left = unproved(work.run)
    lanes = [each.lane for each in survey(open_store(work.config), work.cluster, [topic])] if left else []
    known, away = keep_evidence(work.run, work.config, left, lanes)
    for error in away.values():
        raise error
    return known


def prove_what_was_brought(work: Backfilling, done: Switched, known: Sequence[Earlier]) -> Switched:
    """Read back what was stored while producers were taken over; what is proved goes from the standby store.

    Args:
        work: what the steps share.
        done: what this run has done.
        known: runs that have published some of it before, and have not proved that.
    """
    name, topic, proofs = done.alias.name, done.alias.current, list[Proof]()
    config, cluster, operation = work.config, work.cluster, work.run.id
    silent: dict[str, str] = {}
    # First: what these have published is in the store until it is proved. Those of other topics, too, are for a replay.
    earlier = [each for each in known if each.is_of([(cluster, name)])]
    of_earlier = verify_all_earlier(config, earlier, mode="full", away=silent)
    try:
        if done.brought:
            proofs.append(
                verify_topic(config, cluster, topic, done.brought, operation=operation, mode="full", since_ms=None)
            )
        well = not silent and all(proof.verdict != "failed" for proof in proofs)
        if well and (cluster, name) not in still_owed(known, of_earlier):
            theirs = survey(open_store(config), cluster, [name]) if of_earlier else []
            tidy_up(config, list({result.lane for result in done.brought} | {each.lane for each in theirs}))
    except UnavailableError as error:
        silent[cluster] = str(error)
    proofs += [proof for _, proved in of_earlier for proof in proved]
    return replace(
        done,
        findings=tuple(finding for proof in proofs for finding in proof.findings),
        earlier={run.operation: sum(sum(each.counted.values()) for each in proved) for run, proved in of_earlier},
        unverified="; ".join(silent.values()),
    )
