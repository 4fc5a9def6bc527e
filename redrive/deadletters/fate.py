"""What became of a letter."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from redrive.deadletters.letter_id import LetterId

FateName = Literal["published", "held", "skipped", "parked", "rejected", "doubtful", "discarded"]
FATES: tuple[FateName, ...] = get_args(FateName)
FateOrNone = Literal["none", FateName]
NONE: FateOrNone = "none"
"""Stands for the fate of a letter that has none yet."""
OPEN: tuple[FateOrNone, ...] = (NONE, "held")
"""A letter of such a fate still waits for something to be done."""
WAITING: tuple[FateOrNone, ...] = ("parked", "doubtful")
"""A letter of such a fate waits for a person: no run takes it, unless it is told to."""
ENDED: frozenset[FateOrNone] = frozenset({"published", "rejected", "discarded"})
"""A letter of such a fate has come to an end that can't be taken back; a rejected one lives on as another letter."""

_REASON = re.compile(r"[a-z0-9-]{0,64}")


class Fate(msgspec.Struct, frozen=True, gc=False):
    """What an operation has made of a letter.

    Attributes:
        letter: which one, with its cluster.
        name: - ``published``: corrected, and on its main topic again;
              - ``held``: left as it is, since a newer event of its key has passed; it stays open;
              - ``skipped``: not to be published any more, by the plan's policy;
              - ``parked``: in the parking topic, after too many attempts;
              - ``rejected``: could not be made valid; what it lacks is the reason;
              - ``doubtful``: an operation that was killed had come past it, and not all that it wrote can be read back;
                to publish it might be to do so twice, so somebody has to look;
              - ``discarded``: given up by a person.
        reason: a short code in small letters, digits and dashes; may be empty. Never text, which may quote a payload.
        rules: names of the rules that changed it, in their order.
        topic: where it was published or parked; likewise ``partition`` and ``offset``. None otherwise.
    """

    letter: LetterId
    name: FateName
    reason: str = ""
    rules: tuple[str, ...] = ()
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None

    def __post_init__(self) -> None:
        if self.letter.cluster is None:
            raise ValueError(f"letter {self.letter}: a fate needs the letter's cluster")
        if self.name not in FATES:
            raise ValueError(f"letter {self.letter}: {self.name!r} is no fate; one of {', '.join(FATES)}")
        if not _REASON.fullmatch(self.reason):
            raise ValueError(f"letter {self.letter}: the reason of a fate is a code: small letters, digits, dashes")
        if self.name == "published" and None in (self.topic, self.partition, self.offset):
            raise ValueError(f"letter {self.letter}: a published letter needs topic, partition and offset")
