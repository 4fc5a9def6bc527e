"""How many bytes each broker should have.

As many as any other, where nothing speaks against it. Two things may: replicas that can't leave a broker, and racks,
over which the replicas of each partition are spread: of ``n`` replicas, each of ``r`` racks has ``n / r``, rounded down
or up. So a rack's share has a floor and a ceiling, whoever plans, and the even level is found between them.
"""

from __future__ import annotations

from collections.abc import Sequence


def level(total: float, floors: Sequence[float], ceilings: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Share a total as evenly as floors and ceilings allow: ``share = min(ceiling, max(floor, weight · level))``.

    Args:
        total: what is shared; brought between the sums of the floors and of the ceilings.
        floors: what each has at least.
        ceilings: what each can have at most.
        weights: how much of the level each is due.

    Returns:
        The shares. Their sum is the total, to within rounding.
    """
    total = min(max(total, sum(floors)), sum(ceilings))
    low, high = 0.0, max((c / w for c, w in zip(ceilings, weights, strict=True) if w), default=0.0)
    for _ in range(100):
        middle = (low + high) / 2
        if sum(_shares(middle, floors, ceilings, weights)) < total:
            low = middle
        else:
            high = middle
    return _shares(high, floors, ceilings, weights)


def _shares(at: float, floors: Sequence[float], ceilings: Sequence[float], weights: Sequence[float]) -> list[float]:
    return [
        min(ceiling, max(floor, weight * at)) for floor, ceiling, weight in zip(floors, ceilings, weights, strict=True)
    ]
