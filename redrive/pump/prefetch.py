"""Works ahead: the next transaction is read, transformed and summed up while the last one is being committed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Generator[T, None, None], ahead: int) -> Generator[T, None, None]:
    """Yield what ``items`` yields, made by a thread of its own; at most ``ahead`` are made or ready at any time.

    What ``items`` raises is raised here, in its place. Closing this generator closes ``items``, after the one it is at.
    """
    ready: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
    room = threading.Semaphore(ahead)
    given_up = threading.Event()

    def work() -> None:
        try:
            while room.acquire() and not given_up.is_set():
                ready.put((next(items),))
            items.close()
        except StopIteration:
            ready.put(None)
        except BaseException as error:  # whatever it is, it belongs to whoever asked for the items
            ready.put(error)

    threading.Thread(target=work, name="prefetch", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item[0]
    finally:
        given_up.set()
        room.release()
