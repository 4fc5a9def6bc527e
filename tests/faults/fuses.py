"""Crash points: the store, the sink and the way to Kafka as they are, but for a kill -9 at a chosen call.

A point is written ``before CALL:N`` or ``after CALL:N``: the process is killed before, or right after, its N-th such
call. The product knows nothing of this; the test programs put these classes in the place of its own.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from redrive.dispatch.mainpath import KafkaMainPath
from redrive.pump.sink import TransactionalSink
from redrive.pump.transactions import Transactions
from redrive.standby.dynamo import DynamoStore
from redrive.standby.store import Slot

STORE_CALLS = {
    "put_new.divert": 3,
    "put_new.events": 12,
    "put_new.part": 4,
    "put_new.seal": 4,
    "put_new.open": 2,
    "bump": 3,
    "last": 12,
    "read": 12,
    "delete": 4,
    "expire": 6,
    "version": 12,
}
"""Calls of a store, and a sensible highest N of each."""

PRODUCER_CALLS = {
    **{name: STORE_CALLS[name] for name in ("put_new.divert", "put_new.events", "put_new.part", "put_new.seal")},
    **{name: STORE_CALLS[name] for name in ("bump", "last", "version")},
    "send": 1500,
    "purge": 2,
    "reachable": 3,
}
REPLAYER_CALLS = {
    **{name: STORE_CALLS[name] for name in ("put_new.seal", "put_new.open", "bump", "last", "read")},
    **{name: STORE_CALLS[name] for name in ("delete", "expire")},
    "start": 4,
    "commit": 6,
    "begin": 8,
    "transaction": 8,
    "look_up": 2,
}


class Fuse:
    """Counts calls, and kills the process, or stops it, at the one that it was made for."""

    def __init__(
        self,
        point: str,
        tell: Callable[[str], None] = lambda _: None,
        sends: signal.Signals = signal.SIGKILL,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        """Make a fuse.

        Args:
            point: where it burns; empty: nowhere.
            tell: hears of it just before.
            sends: what the process gets at the point; SIGSTOP makes a zombie of it that can be woken.
            turn: what the thread that stops the process holds meanwhile, so that no other thread has it for ever.
        """
        self.passed: Counter[str] = Counter()
        self._sends = sends
        self._turn = turn or nullcontext()
        self._point, _, number = point.partition(":")
        self._left = int(number or 0)
        self._tell = tell
        self._lock = threading.Lock()

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        self._burn(f"before {call}")
        yield
        self._burn(f"after {call}")

    def wrap(self, call: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **more: Any) -> Any:
            with self.around(call):
                return function(*args, **more)

        return wrapped

    def _burn(self, point: str) -> None:
        with self._lock:
            self.passed[point] += 1
            if point != self._point:
                return
            self._left -= 1
            if self._left != 0:
                return
        with self._turn:
            self._tell(self._point)
            os.kill(os.getpid(), self._sends)


def fused_store(fuse: Fuse) -> type[DynamoStore]:
    class FusedStore(DynamoStore):
        def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
            with fuse.around(f"put_new.{slot.kind}"):
                return super().put_new(pk, sk, slot)

        def last(self, pk: str) -> tuple[int, Slot] | None:
            with fuse.around("last"):
                return super().last(pk)

        def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
            with fuse.around("read"):
                yield from super().read(pk, after)

        def delete(self, pk: str, sks: Sequence[int]) -> None:
            with fuse.around("delete"):
                super().delete(pk, sks)

        def expire(self, pk: str, sks: Sequence[int], at: int) -> None:
            for sk in sks:
                with fuse.around("expire"):
                    super().expire(pk, [sk], at)

        def version(self, pk: str) -> int:
            with fuse.around("version"):
                return super().version(pk)

        def bump(self, pk: str) -> None:
            with fuse.around("bump"):
                super().bump(pk)

    return FusedStore


def fused_main_path(fuse: Fuse) -> type[KafkaMainPath]:
    class FusedMainPath(KafkaMainPath):
        send = fuse.wrap("send", KafkaMainPath.send)
        purge = fuse.wrap("purge", KafkaMainPath.purge)
        reachable = fuse.wrap("reachable", KafkaMainPath.reachable)

    return FusedMainPath


def fused_sink(fuse: Fuse, transaction_timeout: float) -> type[TransactionalSink]:
    class FusedSink(TransactionalSink):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **{"transaction_timeout": transaction_timeout, "patience": 30.0, **more})

        start = fuse.wrap("start", TransactionalSink.start)
        commit = fuse.wrap("commit", TransactionalSink.commit)

    return FusedSink


def fused_transactions(fuse: Fuse) -> type[Transactions]:
    class FusedTransactions(Transactions):
        begin = fuse.wrap("begin", Transactions.begin)
        commit = fuse.wrap("transaction", Transactions.commit)

    return FusedTransactions
