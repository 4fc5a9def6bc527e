"""Moves consumer groups from the topic that was copied to the one that it was copied to, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from redrive.errors import GroupInUseError, UnavailableError
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
    moved_before: Callable[[str], Mapping[int, tuple[int, int]] | None] = lambda _: None,
) -> Iterator[GroupMove]:
    """Set groups' positions on a topic to where they stand on another, so that each event is seen once; one by one.

    A group that has been moved before, and has not consumed ``here`` since, is left alone: it would be set back.

    Args:
        client_config: the cluster.
        groups: which; each as it stands ``here``.
        cluster: the cluster's name.
        here: the topic that they leave.
        there: the topic that they go on with.
        copied: see `Crossing`.
        returned: see `Crossing`.
        moved_before: says to which places a group was moved the last time it was; None: it never was.

    Raises:
        UnavailableError: the cluster does not answer, before anything was moved.
    """
    admin = Groups(client_config)
    with Crossing(client_config, cluster, here, there, copied, returned) as crossing:
        for group in groups:
            before = moved_before(group.name)
            if before is not None and {partition: at for partition, (at, _) in before.items()} == dict(group.offsets):
                yield GroupMove(group.name, before)
                continue
            try:
                yield _move(admin, crossing, group, here, there)
            except UnavailableError as error:
                yield GroupMove(group.name, {}, str(error))


def _move(admin: Groups, crossing: Crossing, group: Group, here: str, there: str) -> GroupMove:
    places, reason = {}, ""
    for partition, offset in sorted(group.offsets.items()):
        place, obstacle = crossing.place(partition, offset)
        places[partition] = (offset, place)
        reason = reason or obstacle
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
