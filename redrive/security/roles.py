"""What each role of the platform needs, and no more: of a Kafka cluster, of the standby table, of AWS.

Topics that Redrive needs for itself are made by the administrator (`redrive topics apply`), so nobody else may create
any. What is granted here is what the code does; `tests/stack/test_secured.py` runs the roles with nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from redrive.errors import ConfigError
from redrive.partitions.probe import PROBE_TOPIC
from redrive.pump.cursors import CURSORS_TOPIC
from redrive.pump.names import ALIASES_TOPIC, PARKING_TOPIC

Resource = Literal["topic", "group", "cluster", "transactional-id"]
Operation = Literal[
    "Read", "Write", "Create", "Delete", "Alter", "Describe", "DescribeConfigs", "AlterConfigs",
]  # fmt: skip

READ_BACK_GROUP = "redrive-readback"
"""The group that reading without a group goes by; never joined, nothing is committed. See `redrive.pump.readback`."""

_READ: tuple[Operation, ...] = ("Read", "Describe")
_WRITE: tuple[Operation, ...] = ("Write", "Describe")


@dataclass(frozen=True, slots=True)
class Grant:
    """Something that a role may do on a Kafka cluster.

    Attributes:
        resource: of which kind; a cluster has no name.
        name: the resource's, or what names begin with; ``*`` for all.
        operations: as Kafka calls them.
        prefixed: whether ``name`` is only a beginning.
    """

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What a role is about, on one cluster.

    Attributes:
        cluster: the cluster's name in the settings.
        name: the producer's, or the consumer group's; empty for the others.
        main: main topics; of a backfill, the one that it copies.
        dead_letters: dead-letter topics; of a producer or consumer, its own if that is on this cluster.
        target: the topic that a backfill fills; of a producer or consumer, the one that its main topic's name may come
            to stand for; empty: none.
        groups: consumer groups that a backfill may move.
    """

    cluster: str
    name: str
    main: tuple[str, ...]
    dead_letters: tuple[str, ...]
    target: str = ""
    groups: tuple[str, ...] = ()

    @property
    def topics(self) -> tuple[str, ...]:
        """Both."""
        return (*self.main, *self.dead_letters)


@dataclass(frozen=True, slots=True)
class Role:
    """A role, and what it needs.

    Attributes:
        does: what it is, for people.
        kafka: what it needs of a cluster.
        named: whether there are several, each with a name: producers, consumers.
        fills: whether it fills one topic from another, both of which have to be given.
        table: its actions on the standby table, as IAM calls them without ``dynamodb:``.
        fleet: whether it asks Amazon MSK for the load of brokers, and for more of them.
    """

    does: str
    kafka: Callable[[Scope], Iterator[Grant]]
    named: bool = False
    fills: bool = False
    table: tuple[str, ...] = ()
    fleet: bool = False


def _each(topics: Sequence[str], *operations: Operation) -> Iterator[Grant]:
    for topic in topics:
        yield Grant("topic", topic, operations)


def _looking() -> Iterator[Grant]:
    """Reading without a group."""
    yield Grant("group", READ_BACK_GROUP, ("Describe",))


def _pump(scope: Scope, unit: str) -> Iterator[Grant]:
    """Publishing in transactions, with cursors: what replays, corrections and backfills have in common."""
    yield Grant("transactional-id", f"redrive/{unit}/{scope.cluster}/", _WRITE, prefixed=True)
    yield from _each([CURSORS_TOPIC], "Read", "Write", "Describe", "DescribeConfigs")
    yield from _each([PARKING_TOPIC], "Read", "Write", "Describe", "DescribeConfigs")
    yield from _looking()
    yield Grant("group", "*", ("Describe",))  # the lag of a consumer group that the run form names


def _producer(scope: Scope) -> Iterator[Grant]:
    yield from _each(scope.topics, *_WRITE)
    if scope.target:
        # How events become the target's, and whether all that went to the main topic is there.
        yield from _each([scope.target], *_WRITE)
        yield from _each([ALIASES_TOPIC, CURSORS_TOPIC], *_READ)
        yield from _looking()


def _consumer(scope: Scope) -> Iterator[Grant]:
    yield from _each(scope.main, *_READ)
    yield from _each(scope.dead_letters, *_WRITE)
    if scope.main:
        yield Grant("group", scope.name, _READ)
    if scope.target:
        yield from _each([scope.target, ALIASES_TOPIC], *_READ)
        yield from _looking()


def _standby_replay(scope: Scope) -> Iterator[Grant]:
    # Dead letters that could not be written wait in the standby store, too.
    yield from _each(scope.topics, "Read", "Write", "Describe", "DescribeConfigs")
    yield from _pump(scope, "standby")
    yield from _each([ALIASES_TOPIC], *_READ)


def _dlq_triage(scope: Scope) -> Iterator[Grant]:
    yield from _each(scope.dead_letters, *_READ, "DescribeConfigs")
    yield from _looking()


def _dlq_correction(scope: Scope) -> Iterator[Grant]:
    # Main topics are read for newer events, dead-letter topics are written to once more, and both for the proof.
    yield from _each(scope.topics, "Read", "Write", "Describe", "DescribeConfigs")
    yield from _pump(scope, "dlq")
    yield from _each([ALIASES_TOPIC], *_READ)  # which main topics' events are published elsewhere now


