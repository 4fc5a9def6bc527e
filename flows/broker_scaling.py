"""The job `broker-scaling`: more brokers when CPU stays high, and partitions moved to them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from redrive.config import Config
from redrive.errors import ConfigError, FleetError, GoalError, HeldError, StalePlanError, UnavailableError
from redrive.fleets.decision import Decision, Terms, decide, decide_on_high
from redrive.fleets.growth import Growth
from tasks.approval import RefusedByPersonError, approve
from tasks.broker_scaling.form import Scale
from tasks.broker_scaling.report import Ending, approval_text, cut_off, emit_high, finish, finish_early, report_plan
from tasks.broker_scaling.steps import (
    FLEET,
    STARTED,
    MovesTerms,
    NotThereError,
    Scaling,
    ask_for_brokers,
    check_moves,
    check_who,
    follow_moves,
    look_at_fleet,
    measure_load,
    scaled_clusters,
    situation_of,
    start_each,
    start_moves,
    wait_for_brokers,
    who_asks,
)
from tasks.ending import refused
from tasks.operations import operation
from tasks.partition_rebalance.limits import StrainLimits

JOB = "broker-scaling"


def _run_name() -> str:
    asked = Scale.model_validate(runtime.parameters["scale"])
    return f"{asked.mode} {asked.cluster or 'each fleet'}"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False)
def broker_scaling(scale: Scale = Scale()) -> State[Any]:  # noqa: B008 (nothing changes it)
    """Add brokers when CPU of a cluster stays high, and have partitions moved to them.

    Measures, decides and says why; with `mode: run` asks what runs the brokers for more, waits until they serve, and
    starts `partition-rebalance` for them, which has its own plan, approval and verdict. It may be cancelled or killed
    at any time: the next run goes on with what was asked for, and asks only for what is not there.

    Args:
        scale: When a cluster gets more brokers, and how many.
    """
    config = Config.load()
    clusters = scaled_clusters(config, scale.cluster)
    if len(clusters) > 1:
        started = start_each(clusters, scale.model_dump(mode="json"))
        runs = ", ".join(f"{name} {run}" for name, run in started.items())
        return Completed(message=f"{STARTED}: a run for each: {runs}")
    return scale_cluster(config, clusters[0], scale)


def scale_cluster(config: Config, cluster: str, scale: Scale) -> State[Any]:
    """Do it for one cluster."""
    parameters = scale.model_dump(mode="json")
    with operation(config, JOB, scale.mode, cluster=cluster, resources=[cluster], parameters=parameters) as run:
        work = Scaling(config, run, cluster, moves_terms(scale))
        try:
            if scale.mode == "run":
                run.claim([(cluster, FLEET)], all_or_none=True)
            look_at_fleet(work)
            growth, approved = work.growth, ""
            if growth is None or growth.step == "ended" or is_stale(work, growth, scale):
                growth, why = set_about(work, scale)
                if growth is None:
                    return finish_early(run, "planned" if scale.mode == "plan" else "nothing to add", why)
                approved = permit(work, growth, why)
            elif scale.mode == "plan":
                return finish_early(run, "planned", under_way(growth))
            return carry_out(work, growth, scale, approved)
        except (HeldError, StalePlanError, RefusedByPersonError, GoalError) as error:
            run.finish("refused", evidence={"reason": str(error)})
            return refused(run, str(error))
        except (FleetError, ConfigError) as error:
            return cut_off(run, "failed", error)
        except UnavailableError as error:
            return cut_off(run, "paused", error)


def moves_terms(scale: Scale) -> MovesTerms:
    """Say how partitions are to move to new brokers."""
    return MovesTerms(scale.throttle, StrainLimits.of(scale.max_produce_latency, scale.watched_groups))


def set_about(work: Scaling, scale: Scale) -> tuple[Growth | None, str]:
    """Say what is to be done, and why: what this run has shown before, or by the load now. None: nothing."""
    run = work.run
    kept = run.known_plan if scale.mode == "run" else None
    settings = work.config.scaling
    if scale.mode == "run":
        check_who(work)  # not for a plan, which asks nobody
    if kept is not None and settings.needs_approval(kept["target"] - len(kept["before"])):
        hold_on(work, scale, kept)
        check_moves(work)
        return Growth.new(kept["before"], kept["target"], kept["moves"], run.who), "as it was shown"
    if scale.mode == "run" and (other := who_asks(work)):
        return None, f"run {other} waits for approval to add brokers: redrive approve {other} --reason WHY"
    decision = weigh(work, scale)
    before = tuple(sorted(work.up))
    if decision.answer == "leave":
        return None, decision.why
    check_moves(work)  # not what a run before has begun: that is to come to its end
    if scale.mode == "plan":
        return None, decision.why
    terms = work.moves.parameters()
    if decision.answer == "fill":
        situation = situation_of(work)
        empty = tuple(sorted(situation.empty - situation.leaving))
        rest = tuple(id_ for id_ in before if id_ not in empty)
        return replace(Growth.new(rest, len(before), terms, run.who), step="there", brokers=empty), decision.why
    return Growth.new(before, decision.target, terms, run.who), decision.why


def is_stale(work: Scaling, growth: Growth, scale: Scale) -> bool:
    """Say whether what a run before has set about is to be decided anew; see `Growth.is_stale`."""
    return growth.is_stale(situation_of(work), time.time(), scale.cool_down)


def hold_on(work: Scaling, scale: Scale, kept: dict[str, Any]) -> None:
    """See that what was shown would be decided now, too: days may lie between a plan and its approval.

    A load that was measured within the last window counts still.

    Raises:
        StalePlanError: it would not.
    """
    if kept["before"] != sorted(work.up):
        raise StalePlanError(f"there were the brokers {kept['before']}, and are {sorted(work.up)}")
    now = time.time()
    if now <= kept.get("decided_at", 0.0) + scale.window:
        decision = decide_on_high("CPU was high", situation_of(work), _terms(scale), now)
    else:
        decision = measure(work, scale)
    if (decision.answer, decision.target) != ("add", kept["target"]):
        raise StalePlanError(f"{kept['target']} brokers were to be, and now: {decision.why}")


def under_way(growth: Growth) -> str:
    """Say what a run would go on with."""
    return f"a run would go on with what was set about: {growth.target} brokers in all, {growth.step} by now"


def weigh(work: Scaling, scale: Scale) -> Decision:
    """Decide by the load, show it, and tell whoever listens if it is high."""
    decision, digest = measure(work, scale), ""
    if decision.answer == "add":
        plan = {"job": JOB, "cluster": work.cluster, "before": sorted(work.up), "target": decision.target}
        plan |= {"moves": work.moves.parameters(), "decided_at": round(time.time(), 3)}
        digest = work.run.keep_plan(plan)
    report_plan(work, decision, _terms(scale), digest, mode=scale.mode)
    get_run_logger().info("%s: %s", decision.answer, decision.why)
    if decision.high and scale.mode == "run":
        emit_high(work, decision)
    return decision


def measure(work: Scaling, scale: Scale) -> Decision:
    """Measure the load, and decide by it and by what the cluster is like after that."""
    measure_load(work, scale.window)
    look_at_fleet(work)
    return decide(work.samples, work.fleet.step(scale.window), situation_of(work), _terms(scale), time.time())


def _terms(scale: Scale) -> Terms:
    return Terms(scale.threshold, scale.window, scale.step, scale.most, scale.cool_down)


def permit(work: Scaling, growth: Growth, why: str) -> str:
    """Have the brokers approved, if the settings ask for that; says who has, and why."""
    settings, more = work.config.scaling, growth.target - len(growth.before)
    if growth.step != "asking" or not settings.needs_approval(more):
        return ""
    digest = str(work.run.ledger.operation(work.run.id).plan_digest)
    return approve(work.run, digest, approval_text(growth, why, digest, JOB), four_eyes=settings.four_eyes)


def carry_out(work: Scaling, growth: Growth, scale: Scale, approved: str) -> State[Any]:
    """Ask for the brokers, wait for them, have partitions moved there; from whichever step another run has come to."""
    taken_up_at, growth = growth.step, work.enter(growth)
    if growth.step == "asking":
        try:
            ask_for_brokers(work, growth)
        except FleetError:
            work.enter(growth, step="ended")
            raise
        growth = work.enter(growth, step="asked")
    if growth.step == "asked":
        try:
            brokers = wait_for_brokers(work, growth, scale.patience)
        except NotThereError as error:
            if error.hopeless:
                work.enter(growth, step="ended")
            return cut_off(work.run, "failed" if error.hopeless else "paused", str(error))
        growth = work.enter(growth, step="there", brokers=brokers)
    if growth.step == "there":
        growth = work.enter(growth, step="moving", moves=start_moves(work, growth))
    moves = follow_moves(work, growth)
    if not moves.word and taken_up_at == "moving":
        return finish_early(work.run, "nothing to add", f"the last scaling is not over: {moves.message}")
    look_at_fleet(work)
    if moves.word:
        growth = work.enter(growth, step="ended")
    return finish(work, Ending(work, growth, moves, approved))
