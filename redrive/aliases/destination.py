"""What producers and replays make of an alias: the topic that events go to, and their value there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from redrive.aliases.alias import Alias, lost, read_alias
from redrive.aliases.catching_up import is_copied
from redrive.avro.schema import AvroSchema, parse
from redrive.dispatch.rights import WriteRights
from redrive.errors import InvalidEventError, UnavailableError
from redrive.events import Event
from redrive.migrations.migrator import Migrator, Recipe
from redrive.pump.model import Rejected, Skipped
from redrive.pump.readback import ClientConfig

_PATIENCE = 1.0
"""Seconds that a cluster has to say what a name stands for, while the standby store, which knows it too, is away."""
_KNOWN_FOR = 60.0
"""Seconds; after that a name that has gone back and over again may do so by other rules."""


class Moved:
    """The target of an alias. Not for several threads at once.

    Args:
        alias: the alias.
        ask: gives a schema by its id.
        known: schemas by id that need not be asked for.
        closed: says why events are not to be sent to a topic; empty: they are.

    Raises:
        RulesError: its rules can't be used here, such as for want of a Python function that they name.
        SchemaError: its schema can't be used.
    """

    def __init__(
        self,
        alias: Alias,
        ask: Callable[[int], AvroSchema],
        known: Mapping[int, AvroSchema],
        closed: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.topic = alias.target
        self._closed = closed
        self._name = alias.name
        schema = parse(alias.schema, name=f"the schema of {alias.target}")
        recipe = Recipe(alias.schema_id, {**known, alias.schema_id: schema}, alias.rules, alias.file)
        self._migrator = Migrator(recipe, ask)

    def migrate(self, event: Event) -> Event | Rejected | Skipped:
        """Say what becomes of an event.

        Raises:
            UnavailableError: its schema has to be asked for, and the registry does not answer.
        """
        became = self._migrator.migrate(event)
        if not isinstance(became, Event):
            return became
        return Event(
            event.id, self.topic, event.key, became.value, event.headers, event.timestamp, event.partition, event.origin
        )

    def convert(self, event: Event) -> bytes | Skipped | None:
        """See `redrive.dispatch.destination.Destination.convert`."""
        if why := self._closed(self.topic):
            raise InvalidEventError(self._name, "", f"can't go to {self.topic}: {why}")
        became = self._migrator.migrate(event)
        if isinstance(became, Event):
            return became.value
        if isinstance(became, Skipped):
            return became
        raise InvalidEventError(self._name, "", f"can't go to {self.topic}: {became.reason}")


class Destinations:
    """`redrive.dispatch.destination.Destinations` of one cluster, by its control topic.

    Args:
        client_config: the cluster.
        cluster: its name.
        ask: gives a schema by its id.
        known: gives the schemas that the events of a name are written with here, by id.
        elsewhere: where calls are made that somebody waits for no longer than briefly.
        rights: what may be written there; asked before the first event goes to a topic.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        cluster: str,
        ask: Callable[[int], AvroSchema],
        known: Callable[[str], Mapping[int, AvroSchema]],
        elsewhere: Executor,
        *,
        rights: WriteRights,
    ) -> None:
        self._client, self._cluster = client_config, cluster
        self._ask, self._known = ask, known
        self._found: dict[tuple[str, str], tuple[Moved, float]] = {}
        self._finding = threading.Lock()
        self._elsewhere, self._rights = elsewhere, rights
        self._silent_until = 0.0

    def find(self, name: str, topic: str) -> Moved:
        """See `redrive.dispatch.destination.Destinations.find`. Each is read once for all lanes of a name."""
        with self._finding:
            moved, read_at = self._found.get((name, topic), (None, 0.0))
            if moved is None or time.monotonic() - read_at > _KNOWN_FOR:
                alias = read_alias(self._client, name)
                if alias is None or alias.target != topic:
                    raise lost(name, topic)
                self._rights.learn([topic])
                moved = Moved(alias, self._ask, self._known(name), self._rights.why_not)
                self._found[name, topic] = (moved, time.monotonic())
            return moved

    def current(self, name: str) -> Moved | None:
        """See `redrive.dispatch.destination.Destinations.current`. Somebody waits to publish: but briefly, and once."""
        if time.monotonic() < self._silent_until:
            raise self._silent()
        asked = self._elsewhere.submit(read_alias, self._client, name)
        try:
            alias = asked.result(_PATIENCE)
        except TimeoutError:
            self._silent_until = time.monotonic() + _KNOWN_FOR
            raise self._silent() from None
        return self.find(name, alias.target) if alias is not None and alias.current != name else None

    def is_copied(self, name: str, before: str, now: str) -> bool:
        """See `redrive.dispatch.destination.Destinations.is_copied`."""
        return is_copied(self._client, self._cluster, before, now)

    def _silent(self) -> UnavailableError:
        return UnavailableError(
            f"Kafka {self._cluster}", f"it has not said within {_PATIENCE:g} s what names stand for"
        )
