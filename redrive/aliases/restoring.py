"""What a name stands for, also if the control topic has lost it: then by a copy that was kept elsewhere.

Consumers may have followed an alias long ago. They remember it, or have committed what it has told them; and by now the
topic that was left may hold copies of what they have handled in the other one. So who writes a lost alias anew must not
look up where consumers would go over now, but tell them the same places. Without the copy, they are found by the first
event that was brought back.
"""

from __future__ import annotations

import logging
from typing import Literal

import msgspec

from redrive.aliases.alias import Alias, next_generation, read_aliases
from redrive.config import Config
from redrive.errors import UnknownTopicError
from redrive.migrations.crossing import Crossing
from redrive.migrations.survey import copied_so_far
from redrive.pump.readback import ClientConfig, end_offsets
from redrive.standby.drain import open_store
from redrive.standby.lanes import OPEN, Lane, LaneLog, Topics

_log = logging.getLogger(__name__)


def alias_or_kept(client_config: ClientConfig, name: str, kept: Alias | None) -> Alias | None:
    """Return what a name stands for; if the control topic does not say, what it has said last.

    Args:
        client_config: the cluster.
        name: the name.
        kept: the copy of its alias that was kept elsewhere; None: there is none.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    # A record that can't be read is written anew, as one that is lost: nothing else would bring it back.
    alias = read_aliases(client_config).good.get(name)
    if alias is not None or kept is None or not _is_of(client_config, kept):
        return alias
    # Above all that followers may have heard: of one that was never ended, nothing is kept.
    return msgspec.structs.replace(kept, generation=max(next_generation(None), kept.generation + 1))


def _is_of(client_config: ClientConfig, kept: Alias) -> bool:
    """Say whether the topics can be those that an alias was kept of, and not others of the same names."""
    try:
        left, now = end_offsets(client_config, kept.left), end_offsets(client_config, kept.current)
    except UnknownTopicError:
        return False
    return all(
        partition < min(len(left), len(now)) and end <= left[partition] and begin <= now[partition]
        for partition, (end, begin) in [*kept.places.items(), *_turned(kept)]
    )


def _turned(kept: Alias) -> list[tuple[int, tuple[int, int]]]:
    """Give the places of the alias before, as seen from the topics of this one."""
    return [(partition, (begin, end)) for partition, (end, begin) in kept.earlier.items()]


def with_lost_places(config: Config, cluster: str, alias: Alias) -> Alias:
    """Add the places to an alias that nothing is known of, if producers have gone to its topic all the same.

    What is brought back to the topic that was left comes behind its end. If it was brought back before an earlier
    switch already, the places found are of that one: a group that was on its way over since handles some events twice.

    Args:
        config: the platform.
        cluster: that of the name's domain.
        alias: the alias, as it would be for the first time.

    Raises:
        UnavailableError: the cluster or the standby store does not answer.
    """
    if lanes_have_led(config, cluster, alias.name, alias.current) != "now":
        return alias
    client = config.cluster(cluster).client_config()
    here, there = alias.left, alias.current
    copied = copied_so_far(client, cluster, here, there)
    places: dict[int, tuple[int, int]] = {}
    with Crossing(client, cluster, here, there, copied, copied_so_far(client, cluster, there, here)) as crossing:
        for partition, end in enumerate(end_offsets(client, here)):
            returned = crossing.first_returned(partition)
            at = copied.get(partition, end) if returned is None else returned
            place, obstacle = crossing.place(partition, at)
            if obstacle:  # then consumers are told nothing: who has gone over stays there
                _log.warning("the alias of %s is lost, and where consumers have gone over: %s", alias.name, obstacle)
                return msgspec.structs.replace(alias, unmoved=True)
            places[partition] = (at, place)
    return msgspec.structs.replace(alias, places=places)


Led = Literal["now", "once", "never"]


def lanes_have_led(config: Config, cluster: str, name: str, topic: str) -> Led:
    """Say whether lanes of a name were opened to a topic: whether one was last, or one was before, or none ever.

    Args:
        config: the platform.
        cluster: that of the name's domain.
        name: the name.
        topic: another topic than that of the name.

    Raises:
        UnavailableError: the standby store does not answer.
    """
    store = open_store(config)
    found: Led = "never"
    for number in range(Topics(store, cluster).all().get(name, 0)):  # of one that nobody has published, there are none
        entries = LaneLog(store, Lane(cluster, name, number)).entries()
        opened = [slot.target for _, slot in entries if slot.kind == OPEN]
        if opened[-1:] == [topic]:
            return "now"
        if topic in opened:
            found = "once"
    return found
