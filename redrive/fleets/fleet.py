"""`Fleet`: what a scaling asks of whatever runs a cluster's brokers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sample:
    """How loaded brokers were at one moment.

    Attributes:
        at: seconds since 1970.
        load: CPU by broker id, in percent of all that its host has.
    """

    at: float
    load: Mapping[int, float]

    @property
    def mean(self) -> float:
        """The load of all of them together, in percent."""
        return sum(self.load.values()) / len(self.load) if self.load else 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a fleet is, and may become.

    Attributes:
        brokers: how many it has; None if only the cluster itself knows.
        multiple: it has so many at a time: one for each availability zone.
        changing: what is being done to it now, so that nothing else can be; empty if nothing is.
    """

    brokers: int | None = None
    multiple: int = 1
    changing: str = ""


class Fleet(Protocol):
    """What runs a cluster's brokers.

    All calls raise the same errors.

    Raises:
        FleetError: it can't do that; says what to do.
        UnavailableError: it does not answer; trying again later is right.
    """

    def step(self, seconds: float) -> float:
        """Give the seconds from one sample to the next, when so many seconds are sampled."""
        ...

    def samples(self, brokers: Collection[int], seconds: float) -> list[Sample]:
        """Give the load of the brokers over so many seconds, oldest first: the past ones, or those from now on."""
        ...

    def shape(self) -> Shape:
        """Say how large it is."""
        ...

    def grow(self, brokers: int) -> None:
        """Ask for so many brokers in all. Asking twice for the same number adds nothing more.

        Not to be called for fewer than there are, up or down: what is behind it may take brokers away, with what they
        hold. Returns when the order is taken; brokers may come later.

        Raises:
            FleetError: it is certain that it has not taken the order.
            UnavailableError: it may have: asking again is right.
        """
        ...