def _partition_rebalance(_: Scope) -> Iterator[Grant]:
    yield Grant("cluster", "", ("Describe", "Alter", "DescribeConfigs", "AlterConfigs"))
    yield Grant("topic", "*", ("Describe", "DescribeConfigs", "AlterConfigs"))
    yield from _each([PROBE_TOPIC], *_WRITE)
    yield Grant("group", "*", ("Describe",))  # the lag of consumer groups that the run form names


def _looking_at_all(_: Scope) -> Iterator[Grant]:
    yield Grant("cluster", "", ("Describe", "DescribeConfigs"))
    yield Grant("topic", "*", ("Describe", "DescribeConfigs"))


def _cluster_health(scope: Scope) -> Iterator[Grant]:
    yield from _looking_at_all(scope)
    yield Grant("group", "*", ("Describe",))  # how far each is behind
    # Which topics producers were taken from; those are read for what others still publish there.
    yield from _each([*scope.main, ALIASES_TOPIC, CURSORS_TOPIC], "Read")
    yield from _looking()


def _schema_backfill(scope: Scope) -> Iterator[Grant]:
    # The source is written to by `feed_back`. The target is made with its settings, which are not changed afterwards,
    # and deleted by `redrive backfill abandon`, which has to see all groups: none may be consuming it.
    yield from _each(scope.main, "Read", "Write", "Describe", "DescribeConfigs")
    yield from _each([scope.target], "Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs")
    yield from _pump(scope, "backfill")
    # To switch producers it replays what they store meanwhile.
    for source in scope.main:
        yield Grant("transactional-id", f"redrive/standby/{scope.cluster}/{source}/", _WRITE, prefixed=True)
    yield from _each([ALIASES_TOPIC], "Read", "Write", "Describe", "DescribeConfigs")
    for group in scope.groups:
        yield Grant("group", group, _READ)  # to set its offsets
    yield Grant("cluster", "", ("Describe",))


def _governance(scope: Scope) -> Iterator[Grant]:
    # Of dead letters only the ends are looked at: which schemas they have, the ledger knows.
    # Producers that were switched write with what the alias says.
    yield from _each([*scope.main, PARKING_TOPIC, ALIASES_TOPIC], *_READ)
    yield from _each(scope.dead_letters, "Describe")
    yield from _looking()


def _administrator(_: Scope) -> Iterator[Grant]:
    yield Grant("cluster", "", ("Create", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"))
    yield Grant("topic", "*", ("Create", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"))
    yield from _each([ALIASES_TOPIC], "Read")  # what producers have left and somebody has deleted is not made anew
    yield from _looking()


_SAFEGUARDS = (
    "DescribeTimeToLive", "UpdateTimeToLive", "DescribeContinuousBackups", "UpdateContinuousBackups",
)  # fmt: skip
_APPEND = ("GetItem", "Query", "PutItem", "UpdateItem")

ROLES: dict[str, Role] = {
    "producer": Role("an application that publishes with the SDK", _producer, named=True, table=_APPEND),
    "consumer": Role("an application that consumes with the SDK, as a group", _consumer, named=True),
    "gateway": Role("the partners' door: a producer for them", _producer, named=True, table=_APPEND),
    "standby-replay": Role("the job", _standby_replay, table=(*_APPEND, "DeleteItem", "BatchWriteItem")),
    "dlq-triage": Role("the job", _dlq_triage),
    "dlq-correction": Role("the job, and `redrive dlq fix`", _dlq_correction, table=("GetItem", "Query")),
    "partition-rebalance": Role("the job", _partition_rebalance),
    "broker-scaling": Role("the job", _looking_at_all, fleet=True),
    "schema-backfill": Role(
        "the job, and `redrive backfill abandon`, of one topic",
        _schema_backfill,
        fills=True,
        table=(*_APPEND, "DeleteItem", "BatchWriteItem"),
    ),
    "cluster-health": Role("the job", _cluster_health, table=("GetItem", "Query")),
    "governance": Role("a person, or CI: `redrive schemas delete`, `writers`, `census`", _governance, table=("Query",)),
    "administrator": Role(
        "a person, or CI, that runs `redrive topics apply` and `redrive security acls --apply`",
        _administrator,
        table=("CreateTable", "DescribeTable", *_SAFEGUARDS, "GetItem"),
    ),
}


def role(name: str) -> Role:
    """Give a role.

    Raises:
        ConfigError: there is none of this name; names those there are.
    """
    if name not in ROLES:
        raise ConfigError("role", f"there is no role {name!r}; there are {', '.join(ROLES)}")
    return ROLES[name]


def grants(role_name: str, scope: Scope) -> list[Grant]:
    """Give what a role needs of a cluster, each resource once."""
    merged: dict[tuple[Resource, str, bool], tuple[Operation, ...]] = {}
    for grant in role(role_name).kafka(scope):
        key = (grant.resource, grant.name, grant.prefixed)
        merged[key] = tuple(dict.fromkeys((*merged.get(key, ()), *grant.operations)))
    return [Grant(resource, name, operations, prefixed) for (resource, name, prefixed), operations in merged.items()]
