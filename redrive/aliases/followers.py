"""Consumer groups that have not come to the topic yet that a name stands for: another switch would mislead them.

A group that follows (`redrive.consuming.handover`) goes by what it has committed in the two topics, and by the newest
alias, which says for each partition where the one ends and the other begins. If the name is switched on while the group
is still on its way, there is no telling any more which of the events between two switches it has seen: it would see
some again, as the copies that the other topic has of them. So it is let come over first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from redrive.aliases.alias import Alias
from redrive.migrations.groups import Groups
from redrive.pump.readback import ClientConfig


@dataclass(frozen=True, slots=True)
class Late:
    """A group that is on its way.

    Attributes:
        group: its id.
        active: it has members now.
        partitions: those that it has not gone over with: partition → where it stands in the topic that was left, and
            where that ends for it.
    """

    group: str
    active: bool
    partitions: dict[int, tuple[int, int]]

    @property
    def events(self) -> int:
        """Offsets that it has still to consume of the topic that was left."""
        return sum(end - at for at, end in self.partitions.values())


def late_groups(client_config: ClientConfig, alias: Alias, but: Collection[str] = ()) -> list[Late]:
    """Give the groups that would handle events twice if the name of an alias were switched on now; by name.

    Such a group has a place in both topics: in the one that was left at most where that ends, in the other one before
    the place where it is to go on there. A group that follows never commits more than that end; one that has never been
    in the other topic has nothing that it could see again. A group that has places in both for other reasons, such as
    one that `cut_over` has moved, can't always be told from those.

    Args:
        client_config: the cluster.
        alias: what the name stands for now.
        but: groups that are not to be looked at.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    if not alias.places:
        return []
    groups = Groups(client_config)
    there = {group.name: group for group in groups.on(alias.current) if group.name not in but}
    left = groups.on(alias.left, sorted(there)) if there else []
    found = []
    for group in left:
        on_its_way = {
            partition: (at, end)
            for partition, (end, begin) in sorted(alias.places.items())
            if (at := group.offsets.get(partition)) is not None
            and at <= end
            and 0 <= there[group.name].offsets.get(partition, -1) < begin
        }
        if on_its_way:
            found.append(Late(group.name, group.active, on_its_way))
    return found
