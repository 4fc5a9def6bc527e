"""Making topics what the settings say they are, with all that Redrive needs around them.

First every difference is found, then each is done, or left alone with the reason. What is planned for a topic is a pure
function of the settings and the cluster. Nothing is ever deleted, nor made smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from redrive.aliases.alias import Aliases, ensure_aliases, read_aliases
from redrive.clusters import ClusterAdmin, TopicState
from redrive.config import Config, Topic
from redrive.errors import ConfigError, RedriveError, SchemaError, UnavailableError
from redrive.partitions.probe import PARTITIONS as PROBE_PARTITIONS
from redrive.partitions.probe import PROBE_TOPIC, ensure_probe
from redrive.pump.cursors import CURSORS_TOPIC, PARTITIONS, ensure_topic
from redrive.pump.names import ALIASES_TOPIC, PARKING_TOPIC
from redrive.pump.parking import ensure_parking
from redrive.standby.dynamo import DynamoStore
from redrive.standby.lanes import Lane, LaneLog, Topics
from redrive.standby.store import Store
from redrive.subjects import Subjects, subject_of

Kind = Literal["table", "topic", "schema", "cluster"]
Action = Literal["create", "add partitions", "configure", "register", "leave", "ask"]
Outcome = Literal["planned", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between the settings and what there is.

    Attributes:
        kind: what it is about: the standby store's table, a topic, a topic's schema, or a cluster that does not answer.
        name: the table's, the topic's or the cluster's.
        cluster: of the topic; empty for the table.
        action: what is to be done; ``leave``: nothing, a person should look at it.
        detail: the difference in words.
        config: settings that the change makes.
        reason: why it failed, if it did.
    """

    kind: Kind
    name: str
    cluster: str
    action: Action
    detail: str
    config: dict[str, str] = field(default_factory=dict)
    outcome: Outcome = "planned"
    reason: str = ""


def apply_topics(config: Config, *, dry_run: bool = False, add_partitions: bool = False) -> list[Change]:
    """Create what is missing, set what differs, register schemas; give each difference and its outcome.

    Besides the topics of the settings that is: the standby store's table, and on each cluster the topic that jobs
    keep their checkpoints in, the one that they park refused events in, the one with aliases, and the one by which they
    measure how long producers wait. One change that fails stops no other.

    Args:
        config: the settings to follow.
        dry_run: only give what would change.
        add_partitions: also raise the number of partitions where it is too small. Most keys then move to another
            partition: what comes is no longer ordered after what is there. Refused while a lane of the topic is
            diverted: its events in doubt may be in the partitions that their keys have now.

    Raises:
        UnavailableError: the registry, DynamoDB or all clusters do not answer in time. (One of several clusters that
            does not is a failed change.)
        ConfigError: a secret is not where the settings say, or DynamoDB refuses to be asked.
    """
    store = DynamoStore(config.standby.table, config.standby.region, config.standby.endpoint)
    subjects = Subjects(config)
    admins = {name: ClusterAdmin(config.cluster(name)) for name in sorted(config.clusters)}
    changes = [*_plan_table(store)]
    away: dict[str, UnavailableError] = {}
    for cluster, admin in admins.items():
        try:
            present = admin.topics()
        except UnavailableError as error:
            away[cluster] = error
            continue
        changes += _plan_checkpoints(cluster, present)
        if PARKING_TOPIC not in present:
            changes.append(Change("topic", PARKING_TOPIC, cluster, "create", "for events that Kafka refuses"))
        if PROBE_TOPIC not in present:
            detail = f"{PROBE_PARTITIONS} partitions, to measure produce latency while partitions move"
            changes.append(Change("topic", PROBE_TOPIC, cluster, "create", detail))
        if ALIASES_TOPIC not in present:
            changes.append(Change("topic", ALIASES_TOPIC, cluster, "create", "for names of topics that are switched"))
        aliases = _aliases(config, cluster, present)
        for topic in config.topics_of(cluster):
            of_topic = plan_topic(topic, present.get(topic.name), add_partitions=add_partitions)
            changes += [_unless_left(_unless_diverted(change, store), aliases) for change in of_topic]
            if cluster == topic.clusters[0]:  # the registry is one for all
                changes += _plan_schema(topic, subjects)
    if away and len(away) == len(admins):
        raise next(iter(away.values()))
    # The others need not wait for it: a region that is away is when the other one is made ready.
    unasked = [
        Change("cluster", name, name, "ask", "what is there", outcome="failed", reason=str(why))
        for name, why in away.items()
    ]
    if not dry_run:
        changes = [_do(change, config, store, admins, subjects) for change in changes]
    return changes + unasked


def plan_topic(topic: Topic, present: TopicState | None, *, add_partitions: bool = False) -> Iterator[Change]:
    """Say what it takes to make a topic what it should be; nothing if it is."""

    def change(action: Action, detail: str, config: dict[str, str] | None = None) -> Change:
        return Change("topic", topic.name, topic.cluster, action, detail, config or {})

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
    differ = {key: value for key, value in sorted(topic.config.items()) if present.config.get(key) != value}
    if differ:
        steps = (f"{key}: {present.config.get(key, 'default')} → {value}" for key, value in differ.items())
        yield change("configure", ", ".join(steps), differ)
    strange = sorted(present.config.keys() - topic.config.keys())
    if strange:
        settings = ", ".join(f"{key} = {present.config[key]}" for key in strange)
        yield change("leave", f"set on the topic, but not in the settings: {settings}")


