"""What goes on while a name changes its topic: a backfill that follows, and producers that never stop."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from redrive import EventProducer
from redrive.config import Config
from redrive.errors import FencedError, UnavailableError
from redrive.migrations.batches import transform
from redrive.migrations.copying import copy
from redrive.migrations.ends import Ends
from redrive.migrations.migration import Migration, prepare
from redrive.migrations.migrator import Direction
from redrive.migrations.shadow import create, look
from redrive.migrations.survey import survey
from redrive.pump.readback import partition_count
from redrive.pump.workers import Workers
from redrive.receipts import Receipt
from redrive.standby.drain import drain, open_store
from redrive.standby.survey import survey as stored
from tests.stack.moving_house import MovingHouse


def migration(house: MovingHouse, direction: Direction = "up") -> Migration:
    """Make the target and its schema, and what takes events there, or back."""
    there = (house.orders, house.target)
    source, target = there if direction == "up" else there[::-1]
    if direction == "up":
        create(house.config, look(house.config, source, target))
        partition_count({"bootstrap.servers": house.bootstrap}, target, settle=10)
    rules = house.config.rule_file("rules.yaml")
    return prepare(house.config, source, target, rules=rules, direction=direction, register=True)


@contextmanager
def following(config: Config, moved: Migration) -> Iterator[None]:
    """Copy what comes, one thread a partition; at the end, up to what is there then."""
    client = config.cluster("one").client_config()
    standings = survey(client, "one", moved.source, moved.target, moved.digest)
    ends = Ends(client, moved.source, len(standings), follow=3600)
    failed: list[BaseException] = []
    with Workers(0) as workers:

        def follow(standing: Any) -> None:
            try:
                copy(
                    client,
                    standing.unit,
                    transform(workers, moved.spec),
                    migration=moved.digest,
                    operation="follow",
                    first=standing.first,
                    until=lambda: ends.of(standing.unit.partition),
                    total=0,
                )
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=follow, args=(standing,)) for standing in standings]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ends.stop()
            for thread in threads:
                thread.join(60)
    assert not failed, failed


class Publishing:
    """Producers that publish without a break: each to keys of its own, and all of them in turn to a key they share.

    Attributes:
        published: key → numbers, in the order in which they have to be found.
        receipts: of all of them.
    """

    def __init__(self, house: MovingHouse, producers: int = 2, pause: float = 0.005) -> None:
        """Args: pause: seconds between two events of a key."""
        self.published: dict[str, list[int]] = defaultdict(list)
        self.receipts: list[Receipt] = []
        self._config, self._topic, self._pause = house.config, house.orders, pause
        self._done = threading.Event()
        self._number = 0
        self._numbering = threading.Lock()
        self._producers = [EventProducer(house.group, house.config, topics=[house.orders]) for _ in range(producers)]
        self._threads = [threading.Thread(target=self._own, args=(at,)) for at in range(producers)]
        self._threads.append(threading.Thread(target=self._in_turn))

    def __enter__(self) -> Publishing:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(60)
        for producer in self._producers:
            producer.close(60)

    def paths(self) -> set[str]:
        """By which ways events went."""
        return {receipt.path for receipt in self.receipts}

    def wait_until(self, many_more: int) -> None:
        """Wait until so many more were acknowledged, by Kafka itself; what waits in diverted lanes is replayed.

        A producer that is kept from running for seconds, as on a busy machine, diverts a lane that was just opened.
        """
        first = len(self.receipts)

        def there() -> bool:
            return sum(r.done and r.path == "main" for r in self.receipts[first:]) >= many_more

        until = time.monotonic() + 120
        while not there():
            time.sleep(0.05)
            assert time.monotonic() < until, f"producers do not get on: {self._standing(first)}"
            if time.monotonic() > until - 110:
                self._replay()

    def _replay(self) -> None:
        store = open_store(self._config)
        for lane in stored(store, "one", [self._topic]):
            if not lane.is_open:
                with suppress(UnavailableError, FencedError):
                    drain(self._config, lane.lane, operation="replay", settle=0.5, store=store)

    def _standing(self, first: int) -> str:
        since = Counter((receipt.path if receipt.done else "open") for receipt in self.receipts[first:])
        return f"since then {dict(since)}; {[producer.why_waiting for producer in self._producers]}"

    def _own(self, at: int) -> None:
        keys = [f"own {at} {number}" for number in range(4)]
        while not self._done.wait(self._pause):
            for key in keys:
                self._publish(at, key)

    def _in_turn(self) -> None:
        turn = 0
        while not self._done.wait(self._pause / 2):
            self._publish(turn % len(self._producers), "shared").result(30)
            turn += 1

    def _publish(self, at: int, key: str) -> Receipt:
        with self._numbering:
            self._number += 1
            number = self._number
        self.published[key].append(number)
        receipt = self._producers[at].publish(self._topic, key, {"id": number, "note": f"note {number}"})
        self.receipts.append(receipt)
        return receipt


def by_key(messages: list[Any], decode: Callable[[bytes], Any], field: str = "number") -> dict[str, list[int]]:
    """Return key → numbers, as a reader finds them."""
    found: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        found[(message.key() or b"").decode()].append(decode(message.value() or b"")[field])
    return found
