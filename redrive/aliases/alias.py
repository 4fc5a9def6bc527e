"""The control topic that aliases are kept in: compacted, one record for each name."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive.errors import RedriveError, UnavailableError, UnknownTopicError
from redrive.pump.names import ALIASES_TOPIC
from redrive.pump.own_topics import ensure
from redrive.pump.readback import ClientConfig, cluster_name, partition_count, scan

log = logging.getLogger(__name__)

_CONFIG = {"cleanup.policy": "compact"}
_TIMEOUT = 30.0
_LONGEST_NAME = 249
"""Of a topic, in Kafka."""


class Alias(msgspec.Struct, frozen=True):
    """What the name of a topic stands for.

    Attributes:
        name: the name that producers publish by: the topic that was copied.
        target: the topic that it was copied to.
        current: which of the two events go to now.
        generation: rises with each change; see `next_generation`.
        schema_id: of the schema that events in ``target`` have.
        schema: that schema, as JSON.
        rules: text of the migration's file of rules; empty: Avro's resolution alone.
        file: what errors call that file.
        places: partition → where the topic that was left ends for consumers, and where they go on in ``current``;
            empty while that is not known yet.
        earlier: the same of the alias before, which consumers go by until ``places`` is known.
        unmoved: consumers have nothing to do with it: it takes producers back from a switch that had not come so far
            that consumers follow it. ``places`` is then what the alias before that switch has said.
        past: other topics that the name stood for before ``target``, and stands for no more. (The control topic is
            compacted: what an earlier record has said is gone.)
    """

    name: str
    target: str
    current: str
    generation: int
    schema_id: int
    schema: str
    rules: str = ""
    file: str = ""
    places: Mapping[int, tuple[int, int]] = {}
    earlier: Mapping[int, tuple[int, int]] = {}
    unmoved: bool = False
    past: tuple[str, ...] = ()

    @property
    def left(self) -> str:
        """The topic that events went to before."""
        return self.name if self.current == self.target else self.target

    @property
    def has_been_followed(self) -> bool:
        """Whether consumers have ever gone to ``target`` by it, as far as is known."""
        return bool(self.places) or not self.unmoved

    @property
    def followed(self) -> Alias:
        """What consumers go by: this one, or the one before it as long as the places of this one are not known."""
        if self.places or not self.earlier:
            return self
        return msgspec.structs.replace(
            self, current=self.left, generation=self.generation - 1, places=self.earlier, earlier={}
        )


class OddAliasError(RedriveError):
    """A record of the control topic is not one that Redrive writes, or one of a version that this one can't read.

    Attributes:
        name: the name that it is about: its key, shortened, and without what can't be printed.
        reason: what is wrong with it; without what stands in it.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"the record of {name!r} in {ALIASES_TOPIC} can't be read: {reason}")


@dataclass(frozen=True, slots=True)
class Aliases:
    """All that the control topic of a cluster says.

    Attributes:
        good: name → what it stands for.
        odd: name → why nobody knows what it stands for: its record can't be read.
    """

    good: Mapping[str, Alias]
    odd: Mapping[str, str]

    def of(self, name: str) -> Alias | None:
        """Return what a name stands for; None: nothing but the topic of that name.

        Raises:
            UnavailableError: its record can't be read. Were that taken for none, events went to the old topic.
        """
        if name in self.odd:
            raise UnavailableError(
                f"alias {name}",
                f"its record in {ALIASES_TOPIC} can't be read: {self.odd[name]}. If its producers are switched, "
                "have it written anew, with the same rules (`redrive run schema-backfill "
                f"{name} TARGET --goal switch_producers --mode run`); if they never were, or are back, delete the "
                "record: see docs/runbooks/schema-change.md",
            )
        return self.good.get(name)

    def leading_to(self, topic: str) -> list[str]:
        """Give the names by which events come to a topic: its own, unless that stands for another one, and others."""
        own = self.good.get(topic)
        is_own = own is None or own.current == topic
        others = (alias.name for alias in self.good.values() if alias.current == topic and alias.name != topic)
        return [*([topic] if is_own else []), *sorted(others)]


