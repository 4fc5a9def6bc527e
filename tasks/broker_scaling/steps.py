"""Steps of scaling: look at the fleet, measure its load, ask for brokers, wait for them, have partitions moved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from uuid import UUID

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment, flow_run

from redrive.config import Config
from redrive.errors import ConfigError, FencedError, GoalError, UnknownOperationError
from redrive.fleets import Sample, Shape, open_fleet
from redrive.fleets.decision import Situation
from redrive.fleets.growth import KIND, Growth
from redrive.partitions.picture import Picture
from redrive.partitions.reader import PartitionReader
from redrive.partitions.rebalancing import JOB as MOVES
from tasks.approval import asking, is_asking
from tasks.ending import Word
from tasks.operations import NOBODY, WHO_LABEL, Run, tag, who_started
from tasks.partition_rebalance.limits import StrainLimits, check_limits
from tasks.retrying import BRIEFLY

_RUNS = 50
"""So many of the runs that have moved partitions are looked at for what they have drained."""

FLEET = ":fleet"
"""What a scaling holds of its cluster, beside other jobs. No topic can have this name."""

STARTED: Word = "started"
EVERY = 2.0  # seconds
UNTAKEN = 120.0
"""Seconds after which moves that no worker has taken are left to wait for one."""


@dataclass(frozen=True, slots=True)
class MovesTerms:
    """How partitions are to move to the new brokers.

    Attributes:
        throttle: see `tasks.partition_rebalance.steps.Terms`.
        strain: what users may feel of it.
    """

    throttle: float | Literal["auto"] | None = 50.0
    strain: StrainLimits = field(default_factory=StrainLimits)

    def parameters(self) -> dict[str, Any]:
        """Give them as the form of the job that moves has them."""
        latency = self.strain.produce_latency
        return {
            "throttle": self.throttle,
            "max_produce_latency": None if latency is None else round(1000 * latency, 6),
            "watched_groups": [each.model_dump() for each in self.strain.groups],
        }


class Scaling:
    """What the steps of one run share. Not one of the types that Prefect looks into when it is handed to a task.

    Attributes:
        moves: how partitions are to move to new brokers.
        picture, shape: the cluster and its fleet, as they were when they were looked at last.
        samples: its load; empty as long as it is not measured.
    """

    picture: Picture
    shape: Shape

    def __init__(self, config: Config, run: Run, cluster: str, moves: MovesTerms) -> None:
        self.config, self.run, self.cluster, self.moves = config, run, cluster, moves
        self.fleet = open_fleet(config.cluster(cluster))
        self.samples: Sequence[Sample] = ()

    def look(self) -> None:
        """Look at the cluster and its fleet."""
        with PartitionReader(self.config.cluster(self.cluster)) as reader:
            self.picture = Picture.take(reader)
        self.shape = self.fleet.shape()

    @property
    def up(self) -> frozenset[int]:
        """Ids of the brokers that are up."""
        return frozenset(broker.id for broker in self.picture.brokers if broker.up)

    @property
    def growth(self) -> Growth | None:
        """What was set about last on this cluster, by whichever run; None if nothing ever was."""
        entry = self.run.ledger.latest(KIND, self.cluster)
        return Growth.read(entry.body) if entry else None

    def enter(self, growth: Growth, **changes: Any) -> Growth:
        """Enter in the journal how far it is; gives that."""
        changed = replace(growth, **changes)
        self.run.note(KIND, changed.entry())
        return changed

    def require(self) -> None:
        """Stop if another run has taken over.

        Raises:
            FencedError: it has.
        """
        if self.run.lost.is_set():
            raise FencedError(f"operation {self.run.id} ({self.run.job})")


@dataclass(frozen=True, slots=True)
class Moves:
    """How the moves to new brokers ended, or what they wait for.

    Attributes:
        url: where people look at their run; empty if there is no such place.
        word: how they ended, in one word; empty if they have not.
        message: the same in a line.
    """

    url: str
    word: str
    message: str


class NotThereError(Exception):
    """Brokers that were asked for are not there in time.

    Attributes:
        hopeless: the fleet shows nothing under way that would bring them.
    """

    def __init__(self, reason: str, *, hopeless: bool) -> None:
        self.hopeless = hopeless
        super().__init__(reason)


def scaled_clusters(config: Config, name: str | None) -> list[str]:
    """Give the names of the clusters to be scaled: ``name``, or without one, of all that have a fleet.

    Raises:
        ConfigError: there is no such cluster; or none has a fleet, and there are several.
    """
    with_fleet = sorted(each for each, about in config.clusters.items() if about.fleet is not None)
    return with_fleet if name is None and with_fleet else [config.only_cluster(name)]


@task(task_run_name="start a run for each cluster", cache_policy=NO_CACHE)
def start_each(clusters: Sequence[str], scale: dict[str, Any]) -> dict[str, str]:
    """Start a run of this run's deployment for each cluster, with the same form; gives cluster → id of its run.

    This run is tagged as *started*; it has no entry in the ledger, as it does nothing to any cluster.

    Raises:
        ConfigError: this run is of no deployment.
    """
    if not deployment.id:
        raise ConfigError("cluster", f"say which; these have a fleet: {', '.join(clusters)}")
    with get_client(sync_client=True) as client:
        who = who_started(client.read_flow_run(UUID(flow_run.id)))
        started = {
            cluster: str(
                client.create_flow_run_from_deployment(
                    UUID(deployment.id),
                    parameters={"scale": scale | {"cluster": cluster}},
                    labels={WHO_LABEL: who},
                    idempotency_key=f"{flow_run.id} {cluster}",
                ).id
            )
            for cluster in clusters
        }
        tag(client, flow_run.id, STARTED, instead_of=get_args(Word))
    return started


@task(task_run_name="look at {work.cluster}", **BRIEFLY)
def look_at_fleet(work: Scaling) -> None:
    """Look at the cluster, and at what runs its brokers; changes nothing."""
    work.look()


def check_who(work: Scaling) -> None:
    """See that moves could be approved, before a run that is to add brokers measures anything.

    Raises:
        GoalError: they could not; with the way out.
    """
    settings = work.config.rebalancing
    if settings.four_eyes and settings.approval != "none" and work.run.who == NOBODY:
        reason = (
            "is on, and Prefect does not say who has started this run: so nobody could approve its moves. Start it by "
            f"`redrive run {work.run.job} --mode run --cluster {work.cluster}`"
        )
        raise GoalError("rebalancing.four_eyes", reason)


@task(task_run_name="check limits of moves", **BRIEFLY)
def check_moves(work: Scaling) -> None:
    """See that what has limits can be measured, before brokers are asked for.

    Raises:
        GoalError: it can't; with the way out.
    """
    cluster, moves = work.config.cluster(work.cluster), work.moves
    check_limits(cluster, work.picture, moves.strain, follow=moves.throttle == "auto")


@task(task_run_name="measure load", **BRIEFLY)
def measure_load(work: Scaling, seconds: float) -> None:
    """Measure the CPU of each broker for so long, or look it up if the fleet has kept it."""
    work.samples = work.fleet.samples(work.up, seconds)


def situation_of(work: Scaling) -> Situation:
    """Put together what decides."""
    picture, last = work.picture, work.run.ledger.latest(KIND, work.cluster)
    came = last is not None and Growth.read(last.body).brokers
    return Situation(
        brokers=work.up,
        down=frozenset(broker.id for broker in picture.brokers if not broker.up),
        empty=picture.empty,
        leaving=picture.empty and picture.empty & _drained(work),
        moving=len(picture.ongoing),
        shape=work.shape,
        scaled_at=last.at.timestamp() if last and came else None,
    )


def _drained(work: Scaling) -> set[int]:
    """Give the brokers that were drained, and not filled since, by the runs that move partitions."""
    last: dict[int, str] = {}
    for row in work.run.ledger.worked(MOVES, _RUNS):
        goal = row.parameters.get("goal")
        if row.cluster == work.cluster and goal in ("drain_brokers", "add_brokers"):
            for broker in row.parameters["brokers"]:
                last.setdefault(broker, goal)  # the newest come first
    return {broker for broker, goal in last.items() if goal == "drain_brokers"}


def who_asks(work: Scaling) -> str:
    """Give the id of another run that waits for approval to add brokers to the cluster; empty if none does."""
    with get_client(sync_client=True) as client:
        waiting = [str(run.id) for run in asking(client)]
    for run_id in waiting:
        try:
            row = work.run.ledger.operation(run_id)
        except UnknownOperationError:
            continue  # of another ledger
        if (row.job, row.cluster) == (work.run.job, work.cluster) and run_id != work.run.id:
            return run_id
    return ""


@task(task_run_name="ask for {growth.target} brokers", cache_policy=NO_CACHE)
def ask_for_brokers(work: Scaling, growth: Growth) -> None:
    """Ask the fleet for so many brokers in all, unless there are as many.

    It looks anew: since it was decided, people may have added more, and an order for fewer would take those away. When
    no answer comes, the next run asks again.

    Raises:
        FleetError, UnavailableError: see `redrive.fleets.fleet.Fleet.grow`.
        RefusedByClusterError: the cluster does not say what there is.
    """
    work.look()
    there = situation_of(work).there
    if there >= growth.target:
        get_run_logger().info("nothing is asked for: there are %d brokers, and %d were to be", there, growth.target)
        return
    work.fleet.grow(growth.target)


@task(task_run_name="wait for {growth.target} brokers", **BRIEFLY)
def wait_for_brokers(work: Scaling, growth: Growth, patience: float) -> tuple[int, ...]:
    """Wait until the brokers are there, and answer; give the ids of the new ones.

    Raises:
        NotThereError: they are not, after so many seconds.
    """
    deadline, told = time.monotonic() + patience, ""
    with PartitionReader(work.config.cluster(work.cluster)) as reader:
        while True:
            changing = work.fleet.shape().changing
            new, why = _new(reader, growth)
            if not changing and not why:
                return new
            why = changing or why
            if why != told:
                told = why
                get_run_logger().info("waiting for brokers: %s", why)
            if time.monotonic() > deadline:
                raise NotThereError(f"after {patience:,.0f} s {why}", hopeless=not changing)
            work.require()
            time.sleep(EVERY)


def _new(reader: PartitionReader, growth: Growth) -> tuple[tuple[int, ...], str]:
    """Give the new brokers, and why that is not all that is waited for."""
    up = {broker.id for broker in reader.brokers().values() if broker.up}
    new = tuple(sorted(up - set(growth.before)))
    if len(new) < growth.target - len(growth.before):
        return new, f"the cluster has {len(up)} of {growth.target} brokers"
    silent = [f"broker {id_} does not answer: {each.unknown}" for id_, each in reader.log_dirs(new).items()
              if each.unknown]  # fmt: skip
    return new, "; ".join(silent)


@task(task_run_name="start moves", cache_policy=NO_CACHE)
def start_moves(work: Scaling, growth: Growth) -> str:
    """Start the job that moves partitions to the new brokers; gives the id of its run.

    It is a run of its own, and no subflow of Prefect's: those can't be suspended, and so could not ask for approval.
    Whoever has set about the scaling counts as who has started them, also when another run goes on with it: with
    ``four_eyes``, somebody else approves.

    Raises:
        ConfigError: that job is not deployed.
    """
    goal = {"mode": "run", "cluster": work.cluster, "goal": "add_brokers", "brokers": list(growth.brokers)}
    goal |= growth.terms or work.moves.parameters()
    with get_client(sync_client=True) as client:
        try:
            moves = client.read_deployment_by_name(f"{MOVES}/{MOVES}")
        except ObjectNotFound as error:
            reason = f"the job {MOVES} is not deployed there; deploy it: `redrive deploy`"
            raise ConfigError("Prefect", reason) from error
        return str(
            client.create_flow_run_from_deployment(
                moves.id,
                parameters={"rebalance": goal},
                labels={WHO_LABEL: growth.who or work.run.who},
                idempotency_key=f"{work.run.job} {growth.id}",
            ).id
        )


@task(task_run_name="follow moves {growth.moves}", cache_policy=NO_CACHE)
def follow_moves(work: Scaling, growth: Growth) -> Moves:
    """Follow the moves to their end, or until they wait: for approval, or for a worker that takes them."""
    nobody: float | None = None
    url = work.run.url.replace(work.run.id, growth.moves)
    get_run_logger().info("partitions move in run %s", url or growth.moves)
    with get_client(sync_client=True) as client:
        while True:
            try:
                run = client.read_flow_run(UUID(growth.moves))
            except ObjectNotFound:
                return Moves("", "failed", "somebody has deleted their run")
            state = run.state
            assert state is not None
            if state.is_final():
                word, _, rest = (state.message or "").partition(": ")
                return Moves(url, word, rest) if word in get_args(Word) else Moves(url, "failed", f"{state}")
            if is_asking(run):
                return Moves(url, "", f"they wait for approval: redrive approve {growth.moves} --reason WHY")
            nobody = None if not state.is_scheduled() else nobody or time.monotonic() + UNTAKEN
            if nobody is not None and time.monotonic() > nobody:
                return Moves(url, "", f"no worker has taken their run {growth.moves} within {UNTAKEN:.0f} s; start one")
            work.require()
            time.sleep(EVERY)
