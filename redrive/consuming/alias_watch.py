"""Hears of topics whose producers have been switched, while a group consumes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from confluent_kafka import Consumer, Message, TopicPartition

from redrive.aliases.alias import Alias, OddAliasError, alias_of, read_aliases
from redrive.errors import UnknownTopicError
from redrive.pump.names import ALIASES_TOPIC
from redrive.pump.readback import ClientConfig, partition_count, reader

log = logging.getLogger(__name__)

_LOOK_AGAIN = 5.0
_FETCH_WAIT = 0.5  # news come at once; so often one broker is asked anew by each of what may be many consumers


class AliasWatch:
    """Follows the aliases of some names. For one thread; what may take long is done in another.

    Args:
        client_config: the cluster.
        successors: name → the topic that its readers are ready for.

    Attributes:
        is_ready: it is known what the names stand for.
        being_left: the successors that producers are being taken back from, while it is not known yet where consumers
            go over. A group that has not begun with one by then must not: it may be found to stay where it is.
    """

    def __init__(self, client_config: ClientConfig, successors: Mapping[str, str]) -> None:
        self._client, self._successors = client_config, successors
        self._consumer: Consumer | None = None
        self._known: dict[str, Alias] = {}
        self._newest: dict[str, Alias] = {}
        self._pool = ThreadPoolExecutor(1, "aliases")
        self._looking: Future[dict[str, Alias] | None] | None = None
        self._due = 0.0
        self.is_ready = False
        self.being_left: set[str] = set()

    def news(self) -> list[Alias]:
        """Return what has become known since the last time: at first, all there is.

        Raises:
            UnavailableError: the cluster does not answer, or it is not known yet what one of the names stands for,
                since its record can't be read. It is asked again.
        """
        found: list[Alias] = []
        if self._consumer is not None:
            for message in self._consumer.consume(100, 0):
                if message.error() is None and message.value():
                    found += self._read(message)
        elif self._looking is None:
            if time.monotonic() >= self._due:
                self._looking = self._pool.submit(self._look)
        elif self._looking.done():
            looked, self._looking, self._due = self._looking, None, time.monotonic() + _LOOK_AGAIN
            aliases = looked.result()
            self.is_ready = True
            if aliases is not None:
                found += aliases.values()
                self._consumer = reader(self._client, wait=_FETCH_WAIT)
                self._consumer.assign([TopicPartition(ALIASES_TOPIC, 0, 0)])
        for alias in found:
            self._hear(alias)
        return [followed for alias in found if self._is_new(followed := alias.followed)]

    def close(self) -> None:
        """Give up the connection."""
        if self._consumer is not None:
            self._consumer.close()
        self._pool.shutdown(wait=False)

    def _look(self) -> dict[str, Alias] | None:
        try:
            partition_count(self._client, ALIASES_TOPIC, settle=0)
        except UnknownTopicError:
            return None  # nobody has ever switched anything here
        aliases = read_aliases(self._client)
        # Who does not know where the group is must not go on with the topic that it may have left.
        return {name: alias for name in self._successors if (alias := aliases.of(name)) is not None}

    @staticmethod
    def _read(message: Message) -> list[Alias]:
        try:
            return [alias_of(message)]
        except OddAliasError as error:  # what was known before holds
            log.warning("%s; it is left out", error)
            return []

    def _hear(self, alias: Alias) -> None:
        """Take note of the newest alias, whether or not consumers can go by it yet."""
        successor, newest = self._successors.get(alias.name), self._newest.get(alias.name)
        if successor is None or (newest is not None and _age(alias) < _age(newest)):
            return
        self._newest[alias.name] = alias
        if alias.target == successor and alias.current == alias.name and not (alias.places or alias.unmoved):
            self.being_left.add(successor)
        else:
            self.being_left.discard(successor)

    def _is_new(self, alias: Alias) -> bool:
        if self._successors.get(alias.name) != alias.target or not alias.places:
            return False
        known = self._known.get(alias.name)
        if known is not None and alias.generation <= known.generation:
            return False
        self._known[alias.name] = alias
        # One that leads where the group has been led already is no news: a switch that was taken back before any
        # consumer followed it.
        return known is None or (alias.current, alias.places) != (known.current, known.places)


def _age(alias: Alias) -> tuple[int, bool]:
    """Order the records of a name: each generation is written without places first."""
    return alias.generation, bool(alias.places)
