"""`judge`: from facts to a verdict, with each reason for it and the way out. It asks nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from redrive.health.facts import Facts, Standby, Unknown, fault
from redrive.health.reasons.books import of_books
from redrive.health.reasons.cluster import of_disks, of_state
from redrive.health.reasons.reason import Condition, Reason
from redrive.health.reasons.standby import of_standby
from redrive.health.reasons.switched import of_odd_aliases, of_stayed

__all__ = ["Condition", "Health", "judge"]

log = logging.getLogger(__name__)


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
    def verdict(self) -> Condition:
        """The verdict, which is that of the worst reason."""
        return self.reasons[0].verdict if self.reasons else "well"

    @property
    def tracebacks(self) -> dict[str, str]:
        """What is not known by a mistake of ours, by what it is called, and where that has come up."""
        parts = {called: getattr(self.facts, name) for name, called in _CALLED.items()}
        return {
            called: part.traceback for called, part in parts.items() if isinstance(part, Unknown) and part.traceback
        }

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
            unknown: dict[str, Any] = {part: fault(error)}
            facts = replace(facts, **unknown)
    reasons += [*of_odd_aliases(facts), *_faults(facts)]
    # A sort keeps the order of equals: within a verdict, reasons are in the order of the facts.
    return Health(facts, tuple(sorted(reasons, key=lambda reason: reason.verdict != "unavailable")))


def _faults(facts: Facts) -> Iterator[Reason]:
    """What nobody knows by a mistake of ours, which none of the others tells."""
    for name, called in _CALLED.items():
        part = getattr(facts, name)
        if isinstance(part, Unknown) and part.why == "fault":
            what = f"of {called} nothing is known, by a fault of ours: {part.reason}"
            yield Reason(f"fault:{called}", what, "report it, with the traceback in the log of the run")


_CALLED = {
    "state": "brokers and partitions", "disks": "disks", "lags": "consumer groups", "standby": "the standby store",
    "stayed": "topics that were left", "books": "the ledger",
}  # fmt: skip
"""Parts of the facts, and what they are called."""

_JUDGED: Mapping[str, Callable[[Facts], Iterator[Reason]]] = {
    "state": of_state, "disks": of_disks, "standby": of_standby, "stayed": of_stayed, "books": of_books
}  # fmt: skip
"""Parts of the facts, and what judges them."""
