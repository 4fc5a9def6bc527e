"""A model of a producer's Kafka client: its queues, the network behind them, and what it reports."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from redrive.murmur2 import partition_of
from redrive.receipts import Progress, Receipt
from tests.explorer.parts import Option
from tests.explorer.world import World

if TYPE_CHECKING:
    from tests.explorer.topic import ModelKafka


class _Message:
    """A delivery report's message."""

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0


_MESSAGE: Any = _Message()


class ModelMain:
    """A producer's client: `redrive.dispatch.mainpath.MainPath`, with its queues and the network behind it.

    Attributes:
        gapless: whether a message that is refused ends the client, as with ``enable.gapless.guarantee``; else those
            behind it go on.
        queues: partition → messages sent and not yet reported; the first ``landed`` of them are in the log.
    """

    gapless = True

    def __init__(self, world: World, kafka: ModelKafka, name: str, *, partitions: int = 1) -> None:
        self.fatal = False
        self.all_down = False
        self.name = name
        self.queues: list[list[Receipt]] = [[] for _ in range(partitions)]
        self.landed = [0] * partitions
        self.reports: list[tuple[Receipt, Progress]] = []
        self.socket: list[Receipt] = []
        self._world = world
        self._kafka = kafka
        kafka.mains.append(self)

    def key(self) -> Hashable:
        queues = tuple([len(queue) for queue in self.queues])
        return queues, tuple(self.landed), len(self.reports), len(self.socket), self.fatal, self.all_down

    def options(self, busy: int) -> list[Option]:
        world, kafka = self._world, self._kafka
        options: list[Option] = []
        if world.may("fatal") and not self.fatal and any(self.queues):
            options.append(Option(1, f"the client of {self.name} fails for good", self._break))
        if not kafka.up or self.fatal:
            return options
        if self.socket and world.may("late"):
            options.append(Option(1, f"a request of {self.name} that was given up lands", self._late))
        for partition, queue in enumerate(self.queues):
            if self.landed[partition] < len(queue):
                options += self._landings(partition, busy)
            if self.landed[partition] and world.may("confirm"):
                options.append(Option(1, f"{queue[0].event.id} is confirmed", partial(self._confirm, partition)))
        return sorted(options, key=lambda option: option.cost)

    def _landings(self, partition: int, busy: int) -> list[Option]:
        landed = self.landed[partition]
        event_id = self.queues[partition][landed].event.id
        silent = partial(self._land, partition, False)
        if landed or event_id in self._kafka.lost:  # Kafka confirms in order: no answer before one that is missing
            return [Option(busy, f"{event_id} lands, unconfirmed", silent)]
        options = [Option(busy, f"{event_id} lands and is confirmed", partial(self._land, partition, True))]
        if self._world.may("refuse"):
            options.append(Option(1, f"{event_id} is refused", partial(self._refuse, partition)))
        if self._world.may("unconfirmed"):
            options.append(Option(1, f"{event_id} lands, unconfirmed", silent))
        return options

    def _land(self, partition: int, confirmed: bool) -> None:
        queue, landed = self.queues[partition], self.landed[partition]
        self._kafka.append(queue[landed].event)
        if confirmed:
            self.reports.append((queue.pop(0), Progress.ACKNOWLEDGED))
        else:
            if queue[landed].event.id not in self._kafka.lost and not landed:
                self._world.take("unconfirmed")
            self.landed[partition] += 1
        self._kafka.appended += 1
        self._kafka.check()

    def _confirm(self, partition: int) -> None:
        self._world.take("confirm")
        self.landed[partition] -= 1
        self.reports.append((self.queues[partition].pop(0), Progress.ACKNOWLEDGED))

    def _break(self) -> None:
        self._world.take("fatal")
        self.fatal = True

    def _refuse(self, partition: int) -> None:
        self._world.take("refuse")
        self.reports.append((self.queues[partition].pop(0), Progress.TAKEN_BACK))
        self.fatal = self.gapless

    def _late(self) -> None:
        self._world.take("late")
        self._kafka.append(self.socket.pop(0).event)

    def send(self, receipt: Receipt) -> None:
        key = receipt.event.key
        partition = partition_of(key, len(self.queues)) if key is not None else 0
        self.queues[partition].append(receipt)
        self._world.tell(f"send {receipt.event.id}")

    def poll(self, timeout: float) -> None:
        world = self._world
        until = world.time + 1
        world.step("poll", enabled=lambda: bool(self.reports) or world.time >= until)
        reports, self.reports = self.reports, []
        for receipt, progress in reports:
            if progress is Progress.ACKNOWLEDGED:
                receipt.reported(None, _MESSAGE)
            else:
                receipt.reported(KafkaError(KafkaError._PURGE_QUEUE), _MESSAGE)
        if reports:
            world.tell("poll", [(receipt.event.id, progress.name) for receipt, progress in reports])
        world.learned((world.time, tuple([(receipt.event.id, progress) for receipt, progress in reports])))

    def purge(self) -> None:
        self._world.step("purge")
        self._world.tell("purge", [receipt.event.id for queue in self.queues for receipt in queue])
        for partition, queue in enumerate(self.queues):
            self.reports += [(receipt, Progress.TAKEN_BACK) for receipt in queue]
            if self._world.may("late"):
                self.socket += queue[self.landed[partition] :]
            self.queues[partition] = []
            self.landed[partition] = 0

    def reachable(self) -> bool:
        self._world.step("reachable")
        self._world.learned(self._kafka.up)
        self._world.tell("reachable", self._kafka.up)
        return self._kafka.up

    def renew(self) -> None:
        self.fatal = False
