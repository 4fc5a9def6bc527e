"""Reads ahead: the next pieces of a source come while the last ones are being committed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from redrive.pump.model import Chunk


def prefetched(chunks: Iterator[Chunk], ahead: int) -> Iterator[Chunk]:
    """Yield what ``chunks`` yields, read by a thread of its own, at most ``ahead`` pieces early.

    What ``chunks`` raises is raised here, in its place. Closing the generator ends the thread at its next piece.
    """
    pieces: queue.Queue[Chunk | BaseException | None] = queue.Queue(ahead)
    given_up = threading.Event()

    def put(item: Chunk | BaseException | None) -> bool:
        while not given_up.is_set():
            try:
                pieces.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for chunk in chunks:
                if not put(chunk):
                    return
        except BaseException as error:  # whatever it is, it belongs to whoever asked for the chunks
            put(error)
        else:
            put(None)

    thread = threading.Thread(target=read, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := pieces.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        given_up.set()
