"""A reason why a cluster is not well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Condition = Literal["well", "unwell", "unavailable"]
"""``unavailable``: events of a topic of the settings can't be published. ``unwell``: something else is wrong."""


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
    verdict: Condition = "unwell"
