"""Whether events go back by the rules that have taken others there: else Avro would fill in defaults, silently."""

from __future__ import annotations

from redrive.aliases.alias import read_alias
from redrive.errors import ConfigError, UnknownTopicError
from redrive.migrations.migration import Migration, digest_of_up
from redrive.migrations.source import rules_of
from redrive.migrations.unit import Unit
from redrive.pump.cursors import read_cursors
from redrive.pump.readback import ClientConfig, end_offsets


def see_that_rules_are_the_same(client_config: ClientConfig, cluster: str, migration: Migration) -> None:
    """Refuse a way back by another file of rules than the way there, or by none if that had one.

    It is the rules of ``up`` that have to be the same; those of ``down`` may have been added since, or mended.

    Args:
        client_config: the cluster.
        cluster: its name.
        migration: the way back.

    Raises:
        ConfigError: they are others.
        UnavailableError: the cluster does not answer.
    """
    name, filled = migration.target, migration.source
    alias = read_alias(client_config, name)
    if alias is not None and alias.target == filled:
        _see(migration, digest_of_up(alias.rules, alias.file), f"those of {alias.file}" if alias.rules else "none")
    try:
        partitions = len(end_offsets(client_config, name))
    except UnknownTopicError:
        return
    units = [Unit(cluster, name, filled, partition).name for partition in range(partitions)]
    for saved in read_cursors(client_config, units).values():
        if (rules := rules_of(saved)) is not None:
            _see(migration, rules, "others" if rules else "none")


def _see(migration: Migration, rules: str, named: str) -> None:
    """Refuse a way back if the way there was by other rules.

    Args:
        migration: the way back.
        rules: digest of the rules of the way there; empty if there were none.
        named: what those rules are called.

    Raises:
        ConfigError: they are others.
    """
    if migration.up == rules:
        return
    ours = f"those of {migration.recipe.file}" if migration.recipe.rules else "none"
    raise ConfigError(
        "rules",
        f"events have gone from {migration.target} to {migration.source} by other rules ({named}) than are named now "
        f"({ours}): what goes back would get defaults for what only those rules can take back. Name the same file, "
        "whose `up` must be as it was; its `down` may be mended",
    )
