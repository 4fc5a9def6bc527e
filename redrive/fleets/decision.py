"""Whether a cluster gets more brokers, and how many: a pure function, which says why in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from redrive.fleets.fleet import Sample, Shape

Answer = Literal["add", "fill", "leave"]
"""Add brokers; move partitions to those that are there and empty; leave all as it is."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When a cluster is to grow, and how far.

    Attributes:
        threshold: percent of CPU of all brokers together that is high.
        window: seconds for which it has to be.
        step: brokers to add at a time; the fleet may need more at a time.
        most: brokers that there may be.
        cool_down: seconds after the end of a scaling in which there is no other.
    """

    threshold: float
    window: float
    step: int
    most: int
    cool_down: float


@dataclass(frozen=True, slots=True)
class Situation:
    """A cluster, as far as that decides.

    Attributes:
        brokers: ids of those that are up.
        down: ids of those that are not.
        empty: ids of those that are up and have no replica.
        leaving: those of them that were drained: they are about to be taken away, as far as anybody knows.
        moving: partitions that are on the move.
        shape: what the fleet says.
        scaled_at: when the last scaling ended, seconds since 1970; None if there was none.
    """

    brokers: frozenset[int]
    down: frozenset[int]
    empty: frozenset[int]
    moving: int
    shape: Shape
    scaled_at: float | None
    leaving: frozenset[int] = frozenset()

    @property
    def there(self) -> int:
        """How many brokers there are, up or down: what a fleet must never be asked for fewer than."""
        return max(self.shape.brokers or 0, len(self.brokers | self.down))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done.

    Attributes:
        answer: see `Answer`.
        why: in words.
        high: the load is over the threshold, and has been for the whole time.
        target: brokers that there are to be in all.
    """

    answer: Answer
    why: str
    high: bool
    target: int


def decide(samples: Sequence[Sample], every: float, situation: Situation, terms: Terms, now: float) -> Decision:
    """Decide.

    Args:
        samples: the load, oldest first.
        every: seconds from one sample to the next.
        situation: the cluster.
        terms: when it is to grow.
        now: seconds since 1970.
    """
    high, load = _high(samples, every, situation.brokers, terms)
    if not high:
        return Decision("leave", load, high, situation.there)
    return decide_on_high(load, situation, terms, now)


def decide_on_high(load: str, situation: Situation, terms: Terms, now: float) -> Decision:
    """Decide what is to be done about a load that is high.

    Args:
        load: what it is, in words.
        situation, terms, now: see `decide`.
    """
    high, here = True, situation.there
    if obstacle := _obstacle(situation, terms, now):
        return Decision("leave", f"{load}; {obstacle}", high, here)
    if empty := situation.empty - situation.leaving:
        why = f"{load}; {_named(empty)} there and empty: partitions move there before more are added"
        return Decision("fill", why, high, here)
    if situation.leaving:
        flags = " ".join(f"--broker {id_}" for id_ in sorted(situation.leaving))
        why = (
            f"{_named(situation.leaving)} there, empty, and drained on purpose: take away what is to go, and fill what "
            f"is to stay after all (redrive run partition-rebalance --mode run --goal add_brokers {flags})"
        )
        return Decision("leave", f"{load}; {why}", high, here)
    at_a_time = situation.shape.multiple
    may = terms.most // at_a_time * at_a_time
    if here >= may:
        most = f"{terms.most} at most" + (f", {at_a_time} at a time" if at_a_time > 1 else "")
        why = f"there are {here} brokers, and may be {most}: allow more, or larger ones"
        return Decision("leave", f"{load}; {why}", high, here)
    target = min(-(-(here + terms.step) // at_a_time) * at_a_time, may)
    zones = f", as a multiple of {at_a_time}" if at_a_time > 1 else ""
    return Decision("add", f"{load}: from {here} to {target} brokers{zones}", high, target)


def _obstacle(situation: Situation, terms: Terms, now: float) -> str:
    """Say what is in the way of doing anything about a high load; empty if nothing is."""
    if situation.down:
        return f"{_named(situation.down)} down: start what is there before anything is added"
    there, known = situation.shape.brokers or 0, len(situation.brokers)
    if there > known:  # clusters older than Kafka 4.0 do not name those that are down
        return (
            f"the fleet has {there:,} brokers, of which {there - known:,} don't serve: start those before any is added"
        )
    if situation.shape.changing:
        return f"{situation.shape.changing}: nothing can be added until that is over"
    if situation.moving:
        return f"partitions are on the move ({situation.moving:,}), which takes CPU, too: wait for that"
    if situation.scaled_at is not None and now < situation.scaled_at + terms.cool_down:
        left = situation.scaled_at + terms.cool_down - now
        return f"it has cool-down after the last scaling, for {left:,.0f} s more"
    return ""


def _high(samples: Sequence[Sample], every: float, brokers: Collection[int], terms: Terms) -> tuple[bool, str]:
    """Say whether the load is high, and what it is, in words."""
    known = [sample for sample in samples if sample.load.keys() >= set(brokers)]
    if not known:
        silent = set(brokers).difference(*(sample.load.keys() for sample in samples))
        who = f"{_named(silent)} not in it" if silent and samples else "there is none"
        return False, f"the load is not known: {who}; see that the fleet tells it for every broker"
    means = [sum(sample.load[broker] for broker in brokers) / len(brokers) for sample in known]
    last, limit = means[-1], f"{terms.threshold:g} %"
    if last < terms.threshold:
        hottest = max(brokers, key=lambda broker: known[-1].load[broker])
        if known[-1].load[hottest] >= terms.threshold:
            return False, (
                f"CPU of all brokers together is {last:.0f} %, below {limit}, though broker {hottest} is at "
                f"{known[-1].load[hottest]:.0f} %: balance them (partition-rebalance) instead of adding any"
            )
        return False, f"CPU is not high: {last:.0f} %, below {limit}"
    since = next((at for at in reversed(range(len(known))) if means[at] < terms.threshold), -1) + 1
    for_long = known[-1].at - known[since].at + every
    if for_long < terms.window:
        return False, f"CPU is {last:.0f} %, not below {limit}, but only for {for_long:,.0f} of {terms.window:,.0f} s"
    gap = max((later.at - one.at for one, later in pairwise(known[since:])), default=0.0)
    if gap > max(terms.window / 2, 2 * every):
        return False, f"CPU is {last:.0f} %, but not known for {gap:,.0f} of {terms.window:,.0f} s"
    return True, f"CPU is not below {limit} for {terms.window:,.0f} s, and {last:.0f} % now"


def _named(brokers: Collection[int]) -> str:
    ids = ", ".join(map(str, sorted(brokers)))
    return f"broker {ids} is" if len(brokers) == 1 else f"brokers {ids} are"
