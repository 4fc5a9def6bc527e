"""`judge`: from facts to a verdict, with each reason for it and the way out. It asks nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from redrive.health.facts import ALIVE, Books, ClusterState, Disks, Facts, Standby, Unknown
from redrive.partitions.state import Key
from redrive.pump.names import ALIASES_TOPIC

log = logging.getLogger(__name__)

Verdict = Literal["well", "unwell", "unavailable"]
"""``unavailable``: events of a topic of the settings can't be published. ``unwell``: something else is wrong."""

_STORED = "producers store their events"
_STANDS_BY = "nothing is published to it now, since other regions are active"

REPLAY = "standby-replay"
STILL = timedelta(hours=1)
"""So long after its last event to a topic that was left a producer passes for one that still publishes there."""
LEAST_FREE = 0.1
"""Part of a broker's disk that is to be free."""
_SHOWN = 3
_MOST_ODD = 10
"""Aliases that are named one by one: anybody may have written any number of them."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a cluster is not well.

    Attributes:
        code: the kind of trouble, by which it is told from others from one look to the next.
        what: what is wrong.
        way_out: what to do about it.
        verdict: what it makes of the cluster.
    """

    code: str
    what: str
    way_out: str
    verdict: Verdict = "unwell"


@dataclass(frozen=True, slots=True)
class Health:
    """A cluster's health.

    Attributes:
        facts: what it is judged by.
        reasons: what is wrong, the worst first; none: it is well.
    """

    facts: Facts
    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict, which is that of the worst reason."""
        return self.reasons[0].verdict if self.reasons else "well"

    @property
    def is_certain(self) -> bool:
        """Whether it is known if events can be published; else what the last look found stands."""
        state = self.facts.state
        return self.verdict == "unavailable" or not (isinstance(state, Unknown) or state.unsaid)

    @property
    def backlog(self) -> bool | None:
        """Whether events wait in the standby store though the cluster takes events; None: nobody knows."""
        if self.verdict == "unavailable":
            return False
        standby = self.facts.standby
        return standby.diverted > 0 if self.is_certain and isinstance(standby, Standby) else None


def judge(facts: Facts) -> Health:
    """Judge a cluster by what is known of it. Lag and dead letters are shown and not judged: no number fits all."""
    reasons = list[Reason]()
    for part, judged in _JUDGED.items():
        try:
            reasons += list(judged(facts))
        except Exception as error:  # a mistake of ours; it must not hide the rest, of this cluster and of the others
            log.exception("%s: %s can't be judged", facts.cluster, _CALLED[part])
            unknown: dict[str, Any] = {part: Unknown(f"{type(error).__name__}: {error}", "fault")}
            facts = replace(facts, **unknown)
    reasons += [*_odd_aliases(facts), *_faults(facts)]
    # A sort keeps the order of equals: within a verdict, reasons are in the order of the facts.
    return Health(facts, tuple(sorted(reasons, key=lambda reason: reason.verdict != "unavailable")))


def _state(facts: Facts) -> Iterator[Reason]:
    state, name = facts.state, facts.cluster
    if isinstance(state, Unknown) and state.why in ("slow", "fault"):
        if state.why == "slow":
            yield _slow(state.reason)
        return
    if isinstance(state, Unknown) and state.why == "not-asked":
        yield Reason(
            "not-asked",
            f"nobody knows how it is: {state.reason}",
            "mend what it is asked with; the rights that it takes: `redrive security acls cluster-health`",
        )
        return
    if isinstance(state, Unknown):
        yield Reason(
            "no-answer",
            f"it does not answer: {state.reason}",
            "start its brokers, or mend the network or what it is asked with; "
            f"{_STORED if facts.active else _STANDS_BY}, and what waits for it is replayed by itself when it is back",
            "unavailable",
        )
        return
    if state.unsaid:
        yield _slow(state.unsaid)
    yield from _unwritable(facts.ours, state, _STORED if facts.active else _STANDS_BY)
    if state.down:
        are, named = "is" if len(state.down) == 1 else "are", ", ".join(map(str, state.down))
        yield Reason(
            f"brokers-down:{named}",
            f"{len(state.down)} of {len(state.brokers)} brokers {are} down: {named}",
            f"start them; one that is gone for good: `redrive run partition-rebalance --goal drain_brokers "
            f"--cluster {name} --broker {state.down[0]}` shows the plan; then the same with `--mode run`",
        )
    others = [key for key in state.without_leader if key[0] not in facts.ours]
    if others:
        yield Reason("without-leader", f"{_some(others)} without a leader", "start the brokers that have its replicas")
    elif state.under_replicated and not state.down:
        yield Reason(
            "under-replicated",
            f"{_some(state.under_replicated)} under-replicated",
            "followers catch up by themselves; if it stays, look at the disks, the network and throttles: "
            f"`redrive cluster show {name}`",
        )
    if missing := sorted(facts.ours - state.topics - facts.deleted):
        what = f"{_names(missing)} of the settings not there"
        yield Reason("missing-topics", what, "make what is missing: `redrive topics apply`")


def _slow(what: str) -> Reason:
    way_out = "look at the load of its brokers and at the network; what producers do is in their metrics"
    return Reason("slow", f"it is slow, and nobody knows wholly how it is: {what}", way_out)


def _unwritable(ours: frozenset[str], state: ClusterState, so: str) -> Iterator[Reason]:
    offline = [key for key in state.without_leader if key[0] in ours]
    if offline:
        yield Reason(
            "no-leader",
            f"{_some(offline)} without a leader: {so}",
            "start the brokers that have its replicas",
            "unavailable",
        )
    under = [key for key in state.under_min_isr if key[0] in ours and key not in state.without_leader]
    if under:
        yield Reason(
            "under-min-isr",
            f"{_some(under)} under min ISR: {so}",
            "start the brokers that are down, or wait until followers have caught up",
            "unavailable",
        )


def _disks(facts: Facts) -> Iterator[Reason]:
    if isinstance(facts.disks, Unknown):
        if not isinstance(facts.state, Unknown) and facts.disks.why != "fault":
            what = f"its disks are not known: {facts.disks.reason}"
            yield Reason("disks-unknown", what, f"`redrive cluster show {facts.cluster}`")
        return
    full = [id_ for id_, free in sorted(free_by_broker(facts.disks).items()) if free < LEAST_FREE]
    if full:
        yield Reason(
            f"disk-full:{','.join(map(str, full))}",
            f"less than {LEAST_FREE:.0%} of the disk is free on broker {', '.join(map(str, full))}",
            "make disks larger, shorten retention, or move partitions: `redrive run partition-rebalance --cluster "
            f"{facts.cluster} --mode run`",
        )
    for id_, each in sorted(facts.disks.log_dirs.items()):
        if each.unknown:
            what = f"broker {id_} does not tell of its disks: {each.unknown}"
            yield Reason(f"disk-unknown:{id_}", what, "look at the broker's log")


def free_by_broker(disks: Disks) -> dict[int, float]:
    """Give the part of its disk that is free, by broker, of those that say it."""
    return {
        id_: each.usable / each.total for id_, each in disks.log_dirs.items() if each.usable is not None and each.total
    }


def _standby(facts: Facts) -> Iterator[Reason]:
    standby, books = facts.standby, facts.books
    if isinstance(standby, Unknown) and standby.why in ("slow", "fault"):
        if standby.why == "slow":
            what = f"what waits in the standby store could not be counted in time: {standby.reason}"
            way_out = "producers are not held up by that; `redrive standby status` takes the time that it takes"
            yield Reason("standby-slow", what, way_out)
        return
    if isinstance(standby, Unknown) and standby.why == "not-asked":
        yield Reason(
            "standby-not-asked",
            f"the standby store answers, and is of no use: {standby.reason}",
            "a table that was never made: `redrive topics apply`; one that has held events: see "
            "docs/runbooks/standby-store.md; rights: `redrive security iam cluster-health`. First of all: an outage of "
            "the cluster would now be one of its producers",
        )
        return
    if isinstance(standby, Unknown):
        yield Reason(
            "standby-unknown",
            f"the standby store does not answer: {standby.reason}",
            "mend it first: an outage of the cluster would now be one of its producers",
        )
        return
    if not standby.diverted or isinstance(facts.state, Unknown):
        return
    replaying = isinstance(books, Books) and books.at_work(REPLAY, facts.at)
    if not replaying and not any(reason.verdict == "unavailable" for reason in _state(facts)):
        yield Reason(
            "backlog",
            f"{'' if standby.is_whole else 'at least '}{standby.events:,} events wait in {standby.diverted} lanes of "
            "the standby store; no replay is at work",
            f"one starts by itself; at once: `redrive run standby-replay --cluster {facts.cluster} --mode run`",
        )


def _stayed(facts: Facts) -> Iterator[Reason]:
    for each in facts.stayed if isinstance(facts.stayed, tuple) else ():
        if each.since is None or each.last is None:
            continue
        since, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (each.since, each.last))
        if each.is_copied and facts.at - last > STILL:
            continue  # whoever it was publishes there no more, and nothing is missing
        goal = "copy" if each.topic == each.name else "feed_back"
        yield Reason(
            f"stayed-behind:{each.topic}",
            f"{each.events:,} events have come to {each.topic} since {since:%Y-%m-%d %H:%M} UTC, the last "
            f"{last:%Y-%m-%d %H:%M}, though its producers were switched to {each.current}"
            + ("" if each.is_copied else f"; not all are in {each.current}"),
            f"see who it is: `redrive schemas writers {each.topic}`; a producer of the SDK: bring it up to date, and "
            "start it again; another: have it publish to "
            f"{each.current}. To have the events copied: `redrive run schema-backfill {each.name} {each.target} "
            f"--goal {goal} --mode run`, with the rules of the switch",
        )


def _odd_aliases(facts: Facts) -> Iterator[Reason]:
    names = sorted(facts.odd_aliases, key=lambda name: (name not in facts.ours, name))
    for name in names[:_MOST_ODD]:
        what = f"the record of {name or 'no name'} in {ALIASES_TOPIC} can't be read: {facts.odd_aliases[name]}"
        way_out = "delete it: see docs/runbooks/schema-change.md"
        if name in facts.ours:
            what += "; so nobody knows where its events go, its replays wait, and its letters are not corrected"
            way_out = (
                f"if its producers are switched: `redrive run schema-backfill {name} TARGET --goal switch_producers "
                f"--mode run`, with the rules of the switch, writes it anew; else {way_out}"
            )
        yield Reason(f"odd-alias:{name}", what, way_out)
    if len(names) > _MOST_ODD:
        what = f"{len(names) - _MOST_ODD:,} more records in {ALIASES_TOPIC} can't be read"
        yield Reason("odd-aliases", what, "see who writes there; delete them: docs/runbooks/schema-change.md")


def _books(facts: Facts) -> Iterator[Reason]:
    books = facts.books
    if isinstance(books, Unknown):
        if books.why == "fault":
            return
        what = f"the ledger does not answer: {books.reason}"
        yield Reason("ledger-unknown", what, "mend it: no job can run without it")
        return
    signs = {run.id: run.heartbeat_at for run in books.runs if run.status == "running"}
    signs |= {hold.operation: hold.heartbeat_at for hold in books.holds}
    running = {operation for operation, sign in signs.items() if facts.at - sign < ALIVE}
    left = sum(count for operation, count in books.debts.items() if operation not in running)
    if left:
        yield Reason(
            "debts",
            f"{left} settings are still as a job left them that has ended",
            _way_to_settle(facts),
        )
    for run in books.runs:
        if run.status == "running" and run.id not in running:
            yield Reason(
                f"run-silent:{run.job}",
                f"the last {run.job} shows no sign of life since {run.heartbeat_at:%H:%M} UTC",
                "it was killed, or its machine is gone; run the job again: it goes on",
            )
        if run.status == "failed":
            yield Reason(
                f"run-failed:{run.job}",
                f"the last {run.job} has failed",
                f"`redrive operations show {run.id[:8]}`" + (f", or {run.run_url}" if run.run_url else ""),
            )


def _faults(facts: Facts) -> Iterator[Reason]:
    """What nobody knows by a mistake of ours, which none of the others tells."""
    for name, called in _CALLED.items():
        part = getattr(facts, name)
        if isinstance(part, Unknown) and part.why == "fault":
            what = f"of {called} nothing is known, by a fault of ours: {part.reason}"
            yield Reason(f"fault:{called}", what, "report it, with the traceback in the log of the run")


def _way_to_settle(facts: Facts) -> str:
    settle = f"`redrive debts settle {facts.cluster}`; one that nobody can pay any more: `redrive debts write-off`"
    if isinstance(facts.state, Unknown) or not facts.state.moving:
        return settle
    return (
        "partitions still move: have the run that moves them gone on with, which restores the settings, too: `redrive "
        f"run partition-rebalance --cluster {facts.cluster} --goal go_on --mode run`, or roll_back; then {settle}"
    )


def _some(keys: Sequence[Key]) -> str:
    names = ", ".join(f"{topic}/{number}" for topic, number in keys[:_SHOWN])
    more = f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else ""
    return f"{names}{more} {'is' if len(keys) == 1 else 'are'}"


def _names(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN:,} more topics" if len(every) > _SHOWN else ""
    return f"{', '.join(every[:_SHOWN])}{more} {'is' if len(every) == 1 else 'are'}"


_CALLED = {
    "state": "brokers and partitions", "disks": "disks", "lags": "consumer groups", "standby": "the standby store",
    "stayed": "topics that were left", "books": "the ledger",
}  # fmt: skip
"""Parts of the facts, and what they are called."""

_JUDGED: Mapping[str, Callable[[Facts], Iterator[Reason]]] = {
    "state": _state, "disks": _disks, "standby": _standby, "stayed": _stayed, "books": _books
}  # fmt: skip
"""Parts of the facts, and what judges them."""
