"""`Throttle`: holds replication back while partitions move, and nothing of that remains."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from redrive.errors import UnavailableError
from redrive.ledger import Change, DebtRow, Debts, Operation
from redrive.partitions.convergence import least_rate, require_convergence
from redrive.partitions.layout import Move
from redrive.partitions.settling import Settlement, is_needed, moving_for_others, settle, settle_but_others
from redrive.partitions.state import Key, Ongoing, Resource, Setting
from redrive.partitions.throttle_settings import (
    RATES,
    REPLICAS,
    Entry,
    brokers_to_throttle,
    entries_in,
    replicas_to_throttle,
    with_entries,
    without_ours,
)
from redrive.partitions.writer import PartitionWriter


class Throttle:
    """A throttle on what moves. It may be changed by another thread than the one that moves.

    Lists of replicas name what is under way, not all that will be: Kafka counts against a rate whatever a list names,
    also of replicas that have long arrived. Whatever was set before is noted as a debt first, and stays in lists.
    A broker that is down is passed over, and gets its rate when it is back. What still moves behind the throttle of a
    run that has died keeps it.

    Attributes:
        rate: bytes a second that a broker may send, and receive, of moving partitions.
        ours: the partitions that are moved behind it, now or later; empty: those that are now.
        respected: settings that somebody else has changed meanwhile, and that are left so.
    """

    def __init__(self, writer: PartitionWriter, debts: Debts, operation: Operation, rate: int) -> None:
        self.rate = rate
        self.ours: Collection[Key] = ()
        self.respected: set[str] = set()
        self._writer, self._debts, self._operation = writer, debts, operation
        self._needs: Mapping[int, float] = {}
        self._brokers: set[int] = set()
        # Of lists: a broker that has not heard yet tells our old entries for some moments.
        self._settled: dict[tuple[str, str, str], DebtRow] = {}
        self._lock = threading.RLock()

    def require_convergence(self, needs: Mapping[int, float]) -> None:
        """Refuse to move anything at too low a rate; `change` will refuse by the same needs.

        Args:
            needs: see `redrive.partitions.convergence.needed`.

        Raises:
            ThrottleTooLowError: with the least rate that would do.
        """
        with self._lock:
            require_convergence(self.rate, needs)
            self._needs = needs

    def converge(self, needs: Mapping[int, float]) -> None:
        """Raise the rate, before anything moves, to where all gets to its end, if it is too low for that."""
        with self._lock:
            self._needs = needs
            self.rate = max(self.rate, self.least)

    @property
    def least(self) -> int:
        """The least rate at which moving partitions catch up in the end, as far as is known."""
        return least_rate(self._needs)

    def cover(self, moves: Sequence[Move]) -> None:
        """Throttle these moves, and no others any more; to be called before they are ordered.

        Raises:
            UnavailableError, RefusedByClusterError: see `PartitionWriter`; nothing is to be ordered then.
            FencedError: the operation is no longer this process's.
        """
        with self._lock:
            self._brokers |= brokers_to_throttle(moves)
            self._set_rates(self.rate, by_hand=False)
            wanted = replicas_to_throttle(moves)
            owed = self._debts.owed(self._writer.cluster)
            ours = self.ours or {(move.topic, move.number) for move in moves}
            others = moving_for_others(self._writer, owed, ours)
            self._set_lists(wanted, owed, others)
            self._settle_lists(set(wanted), others)

    def change(self, rate: int, *, by_hand: bool = True) -> None:
        """Set another rate, at once where partitions move, and for what is still to come.

        Args:
            rate: bytes a second.
            by_hand: a person wants it: also where somebody else has set a rate meanwhile.

        Raises:
            ThrottleTooLowError: the present rate stays.
            UnavailableError, RefusedByClusterError: see `PartitionWriter`. The present rate stays for what is still to
                come, and what `cover` comes by next.
        """
        with self._lock:
            require_convergence(rate, self._needs)
            self._set_rates(rate, by_hand=by_hand)
            self.rate = rate

    def lift(self) -> Settlement:
        """Make all settings of this cluster what they were, those that a dead run has left and no longer needs, too."""
        with self._lock:
            self._brokers.clear()
            return settle_but_others(self._writer, self._debts, self._operation, self.ours)

    def _set_rates(self, rate: int, *, by_hand: bool) -> None:
        """Args: by_hand: also where somebody else has set a rate meanwhile."""
        up = {broker.id for broker in self._writer.brokers().values() if broker.up}
        resources = [Resource("broker", str(broker)) for broker in sorted(self._brokers & up)]
        present = self._writer.settings(resources, RATES)
        if silent := [str(resource) for resource in resources if resource not in present]:
            raise UnavailableError(" and ".join(silent), "does not say which throttle it has")
        known = {row.place: (row.previous, *row.ours) for row in self._debts.owed(self._writer.cluster)}
        changes = []
        for resource, settings in present.items():
            for name in RATES:
                seen, place = _own(settings, name), (resource.kind, resource.name, name)
                if seen == str(rate):
                    continue
                if place in known and seen is not None and seen not in known[place] and not by_hand:
                    self.respected.add(f"{name} of {resource} is left as somebody else has set it: {seen}")
                    continue
                changes.append(Change(*place, seen, str(rate)))
        self._make(changes)

    def _set_lists(
        self,
        wanted: Mapping[str, Mapping[str, set[Entry]]],
        owed: Sequence[DebtRow],
        others: Mapping[Key, Ongoing],
    ) -> None:
        present = self._writer.settings((Resource("topic", topic) for topic in wanted), REPLICAS)
        rows = self._settled | {row.place: row for row in owed}
        changes = []
        for resource, settings in present.items():
            for name in REPLICAS:
                seen, row = _own(settings, name), rows.get((resource.kind, resource.name, name))
                before = without_ours(seen, row.ours, row.previous) if row is not None else seen
                kept = {entry for entry in entries_in(seen) if (resource.name, entry[0]) in others}
                value = with_entries(before, wanted[resource.name][name] | kept)
                if value != seen:
                    changes.append(Change(resource.kind, resource.name, name, before, value))
        self._make(changes)

    def _settle_lists(self, wanted: set[str], others: Mapping[Key, Ongoing]) -> None:
        owed = self._debts.owed(self._writer.cluster)
        past = [row for row in owed if row.kind == "topic" and row.name not in wanted and not is_needed(row, others)]
        if past:
            settlement = settle(self._writer, self._debts, self._operation, past)
            self.respected |= set(settlement.respected)
            self._settled |= {row.place: row for row in past if row.id in settlement.settled}

    def _make(self, changes: Sequence[Change]) -> None:
        self._debts.owe(self._operation, self._writer.cluster, changes)
        orders: dict[Resource, dict[str, str | None]] = {}
        for change in changes:
            resource = Resource("broker" if change.kind == "broker" else "topic", change.name)
            orders.setdefault(resource, {})[change.setting] = change.ours
        for resource, error in self._writer.configure(orders).items():
            # One that has died this moment moves nothing. Any other must not move without its throttle.
            if self._is_there(resource):
                raise error

    def _is_there(self, resource: Resource) -> bool:
        if resource.kind == "topic":
            return bool(self._writer.partitions([resource.name]))
        broker = self._writer.brokers().get(int(resource.name))
        return broker is not None and broker.up


def _own(settings: Mapping[str, Setting], name: str) -> str | None:
    return settings[name].own if name in settings else None
