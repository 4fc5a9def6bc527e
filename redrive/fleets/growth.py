"""`Growth`: what a scaling has set about, as the journal keeps it, so that another run can go on with it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self
from uuid import uuid4

from redrive.fleets.decision import Situation

KIND = "growth"
"""The journal's word for its entries."""

Step = Literal["asking", "asked", "there", "moving", "ended"]


@dataclass(frozen=True, slots=True)
class Growth:
    """How far a scaling is.

    Each step is entered before what comes after it is done. Only between ``asking`` and ``asked`` is it unknown whether
    the fleet has been asked. Then it is asked again, for the same number of brokers in all, unless there are as many by
    then: a fleet that is asked for fewer than it has may take brokers away. After the cool-down it is decided anew.

    Attributes:
        id: tells it from all others.
        before: ids of the brokers that there were.
        target: brokers that there are to be in all.
        step: ``asking`` the fleet, ``asked`` it and waiting; brokers ``there``; partitions ``moving``; or ``ended``.
        brokers: ids of the new ones, once they are there.
        moves: the run that moves partitions to them.
        terms: how they are to move, as the form of the job that moves has it: as it was shown, and approved.
        decided_at: when, in seconds since 1970; 0 in entries of before that was kept.
        who: who has set about it, whichever runs go on with it; empty in entries of before that was kept.
    """

    id: str
    before: tuple[int, ...]
    target: int
    step: Step = "asking"
    brokers: tuple[int, ...] = ()
    moves: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)
    decided_at: float = 0.0
    who: str = ""

    @classmethod
    def new(cls, before: Iterable[int], target: int, terms: Mapping[str, Any], who: str = "") -> Self:
        """Set about so many brokers, by asking for them."""
        return cls(uuid4().hex, tuple(before), target, terms=terms, decided_at=time.time(), who=who)

    def is_stale(self, situation: Situation, now: float, cool_down: float) -> bool:
        """Say whether it has to be decided anew: it was decided long ago, and nothing that was asked for has come.

        Args:
            situation: the cluster as it is.
            now: seconds since 1970.
            cool_down: what is long, in seconds.
        """
        came = situation.there >= self.target and not situation.empty <= set(self.before)
        return self.step == "asking" and not came and now > self.decided_at + cool_down

    def entry(self) -> dict[str, Any]:
        """Give the body of the journal's entry."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """Read the body of such an entry."""
        before, brokers, terms = tuple(body["before"]), tuple(body["brokers"]), body.get("terms", {})
        at, who = body.get("decided_at", 0.0), body.get("who", "")
        return cls(body["id"], before, body["target"], body["step"], brokers, body["moves"], terms, at, who)
