"""The control topic that aliases are kept in: compacted, one record for each name."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive.errors import UnavailableError, UnknownTopicError
from redrive.pump.names import ALIASES_TOPIC
from redrive.pump.own_topics import ensure
from redrive.pump.readback import ClientConfig, cluster_name, partition_count, scan

_CONFIG = {"cleanup.policy": "compact"}
_TIMEOUT = 30.0


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

    @property
    def left(self) -> str:
        """The topic that events went to before."""
        return self.name if self.current == self.target else self.target

    @property
    def followed(self) -> Alias:
        """What consumers go by: this one, or the one before it as long as the places of this one are not known."""
        if self.places or not self.earlier:
            return self
        return msgspec.structs.replace(
            self, current=self.left, generation=self.generation - 1, places=self.earlier, earlier={}
        )


def read_aliases(client_config: ClientConfig, *, patience: float = 10.0) -> dict[str, Alias]:
    """Return all aliases of a cluster, by name; none if it has no control topic.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    found: dict[str, Alias] = {}
    try:
        partition_count(client_config, ALIASES_TOPIC, settle=0)  # most clusters have none: not to be waited for
        for messages in scan(client_config, ALIASES_TOPIC, patience=patience):
            for message in messages:
                if message.value():
                    found[(message.key() or b"").decode()] = alias_of(message)
                else:
                    found.pop((message.key() or b"").decode(), None)
    except UnknownTopicError:  # nobody has ever switched producers here
        return {}
    return found


def read_alias(client_config: ClientConfig, name: str) -> Alias | None:
    """Return what a name stands for; None: nothing but the topic of that name. Raises as `read_aliases`."""
    return read_aliases(client_config).get(name)


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
    """Read a record of the control topic."""
    return msgspec.json.decode(message.value() or b"", type=Alias)
