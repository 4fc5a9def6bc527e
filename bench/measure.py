"""Rows of a benchmark: ours and a peer's, in turn, several times; medians and their ratio."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        name: what was measured, and in which unit.
        ours: median of ours.
        peer: median of the peer's.
        ratio: ours / peer.
        goal: what the ratio must reach (``at_least``) or not exceed (``at_most``).
        holds: whether it does.
        spread: lowest and highest of ours, then of the peer's.
    """

    name: str
    ours: float
    peer: float
    ratio: float
    goal: str
    holds: bool
    spread: tuple[float, float, float, float]

    def as_json(self) -> dict[str, object]:
        """Return it as build/bench.json has it."""
        return asdict(self)


def compare(
    name: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    runs: int = 3,
) -> Row:
    """Run both in turn, ``runs`` times each, after nothing else; each returns its figure."""
    pairs = [(ours(), peer()) for _ in range(runs)]
    mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    a, b = statistics.median(mine), statistics.median(theirs)
    ratio = a / b
    if at_least is not None:
        goal, holds = f">= {at_least}", ratio >= at_least
    else:
        assert at_most is not None
        goal, holds = f"<= {at_most}", ratio <= at_most
    return Row(name, round(a, 3), round(b, 3), round(ratio, 3), goal, holds,
               (round(min(mine), 3), round(max(mine), 3), round(min(theirs), 3), round(max(theirs), 3)))  # fmt: skip
