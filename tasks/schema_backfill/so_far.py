"""What a run of a backfill has come to so far: part after part fills it in, and it may end after any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from redrive.aliases.switching import Switched
from redrive.migrations.census import Count
from redrive.migrations.copying import UnitResult
from redrive.migrations.moving import GroupMove
from redrive.migrations.verifying import Checked
from tasks.pace import Change
from tasks.schema_backfill.copying import End


@dataclass(slots=True)
class Done:
    """See `tasks.schema_backfill.ending.Ending`, which is made of it.

    Attributes:
        ends: how the work at each partition has ended.
        checked: what comparing both topics has found.
        schemas: the target's events, by schema.
        moved: what became of consumer groups.
        switched: what became of producers.
        storing: that producers may store what they publish; empty: they don't.
        unverified: why what comes after the copy could not be done; empty: it could.
        changes: what was set in mid-run.
        copy_seconds: how long copying took, up to where producers were taken over.
        compare_seconds: how long comparing took.
    """

    ends: list[End] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    storing: str = ""
    unverified: str = ""
    checked: list[Checked] = field(default_factory=list)
    schemas: Count = field(default_factory=Count)
    moved: list[GroupMove] = field(default_factory=list)
    switched: Switched | None = None
    copy_seconds: float = 0.0
    compare_seconds: float = 0.0

    @property
    def results(self) -> list[UnitResult]:
        """What became of the partitions that came to their end."""
        return [end.result for end in self.ends if end.result]

    @property
    def is_well(self) -> bool:
        """Whether all was copied, and nothing is wrong with what was compared."""
        return all(end.how == "done" for end in self.ends) and not any(each.findings for each in self.checked)

    def compared(self, later: Sequence[Checked]) -> None:
        """Hear what comparing has found of what was copied since the comparison before."""
        before = {each.unit: each for each in self.checked}
        self.checked = [before[each.unit].and_then(each) if each.unit in before else each for each in later]

    def went_on(self, ends: Sequence[End]) -> None:
        """Hear how the partitions have ended that were copied further: their counts are those of the whole run."""
        before = {end.unit: end.result for end in self.ends}
        self.ends = [end if end.result else replace(end, result=before[end.unit]) for end in ends]