def _unless_diverted(change: Change, store: Store) -> Change:
    """Refuse to add partitions while events of a topic wait in the standby store, or may yet come there."""
    if change.action != "add partitions":
        return change
    topics = Topics(store, change.cluster)
    try:
        lanes = [Lane(change.cluster, change.name, number) for number in range(topics.all().get(change.name, 0))]
        diverted = [lane for lane in lanes if not LaneLog(store, lane).state().is_main]
    except ConfigError as error:
        if error.setting != "standby.table":
            raise
        return change  # there is no table yet
    if not diverted:
        return change
    why = (
        f"{len(diverted)} of its {len(lanes)} lanes are diverted, and what waits there is looked for in the partitions "
        "of today: let standby-replay bring it back first"
    )
    return replace(change, outcome="failed", reason=why)


def _aliases(config: Config, cluster: str, present: Mapping[str, TopicState]) -> Aliases | UnavailableError:
    """Find out what names stand for, if a topic is to be created; else nobody has to know, or need be allowed to."""
    if ALIASES_TOPIC not in present or all(topic.name in present for topic in config.topics_of(cluster)):
        return Aliases({}, {})
    try:
        return read_aliases(config.cluster(cluster).client_config())
    except UnavailableError as error:
        return error


def _unless_left(change: Change, aliases: Aliases | UnavailableError) -> Change:
    """Do not create anew what producers have left and somebody has deleted: consumers would wait for it to its end."""
    if change.action != "create":
        return change
    if isinstance(aliases, UnavailableError):
        return replace(change, outcome="failed", reason=f"nobody can say whether producers have left it: {aliases}")
    if why := aliases.odd.get(change.name):
        reason = f"nobody can say whether producers have left it: its record in {ALIASES_TOPIC} can't be read ({why})"
        return replace(change, outcome="failed", reason=reason)
    alias = aliases.good.get(change.name)
    if alias is None or alias.current == alias.name:
        return change
    detail = f"is gone, and not created: what is published by that name goes to {alias.current}"
    return replace(change, action="leave", detail=detail)


def _plan_table(store: DynamoStore) -> Iterator[Change]:
    try:
        store.version("redrive")  # the cheapest question that only a table can answer
    except ConfigError as error:
        if error.setting != "standby.table":
            raise
        yield Change("table", store.table, "", "create", "on demand, with TTL and point-in-time recovery")
        return
    table = Change("table", store.table, "", "configure", "")
    try:
        if lacking := store.lacks():
            yield replace(table, detail=f"has no {' and no '.join(lacking)}")
    except ConfigError as error:  # whoever may not know it makes topics all the same
        yield replace(table, action="ask", detail="what it lacks", outcome="failed", reason=str(error))


def _plan_checkpoints(cluster: str, present: Mapping[str, TopicState]) -> Iterator[Change]:
    state = present.get(CURSORS_TOPIC)
    if state is None:
        yield Change("topic", CURSORS_TOPIC, cluster, "create", f"{PARTITIONS} partitions, compacted")
    elif "compact" not in state.config.get("cleanup.policy", ""):
        detail = "is not compacted: checkpoints would be deleted by time"
        yield Change("topic", CURSORS_TOPIC, cluster, "configure", detail, {"cleanup.policy": "compact"})


def _plan_schema(topic: Topic, subjects: Subjects) -> Iterator[Change]:
    if topic.schema is None:
        return
    change = Change("schema", topic.name, topic.cluster, "register", f"{topic.schema.name} as {subject_of(topic)}")
    try:
        if subjects.has(topic):
            return
        if not subjects.fits(topic):
            why = "the subject's rule does not let it follow the latest version"
            change = replace(change, action="leave", detail=f"{change.detail}: {why}")
    except SchemaError as error:
        change = replace(change, outcome="failed", reason=str(error))
    yield change


def _do(
    change: Change, config: Config, store: DynamoStore, admins: Mapping[str, ClusterAdmin], subjects: Subjects
) -> Change:
    if change.action == "leave" or change.outcome == "failed":
        return change
    try:
        match change.kind:
            case "table":
                store.create() if change.action == "create" else store.protect()
            case "schema":
                subjects.register(config.topic(change.name))
            case "topic":
                _do_topic(change, config, admins[change.cluster])
    except UnavailableError:
        raise
    except RedriveError as error:
        return replace(change, outcome="failed", reason=str(error))
    return replace(change, outcome="done")


def _do_topic(change: Change, config: Config, admin: ClusterAdmin) -> None:
    if change.action == "configure":
        admin.configure(change.name, change.config)
    elif change.name == CURSORS_TOPIC:
        ensure_topic(config.cluster(change.cluster).client_config())
        admin.wait_until_writable(CURSORS_TOPIC, PARTITIONS)
    elif change.name == PARKING_TOPIC:
        ensure_parking(config.cluster(change.cluster).client_config())
    elif change.name == PROBE_TOPIC:
        ensure_probe(config.cluster(change.cluster).client_config())
    elif change.name == ALIASES_TOPIC:
        ensure_aliases(config.cluster(change.cluster).client_config())
    else:
        topic = config.topic(change.name)
        if change.action == "create":
            admin.create_topic(topic.name, topic.partitions, topic.replication, topic.config)
        else:
            admin.add_partitions(topic.name, topic.partitions)
        admin.wait_until_writable(topic.name, topic.partitions)
