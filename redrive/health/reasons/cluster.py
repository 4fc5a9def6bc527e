"""What is wrong with a cluster's brokers, partitions and disks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from redrive.health.facts import ClusterState, Disks, Facts, Unknown
from redrive.health.reasons.reason import Reason
from redrive.partitions.state import Key

_STORED = "producers store their events"
_STANDS_BY = "nothing is published to it now, since other regions are active"
_LEAST_FREE = 0.1
"""Part of a broker's disk that is to be free."""
_SHOWN = 3


def of_state(facts: Facts) -> Iterator[Reason]:
    """Judge its brokers and partitions."""
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


def _slow(what: str) -> Reason:
    way_out = "look at the load of its brokers and at the network; what producers do is in their metrics"
    return Reason("slow", f"it is slow, and nobody knows wholly how it is: {what}", way_out)


def of_disks(facts: Facts) -> Iterator[Reason]:
    """Judge the disks of its brokers."""
    if isinstance(facts.disks, Unknown):
        if not isinstance(facts.state, Unknown) and facts.disks.why != "fault":
            what = f"its disks are not known: {facts.disks.reason}"
            yield Reason("disks-unknown", what, f"`redrive cluster show {facts.cluster}`")
        return
    full = [id_ for id_, free in sorted(_free_by_broker(facts.disks).items()) if free < _LEAST_FREE]
    if full:
        yield Reason(
            f"disk-full:{','.join(map(str, full))}",
            f"less than {_LEAST_FREE:.0%} of the disk is free on broker {', '.join(map(str, full))}",
            "make disks larger, shorten retention, or move partitions: `redrive run partition-rebalance --cluster "
            f"{facts.cluster} --mode run`",
        )
    for id_, each in sorted(facts.disks.log_dirs.items()):
        if each.unknown:
            what = f"broker {id_} does not tell of its disks: {each.unknown}"
            yield Reason(f"disk-unknown:{id_}", what, "look at the broker's log")


def _free_by_broker(disks: Disks) -> dict[int, float]:
    """Give the part of its disk that is free, by broker, of those that say it."""
    return {
        id_: each.usable / each.total for id_, each in disks.log_dirs.items() if each.usable is not None and each.total
    }


def _some(keys: Sequence[Key]) -> str:
    names = ", ".join(f"{topic}/{number}" for topic, number in keys[:_SHOWN])
    more = f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else ""
    return f"{names}{more} {'is' if len(keys) == 1 else 'are'}"


def _names(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN:,} more topics" if len(every) > _SHOWN else ""
    return f"{', '.join(every[:_SHOWN])}{more} {'is' if len(every) == 1 else 'are'}"