def read_aliases(client_config: ClientConfig, *, patience: float = 10.0) -> Aliases:
    """Return all aliases of a cluster; none if it has no control topic. A record that can't be read hides no other.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    found: dict[bytes, Alias | OddAliasError] = {}
    try:
        partition_count(client_config, ALIASES_TOPIC, settle=0)  # most clusters have none: not to be waited for
        for messages in scan(client_config, ALIASES_TOPIC, patience=patience):
            for message in messages:
                key = message.key() or b""
                if message.value():
                    try:
                        found[key] = alias_of(message)
                    except OddAliasError as error:
                        found[key] = error
                else:
                    found.pop(key, None)
    except UnknownTopicError:  # nobody has ever switched producers here
        return Aliases({}, {})
    odd = [each for each in found.values() if isinstance(each, OddAliasError)]
    if odd:  # in one line, however many there are: each lane's replay reads them
        log.warning("%s (and %d others); what other names stand for is known all the same", odd[0], len(odd) - 1)
    good = {each.name: each for each in found.values() if isinstance(each, Alias)}
    return Aliases(good, {each.name: each.reason for each in odd})


def read_alias(client_config: ClientConfig, name: str) -> Alias | None:
    """Return what a name stands for; None: nothing but the topic of that name.

    Raises:
        UnavailableError: the cluster does not answer, or the record of this name can't be read.
    """
    return read_aliases(client_config).of(name)


def next_generation(before: Alias | None) -> int:
    """Return the generation of an alias that comes after another; of the first, one above all that may have been lost.

    Consumers that have followed an alias leave out what is not newer; so it must not fall if the control topic is lost.
    """
    return int(time.time() * 1000) if before is None else before.generation + 1


def lost(name: str, target: str) -> UnavailableError:
    """Make the error of an alias that has been there, since events go to its target, and is not there now."""
    return UnavailableError(
        f"alias {name}",
        f"events go to {target}, and {ALIASES_TOPIC} does not say how: if it was deleted, have it written anew "
        f"(`redrive run schema-backfill {name} {target} --goal switch_producers --mode run`, with the same rules)",
    )


def write_alias(client_config: ClientConfig, alias: Alias) -> None:
    """Make a name stand for something, for all who read it from now on; makes the control topic if there is none.

    Raises:
        ConfigError: the control topic is not there, and may not be made.
        UnavailableError: the cluster does not confirm it; it may be written or not.
    """
    ensure_aliases(client_config)
    heard: list[KafkaError | None] = []
    producer = Producer({**client_config, "enable.idempotence": True, "message.timeout.ms": int(_TIMEOUT * 1000)})
    try:
        producer.produce(
            ALIASES_TOPIC,
            key=alias.name.encode(),
            value=msgspec.json.encode(alias),
            partition=0,
            on_delivery=lambda error, _: heard.append(error),
        )
        producer.flush(_TIMEOUT + 5)
    except KafkaException as error:
        heard.append(error.args[0])
    if heard != [None]:
        why = heard[0].str() if heard and heard[0] is not None else "it is not confirmed"
        raise UnavailableError(f"Kafka {cluster_name(client_config)}", f"writing the alias {alias.name}: {why}")


def ensure_aliases(client_config: ClientConfig) -> None:
    """Create the control topic if there is none. Raises as `redrive.pump.own_topics.ensure`."""
    ensure(client_config, ALIASES_TOPIC, 1, _CONFIG, "aliases")


def alias_of(message: Message) -> Alias:
    """Read a record of the control topic.

    Raises:
        OddAliasError: it can't be read.
    """
    key = (message.key() or b"").decode(errors="backslashreplace")
    name = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in key[:_LONGEST_NAME])
    try:
        alias = msgspec.json.decode(message.value() or b"", type=Alias)
    except (ValueError, RecursionError) as error:  # msgspec's own are ValueErrors, and so is what is no UTF-8
        raise OddAliasError(name, str(error)) from error
    if alias.name != key:
        raise OddAliasError(name, "it says what another name stands for than its key does")
    if alias.current not in (alias.name, alias.target):
        raise OddAliasError(name, "events go to neither of its topics")
    return alias
