"""Steps of a backfill that move consumer groups from one of the topics to the other: where they stand, and the move."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task

from redrive.errors import ConfigError, UnknownTopicError
from redrive.migrations.groups import Groups
from redrive.migrations.moving import GroupMove, move_groups, preview
from redrive.migrations.survey import copied_so_far
from tasks.retrying import BRIEFLY
from tasks.schema_backfill.steps import Backfilling


@task(task_run_name="look at consumer groups of {topic}", **BRIEFLY)
def look_at_groups(work: Backfilling, topic: str, names: Sequence[str]) -> None:
    """Find the consumer groups that have a place on a topic: those of these names, or all.

    Raises:
        ConfigError: one that is named has none.
        UnavailableError: Kafka does not answer.
    """
    work.groups = Groups(work.client).on(topic, names)
    if unknown := set(names) - {group.name for group in work.groups}:
        raise ConfigError("groups", f"{', '.join(sorted(unknown))}: no such consumer group has a place on {topic}")


@task(task_run_name="look where groups would be placed in {there}", **BRIEFLY)
def look_at_places(work: Backfilling, here: str, there: str) -> list[GroupMove]:
    """Say where consumer groups would be placed as of now, and why they would not be; none, if ``there`` is not there.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    try:
        ways = [copied_so_far(work.client, work.cluster, *way) for way in ((here, there), (there, here))]
        return preview(work.client, work.groups, work.cluster, here, there, *ways)
    except UnknownTopicError:
        return []


@task(task_run_name="move consumer groups to {there}", **BRIEFLY)
def move(work: Backfilling, here: str, there: str) -> list[GroupMove]:
    """Move consumer groups from one of the topics to the other.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    copied = copied_so_far(work.client, work.cluster, here, there)
    returned = copied_so_far(work.client, work.cluster, there, here)
    run, moves = work.run, []

    def moved_before(group: str) -> dict[int, tuple[int, int]] | None:
        entry = run.ledger.latest(_moved_to(there, group), work.cluster)
        if entry is None:
            return None
        return {int(partition): (at, place) for partition, (at, place) in entry.body["places"].items()}

    for each in move_groups(work.client, work.groups, work.cluster, here, there, copied, returned, moved_before):
        if not each.reason:  # at once: a run that dies here must not set it back when it is run again
            places = {str(partition): list(place) for partition, place in each.places.items()}
            run.note(_moved_to(there, each.group), {"from": here, "places": places})
        moves.append(each)
    return moves


def _moved_to(topic: str, group: str) -> str:
    """Give the journal's word for: this group was moved to this topic."""
    return f"moved to {topic}: {group}"
