"""Producers that are switched to another topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redrive.errors.base import RedriveError


class LateGroupsError(RedriveError):
    """Producers can't be switched yet: consumer groups are still on their way after the last switch.

    Attributes:
        groups: by id: how many offsets they are behind, whether they are consuming or stopped, in which partitions.
    """

    def __init__(self, name: str, left: str, current: str, groups: Mapping[str, tuple[int, str, list[int]]]) -> None:
        self.groups = dict(groups)
        each = ", ".join(
            f"{group} ({state}; {events:,} behind in {left}, partition {', '.join(map(str, partitions[:5]))}"
            f"{', …' if len(partitions) > 5 else ''})"
            for group, (events, state, partitions) in list(self.groups.items())[:5]
        )
        more = f" and {len(self.groups) - 5} more" if len(self.groups) > 5 else ""
        names = " ".join(f"--may-lag {group}" for group in list(self.groups)[:5])
        super().__init__(
            f"not switched: consumer groups have not come from {left} to {current} yet, and would handle events twice: "
            f"{each}{more}. Start their consumers, with successors ({{'{name}': …}}), and let them catch up; then run "
            f"this again. For groups that follow no switch, or that nobody runs any more: {names}"
        )


class StrandedGroupsError(RedriveError):
    """Producers are not switched: consumer groups that follow them could not be told where to go on.

    Attributes:
        groups: those that have a place in the topic that would be left.
        reason: why there is no telling.
    """

    def __init__(self, left: str, current: str, groups: Sequence[str], reason: str, goal: str) -> None:
        self.groups, self.reason = tuple(groups), reason
        more = f" and {len(groups) - 5} more" if len(groups) > 5 else ""
        names = " ".join(f"--may-lag {group}" for group in groups[:5])
        super().__init__(
            f"not switched: consumer groups could not follow from {left} to {current}, and would get nothing more: "
            f"{', '.join(groups[:5])}{more}. Whoever stands where {left} has been copied to: {reason}. Run the goal "
            f"{goal}, then this one again. For groups that follow no switch, or that nobody runs any more: {names}"
        )
