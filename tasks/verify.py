"""Verifying what was replayed, by reading it back as consumers will."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from prefect import task

from redrive.config import Config
from redrive.pump.limits import limits_of
from redrive.pump.proof import Mode, Proof, prove
from redrive.standby.drain import LaneResult, open_store
from redrive.standby.lanes import Lane
from redrive.standby.superseded import find_lost
from tasks.drain import LaneEnd
from tasks.plan import TopicName
from tasks.retrying import PATIENTLY


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
    client = config.cluster(cluster).client_config()
    proof = prove(
        client,
        {result.lane.unit: result.outcome.evidence for result in results},
        operation=operation,
        mode=mode,
        also_ids=frozenset().union(*(result.doubtful for result in results)),
        since_ms=since_ms,
    )
    lanes_own = all(result.lane.topic == topic and result.outcome.evidence.keys() <= {topic} for result in results)
    if not (proof.lacks_only and lanes_own and limits_of(client, topic).keyed):
        return proof
    if lost := find_lost(client, open_store(config), topic, results, operation):
        lacks = [f"{topic}: {origin} is the newest event of its key, and not there, nor a later one" for origin in lost]
        return replace(proof, findings=[*proof.findings, *lacks[:50]])
    return replace(proof, verdict="counted", findings=[], superseded=proof.missing)


def verify_lanes(
    config: Config,
    ends: Sequence[LaneEnd],
    *,
    operation: str,
    mode: Mode,
    on_proved: Callable[[Sequence[Lane]], None] = lambda lanes: None,
) -> dict[TopicName, Proof]:
    """Prove every topic, one after the other; each is read once, for all of its lanes.

    Args:
        config: the platform.
        ends: how the lanes have ended.
        operation: this run.
        mode: see `prove`.
        on_proved: called with the lanes of a topic of which nothing is wrong.
    """
    results: dict[TopicName, list[LaneResult]] = defaultdict(list)
    oldest: dict[TopicName, list[int]] = defaultdict(list)
    for end in ends:
        name = (end.backlog.lane.cluster, end.backlog.lane.topic)
        if end.result is not None:
            results[name].append(end.result)
            if end.backlog.oldest is not None:
                oldest[name].append(end.backlog.oldest)
    proofs: dict[TopicName, Proof] = {}
    for (cluster, topic), of_topic in sorted(results.items()):
        proof = proofs[cluster, topic] = verify_topic(
            config,
            cluster,
            topic,
            of_topic,
            operation=operation,
            mode=mode,
            since_ms=min(oldest[cluster, topic], default=None),
        )
        if proof.verdict != "failed":
            on_proved([result.lane for result in of_topic])
    return proofs
