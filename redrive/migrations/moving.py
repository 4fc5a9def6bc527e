"""Moves consumer groups from the topic that was copied to the one that it was copied to, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redrive.errors import GroupInUseError
from redrive.migrations.groups import Group, Groups
from redrive.migrations.positions import Positions
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


def move_groups(
    client_config: ClientConfig,
    groups: Sequence[Group],
    cluster: str,
    source: str,
    target: str,
    *,
    copied: Mapping[int, int],
    foreign: Mapping[int, int],
) -> list[GroupMove]:
    """Set groups' positions on the target to where they stand on the source: each event is seen once.

    Args:
        client_config: the cluster.
        groups: which; each as it stands on the source.
        cluster: the cluster's name.
        source: the topic that was copied.
        target: the topic that it was copied to.
        copied: partition → how far the source has been copied.
        foreign: partition → the first offset of the target that holds an event of another origin.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    admin = Groups(client_config)
    moves = []
    with Positions(client_config, cluster, source, target) as positions:
        for group in groups:
            places = {
                partition: (offset, positions.in_target(partition, offset))
                for partition, offset in sorted(group.offsets.items())
            }
            reason = _unmovable(places, copied, foreign)
            moves.append(_place(admin, group, source, target, places, reason))
    return moves


def move_groups_back(
    client_config: ClientConfig,
    groups: Sequence[Group],
    cluster: str,
    source: str,
    target: str,
    *,
    copied: Mapping[int, int],
) -> list[GroupMove]:
    """Set groups' positions on the source to where they stand on the target; arguments as for `move_groups`.

    Of events that are in the target only, there is nothing in the source: a group that has seen some of them has seen
    more than its new position says.
    """
    admin = Groups(client_config)
    moves = []
    with Positions(client_config, cluster, source, target) as positions:
        for group in groups:
            places = {}
            for partition, offset in sorted(group.offsets.items()):
                next_one = positions.in_source(partition, offset)
                places[partition] = (offset, copied[partition] if next_one is None else next_one)
            moves.append(_place(admin, group, target, source, places, ""))
    return moves


def _unmovable(places: Mapping[int, tuple[int, int]], copied: Mapping[int, int], foreign: Mapping[int, int]) -> str:
    for partition, (offset, place) in places.items():
        upto = copied.get(partition, 0)
        if offset > upto:
            return f"partition {partition}: it is at {offset}, and only what is before {upto} has been copied"
        if partition in foreign and foreign[partition] < place:
            return (
                f"partition {partition}: the target holds an event of another producer at {foreign[partition]}, before "
                f"the group's place at {place}: it would never see that"
            )
    return ""


def _place(  # noqa: PLR0917 (two topics, and what is between them)
    admin: Groups, group: Group, here: str, there: str, places: dict[int, tuple[int, int]], reason: str
) -> GroupMove:
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
