"""Where the replay of one lane publishes: to the lane's topic, or to the one that its name stands for by now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from redrive.aliases.alias import Alias, lost, read_alias
from redrive.aliases.catching_up import CatchingUp
from redrive.aliases.destination import Moved
from redrive.config import Config
from redrive.pump.model import Chunk, Transform, Transformed
from redrive.pump.readback import ClientConfig
from redrive.schemas import SchemaRegistry
from redrive.standby.lanes import OPEN, LaneLog

_PATIENCE = 5.0
"""Seconds to wait for a backfill's copy before the lane is given up for this time: it is tried again."""


class Route:
    """Of one lane, for one run of its replay.

    Attributes:
        topic: where its events go.
        target: the same, as the entry that opens the lane has it: empty if it is the lane's own topic.
        transform: what becomes of events on the way; None: nothing.
    """

    def __init__(
        self, client_config: ClientConfig, cluster: str, topic: str, alias: Alias | None, transform: Transform | None
    ) -> None:
        self.topic = topic if alias is None else alias.current
        self.target = "" if self.topic == topic else self.topic
        self.transform = transform
        self._old = None if alias is None else CatchingUp(client_config, cluster, alias.left, self.topic)
        self._closed_at = 0.0
        self._check: Callable[[], None] = lambda: None

    @classmethod
    def of(
        cls, config: Config, log: LaneLog, *, diverted_since: float, settle: float, check: Callable[[], None]
    ) -> Route:
        """Find out where the replay of a lane is to publish.

        Args:
            config: the platform.
            log: the lane's.
            diverted_since: since when the lane is known not to be open, by `time.monotonic`.
            settle: seconds that brokers may take for what lies in their sockets.
            check: called now and then while something is waited for; what it raises ends the wait.

        Raises:
            RulesError: the alias's rules can't be used here.
            SchemaError: its schema can't be used.
            UnavailableError: Kafka or the standby store does not answer, or the alias by which the lane was opened last
                is lost.
        """
        lane = log.lane
        client = config.cluster(lane.cluster).client_config()
        alias = read_alias(client, lane.topic)
        opened = [slot.target for _, slot in log.entries() if slot.kind == OPEN]
        before = opened[-1] if opened else ""
        if alias is None and before:  # the topic of its name must not get newer events than the other one has
            raise lost(lane.topic, before)
        transform = None
        if alias is not None and alias.current != lane.topic:
            transform = _transform(Moved(alias, SchemaRegistry(config.registry_client_config()).schema, {}))
        route = cls(client, lane.cluster, lane.topic, alias, transform)
        route._check = check
        if alias is not None and before != route.target:
            route._closed_at = diverted_since + nothing_under_way_after(config, settle)
        return route

    def wait(self) -> None:
        """Wait until all that has gone, or may yet go, to the topic that was left is where this lane's events go.

        Raises:
            UnavailableError: it is not there, since nobody copies it.
        """
        if self._old is None:
            return
        while (left := self._closed_at - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, 0.5))
        self._old.wait(_PATIENCE, self._check)


def nothing_under_way_after(config: Config, settle: float) -> float:
    """Say how many seconds after a divert nobody has anything under way to the topic of a lane's name.

    Within ``gate_refresh`` each producer has seen the divert, and hands nothing more to Kafka. What it has handed over
    by then is confirmed, or taken back, within its ``divert_after``. There is no list of producers that could be asked
    whether they have; so the settings bound it, which all of them read: a producer with a longer one does not start.
    And what lies in a broker's socket when it is taken back is in the topic within ``settle``.
    """
    return config.standby.gate_refresh + config.standby.divert_after + settle


def _transform(moved: Moved) -> Transform:
    def transformed(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Sequence[Transformed]]]:
        for chunk in chunks:
            yield chunk, [moved.migrate(event) for event in chunk.events]

    return transformed
