"""What earlier runs published and did not prove: they were killed, cancelled or cut off before they could.

Their evidence stands in Kafka, in the checkpoints of the lanes. So the next run takes it up before its own work
replaces it there, and proves theirs with its own. It notes it in the journal first: it may be killed as well. Lanes are
replayed by `standby-replay`, and by a backfill that switches producers; each takes up what either has left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.errors import UnavailableError, UnknownTopicError
from redrive.ledger import Ledger, OperationRow
from redrive.migrations.unit import JOB as BACKFILL
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.cursors import read_cursor
from redrive.pump.evidence import Evidence
from redrive.pump.proof import Mode, Proof
from redrive.standby.lanes import Lane
from tasks.operations import Run
from tasks.retrying import PATIENTLY
from tasks.standby_replay.plan import JOB as REPLAY
from tasks.standby_replay.verify import prove_topic

Units = dict[str, dict[str, Evidence]]
"""Unit → topic → evidence."""


NOTED = "unproved evidence"
"""The journal's word for: this is what an earlier run had published; from here on, its checkpoints are replaced."""


SWITCHING = "switching lanes"
"""The journal's word for: from here on, this backfill replays the lanes of a topic whose producers it switches."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that has not proved all that it did.

    Attributes:
        operation: its id.
        began: when.
        topics: what it worked on, and has not proved.
        lanes: those of it, with the epochs that it has replayed; of a backfill that switches producers, none.
        evidence: cluster → what it published there, as far as it is known.
    """

    operation: str
    began: datetime
    topics: tuple[ClusterTopic, ...]
    lanes: Mapping[Lane, tuple[int, ...]] = field(default_factory=dict)
    evidence: dict[str, Units] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Events that it says it published."""
        every = (units for units in self.evidence.values())
        return sum(e.count for units in every for topics in units.values() for e in topics.values())

    def is_of(self, topics: Iterable[ClusterTopic]) -> bool:
        """Tell whether it worked on none but these topics."""
        return set(self.topics) <= set(topics)

    def has(self, lane: Lane) -> bool:
        """Tell whether what it published by a lane is still to be proved."""
        return lane in self.lanes if self.lanes else (lane.cluster, lane.topic) in self.topics


def worked(run: Run) -> list[OperationRow]:
    """Give the other operations of all jobs that replay lanes, if they did something; newest first."""
    rows = [*run.ledger.worked(REPLAY), *run.ledger.worked(BACKFILL)]
    return sorted((row for row in rows if row.id != run.id), key=lambda row: row.started_at, reverse=True)


def unproved(run: Run) -> list[Earlier]:
    """Find the operations that have replayed lanes and not proved that, nor has another done it for them."""
    rows = worked(run)
    if not rows:
        return []
    entries = run.ledger.noted(SWITCHING, rows[-1].started_at)
    return without_verdict(rows, {each.operation_id: (each.body["cluster"], each.body["topic"]) for each in entries})


def without_verdict(rows: Iterable[OperationRow], switched: Mapping[str, ClusterTopic]) -> list[Earlier]:
    """Find the operations that have not proved what they did, nor has another done it for them.

    Args:
        rows: operations that did something, of all jobs that replay lanes.
        switched: backfills that have begun to replay lanes → whose.
    """
    rows = list(rows)
    settled = {operation for row in rows for operation in (row.evidence or {}).get("earlier", {})}
    found = []
    for row in rows:
        if row.mode != "run" or row.id in settled or not row.plan:
            continue
        if row.status not in {"running", "failed", "paused", "cancelled"}:
            continue
        if row.job == BACKFILL:
            read_back = ((row.evidence or {}).get("switched") or {}).get("read_back")
            if row.id in switched and not read_back:
                found.append(Earlier(row.id, row.started_at, (switched[row.id],)))
        elif lanes := _unproved(row):
            topics = {(lane.cluster, lane.topic) for lane in lanes}
            found.append(Earlier(row.id, row.started_at, tuple(sorted(topics)), lanes))
    return found


def _unproved(row: OperationRow) -> dict[Lane, tuple[int, ...]]:
    """Return the lanes that a replay has planned and not proved, with their epochs."""
    evidence = row.evidence or {}
    judged = {(each["cluster"], each["topic"]) for each in evidence.get("topics", ())}
    opened = {
        Lane(each["cluster"], each["topic"], each["lane"]): (each["cluster"], each["topic"]) in judged
        for each in evidence.get("lanes", ())
        if each["end"] == "open"
    }
    planned = {Lane(each["cluster"], each["topic"], each["lane"]): each for each in (row.plan or {})["lanes"]}
    if row.verdict:  # what it could not read back, beside what it has judged
        planned = {lane: each for lane, each in planned.items() if lane in opened}
    return {lane: tuple(each["epochs"]) for lane, each in planned.items() if not opened.get(lane)}


def unproved_topics(rows: Iterable[OperationRow]) -> set[ClusterTopic]:
    """Return the topics whose last proof has failed: what is left of their events in the store is evidence."""
    latest: dict[ClusterTopic, bool] = {}
    for row in rows:
        for cluster, topic in (row.evidence or {}).get("not_proved", ()):
            latest.setdefault((cluster, topic), True)
        for each in (row.evidence or {}).get("topics", ()):
            latest.setdefault((each["cluster"], each["topic"]), False)
    return {topic for topic, failed in latest.items() if failed}


def keep_evidence(
    run: Run, config: Config, earlier: Sequence[Earlier], lanes: Sequence[Lane]
) -> tuple[list[Earlier], dict[str, UnavailableError]]:
    """Read what earlier runs published to some lanes, and note it in the journal before their checkpoints are replaced.

    Args:
        run: this run.
        config: the platform.
        earlier: the runs without a verdict.
        lanes: all lanes that this run may replay.

    Returns:
        The runs that have worked on topics of these lanes, with what is known of them; and the clusters that did not
        answer, and why: of their topics no run can be proved now, and no lane be drained before `keep_in_time`.
    """
    topics = {(lane.cluster, lane.topic) for lane in lanes}
    touched = [each for each in earlier if topics & set(each.topics)]
    if not touched:
        return [], {}
    found, away = find_evidence(config, touched, lanes)
    noted = _noted(run.ledger, min(each.began for each in touched))
    kept = []
    for each in touched:
        before = noted.get(each.operation, {})
        # A checkpoint that is still its own says more than what was noted of it.
        clusters = before.keys() | found.get(each.operation, {}).keys()
        now = {at: before.get(at, {}) | found.get(each.operation, {}).get(at, {}) for at in sorted(clusters)}
        if now != before:
            run.note(NOTED, {"operation": each.operation, "evidence": _as_json(now)})
        kept.append(replace(each, evidence=now))
    return kept, away


def keep_in_time(
    run: Run, config: Config, earlier: Sequence[Earlier], away: Mapping[str, UnavailableError], lane: Lane
) -> None:
    """Do `keep_evidence` for a lane that is about to be drained, if its cluster was away then.

    Raises:
        UnavailableError: it still is.
    """
    if lane.cluster in away:
        _, still = keep_evidence(run, config, earlier, [lane])
        if lane.cluster in still:
            raise still[lane.cluster]


@task(
    name="find unproved work",
    description="Reads from the lanes' checkpoints what earlier runs published and had no time to prove.",
    cache_policy=NO_CACHE,
)
def find_evidence(
    config: Config, earlier: Sequence[Earlier], lanes: Sequence[Lane]
) -> tuple[dict[str, dict[str, Units]], dict[str, UnavailableError]]:
    """Read the evidence of earlier runs.

    Args:
        config: the platform.
        earlier: the runs.
        lanes: all lanes of their topics.

    Returns:
        Operation → cluster → what it published there; and the clusters that do not answer, and why.
    """
    found: dict[str, dict[str, Units]] = defaultdict(lambda: defaultdict(dict))
    wanted = {topic for run in earlier for topic in run.topics}
    away: dict[str, UnavailableError] = {}
    for lane in lanes:
        if (lane.cluster, lane.topic) not in wanted or lane.cluster in away:
            continue
        try:
            cursor = read_cursor(config.cluster(lane.cluster).client_config(), lane.unit)
        except UnknownTopicError:  # nothing was ever published there by a job
            continue
        except UnavailableError as error:
            get_run_logger().warning("what earlier runs did can't be proved now: %s", error)
            away[lane.cluster] = error
            continue
        for run in (run for run in earlier if run.has(lane)):
            published = Checkpoint.decode(cursor, run.operation).topics
            if published:
                found[run.operation][lane.cluster][lane.unit] = published
    return {
        operation: {at: dict(units) for at, units in clusters.items()} for operation, clusters in found.items()
    }, away


def _noted(ledger: Ledger, since: datetime) -> dict[str, dict[str, Units]]:
    """Return what was noted of runs that began since then: operation → cluster → what it published there."""
    noted: dict[str, dict[str, Units]] = {}
    for entry in ledger.noted(NOTED, since):
        of = noted.setdefault(entry.body["operation"], {})
        for cluster, units in msgspec.convert(entry.body["evidence"], dict[str, Units], strict=False).items():
            of[cluster] = of.get(cluster, {}) | units
    return noted


def _as_json(evidence: dict[str, Units]) -> Any:
    return msgspec.to_builtins(evidence)


@task(
    name="verify earlier run",
    task_run_name="verify {topic} of earlier run {operation}",
    description="Reads back what a run published that had no time to prove it.",
    **PATIENTLY,
)
def verify_earlier(
    config: Config,
    cluster: str,
    topic: str,
    units: Units,
    epochs: Mapping[Lane, tuple[int, ...]],
    *,
    operation: str,
    mode: Mode,
) -> Proof:
    """Prove what an earlier run published by lanes of a topic.

    Raises:
        UnavailableError: the cluster, or the standby store, does not answer.
    """
    return prove_topic(config, cluster, topic, units, epochs, operation=operation, mode=mode)


def verify_all_earlier(
    config: Config, earlier: Sequence[Earlier], *, mode: Mode, away: dict[str, str]
) -> list[tuple[Earlier, list[Proof]]]:
    """Prove what earlier runs published, topic by topic; before anything of it is deleted from the store.

    Args:
        config: the platform.
        earlier: the runs, with their evidence. Those that worked on a cluster that does not answer are left out.
        mode: see `prove`.
        away: cluster → why it can't be asked now; added to.
    """
    proved = []
    for run in earlier:
        proofs = []
        for cluster, of_cluster in run.evidence.items():
            for topic, units in _by_topic(run, of_cluster).items():
                if cluster not in away:
                    try:
                        proofs.append(
                            verify_earlier(config, cluster, topic, units, run.lanes, operation=run.operation, mode=mode)
                        )
                    except UnavailableError as error:
                        away[cluster] = str(error)
        if not away.keys() & run.evidence.keys():
            proved.append((run, proofs))
    return proved


def still_owed(known: Iterable[Earlier], proved: Iterable[tuple[Earlier, Sequence[Proof]]]) -> set[ClusterTopic]:
    """Return the topics of runs that are not proved by now: what the store still has of them is evidence."""
    good = {run.operation for run, proofs in proved if all(proof.verdict != "failed" for proof in proofs)}
    return {topic for run in known if run.operation not in good for topic in run.topics}


def _by_topic(run: Earlier, units: Units) -> dict[str, Units]:
    lanes = {lane.unit: lane.topic for lane in run.lanes}
    by_topic: defaultdict[str, Units] = defaultdict(dict)
    for unit, topics in units.items():
        by_topic[lanes.get(unit) or next(iter(topics))][unit] = topics
    return by_topic
