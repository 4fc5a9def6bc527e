"""The replay of one lane: everything that its producers stored, back into Kafka, in order, and the lane reopened.

`LaneReplay` decides *what* comes next and *when* a lane may be sealed and opened; it is a `Source` for the pump,
which publishes chunks together with the cursor that says how far they reach. It may be killed anywhere, and two of it
may run at once: what is published is decided by the cursor inside Kafka's transactions alone, seals are harmless at any
time, and `open` and deletions only ever follow from a committed cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial

import msgspec

from redrive.envelope import Identity
from redrive.events import Event
from redrive.pump.model import Chunk
from redrive.standby.batches import Stored
from redrive.standby.cursor import Cursor, decode, go_on, see_that_table_is_not_behind
from redrive.standby.lanes import DIVERT, OPEN, Gate, Lane, LaneLog
from redrive.standby.log import SEAL, seal
from redrive.standby.lookup import Doubtful, identity_of
from redrive.standby.store import Store
from redrive.standby.streams import Position, StreamReader, merge
from redrive.standby.tidying import tidy
from redrive.standby.writer import Clock

Lookup = Callable[[Lane, Sequence[Doubtful]], Set[Identity]]
"""Tells which of some events are, or were, in their topic; those of a producer come in the order of its stream."""

ROUNDS = 20
"""Rounds after which a lane is sealed, however long they take."""

QUICK = 3.0
"""Seconds; a fifth of what producers wait for a sealed lane to open, unless they are set otherwise."""

Later = Callable[[Callable[[], None]], object]
"""Calls something, now or later, here or elsewhere."""


class LaneReplay:
    """Yields what a lane's streams hold, oldest epoch first, merged by acceptance time.

    Order *within* a stream is the stream's own and depends on no clock. *Between* streams it is the order of
    acceptance, as far as the producers' clocks agree: within ``skew``.

    Use: `next_epoch` → publish all of `chunks` → `open`, until there is no next epoch. One such turn is a *round*. It
    takes what was there when it began, so each leaves less to the next. Producers wait while their lane is sealed; so
    that is done between two rounds, with nothing under way, after one that was quick: the last one will be, too.

    Args:
        store: the standby table.
        lane: which lane.
        lookup: finds events that may be in Kafka already, and are.
        clock: time.
        owner: who seals and opens, for the log.
        skew: seconds by which clocks of producers and replays may differ.
        settle: seconds for which doubtful events are left alone once the cluster is well again, and after they were
            accepted: for a produce request that still lies in the socket of a broker that was paused.
        well_since: since when the cluster has answered, by the clock's monotonic time; None: since now.
        check: called about once a second while that is waited for; what it raises ends the wait.
        later: calls what tidies up, once the lane is open; no producer has to wait for that.
        target: the topic that the lane is opened to; empty: its own.
        ready: waits until events that have been read may be published; called before they are looked up or published,
            and before the lane is sealed and opened.
        quick: seconds in which a round must have been read and published for the lane to be sealed.

    Attributes:
        doubtful: the events that were looked up.
    """

    def __init__(
        self,
        store: Store,
        lane: Lane,
        lookup: Lookup,
        *,
        clock: Clock,
        owner: str,
        skew: float = 1.0,
        settle: float = 5.0,
        quick: float = QUICK,
        well_since: float | None = None,
        check: Callable[[], None] = lambda: None,
        later: Later = lambda tidy: tidy(),
        target: str = "",
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.lane = lane
        self.doubtful: set[Identity] = set()
        self._store = store
        self._log = LaneLog(store, lane)
        self._gate = Gate(store, lane.cluster)
        self._lookup = lookup
        self._clock = clock
        self._owner = owner
        self._skew_ms = int(skew * 1000)
        self._settle = settle
        self._well_since = clock.monotonic() if well_since is None else well_since
        self._check = check
        self._later = later
        self._target = target
        self._ready = ready
        self._quick = quick
        self._cursor = Cursor()
        self._epoch: int | None = 0
        self._rounds = 0
        self._round_began = 0.0
        self._present: set[Identity] = set()
        self._checked: dict[str, int] = {}

    def next_epoch(self, cursor: bytes | None) -> int | None:
        """Return the oldest epoch that is not both published and left behind; None if the lane is open.

        Args:
            cursor: the last committed one.

        Raises:
            TableBehindError: the table was restored to an earlier moment, and it can't be told what is published.
            NotOpenError: nothing is left to replay, and the lane is not open.
        """
        where = self._go_on(cursor)
        return None if where is None else where.epoch

    def is_open(self) -> bool:
        """Tell whether producers use Kafka now."""
        return self._log.state().is_main

    def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
        """Yield one round of the next epoch from ``cursor`` on: the last one, if the lane can be, or is, sealed.

        If there is no next epoch, tidy up.
        """
        where = self._go_on(cursor)
        epoch = None if where is None else where.epoch
        if epoch != self._epoch:
            if where is not None:
                see_that_table_is_not_behind(self._store, self._log, where)
            self._epoch, self._rounds = epoch, 0
            self._present.clear()
            self._checked.clear()
        if where is None:
            self._later(partial(tidy, self._store, self.lane, self._check))
            return
        self._cursor = where
        now = self._clock.monotonic()
        state = self._log.state()
        quick = self._rounds > 0 and now - self._round_began <= self._quick
        if quick or self._rounds >= ROUNDS or state.epoch > where.epoch or state.kind == SEAL:
            self._ready()  # else producers would wait for it, with their lane sealed
            self._seal()
            yield from self._round(horizon=None)
        else:
            self._rounds += 1
            self._round_began = now
            yield from self._round(horizon=self._clock.now_ms() - self._skew_ms)

    def committed(self, cursor: bytes) -> None:
        """Do nothing: what is published is deleted once the lane is open, when nobody waits."""

    def open(self, cursor: bytes | None) -> bool:
        """Tell the producers that all of the epoch is published; False if one has started the next epoch meanwhile.

        Args:
            cursor: the last committed one; nothing is done unless it stands at the seal of every stream.
        """
        state = self._log.state()
        if state.kind != SEAL:
            return False
        where = self._go_on(cursor)
        if where is None or state.epoch != where.epoch or not self._is_published(where):
            return False
        self._ready()
        if not self._log.extend(state, OPEN, where.epoch, self._owner, self._target):
            return False
        self._gate.bump()
        return True

    def _go_on(self, cursor: bytes | None) -> Cursor | None:
        return go_on(self.lane, self._log.entries(), decode(cursor), self._is_published)

    def _is_published(self, cursor: Cursor) -> bool:
        streams = cursor.streams
        return all(p in streams and streams[p].ended for p in self._log.producers(cursor.epoch))

    def _seal(self) -> None:
        """Seal the lane's log, so that no stream can join the epoch, and then each of its streams."""
        epoch = self._cursor.epoch
        state = self._log.state()
        while state.kind == DIVERT and state.epoch == epoch and not self._log.extend(state, SEAL, epoch, self._owner):
            state = self._log.state()
        for producer in self._log.producers(epoch):
            seal(self._store, self.lane.stream(epoch, producer), self._owner)

    def _round(self, horizon: int | None) -> Iterator[Chunk]:
        """Yield, merged by acceptance, what was accepted before ``horizon`` and is stored by now.

        The horizon is noted before anything is read. What was accepted after it stays for the next round: else an event
        that was stored in one stream after that was read could be overtaken by a later one in a stream read after.
        """
        epoch = self._cursor.epoch
        producers = self._log.producers(epoch)
        self._look_up(producers)
        readers = [
            StreamReader(
                self._store,
                self.lane.stream(epoch, producer),
                producer,
                self._cursor.streams.get(producer) or Position(),
                horizon=horizon,
                checked=self._checked.get(producer, 0),
            )
            for producer in producers
        ]
        before = msgspec.msgpack.encode(self._cursor)
        for group in merge(readers):
            events: list[Event] = []
            present = 0
            for taken in group:
                origin = f"{self.lane.unit}/{epoch}.{taken.producer}/{taken.slot}/"
                for index, stored in enumerate(taken.events, taken.first):
                    if stored.doubtful and identity_of(stored) in self._present:
                        present += 1
                    else:
                        events.append(self._event(stored, f"{origin}{index}"))
            self._cursor.streams.update((reader.producer, reader.position) for reader in readers)
            cursor = msgspec.msgpack.encode(self._cursor)
            if cursor != before:
                before = cursor
                if events:
                    self._ready()
                yield Chunk(events, cursor, {"in the topic already": present} if present else None)

    def _event(self, stored: Stored, origin: str) -> Event:
        return Event(
            stored.id,
            self.lane.topic,
            stored.key,
            stored.value,
            stored.headers,
            stored.accepted,
            stored.partition,
            origin,
        )

    def _look_up(self, producers: Sequence[str]) -> None:
        """Find out which of the doubtful events are in the topic, before any of them is published.

        A producer takes events back from Kafka as it enters an epoch, so they lead its stream; a batch of them that
        comes after this look stays for the next round (see `StreamReader`).
        """
        doubtful: list[Doubtful] = []
        for producer in producers:
            start = self._cursor.streams.get(producer) or Position()
            if start.ended:
                continue
            after = max(start.slot, self._checked.get(producer, 0))
            found = StreamReader.doubtful(self._store, self.lane.stream(self._cursor.epoch, producer), after)
            for number, batch in found:
                doubtful += [Doubtful.of(producer, stored) for stored in batch if stored.doubtful]
                self._checked[producer] = number
        if doubtful:
            self._let_settle(max(each.accepted for each in doubtful))
            self._ready()
            self._present |= self._lookup(self.lane, doubtful)
            self.doubtful |= {each.identity for each in doubtful}

    def _let_settle(self, accepted: int) -> None:
        """Wait until what a broker had in its sockets when it came back, or was sent there last, is in the topic."""
        since_well = self._clock.monotonic() - self._well_since
        since_accepted = (self._clock.now_ms() - accepted) / 1000
        left = self._settle - max(0.0, min(since_well, since_accepted))
        while left > 0:
            self._check()
            self._clock.sleep(min(left, 1.0))
            left -= 1.0
