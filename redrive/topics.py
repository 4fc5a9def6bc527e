"""Making topics what the settings say they are: first what would change, then the changes, then what is left alone.

What is planned is a pure function of the settings and the cluster (`plan_topic`), so a dry run cannot change anything.
Nothing is ever deleted, nor made smaller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from redrive.clusters import ClusterAdmin, TopicState
from redrive.config import Config, Topic
from redrive.errors import RedriveError, UnavailableError
from redrive.pump.cursors import CURSORS_TOPIC, PARTITIONS, ensure_topic
from redrive.subjects import Subjects, subject_of

Action = Literal["create", "add partitions", "configure", "register", "leave"]
Outcome = Literal["planned", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between the settings and a cluster, or the registry.

    Attributes:
        action: what is to be done; ``leave``: nothing, a person should look at it.
        detail: the difference in words.
        config: settings that the change makes.
        reason: why it failed, if it did.
    """

    cluster: str
    topic: str
    action: Action
    detail: str
    config: dict[str, str]
    outcome: Outcome = "planned"
    reason: str = ""


def apply_topics(config: Config, *, dry_run: bool = False, add_partitions: bool = False) -> list[Change]:
    """Create the topics that are missing, set what differs, register schemas; give each difference and its outcome.

    On each cluster there is also the topic that Redrive keeps its checkpoints in. One change that fails stops no other.

    Args:
        config: the settings to follow.
        dry_run: only give what would change.
        add_partitions: also raise the number of partitions where it is too small. Most keys then move to another
            partition: their order is lost between what is there and what comes.

    Raises:
        UnavailableError: a cluster or the registry does not answer in time.
        ConfigError: a secret or a schema file is not where the settings say.
    """
    changes: list[Change] = []
    subjects = Subjects(config)
    for name in sorted(config.clusters):
        admin = ClusterAdmin(config.cluster(name))
        present = admin.topics()
        topics = config.topics_of(name)
        planned = [*_plan_checkpoints(name, present)]
        for topic in topics:
            planned += plan_topic(topic, present.get(topic.name), add_partitions=add_partitions)
            planned += _plan_schema(topic, subjects)
        changes += planned if dry_run else [_do(change, config, admin, subjects) for change in planned]
    return changes


def plan_topic(topic: Topic, present: TopicState | None, *, add_partitions: bool = False) -> Iterator[Change]:
    """Say what it takes to make a topic what it should be; nothing if it is."""

    def change(action: Action, detail: str, config: dict[str, str] | None = None) -> Change:
        return Change(topic.cluster, topic.name, action, detail, config or {})

    if present is None:
        detail = f"{topic.partitions} partitions, {topic.replication} replicas"
        yield change("create", detail, topic.config)
        return
    if present.partitions < topic.partitions:
        detail = f"{present.partitions} → {topic.partitions} partitions"
        moves = "most keys would move to another partition, and lose their order; --add-partitions does it"
        yield change("add partitions", detail) if add_partitions else change("leave", f"{detail}: {moves}")
    if present.partitions > topic.partitions:
        detail = f"has {present.partitions} partitions, not {topic.partitions}: Kafka cannot take any away"
        yield change("leave", detail)
    if present.replication != topic.replication:
        detail = f"has {present.replication} replicas, not {topic.replication}: that is for a partition rebalance"
        yield change("leave", detail)
    differ = {key: value for key, value in topic.config.items() if present.config.get(key) != value}
    if differ:
        detail = ", ".join(f"{key}: {present.config.get(key, 'default')} → {differ[key]}" for key in sorted(differ))
        yield change("configure", detail, differ)
    strange = {key: value for key, value in present.config.items() if key not in topic.config}
    if strange:
        detail = ", ".join(f"{key} = {value}" for key, value in sorted(strange.items()))
        yield change("leave", f"set on the topic, but not in the settings: {detail}")


def _plan_checkpoints(cluster: str, present: dict[str, TopicState]) -> Iterator[Change]:
    state = present.get(CURSORS_TOPIC)
    if state is None:
        yield Change(cluster, CURSORS_TOPIC, "create", f"{PARTITIONS} partitions, compacted", {})
    elif "compact" not in state.config.get("cleanup.policy", ""):
        detail = "is not compacted: old checkpoints would be deleted by time"
        yield Change(cluster, CURSORS_TOPIC, "configure", detail, {"cleanup.policy": "compact"})


def _plan_schema(topic: Topic, subjects: Subjects) -> Iterator[Change]:
    if topic.schema is None or subjects.has(topic):
        return
    detail = f"{topic.schema.name} as {subject_of(topic)}"
    if subjects.fits(topic):
        yield Change(topic.cluster, topic.name, "register", detail, {})
    else:
        why = "the subject's rule does not let it follow the latest version"
        yield Change(topic.cluster, topic.name, "leave", f"{detail}: {why}", {})


def _do(change: Change, config: Config, admin: ClusterAdmin, subjects: Subjects) -> Change:
    try:
        match change.action:
            case "create" if change.topic == CURSORS_TOPIC:
                ensure_topic(config.cluster(change.cluster).client_config())
                admin.wait_until_writable(CURSORS_TOPIC, PARTITIONS)
            case "create":
                topic = config.topic(change.topic)
                admin.create_topic(topic.name, topic.partitions, topic.replication, change.config)
                admin.wait_until_writable(topic.name, topic.partitions)
            case "add partitions":
                topic = config.topic(change.topic)
                admin.add_partitions(topic.name, topic.partitions)
                admin.wait_until_writable(topic.name, topic.partitions)
            case "configure":
                admin.configure(change.topic, change.config)
            case "register":
                subjects.register(config.topic(change.topic))
            case "leave":
                return change
    except UnavailableError:
        raise
    except RedriveError as error:
        return replace(change, outcome="failed", reason=str(error))
    return replace(change, outcome="done")
