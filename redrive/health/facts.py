"""`Facts`: what is known of a cluster's health at one moment. What did not answer says why, and hides nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from traceback import format_exception
from typing import Any, Literal

from redrive.ledger.runs import Hold, LastRun
from redrive.partitions.state import BrokerState, Key, LogDirs, Setting

ALIVE = timedelta(minutes=2)
"""So long after its last sign of life a run passes for one that works; it gives one every few seconds."""


Why = Literal["no-answer", "not-asked", "slow", "fault"]
"""``no-answer``: it does not answer. ``not-asked``: it could not be asked, or refused to say: settings, a secret or
rights are missing. ``slow``: our time was up before all was answered, which does not say that it is away. ``fault``: a
mistake of ours."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """In place of what is not known.

    Attributes:
        reason: in words.
        why: of which kind it is.
        traceback: where a mistake of ours has come up; empty for the other kinds.
    """

    reason: str
    why: Why = "no-answer"
    traceback: str = field(default="", compare=False, repr=False)


def fault(error: Exception) -> Unknown:
    """Say that something is not known by a mistake of ours, which has raised this."""
    text = "".join(format_exception(error))
    return Unknown(f"{type(error).__name__}: {error}", "fault", text)


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Brokers and partitions.

    Attributes:
        brokers: those that the cluster knows, and those that only replicas name, which are down.
        controller: id of the active controller; None if the cluster does not say.
        partitions, leaders: how many there are; how many each broker leads.
        topics: names of all topics.
        without_leader, under_min_isr, under_replicated: see `redrive.partitions.picture.Picture`.
        moving: partitions with a reassignment under way.
        unsaid: why only brokers, partitions and their leaders are known, and the rest is empty; empty: all is known.
    """

    brokers: Mapping[int, BrokerState]
    controller: int | None
    partitions: int
    leaders: Mapping[int, int]
    topics: frozenset[str]
    without_leader: tuple[Key, ...]
    under_min_isr: tuple[Key, ...]
    under_replicated: tuple[Key, ...]
    moving: tuple[Key, ...]
    unsaid: str = ""

    @property
    def down(self) -> list[int]:
        """Ids of the brokers that do not serve."""
        return sorted(id_ for id_, broker in self.brokers.items() if not broker.up)


@dataclass(frozen=True, slots=True)
class Disks:
    """What brokers say of their disks, and how replication is throttled.

    Attributes:
        log_dirs: by broker id; see `redrive.partitions.state.LogDirs`.
        throttles: in force.
    """

    log_dirs: Mapping[int, LogDirs]
    throttles: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Lag:
    """How far behind a consumer group is.

    Attributes:
        group: its id.
        events: how many wait for it, over all partitions that it has committed for.
        topics: how many topics those are.
        members: how many consumers are in it; None if not known.
    """

    group: str
    events: int
    topics: int
    members: int | None


@dataclass(frozen=True, slots=True)
class Stayed:
    """What has come to a topic since its producers were taken to another one, and was brought by no job.

    Attributes:
        name: what producers publish by.
        topic, current: the topic that they left; the one that they publish to now.
        target: the one of the two that is not called ``name``.
        generation: of the alias.
        events: how many, since the switch.
        since, last: when the first and the last of them were published, in milliseconds since 1970; None: there are
            none.
        read_to: partition → the offset up to which the topic was looked through.
        latest: partition → offset of the last of them.
        is_copied: all of them have been copied to ``current``, or left out there.
        is_whole: the topic was looked through to its end; else the next look goes on.
    """

    name: str
    topic: str
    current: str
    target: str
    generation: int
    events: int
    since: int | None
    last: int | None
    read_to: Mapping[int, int]
    latest: Mapping[int, int]
    is_copied: bool
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Standby:
    """What waits in the standby store.

    Attributes:
        lanes, diverted: how many there are, and how many do not go to Kafka now.
        events, bytes: what waits.
        oldest: when the oldest was accepted; None if nothing waits.
        is_whole: all of it was counted; else there is at least so much, and the next look goes on.
        counted: what it goes on from; see `redrive.health.waiting.document`.
    """

    lanes: int
    diverted: int
    events: int
    bytes: int
    oldest: datetime | None
    is_whole: bool = True
    counted: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger says.

    Attributes:
        letters: open dead letters by reason, most first.
        debts: settings that a job has changed and not yet restored, by the id of the operation.
        holds: what jobs hold on the cluster.
        runs: the last run of each job on it, newest first.
        waiting: dead letters that wait for a person, by their fate; they are not among the open ones.
    """

    letters: Mapping[str, int]
    debts: Mapping[str, int]
    holds: tuple[Hold, ...]
    runs: tuple[LastRun, ...]
    waiting: Mapping[str, int] = field(default_factory=dict)

    def at_work(self, job: str, at: datetime) -> bool:
        """Whether a run of a job is under way, and has shown a sign of life."""
        return any(run.job == job and run.status == "running" and at - run.heartbeat_at < ALIVE for run in self.runs)


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it.

    Attributes:
        cluster: its name.
        at: when it was looked at.
        seconds: how long the look took.
        ours: topics that the settings have on it.
        active: events are published to it; else it stands by for domains whose active region is another.
        stayed: of each topic that producers were taken from.
        unasked_groups: consumer groups that ``lags`` says nothing of, since there are too many to ask about each.
        deleted: those of ours that producers have left, and somebody has deleted since, as it should be at the end.
        odd_aliases: name → why it is not known whether producers of that name were switched; see `redrive.aliases`.
    """

    cluster: str
    at: datetime
    seconds: float
    ours: frozenset[str]
    state: ClusterState | Unknown
    disks: Disks | Unknown
    lags: tuple[Lag, ...] | Unknown
    standby: Standby | Unknown
    books: Books | Unknown
    active: bool = True
    stayed: tuple[Stayed, ...] | Unknown = ()
    odd_aliases: Mapping[str, str] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    unasked_groups: int = 0
