"""Paying debts: settings that a job has changed become what they were, unless somebody else has changed them since."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from redrive.ledger import DebtRow, Debts, Operation
from redrive.partitions.state import Key, Ongoing, Resource
from redrive.partitions.throttle_settings import FOLLOWER_REPLICAS, REPLICAS, entries_in, without_ours
from redrive.partitions.writer import PartitionWriter

SETTINGS = ":settings"
RESTORED = "restored"
AS_BEFORE = "was as before"
HEARD_WITHIN = 15.0
"""Seconds in which each broker is taken to have heard of a new setting; until then it acts by the old one."""
GONE = "its topic is gone"
NEEDED = (
    "partitions still move behind it: let the run that moves them go on (`redrive run partition-rebalance --goal go_on "
    "--mode run`, or roll_back), or take the throttle off them (`redrive debts settle --now`)"
)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of debts.

    Attributes:
        settled: id of a debt → how it was settled.
        left: id of a debt → why it is still owed.
        respected: settings that somebody else has changed since, and to what.
    """

    settled: dict[int, str]
    left: dict[int, str]
    respected: tuple[str, ...]


def resource_to_hold(cluster: str) -> str:
    """Give what an operation has to hold that moves partitions of a cluster, or settles debts there.

    No topic can have this name: so jobs that bring events back are never kept from it by moves, which take hours, and
    moves can wait for them.
    """
    return f"{cluster}/{SETTINGS}"


def settle(writer: PartitionWriter, debts: Debts, operation: Operation, owed: Sequence[DebtRow]) -> Settlement:
    """Pay debts of the writer's cluster. To be repeated, or killed, at any time.

    It is paid once the brokers tell so themselves: an order is in the cluster's log before they have heard of it. A
    broker that is down keeps no other debt from being paid; what it has is owed on. It throttles nobody by then, as the
    topics' lists name no replicas any more.

    Raises:
        UnavailableError: the cluster does not answer.
        FencedError: the operation is no longer this process's.
    """
    done, left, respected = dict[int, str](), dict[int, str](), list[str]()
    if not owed:
        return Settlement(done, left, ())
    by_resource = _by_resource(owed)
    current = _current(writer, _there(writer, by_resource))
    changes: dict[Resource, dict[str, str | None]] = {}
    for resource, rows in by_resource.items():
        values = current.get(resource)
        for row in rows:
            if values is None:
                done |= {row.id: GONE} if resource.kind == "topic" else {}
                left |= {row.id: f"{resource} does not answer"} if resource.kind == "broker" else {}
                continue
            now = values.get(row.setting)
            value, how = how_to_settle(row.setting, row.previous, row.ours, now)
            done[row.id] = how
            if how not in (RESTORED, AS_BEFORE):
                respected.append(f"{row.setting} of {resource} is {how}")
            # Also where it is so already: by what a broker has heard so far, and an order of ours may still come.
            if how in (RESTORED, AS_BEFORE) or value != now:
                changes.setdefault(resource, {})[row.setting] = value
    operation.heartbeat()  # whoever has taken it over may be using these settings
    for resource, error in writer.configure(changes).items():
        for row in by_resource[resource]:
            if row.setting in changes[resource]:
                del done[row.id]
                left[row.id] = str(error)
    for row in _unheard(writer, [row for row in owed if row.id in done]):
        del done[row.id]
        left[row.id] = f"{_resource_of(row)} tells the old one still, or nothing, {HEARD_WITHIN:g} s after the order"
    debts.settle(operation, done)
    return Settlement(done, left, tuple(respected))


def settle_all(writer: PartitionWriter, debts: Debts, operation: Operation) -> Settlement:
    """Pay all debts of the writer's cluster, whoever has made them; see `settle`."""
    return settle(writer, debts, operation, debts.owed(writer.cluster))


def settle_idle(writer: PartitionWriter, debts: Debts, operation: Operation) -> Settlement:
    """Pay the debts of the writer's cluster that nothing needs which moves now; see `settle`."""
    owed = debts.owed(writer.cluster)
    return _settle_but(writer, debts, operation, owed, writer.ongoing())


def settle_but_others(writer: PartitionWriter, debts: Debts, operation: Operation, ours: Collection[Key]) -> Settlement:
    """Pay the debts of the writer's cluster but those that moves of another run still need; see `settle`."""
    owed = debts.owed(writer.cluster)
    return _settle_but(writer, debts, operation, owed, moving_for_others(writer, owed, ours))


