"""Work in other processes: what takes Python's time for each event is done there, batch by batch, in order.

Only plain bytes travel: a batch out, its result back. What decides anything (pace, progress, transactions, the ledger)
stays with whoever asked, so a process that dies costs some batches that are asked for again, and nothing else.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar

from loky.backend import get_context
from loky.process_executor import ProcessPoolExecutor, ShutdownExecutorError

from redrive.errors import RedriveError, StoppedError, UnavailableError
from redrive.pump.collecting import collect_seldom
from redrive.pump.giving_back import give_back

T = TypeVar("T")

Work = Callable[[bytes, bytes], bytes]
"""A function of a module: ``work(spec, batch)``. ``spec`` says how, and is the same for all batches of a kind: what is
made from it is worth keeping (`functools.lru_cache`)."""

_GIVEN_UP = "what it works for has ended"

_WATCH = 1.0
_AHEAD = 1


class Workers:
    """So many processes, started when they are first needed; 0 works in the calling thread. Safe for threads.

    Not by `multiprocessing`: its children import the program's main module, whatever that loads.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._starting = threading.Lock()
        self._executor: ProcessPoolExecutor | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            executor, self._executor, self._closed = self._executor, None, True
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)

    def warm_up(self, work: Work, spec: bytes, batch: bytes) -> None:
        """Start the processes and have them load what work needs, while the caller does something else.

        Args:
            work: what will be done.
            spec: how.
            batch: a small one; its result, or error, is of no interest.
        """
        for _ in range(self.processes):
            self._running().submit(work, spec, batch)

    def map(self, work: Work, spec: bytes, items: Iterable[T], pack: Callable[[T], bytes]) -> Iterator[tuple[T, bytes]]:
        """Yield each item with its result, in order. Some are worked at, or done, before they are asked for.

        Args:
            work: what is done, see `Work`.
            spec: how.
            items: what it is done with.
            pack: makes an item the bytes that travel; empty, if there is nothing to do: then so is the result.

        Raises:
            UnavailableError: a process died; what was not yielded can be asked for again.
            StoppedError: the processes were given up meanwhile.
            RedriveError: what the work itself raises.
        """
        if not self.processes:
            for item in items:
                batch = pack(item)
                yield item, work(spec, batch) if batch else b""
            return
        executor: ProcessPoolExecutor | None = None
        under_way: deque[tuple[T, Future[bytes]]] = deque()
        try:
            for item in items:
                batch = pack(item)
                if batch and executor is None:
                    executor = self._running()
                under_way.append((item, executor.submit(work, spec, batch) if batch and executor else _nothing()))
                while under_way and (under_way[0][1].done() or len(under_way) > self.processes * _AHEAD):
                    yield _first(under_way)
            while under_way:
                yield _first(under_way)
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            raise self._ended(executor, error) from error
        finally:
            for _, future in under_way:
                future.cancel()

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function of a module in a process, and wait for what it returns.

        Args:
            function: what is called.
            arguments: with what: pickled, so without locks and connections.

        Raises:
            UnavailableError: the process died; it can be called again.
            StoppedError: the processes were given up meanwhile.
            Exception: what the function itself raises.
        """
        return self.call_each(function, [arguments])[0]

    def call_each(self, function: Callable[..., T], arguments: Sequence[tuple[object, ...]]) -> list[T]:
        """Call a function with each of these arguments, side by side, and wait for all; raises as `call` does."""
        if not self.processes:
            return [function(*each) for each in arguments]
        executor = self._running()
        futures: list[Future[T]] = []
        try:
            futures += [executor.submit(_call, function, *each) for each in arguments]
            return [future.result() for future in futures]
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            raise self._ended(executor, error) from error
        finally:
            for future in futures:
                future.cancel()  # after an error, those that have not begun

    def _running(self) -> ProcessPoolExecutor:
        with self._starting:
            if self._closed:
                raise StoppedError(_GIVEN_UP)
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    self.processes, context=get_context("loky"), initializer=_begin, initargs=(os.getpid(),)
                )
            return self._executor

    def _ended(self, executor: ProcessPoolExecutor | None, error: Exception) -> RedriveError:
        """Say why processes are gone: `__exit__` has given them up, or one has died."""
        with self._starting:
            if self._closed:
                return StoppedError(_GIVEN_UP)
            if self._executor is executor:  # else another thread was here before, and new ones are at work
                self._executor = None
        return UnavailableError(
            "a worker process", f"it died ({type(error).__name__}); was there enough memory for {self.processes}?"
        )


def _call(function: Callable[..., T], *arguments: object) -> T:
    """Call a function that may have opened clients of Kafka."""
    try:
        return function(*arguments)
    finally:
        give_back()


def _nothing() -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(b"")
    return future


def _first(under_way: deque[tuple[T, Future[bytes]]]) -> tuple[T, bytes]:
    item, future = under_way.popleft()
    return item, future.result()


def _begin(parent: int) -> None:
    """Make a process leave interrupts to its parent, and end with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_seldom()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()
