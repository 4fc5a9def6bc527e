"""What a role is about, by the settings and by what is asked for: which topics on which clusters."""

from __future__ import annotations

from collections.abc import Sequence

from redrive.config import Config
from redrive.errors import ConfigError
from redrive.security.roles import Scope, role


def scopes(
    config: Config,
    role_name: str,
    name: str = "",
    topics: Sequence[str] = (),
    *,
    target: str = "",
    groups: Sequence[str] = (),
) -> list[Scope]:
    """Say what a role is about, cluster by cluster; of those, only the ones that its topics are on.

    Args:
        config: the settings.
        role_name: the role.
        name: the producer's or the consumer group's; of the gateway, the one in its settings if not given.
        topics: only these main topics; none: all that the settings have, and of the gateway, those of its event types.
            A backfill has one, which it copies.
        target: the topic that a backfill fills; of a producer or consumer, the one that its topic may be switched to.
        groups: consumer groups that a backfill may move; ``*`` for all.

    Raises:
        ConfigError: something is missing, too much or does not go together, or there is no such role or topic.
    """
    if role_name == "gateway":
        name, topics = name or config.door().name, topics or sorted(set(config.door().types.values()))
    _check_name(role_name, name)
    _check_backfill(config, role_name, topics, target, groups)
    own = _own_dead_letters(config, role_name, name)
    wanted = [config.topic(topic) for topic in topics or sorted(config.topics)]
    if letters := [one.name for one in wanted if one.dead_letters and topics]:
        raise ConfigError("--topic", f"{', '.join(letters)} is for dead letters; give main topics only")
    found = []
    for cluster in sorted(config.clusters):
        main = tuple(
            one.name for one in wanted if cluster in one.clusters and not (one.dead_letters or one.name == own)
        )
        there = config.topics_of(cluster)
        dead = tuple(one.name for one in there if (one.name == own if own else one.dead_letters))
        if main or (dead if own else not topics):
            found.append(Scope(cluster, name, main, dead, target, tuple(groups)))
    return found


def _check_name(role_name: str, name: str) -> None:
    if role(role_name).named and not name:
        raise ConfigError("--name", f"say which {role_name}: there may be several, each with its own topics")
    if name and not role(role_name).named:
        raise ConfigError("--name", f"there is only one {role_name}; leave it out")


def _check_backfill(config: Config, role_name: str, topics: Sequence[str], target: str, groups: Sequence[str]) -> None:
    switched = role(role_name).named and target and not groups
    if not role(role_name).fills and not switched:
        for option, given in (("--target", target), ("--group", groups)):
            if given and not (option == "--target" and role(role_name).named):
                raise ConfigError(option, f"a {role_name} has none; leave it out")
        return
    if len(topics) != 1:
        what = f"whose name may come to stand for {target}" if switched else f"that {role_name} is to copy"
        raise ConfigError("--topic", f"give the one topic {what}")
    if not target:
        raise ConfigError("--target", f"give the topic that {role_name} is to fill: it may create and delete that one")
    (source,) = topics
    of, to = config.topic(source), config.topic(target)
    if of == to:
        raise ConfigError("--target", f"{target} is the source; a backfill fills another topic")
    if to.dead_letters:
        raise ConfigError("--target", f"{target} is for dead letters; give a main topic")
    if of.cluster != to.cluster:
        reason = f"it is on cluster {to.cluster}, and {source} on {of.cluster}; give two topics that are on one"
        raise ConfigError("--target", reason)


def _own_dead_letters(config: Config, role_name: str, name: str) -> str:
    """Give the dead-letter topic of a producer or consumer; empty for the other roles, which have none of their own."""
    topic = f"dlq.{name}" if name else ""
    if topic and topic not in config.topics:
        reason = f"there is no topic {topic}, which takes dead letters of {role_name} {name}"
        raise ConfigError(f"topics.{topic}", f"{reason}; add it to the settings, or correct --name")
    return topic
