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

    A group that has been moved before, is there, and has not consumed ``here`` since, is left alone; and none is set
    back that is further there already.

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
            try:
                before = moved_before(group.name)
                if before is not None and _is_there(group, before, _offsets(admin, group, there)):
                    yield GroupMove(group.name, before)
                else:
                    yield _move(admin, crossing, group, here, there)
            except UnavailableError as error:
                yield GroupMove(group.name, {}, str(error))


def preview(  # noqa: PLR0917 (as `move_groups`)
    client_config: ClientConfig,
    groups: Sequence[Group],
    cluster: str,
    here: str,
    there: str,
    copied: Mapping[int, int],
    returned: Mapping[int, int],
) -> list[GroupMove]:
    """Say where groups would be placed as of now, and why they would not be; raises as `move_groups`."""
    admin = Groups(client_config)
    with Crossing(client_config, cluster, here, there, copied, returned) as crossing:
        return [_look(admin, crossing, group, there) for group in groups]


def _is_there(group: Group, before: Mapping[int, tuple[int, int]], now: Mapping[int, int]) -> bool:
    """Say whether a group that was moved before is still moved: the topic may have been deleted since, and filled anew.

    Args:
        group: as it stands where it was moved from.
        before: its places, there and here, when it was moved.
        now: its places here now.
    """
    is_same = {partition: at for partition, (at, _) in before.items()} == dict(group.offsets)
    return is_same and all(now.get(partition, -1) >= place for partition, (_, place) in before.items())


def _offsets(admin: Groups, group: Group, topic: str) -> Mapping[int, int]:
    found = admin.on(topic, [group.name])
    return found[0].offsets if found else {}


def _move(admin: Groups, crossing: Crossing, group: Group, here: str, there: str) -> GroupMove:
    move = _look(admin, crossing, group, there)
    places, reason = move.places, move.reason
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


def _look(admin: Groups, crossing: Crossing, group: Group, there: str) -> GroupMove:
    places, reason = {}, ""
    for partition, offset in sorted(group.offsets.items()):
        place, obstacle = crossing.place(partition, offset)
        places[partition] = (offset, place)
        reason = reason or obstacle
    return GroupMove(group.name, places, reason or _setback(_offsets(admin, group, there), places, there))


def _setback(now: Mapping[int, int], places: Mapping[int, tuple[int, int]], there: str) -> str:
    """Say why a group must not be moved that is further in the topic than where it would be placed; empty: it is not.

    It may have gone over by itself (`redrive.consuming.handover`), or have been moved by a run that died before it took
    note.
    """
    for partition, (_, place) in places.items():
        if (at := now.get(partition, -1)) > place:
            return (
                f"partition {partition}: it has consumed {there} up to {at}, and would be set back to {place}: start "
                f"its consumers on {there}; or, if it is to see all that again, delete its offsets there "
                "(kafka-consumer-groups --delete-offsets) and move it again"
            )
    return ""
