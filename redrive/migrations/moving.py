"""Moves consumer groups from the topic that was copied to the one that it was copied to, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redrive.errors import GroupInUseError
from redrive.migrations.crossing import Crossing
from redrive.migrations.groups import Group, Groups
from redrive.pump.readback import ClientConfig


@dataclass(frozen=True, slots=True)
class GroupMove:
    """What became of one group.

    Attributes:
        group: its id.
        places: partition → its place on the one topic, and on the other.
        reason: why it was not moved; empty: it was.
    """

    group: str
    places: Mapping[int, tuple[int, int]]
    reason: str = ""


def move_groups(  # noqa: PLR0917 (two topics, and what has gone from either to the other)
    client_config: ClientConfig,
    groups: Sequence[Group],
    cluster: str,
    here: str,
    there: str,
    copied: Mapping[int, int],
    returned: Mapping[int, int],
) -> list[GroupMove]:
    """Set groups' positions on a topic to where they stand on another, so that each event is seen once.

    Args:
        client_config: the cluster.
        groups: which; each as it stands ``here``.
        cluster: the cluster's name.
        here: the topic that they leave.
        there: the topic that they go on with.
        copied: see `Crossing`.
        returned: see `Crossing`.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    admin = Groups(client_config)
    moves = []
    with Crossing(client_config, cluster, here, there, copied, returned) as crossing:
        for group in groups:
            places, reason = {}, ""
            for partition, offset in sorted(group.offsets.items()):
                place, obstacle = crossing.place(partition, offset)
                places[partition] = (offset, place)
                reason = reason or obstacle
            moves.append(_place(admin, group, here, there, places, reason))
    return moves


def _place(  # noqa: PLR0917 (two topics, and what is between them)
    admin: Groups, group: Group, here: str, there: str, places: dict[int, tuple[int, int]], reason: str
) -> GroupMove:
    if _is_there(admin, group.name, there, places):
        return GroupMove(group.name, places)
    if not reason:
        try:
            admin.place(group.name, there, {partition: place for partition, (_, place) in places.items()})
        except GroupInUseError as error:
            reason = str(error)
        else:
            now = admin.on(here, [group.name])
            if not now or now[0].active or now[0].offsets != group.offsets:
                reason = f"it has gone on consuming {here} meanwhile: stop its consumers, and move it again"
    return GroupMove(group.name, places, reason)


def _is_there(admin: Groups, group: str, topic: str, places: Mapping[int, tuple[int, int]]) -> bool:
    """Say whether a group has been moved before, and would only be set back to where it has begun."""
    found = admin.on(topic, [group])
    return bool(found) and any(found[0].offsets.get(partition, -1) > place for partition, (_, place) in places.items())
