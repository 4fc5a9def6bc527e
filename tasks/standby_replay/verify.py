"""Verifying what was replayed, by reading it back as consumers will."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from prefect import task

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.envelope import Identity
from redrive.errors import UnavailableError
from redrive.pump.evidence import Evidence
from redrive.pump.limits import limits_of
from redrive.pump.proof import Mode, Proof, prove
from redrive.standby.drain import LaneResult, open_store
from redrive.standby.lanes import Lane
from redrive.standby.superseded import find_lost
from tasks.retrying import PATIENTLY
from tasks.standby_replay.drain import LaneEnd


@task(
    name="verify topic",
    task_run_name="verify {topic}",
    description="Reads back what the lanes of a topic published, and compares it with what they say they did.",
    **PATIENTLY,
)
def verify_topic(
    config: Config,
    cluster: str,
    topic: str,
    results: Sequence[LaneResult],
    *,
    operation: str,
    mode: Mode,
    since_ms: int | None,
) -> Proof:
    """Prove what the lanes of a topic published. What a compacted topic may lack is asked of the standby store.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    return prove_topic(
        config,
        cluster,
        topic,
        {result.lane.unit: result.outcome.evidence for result in results},
        {result.lane: result.epochs for result in results},
        operation=operation,
        mode=mode,
        also_ids=frozenset().union(*(result.doubtful for result in results)),
        since_ms=since_ms,
    )


def prove_topic(
    config: Config,
    cluster: str,
    topic: str,
    units: Mapping[str, Mapping[str, Evidence]],
    epochs: Mapping[Lane, Sequence[int]],
    *,
    operation: str,
    mode: Mode,
    also_ids: Set[Identity] = frozenset(),
    since_ms: int | None = None,
) -> Proof:
    """Prove what lanes of a topic have published.

    Args:
        config: the platform.
        cluster: where they are.
        topic: the lanes'.
        units: lane's unit → topic → what it says it has published there.
        epochs: what was replayed, of each lane; nothing of it was deleted from the store yet.
        operation: see `prove`, likewise ``mode``, ``also_ids`` and ``since_ms``.

    Raises:
        UnavailableError: the cluster or, for a compacted topic, the standby store does not answer.
    """
    client = config.cluster(cluster).client_config()
    proof = prove(client, units, operation=operation, mode=mode, also_ids=also_ids, since_ms=since_ms)
    known = units.keys() <= {lane.unit for lane in epochs if lane.topic == topic}
    own = known and all(of_unit.keys() <= {topic} for of_unit in units.values())
    if not (proof.lacks_only and own and limits_of(client, topic).keyed):
        return proof
    published = [of_unit[topic] for of_unit in units.values() if topic in of_unit]
    if lost := find_lost(client, open_store(config), topic, epochs, published=published, operation=operation):
        lacks = [f"{topic}: {origin} is the newest event of its key, and not there, nor a later one" for origin in lost]
        return replace(proof, findings=[*proof.findings, *lacks[:50]])
    return replace(proof, verdict="counted", findings=[], superseded=proof.missing)


def verify_lanes(
    config: Config,
    ends: Sequence[LaneEnd],
    *,
    operation: str,
    mode: Mode,
    away: dict[str, str],
    on_proved: Callable[[Sequence[Lane]], None] = lambda lanes: None,
) -> dict[ClusterTopic, Proof]:
    """Prove every topic, one after the other; each is read once, for all of its lanes.

    Topics of a cluster that does not answer are left out; the others are proved all the same.

    Args:
        config: the platform.
        ends: how the lanes have ended.
        operation: this run.
        mode: see `prove`.
        away: cluster → why it can't be asked now; added to.
        on_proved: called with the lanes of a topic of which nothing is wrong.
    """
    results: dict[ClusterTopic, list[LaneResult]] = defaultdict(list)
    oldest: dict[ClusterTopic, list[int]] = defaultdict(list)
    for end in ends:
        name = (end.backlog.lane.cluster, end.backlog.lane.topic)
        if end.result is not None:
            results[name].append(end.result)
            if end.backlog.oldest is not None:
                oldest[name].append(end.backlog.oldest)
    proofs: dict[ClusterTopic, Proof] = {}
    for (cluster, topic), of_topic in sorted(results.items()):
        if cluster in away:
            continue
        since_ms = min(oldest[cluster, topic], default=None)
        try:
            proof = proofs[cluster, topic] = verify_topic(
                config, cluster, topic, of_topic, operation=operation, mode=mode, since_ms=since_ms
            )
        except UnavailableError as error:
            away[cluster] = str(error)
            continue
        if proof.verdict != "failed":
            on_proved([result.lane for result in of_topic])
    return proofs
