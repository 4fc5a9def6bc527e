"""What a name is to stand for next: the alias that takes producers to the other topic, and with it what consumers need.

Consumers follow an alias once it has `places`. A switch that was cut off before, or that could not tell any, has moved
none of them: they are where the alias before it has led them, whatever producers do. So what takes producers back from
such a switch must not move them either. It says again what the alias before has said, and no places are looked for.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from redrive.aliases.alias import Alias, next_generation, read_aliases
from redrive.aliases.followers import late_groups
from redrive.aliases.restoring import alias_or_kept, with_lost_places
from redrive.config import Config
from redrive.errors import ConfigError, LateGroupsError
from redrive.migrations.migration import Migration
from redrive.pump.readback import ClientConfig


def alias_forth(
    config: Config, migration: Migration, *, may_lag: Collection[str] = (), kept: Alias | None = None
) -> Alias:
    """Return the alias that takes the producers of a migration's source to its target.

    Args:
        config: the platform.
        migration: the migration.
        may_lag: consumer groups that are not waited for.
        kept: the copy of the name's alias that `switch` had kept last, for the case that the control topic is lost.

    Raises:
        ConfigError: the name stands for a third topic, or is on the clusters of several regions.
        LateGroupsError: consumer groups have not come back yet since producers did.
        UnavailableError: Kafka or the standby store does not answer.
    """
    topic = config.topic(migration.target)
    assert topic.schema is not None
    if len(clusters := config.topic(migration.source).clusters) > 1:
        raise ConfigError(
            "goal",
            f"{migration.source} is on {' and '.join(clusters)}, and an alias is one cluster's: producers that go over "
            "to another region would publish to the old topic again. Give its domain one cluster until this is done",
        )
    client = config.cluster(topic.cluster).client_config()
    before = alias_or_kept(client, migration.source, kept)
    if before is not None and before.current not in (migration.source, migration.target):
        raise ConfigError(
            "target",
            f"producers of {migration.source} publish to {before.current} now; take them back first (goal switch_back)",
        )
    if before is not None and before.current == migration.target:
        return before
    if before is not None and before.target != migration.target and not (before.places or before.unmoved):
        raise ConfigError(
            "target",
            f"producers of {migration.source} have been taken back from {before.target}, and that was cut off before "
            "consumers heard of it: they would stay there. Run it again first (goal switch_back)",
        )
    recipe = migration.recipe
    now = Alias(
        migration.source,
        migration.target,
        migration.target,
        next_generation(before),
        recipe.target,
        topic.schema.read_text(encoding="utf-8"),
        recipe.rules,
        recipe.file,
        past=() if before is None else _past(before, migration.target),
    )
    if before is None:
        return with_lost_places(config, topic.cluster, now)
    see_that_none_is_late(client, before, may_lag)
    return following(before, now) if before.target == migration.target else now


def _past(before: Alias, target: str) -> tuple[str, ...]:
    left = {*before.past, before.target} if before.has_been_followed else {*before.past}
    return tuple(sorted(left - {target}))


def alias_back(
    config: Config, name: str, target: str, *, may_lag: Collection[str] = (), kept: Alias | None = None
) -> Alias | None:
    """Return the alias that takes the producers of a name back to the topic of that name; None: they never left it.

    Args:
        config: the platform.
        name: the name.
        target: the topic that it was switched to.
        may_lag: consumer groups that are not waited for.
        kept: the copy of the name's alias that `switch` had kept last, for the case that the control topic is lost.

    Raises:
        LateGroupsError: consumer groups have not followed yet.
        UnavailableError: Kafka does not answer.
    """
    client = config.cluster(config.topic(name).cluster).client_config()
    before = alias_or_kept(client, name, kept)
    if before is None:
        before = read_aliases(client).of(name)  # refuses, if nobody can read that
    if before is None or before.target != target:
        return None
    if before.current == name:
        return before
    see_that_none_is_late(client, before, may_lag)
    return following(before, msgspec.structs.replace(before, current=name, generation=next_generation(before)))


def see_that_none_is_late(client_config: ClientConfig, before: Alias, may_lag: Collection[str]) -> None:
    """Refuse to switch a name on while a consumer group is on its way to where it stands now.

    Raises:
        LateGroupsError: one is.
        UnavailableError: Kafka does not answer.
    """
    if late := late_groups(client_config, before, may_lag):
        standing = {
            each.group: (each.events, "consuming" if each.active else "stopped", sorted(each.partitions))
            for each in late
        }
        raise LateGroupsError(before.name, before.left, before.current, standing)


def following(before: Alias, now: Alias) -> Alias:
    """Add to an alias what consumers need to know of the one before it; see above."""
    if before.places or before.unmoved:
        return msgspec.structs.replace(now, places={}, earlier=before.places, unmoved=False)
    return msgspec.structs.replace(now, places=before.earlier, earlier={}, unmoved=True)
