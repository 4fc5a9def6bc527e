"""`Picture`: a cluster's partitions and brokers at one moment, and what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from redrive.errors import UnavailableError
from redrive.partitions.inflow import Ends, rates, sizes, sizes_of_others
from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.planner.goal import CANARY
from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import BrokerState, Key, LogDirs, Ongoing, PartitionState, Resource, Setting
from redrive.partitions.throttle_settings import RATES, REPLICAS

_MIN_ISR = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class BrokerPicture:
    """A broker in a picture.

    Attributes:
        replicas, leaders: how many partitions have a replica, and their leader, here.
        size: bytes of all its replicas; None if it does not say.
        total, usable: see `redrive.partitions.state.LogDirs`.
        inflow: bytes a second that producers write to partitions which it leads; None if not measured.
        unknown: why something of it is not known.
    """

    id: int
    rack: str | None
    up: bool
    replicas: int
    leaders: int
    size: int | None
    total: int | None
    usable: int | None
    inflow: float | None
    unknown: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A cluster as it is.

    Attributes:
        layout: what a planner starts from: brokers that are up, and all partitions. A partition that moves has its old
            and new replicas in it. Its size is what its leader tells, or else the largest of its other replicas; those
            of ``unsized`` are 0.
        partitions: all partitions, with leaders and ISR.
        under_replicated: those of which a replica is not in sync, but for replicas that are on their way.
        without_leader: those that can't be read or written.
        under_min_isr: those that take no acknowledged events now, having too few replicas in sync.
        min_isr: ``min.insync.replicas`` of each topic.
        ongoing: reassignments under way, whoever has ordered them.
        throttles: replication throttles in force, by resource and setting.
        inflow: bytes a second that producers write to a partition, as far as known; None if not measured.
        unsized: partitions of which no broker tells how large they are.
    """

    cluster: str
    layout: Layout
    brokers: tuple[BrokerPicture, ...]
    partitions: Mapping[Key, PartitionState]
    under_replicated: tuple[Key, ...]
    without_leader: tuple[Key, ...]
    under_min_isr: tuple[Key, ...]
    min_isr: Mapping[str, int]
    ongoing: Mapping[Key, Ongoing]
    throttles: tuple[Setting, ...]
    inflow: Mapping[Key, float] | None
    unsized: frozenset[Key] = frozenset()

    @property
    def silent(self) -> dict[int, str]:
        """Brokers that are up and do not tell all that they hold, and why."""
        return {broker.id: broker.unknown for broker in self.brokers if broker.up and broker.unknown}

    def require_sizes(self) -> None:
        """See that it is known how large all partitions are that can be copied: those that have a leader.

        Raises:
            UnavailableError: it is not; with the brokers that do not tell.
        """
        missing = sorted(key for key in self.unsized if self.partitions[key].leader is not None)
        if missing:
            (topic, number), more = missing[0], len(missing) - 1
            which = f"{topic}/{number}" + (f" and {more:,} other partitions" if more else "")
            silent = "; ".join(f"broker {id_} does not tell what it holds: {why}" for id_, why in self.silent.items())
            raise UnavailableError(f"the size of {which}", silent or "no broker tells it")

    @property
    def empty(self) -> frozenset[int]:
        """Ids of the brokers that are up and have no replica; those of Amazon MSK's own topics don't count."""
        filled = {
            id_ for each in self.partitions.values() if not each.topic.startswith(CANARY) for id_ in each.replicas
        }
        return frozenset(broker.id for broker in self.brokers if broker.up) - filled

    @classmethod
    def take(cls, reader: PartitionReader, seconds: float = 0) -> Picture:
        """Look at the cluster. What one broker can't say is missing, and no more than that.

        Args:
            reader: of the cluster.
            seconds: measure the inflow for so long, see `redrive.partitions.inflow`; 0: don't.

        Raises:
            UnavailableError: the cluster does not answer in time.
            RefusedByClusterError: it answers, and says no.
        """
        brokers, partitions, ongoing = reader.brokers(), reader.partitions(), reader.ongoing()
        up = [broker.id for broker in brokers.values() if broker.up]
        ends = Ends(reader, (key for key, each in partitions.items() if each.leader is not None)) if seconds else None
        log_dirs, begun = reader.log_dirs(up), time.monotonic()
        topics = {partition.topic for partition in partitions.values()}
        min_isr = read_min_isr(reader, topics)
        throttles = read_throttles(reader, up, topics)
        inflow = None
        known = sizes(partitions, log_dirs)
        if seconds:
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
            log_dirs = reader.log_dirs(up)
            later = sizes(partitions, log_dirs)
            inflow, known = rates(known, later, time.monotonic() - begun), known | later
        known = sizes_of_others(partitions, log_dirs) | known
        if inflow is not None and ends is not None:
            inflow |= ends.rates(partitions.keys() - inflow.keys(), known)
        return cls(
            cluster=reader.cluster,
            layout=_layout(brokers, partitions, log_dirs, known),
            brokers=tuple(_brokers(brokers, partitions, log_dirs, inflow)),
            partitions=partitions,
            under_replicated=under_replicated(partitions, ongoing),
            without_leader=without_leader(partitions),
            under_min_isr=under_min_isr(partitions, min_isr),
            min_isr=min_isr,
            ongoing=ongoing,
            throttles=throttles,
            inflow=inflow,
            unsized=frozenset(_unsized(partitions, log_dirs, known)),
        )