def moving_for_others(writer: PartitionWriter, owed: Iterable[DebtRow], ours: Collection[Key]) -> dict[Key, Ongoing]:
    """Give what moves to where a list that is owed throttles it, and is not among ``ours``: a run has died over it.

    What nobody here has ordered, and what somebody else has ordered elsewhere since, is no such thing.
    """
    throttled = {
        (row.name, number, broker)
        for row in owed
        if row.setting == FOLLOWER_REPLICAS
        for value in row.ours
        for number, broker in entries_in(value)
    }
    if all((topic, number) in ours for topic, number, _ in throttled):
        return {}
    return {
        (topic, number): each
        for (topic, number), each in writer.ongoing().items()
        if (topic, number) not in ours
        and each.adding
        and all((topic, number, broker) in throttled for broker in each.adding)
    }


def _settle_but(
    writer: PartitionWriter, debts: Debts, operation: Operation, owed: Sequence[DebtRow], ongoing: Mapping[Key, Ongoing]
) -> Settlement:
    needed = {row.id for row in owed if is_needed(row, ongoing)}
    settlement = settle(writer, debts, operation, [row for row in owed if row.id not in needed])
    return replace(settlement, left=settlement.left | dict.fromkeys(needed, NEEDED))


def is_needed(row: DebtRow, ongoing: Mapping[Key, Ongoing]) -> bool:
    """Say whether partitions move behind a setting that is owed; ``ongoing``: those that count."""
    if row.kind == "topic":
        return any(topic == row.name for topic, _ in ongoing)
    return any(row.name in map(str, (*each.target, *each.removing)) for each in ongoing.values())


def how_to_settle(setting: str, previous: str | None, ours: Sequence[str], now: str | None) -> tuple[str | None, str]:
    """Give the value that settles a debt, and how it does, by what is set now.

    Args:
        setting: its name. Of a list of replicas our entries are taken away, and no others.
        previous: what was set before; None for nothing.
        ours: what the operation has set, or was about to.
        now: what is set now.
    """
    if now == previous:
        return previous, AS_BEFORE
    value = previous if now in ours else now
    if setting in REPLICAS:
        value = without_ours(now, ours, previous)
    if value == previous:
        return previous, RESTORED
    return value, f"left as somebody else has set it: {'nothing' if value is None else value}"


def _unheard(writer: PartitionWriter, rows: Sequence[DebtRow]) -> list[DebtRow]:
    """Give the rows whose brokers still tell a value of ours, or nothing, when all should have heard.

    A broker that has gone down, or a topic that is gone, tells nothing any more.
    """
    deadline, late = time.monotonic() + HEARD_WITHIN, list(rows)
    while True:
        there = _there(writer, _by_resource(late))
        current = _current(writer, there)
        late = [row for row in late if _resource_of(row) in there and _is_to_settle(row, current)]
        if not late or time.monotonic() > deadline:
            return late
        time.sleep(0.1)


def _is_to_settle(row: DebtRow, current: Mapping[Resource, Mapping[str, str | None]]) -> bool:
    values = current.get(_resource_of(row))
    if values is None:
        return True
    now = values.get(row.setting)
    return how_to_settle(row.setting, row.previous, row.ours, now)[0] != now


def _resource_of(row: DebtRow) -> Resource:
    return Resource("broker" if row.kind == "broker" else "topic", row.name)


def _by_resource(owed: Iterable[DebtRow]) -> dict[Resource, list[DebtRow]]:
    found: defaultdict[Resource, list[DebtRow]] = defaultdict(list)
    for row in owed:
        found[_resource_of(row)].append(row)
    return dict(found)


def _there(
    writer: PartitionWriter, by_resource: Mapping[Resource, Sequence[DebtRow]]
) -> dict[Resource, Sequence[DebtRow]]:
    """Leave brokers out that are down, and topics that are gone."""
    up = {str(broker.id) for broker in writer.brokers().values() if broker.up}
    topics = {topic for topic, _ in writer.partitions(each.name for each in by_resource if each.kind == "topic")}
    found = {"broker": up, "topic": topics}
    return {resource: rows for resource, rows in by_resource.items() if resource.name in found[resource.kind]}


def _current(
    writer: PartitionWriter, there: Mapping[Resource, Sequence[DebtRow]]
) -> dict[Resource, dict[str, str | None]]:
    """Give what is set on each resource itself; a broker that does not answer is left out."""
    names = {row.setting for rows in there.values() for row in rows}
    found = writer.settings(there, sorted(names))
    return {each: {name: setting.own for name, setting in values.items()} for each, values in found.items()}
