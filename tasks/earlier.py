"""What earlier runs published and did not prove: they were killed, cancelled or cut off before they could.

Their evidence stands in Kafka, in the checkpoints of the lanes. So the next run takes it up, before its own work
replaces it there, and proves theirs with its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from redrive.config import Config
from redrive.errors import UnavailableError, UnknownTopicError
from redrive.ledger import OperationRow
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.cursors import read_cursor
from redrive.pump.evidence import Evidence
from redrive.pump.proof import Mode, Proof, prove
from redrive.standby.lanes import Lane
from tasks.plan import TopicName
from tasks.retrying import PATIENTLY

Units = dict[str, dict[str, Evidence]]
"""Unit → topic → evidence."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that has no verdict.

    Attributes:
        operation: its id.
        topics: what it worked on.
        evidence: cluster → what it published there, as far as it is known.
    """

    operation: str
    topics: tuple[TopicName, ...]
    evidence: dict[str, Units] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Events that it says it published."""
        every = (units for units in self.evidence.values())
        return sum(e.count for units in every for topics in units.values() for e in topics.values())


def without_verdict(rows: Iterable[OperationRow], clusters: Sequence[str], topics: Sequence[str]) -> list[Earlier]:
    """Find the operations that have not proved what they did, nor has another done it for them.

    Args:
        rows: operations of this job.
        clusters: only those that worked on these clusters alone.
        topics: only those that worked on these topics alone; none: all.
    """
    rows = list(rows)
    settled = {operation for row in rows for operation in (row.evidence or {}).get("earlier", {})}
    found = []
    for row in rows:
        if row.mode != "run" or row.verdict or row.id in settled or not row.plan:
            continue
        if row.status in ("running", "failed", "paused", "cancelled"):
            of = {(lane["cluster"], lane["topic"]) for lane in row.plan["lanes"]}
            if of and all(cluster in clusters and (not topics or topic in topics) for cluster, topic in of):
                found.append(Earlier(row.id, tuple(sorted(of))))
    return found


@task(
    name="find unproved work",
    description="Reads from the lanes' checkpoints what earlier runs published and had no time to prove.",
    cache_policy=NO_CACHE,
)
def find_evidence(config: Config, earlier: Sequence[Earlier], lanes: Sequence[Lane]) -> list[Earlier]:
    """Read the evidence of earlier runs.

    Args:
        config: the platform.
        earlier: the runs.
        lanes: all lanes of their topics.

    Returns:
        Those whose clusters all answer; the others are for another time.
    """
    found: dict[str, dict[str, Units]] = defaultdict(lambda: defaultdict(dict))
    wanted = {topic for run in earlier for topic in run.topics}
    away: set[str] = set()
    for lane in lanes:
        if (lane.cluster, lane.topic) not in wanted or lane.cluster in away:
            continue
        try:
            cursor = read_cursor(config.cluster(lane.cluster).client_config(), lane.unit)
        except UnknownTopicError:  # nothing was ever published there by a job
            continue
        except UnavailableError as error:
            get_run_logger().warning("what earlier runs did can't be proved now: %s", error)
            away.add(lane.cluster)
            continue
        for run in earlier:
            published = Checkpoint.decode(cursor, run.operation).topics
            if published:
                found[run.operation][lane.cluster][lane.unit] = published
    return [
        Earlier(run.operation, run.topics, {cluster: dict(units) for cluster, units in found[run.operation].items()})
        for run in earlier
        if away.isdisjoint(cluster for cluster, _ in run.topics)
    ]


@task(
    name="verify earlier run",
    task_run_name="verify earlier run {operation}",
    description="Reads back what a run published that had no time to prove it.",
    **PATIENTLY,
)
def verify_earlier(config: Config, operation: str, cluster: str, units: Units, mode: Mode) -> Proof:
    """Prove what an earlier run published to a cluster.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    return prove(config.cluster(cluster).client_config(), units, operation=operation, mode=mode)


def verify_all_earlier(config: Config, earlier: Sequence[Earlier], *, mode: Mode) -> list[tuple[Earlier, list[Proof]]]:
    """Prove what earlier runs published, cluster by cluster."""
    return [
        (run, [verify_earlier(config, run.operation, cluster, units, mode) for cluster, units in run.evidence.items()])
        for run in earlier
    ]