def read_min_isr(reader: PartitionReader, topics: Iterable[str]) -> dict[str, int]:
    """Give ``min.insync.replicas`` of each topic that exists."""
    found = reader.settings((Resource("topic", topic) for topic in topics), [_MIN_ISR])
    return {resource.name: int(each[_MIN_ISR].value) for resource, each in found.items() if _MIN_ISR in each}


def without_leader(partitions: Mapping[Key, PartitionState]) -> tuple[Key, ...]:
    """Give the partitions that can't be read or written."""
    return tuple(key for key, partition in partitions.items() if partition.leader is None)


def under_min_isr(partitions: Mapping[Key, PartitionState], min_isr: Mapping[str, int]) -> tuple[Key, ...]:
    """Give the partitions with fewer replicas in sync than ``min.insync.replicas``, or than they have, if that is less.

    Events that are to be acknowledged by all of them are refused.
    """
    return tuple(
        key
        for key, partition in partitions.items()
        if len(partition.isr) < min(min_isr.get(partition.topic, 1), len(partition.replicas))
    )


def under_replicated(partitions: Mapping[Key, PartitionState], ongoing: Mapping[Key, Ongoing]) -> tuple[Key, ...]:
    """Give the partitions of which a replica is not in sync, but for replicas that are on their way."""
    return tuple(key for key, one in partitions.items() if _lags(one, ongoing.get(key)))


def _lags(partition: PartitionState, ongoing: Ongoing | None) -> bool:
    on_their_way = ongoing.adding if ongoing else ()
    return bool(set(partition.replicas) - partition.isr - set(on_their_way))


def _unsized(
    partitions: Mapping[Key, PartitionState], log_dirs: Mapping[int, LogDirs], known: Mapping[Key, int]
) -> Iterable[Key]:
    for key, partition in partitions.items():
        leader = None if partition.leader is None else log_dirs.get(partition.leader)
        # A leader that tells all that it holds, and not this one, does not have it yet: it has just been made.
        if key not in known and (leader is None or leader.unknown):
            yield key


def _layout(
    brokers: Mapping[int, BrokerState],
    partitions: Mapping[Key, PartitionState],
    log_dirs: Mapping[int, LogDirs],
    known: Mapping[Key, int],
) -> Layout:
    return Layout(
        tuple(
            Broker(one.id, one.rack, log_dirs[one.id].capacity, silent=bool(log_dirs[one.id].unknown))
            for one in brokers.values()
            if one.up
        ),
        tuple(Partition(one.topic, one.number, one.replicas, known.get(key, 0)) for key, one in partitions.items()),
    )


def _brokers(
    brokers: Mapping[int, BrokerState],
    partitions: Mapping[Key, PartitionState],
    log_dirs: Mapping[int, LogDirs],
    inflow: Mapping[Key, float] | None,
) -> Iterable[BrokerPicture]:
    ids = {*brokers, *(id_ for partition in partitions.values() for id_ in partition.replicas)}
    replicas, leaders, flow = dict.fromkeys(ids, 0), dict.fromkeys(ids, 0), dict.fromkeys(ids, 0.0)
    for key, partition in partitions.items():
        for id_ in partition.replicas:
            replicas[id_] += 1
        if partition.leader is not None and partition.leader in leaders:
            leaders[partition.leader] += 1
            flow[partition.leader] += (inflow or {}).get(key, 0.0)
    for id_ in sorted(ids):
        # A broker that is down, and that the cluster does not name, is known by its replicas.
        broker = brokers.get(id_, BrokerState(id_, None, up=False))
        directories = log_dirs.get(id_, LogDirs(unknown="it is down"))
        yield BrokerPicture(
            id=id_,
            rack=broker.rack,
            up=broker.up,
            replicas=replicas[id_],
            leaders=leaders[id_],
            size=None if directories.unknown else sum(directories.sizes.values()),
            total=directories.total,
            usable=directories.usable,
            inflow=None if inflow is None else flow[id_],
            unknown=directories.unknown,
        )


def read_throttles(reader: PartitionReader, brokers: Iterable[int], topics: Iterable[str]) -> tuple[Setting, ...]:
    """Give the replication throttles in force on brokers and topics."""
    of_brokers = reader.settings((Resource("broker", str(id_)) for id_ in brokers), RATES)
    of_topics = reader.settings((Resource("topic", topic) for topic in topics), REPLICAS)
    every = (setting for each in (of_brokers | of_topics).values() for setting in each.values())
    return tuple(setting for setting in every if setting.value)
