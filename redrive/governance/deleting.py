"""Deleting a version of a schema, unless something can only be read with it.

What is asked is what is there now. A producer that was started with the version, and has written nothing with it yet,
is not seen; so a version that producers start with is not deleted either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from redrive.aliases.alias import Alias, read_aliases
from redrive.config import Config
from redrive.deadletters.fate import ENDED, FATES, NONE
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import unread
from redrive.errors import SchemaError, SchemaInUseError, UnknownTopicError
from redrive.ledger import Ledger
from redrive.migrations.census import take_census
from redrive.pump.names import ALIASES_TOPIC, PARKING_TOPIC
from redrive.schemas import SchemaRegistry
from redrive.standby.drain import open_store
from redrive.standby.lanes import Lane, LaneLog, Topics
from redrive.standby.schema_ids import count_schema_ids
from redrive.standby.store import Store
from redrive.standby.survey import survey

_SUFFIX = "-value"
_NOT_ENDED = [fate for fate in (NONE, *FATES) if fate not in ENDED]
"""Of letters that somebody may still want to correct: open ones, those that wait for a person, and skipped ones."""


@dataclass(frozen=True, slots=True)
class Deletable:
    """A version that nothing stands in the way of deleting.

    Attributes:
        subject: whose version it is.
        version: its number.
        schema_id: its id.
        kept_by: other versions with the same schema, by which the id stays readable. Then nothing else was asked.
    """

    subject: str
    version: int
    schema_id: int
    kept_by: tuple[tuple[str, int], ...]


def check_deletion(
    config: Config,
    registry: SchemaRegistry,
    ledger: Ledger,
    subject: str,
    version: int,
    *,
    on_look: Callable[[str], None] = lambda _: None,
) -> Deletable:
    """Look everywhere for what is written with a version: topics (all of each), standby store, letters not ended.

    And whether producers that were switched to another topic write with it, be it that they have written nothing yet.

    Args:
        config: the settings; topics that they don't have are not looked at.
        registry: the registry.
        ledger: has the dead letters, and knows clusters that have left the settings while events wait for them.
        subject: such as ``orders.created-value``; of values, since nothing here looks at the schemas of keys.
        version: its number.
        on_look: hears what is looked at next.

    Raises:
        SchemaInUseError: it is in use; says where.
        SchemaError: there is no such subject or version, or the subject is not one of values.
        UnavailableError: one of the systems does not answer, so that nobody knows.
        ConfigError: there is no standby table, or a secret is not where the settings say.
    """
    if not subject.endswith(_SUFFIX):
        reason = (
            f"is no subject of values, which end in {_SUFFIX}; keys are not looked at, so nobody knows whether an "
            "event needs one of its versions"
        )
        raise SchemaError(subject, reason)
    versions = registry.ids(subject)
    if version not in versions:
        raise SchemaError(f"{subject} version {version}", f"is not there; there are {', '.join(map(str, versions))}")
    schema_id = versions[version]
    topic = subject.removesuffix(_SUFFIX)
    if version == max(versions) and topic in config.topics:
        raise SchemaInUseError(subject, version, [f"it is the latest, which producers of {topic} start with"])
    others = tuple(one for one in registry.subjects_with(schema_id) if one != (subject, version))
    if not others:
        # As jobs move events: what leaves one place while it is looked at is found in the next.
        uses = [
            *_in_standby(config, ledger, schema_id, on_look),
            *_in_letters(config, ledger, schema_id, on_look),
            *_in_topics(config, schema_id, on_look),
            *_in_aliases(config, schema_id, on_look),
        ]
        if uses:
            raise SchemaInUseError(subject, version, uses)
    return Deletable(subject, version, schema_id, others)


def _in_topics(config: Config, schema_id: int, on_look: Callable[[str], None]) -> Iterator[str]:
    for cluster in sorted(config.clusters):
        client = config.cluster(cluster).client_config()
        for topic in [*(one.name for one in config.topics_of(cluster) if not one.dead_letters), PARKING_TOPIC]:
            on_look(f"{topic} on {cluster}")
            try:
                events = take_census(client, topic).total.ids.get(schema_id, 0)
            except UnknownTopicError:
                continue
            if events:
                yield f"{events:,} events in {topic} on {cluster}"


def _in_letters(config: Config, ledger: Ledger, schema_id: int, on_look: Callable[[str], None]) -> Iterator[str]:
    """Look at letters that may still be corrected: those of the ledger, and that there are no others."""
    on_look("dead letters")
    for cluster in sorted(config.clusters):
        client = config.cluster(cluster).client_config()
        for topic in (one.name for one in config.topics_of(cluster) if one.dead_letters):
            try:
                letters = unread(client, cluster, topic, ledger.letters).read
            except UnknownTopicError:
                continue
            if letters:
                yield f"up to {letters:,} letters in {topic} on {cluster} are new: `redrive run dlq-triage` first"
    if letters := ledger.letters.count(Selection(schema_ids=[schema_id], fates=_NOT_ENDED)):
        options = " ".join(f"--fate {fate}" for fate in _NOT_ENDED)
        yield (
            f"{letters:,} dead letters that have not come to their end: `redrive dlq list --schema-id {schema_id} "
            f"{options}`"
        )


def _in_standby(config: Config, ledger: Ledger, schema_id: int, on_look: Callable[[str], None]) -> Iterator[str]:
    store = open_store(config)
    # Health forgets no cluster that events wait for.
    for cluster in sorted({*config.clusters, *ledger.looks.clusters()}):
        on_look(f"the standby store's lanes of {cluster}")
        ids, _ = count_schema_ids(store, survey(store, cluster))
        if ids[schema_id]:
            left = "" if cluster in config.clusters else ", which has left the settings"
            yield f"{ids[schema_id]:,} events in the standby store for {cluster}{left}"


def _in_aliases(config: Config, schema_id: int, on_look: Callable[[str], None]) -> Iterator[str]:
    """Look at what producers write with that were switched to another topic; they need not have done so yet."""
    store = open_store(config)
    for cluster in sorted(config.clusters):
        on_look(f"{ALIASES_TOPIC} on {cluster}")
        aliases = read_aliases(config.cluster(cluster).client_config())
        for alias in aliases.good.values():
            if alias.schema_id == schema_id and _is_written_by(store, cluster, alias):
                yield (
                    f"producers of {alias.name} on {cluster} were switched to {alias.target}, and write with it: "
                    f"`redrive run schema-backfill {alias.name} {alias.target} --goal switch_back --mode run`"
                )
        for name in sorted(aliases.odd.keys() & config.topics.keys()):
            yield f"nobody knows what producers of {name} on {cluster} write with, by its record in {ALIASES_TOPIC}"


def _is_written_by(store: Store, cluster: str, alias: Alias) -> bool:
    """Whether a lane of a name is open to the alias's target, or is to be; one that was not brought back yet is."""
    if alias.current == alias.target:
        return True
    lanes = [Lane(cluster, alias.name, number) for number in range(Topics(store, cluster).all().get(alias.name, 0))]
    return any(LaneLog(store, lane).state().target == alias.target for lane in lanes)
