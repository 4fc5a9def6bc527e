"""Looking at clusters: all of them at once, each system once, and none for longer than it may take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from redrive.config import Cluster, Config
from redrive.deadletters.selection import Selection
from redrive.errors import UnavailableError
from redrive.health.facts import Books, ClusterState, Disks, Facts, Standby, Unknown
from redrive.health.lags import Lags, read_lags
from redrive.health.stayed import Left, read_stayed
from redrive.health.waiting import read_standby
from redrive.health.within import Asked
from redrive.ledger import Ledger
from redrive.partitions.picture import (
    read_min_isr,
    read_throttles,
    under_min_isr,
    under_replicated,
    without_leader,
)
from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import BrokerState, Key, Ongoing
from redrive.standby.survey import OutOfTimeError

T = TypeVar("T")

PATIENCE = 4.0
"""Seconds for which one question to a cluster is asked again."""
ENOUGH = 4.0
"""Seconds after which a cluster that has named its brokers and leaders is asked no more: it is slow."""
LIMIT = 8.0
"""Seconds that a look may take in all. What has not answered by then is unknown."""
RECENT = timedelta(days=1)
"""How far back the last run of a job is looked for."""


@dataclass(frozen=True, slots=True)
class _Questions:
    """What is asked about one cluster; each by a thread of its own."""

    cluster: str
    ours: frozenset[str]
    active: bool
    state: Asked[ClusterState]
    disks: Asked[Disks]
    lags: Asked[Lags]
    standby: Asked[Standby]
    books: Asked[Books]
    behind: Asked[Left]


def look(config: Config, clusters: Iterable[str], limit: float = LIMIT) -> list[Facts]:
    """Look at clusters, in their order. A system that does not answer makes one part unknown, and delays no other.

    Args:
        config: the platform.
        clusters: their names.
        limit: seconds that all of it may take.
    """
    at, began = datetime.now(UTC), time.monotonic()
    questions = [_ask(config, config.cluster(name)) for name in clusters]
    found = []
    for asked in questions:
        left = partial(_left, began + limit)
        state, disks = asked.state.answer(left()), asked.disks.answer(left())
        lags, standby = asked.lags.answer(left()), asked.standby.answer(left())
        books, behind = asked.books.answer(left()), asked.behind.answer(left())
        found.append(
            Facts(
                asked.cluster,
                at,
                time.monotonic() - began,
                asked.ours,
                state,
                disks,
                lags if isinstance(lags, Unknown) else lags.groups,
                standby,
                books,
                asked.active,
                behind if isinstance(behind, Unknown) else behind.stayed,
                {} if isinstance(behind, Unknown) else behind.odd,
                frozenset() if isinstance(behind, Unknown) else behind.gone,
                0 if isinstance(lags, Unknown) else lags.unasked,
            )
        )
    return found


def _left(deadline: float) -> float:
    return deadline - time.monotonic()


def _ask(config: Config, cluster: Cluster) -> _Questions:
    name = cluster.name
    return _Questions(
        name,
        frozenset(topic.name for topic in config.topics_of(name)),
        config.is_active(name),
        Asked(lambda: read_state(cluster)),
        Asked(lambda: read_disks(cluster)),
        Asked(lambda: read_lags(cluster, PATIENCE)),
        Asked(lambda: read_standby(config, name)),
        Asked(lambda: read_books(config, name)),
        Asked(lambda: read_stayed(config, name, PATIENCE)),
    )


def read_state(cluster: Cluster) -> ClusterState:
    """Ask a cluster about its brokers and partitions; first what says whether events can be published.

    Raises:
        UnavailableError: it does not answer.
        RefusedByClusterError: it answers, and says no.
    """
    until, min_isr, ongoing, unsaid = time.monotonic() + ENOUGH, dict[str, int](), dict[Key, Ongoing](), ""
    with PartitionReader(cluster, PATIENCE) as reader:
        brokers, partitions = reader.brokers(), reader.partitions()
        topics = frozenset(topic for topic, _ in partitions)
        try:
            # What it does not say of these does not mean that nobody can publish.
            min_isr = _in_time(until, "min.insync.replicas", lambda: read_min_isr(reader, topics))
            ongoing = _in_time(until, "reassignments", reader.ongoing)
        except (UnavailableError, OutOfTimeError) as error:
            unsaid = str(error)
        controller = None if unsaid else reader.controller()
    named = {id_ for partition in partitions.values() for id_ in partition.replicas}
    missing = {id_: BrokerState(id_, None, up=False) for id_ in named - brokers.keys()}
    return ClusterState(
        brokers=dict(sorted((brokers | missing).items())),
        controller=controller,
        partitions=len(partitions),
        leaders=Counter(partition.leader for partition in partitions.values() if partition.leader is not None),
        topics=topics,
        without_leader=without_leader(partitions),
        under_min_isr=under_min_isr(partitions, min_isr) if min_isr or not unsaid else (),
        # Without knowing what moves, replicas that are on their way would seem to be missing.
        under_replicated=() if unsaid else under_replicated(partitions, ongoing),
        moving=tuple(ongoing),
        unsaid=unsaid,
    )


def _in_time(until: float, what: str, question: Callable[[], T]) -> T:
    if time.monotonic() > until:
        raise OutOfTimeError(f"each answer takes long; it was not asked about {what} any more")
    return question()


def read_disks(cluster: Cluster) -> Disks:
    """Ask brokers about their disks and throttles.

    Raises:
        UnavailableError: the cluster does not answer. (A broker that does not says so in its `LogDirs`.)
        RefusedByClusterError: it answers, and says no.
    """
    with PartitionReader(cluster, PATIENCE) as reader:
        up = [id_ for id_, broker in reader.brokers().items() if broker.up]
        topics = {topic for topic, _ in reader.partitions()}
        return Disks(reader.log_dirs(up), read_throttles(reader, up, topics))


def read_books(config: Config, cluster: str) -> Books:
    """Ask the ledger about a cluster.

    Raises:
        UnavailableError: its database does not answer.
        ConfigError: it is of a newer version of Redrive.
    """
    with Ledger.open(config.ledger_url()) as ledger:
        letters, here = Counter[str](), Selection(clusters=[cluster])
        for group in ledger.letters.groups(here):
            letters[group.reason] += group.letters
        return Books(
            letters=dict(letters.most_common()),
            debts=Counter(debt.operation_id for debt in ledger.debts.owed(cluster)),
            holds=ledger.held_on(cluster),
            runs=ledger.last_runs(cluster, datetime.now(UTC) - RECENT),
            waiting=ledger.letters.waiting(here),
        )


def is_known(part: object) -> bool:
    """Whether a part of the facts is known."""
    return not isinstance(part, Unknown)
