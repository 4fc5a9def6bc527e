"""What the explorer changes in the library while it runs: names made from counters, tiny batches, loud errors."""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import redrive.dispatch.dispatcher
import redrive.dispatch.inflight
import redrive.dispatch.standby
import redrive.dispatch.view
import redrive.pump.pump
import redrive.standby.batches
import redrive.standby.log
import redrive.standby.replay
import redrive.standby.streams
import redrive.standby.tidying
from redrive.pump.model import Chunk
from tests.explorer.scenario import Scenario
from tests.explorer.world import World


class _Tokens:
    """Stands in for `uuid`: the n-th token of a process is always the same."""

    @property
    def hex(self) -> str:
        actor = World.current.actor
        assert actor is not None
        actor.process.tokens += 1
        return f"{actor.process.name}#{actor.process.tokens}"

    def uuid4(self) -> _Tokens:
        return self


class _Log:
    """Stands in for the dispatcher's logs: what it would only log is a failed run here."""

    def exception(self, message: str, *args: object) -> None:
        error = sys.exc_info()[1]
        assert error is not None
        frames = traceback.extract_tb(error.__traceback__)
        where = " ← ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(frames[-3:]))
        World.current.fail(f"{message % args}: {type(error).__name__}: {error} ({where})")

    error = exception

    def warning(self, *_: object) -> None:
        pass


def _read_ahead(chunks: Iterator[Chunk], ahead: int) -> Iterator[Chunk]:
    """Stands in for the pump's thread that reads ahead: always as far as it may."""
    pieces: deque[Chunk] = deque()
    for chunk in chunks:
        pieces.append(chunk)
        if len(pieces) > ahead:
            yield pieces.popleft()
    yield from pieces


@contextmanager
def patched(scenario: Scenario) -> Iterator[None]:
    """Have the protocol's classes work with pieces as small as a scenario wants them."""
    with pytest.MonkeyPatch.context() as patch:
        tokens: Any = _Tokens()
        patch.setattr(redrive.standby.log, "uuid", tokens)
        for module in ("dispatcher", "inflight", "standby", "view"):
            patch.setattr(getattr(redrive.dispatch, module), "log", _Log())
        patch.setattr(redrive.dispatch.standby, "BATCH_EVENTS", scenario.batch_events)
        patch.setattr(redrive.standby.streams, "GROUP_EVENTS", 1)
        patch.setattr(redrive.standby.tidying, "DELETE_SLOTS", 1)
        patch.setattr(redrive.pump.pump, "prefetched", _read_ahead)
        if scenario.item_bytes:
            patch.setattr(redrive.standby.batches, "ITEM_BYTES", scenario.item_bytes)
        yield
