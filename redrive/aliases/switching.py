"""The cut-over of producers, and the way back: a name comes to stand for another topic, lane by lane, in order.

See ``redrive/dispatch/destination.py`` for why no event overtakes another. It may be killed anywhere and done again;
so may the replay of any lane, here or by `standby-replay`: whoever opens a lane once the alias is set opens it to the
alias's topic, after the same waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from redrive.aliases.alias import Alias, read_aliases, write_alias
from redrive.aliases.catching_up import CatchingUp
from redrive.aliases.route import nothing_under_way_after
from redrive.config import Config
from redrive.errors import FencedError, StrandedGroupsError, UnavailableError
from redrive.migrations.crossing import Crossing
from redrive.migrations.groups import Groups
from redrive.migrations.survey import copied_so_far
from redrive.pump.readback import ClientConfig, end_offsets
from redrive.standby.drain import LaneResult, drain, open_store
from redrive.standby.lanes import Lane, LaneLog, Topics
from redrive.standby.store import Store
from redrive.standby.writer import Entry, LaneWriter, SystemClock

_AT_ONCE = 8
_AGAIN = 0.2
_COPYING = 5.0
"""Seconds in which what is in consumers' way must be gone, if it is only that the copy is a little behind."""


@dataclass(frozen=True, slots=True)
class Switched:
    """What came of it.

    Attributes:
        alias: what the name stands for now.
        lanes: how many lanes have been opened to its topic.
        stored: events that were published meanwhile, and stored until then.
        seconds: that it took.
        no_places: why consumers can't go over by themselves; empty: they can, or need not.
        brought: the lanes whose stored events this has published, to be proved; then they may be tidied up.
        findings: what the proof of that has found.
        earlier: runs that had done some of it and not proved that → events that were found of theirs.
        unverified: why there is none.
    """

    alias: Alias
    lanes: int
    stored: int
    seconds: float
    no_places: str
    brought: tuple[LaneResult, ...] = ()
    findings: tuple[str, ...] = ()
    unverified: str = ""
    earlier: Mapping[str, int] = field(default_factory=dict)


def switch(
    config: Config,
    alias: Alias,
    *,
    operation: str,
    settle: float = 5.0,
    patience: float = 120.0,
    may_lag: Collection[str] = (),
    check: Callable[[], None] = lambda: None,
    keep: Callable[[Alias], None] = lambda _: None,
) -> Switched:
    """Let a name stand for a topic, and take all producers of the name there. The copy has to go on meanwhile.

    Args:
        config: the platform.
        alias: what it is to stand for.
        operation: id of the operation.
        settle: seconds that brokers may take for what lies in their sockets.
        patience: seconds to wait for a system that does not answer, or for the copy.
        may_lag: consumer groups that need not follow.
        check: called now and then; what it raises ends this.
        keep: keeps a copy of an alias that consumers are about to be told; see ``restoring.py``.

    Raises:
        StrandedGroupsError: other consumer groups could not follow. Nothing was begun: nobody stores.
        UnavailableError: a system did not answer, or the old topic was not copied, within ``patience``.
    """
    cluster = config.topic(alias.name).cluster
    client = config.cluster(cluster).client_config()
    store = open_store(config)
    with _crossing(client, alias, cluster, may_lag, check) as crossing, ThreadPoolExecutor(_AT_ONCE) as pool:
        began = time.monotonic()
        if crossing is None:  # it says all that it will ever say
            keep(alias)
        write_alias(client, alias)
        lanes = _lanes(config, store, cluster, alias)
        owner = f"switch-{operation}-{int(began)}"
        list(pool.map(lambda lane: _divert(config, store, lane, owner, check), lanes))
        diverted = time.monotonic()
        _sleep(nothing_under_way_after(config, settle), check)
        CatchingUp(client, cluster, alias.left, alias.current).wait(patience, check)
        no_places = ""
        if crossing is not None:
            alias, no_places = _with_places(client, alias, cluster, crossing)
            keep(alias)
            write_alias(client, alias)

        def bring_over(lane: Lane) -> LaneResult | None:
            return _bring_over(config, store, lane, alias, operation, settle, diverted, patience, check)

        brought = tuple(result for result in pool.map(bring_over, lanes) if result is not None)
    stored = sum(result.outcome.read for result in brought)
    return Switched(alias, len(lanes), stored, time.monotonic() - began, no_places, brought)


def is_under_way(config: Config, name: str, current: str) -> bool:
    """Say whether a switch of a name to a topic was begun and not ended: then producers store what they publish.

    Raises:
        UnavailableError: Kafka or the standby store does not answer.
    """
    cluster = config.topic(name).cluster
    # One that can't be read is written anew by the same goal, as one that is lost: it must not be in the way of that.
    alias = read_aliases(config.cluster(cluster).client_config()).good.get(name)
    if alias is None or alias.current != current:
        return False
    return bool(_lanes(config, open_store(config), cluster, alias))


def _lanes(config: Config, store: Store, cluster: str, alias: Alias) -> list[Lane]:
    """Return the lanes that are not open to the alias's topic yet."""
    count = Topics(store, cluster).lanes(alias.name, config.topic(alias.name).lanes)
    lanes = [Lane(cluster, alias.name, number) for number in range(count)]
    return [lane for lane in lanes if not _is_over(store, lane, alias)]


def _is_over(store: Store, lane: Lane, alias: Alias) -> bool:
    state = LaneLog(store, lane).state()
    return state.is_main and state.slot > 0 and (state.target or lane.topic) == alias.current


def _divert(config: Config, store: Store, lane: Lane, owner: str, check: Callable[[], None]) -> None:
    """Have producers store what they publish in a lane, as one of them does in an outage."""
    grace = config.standby.gate_refresh
    writer = LaneWriter(store, lane, owner, clock=SystemClock(), grace=grace, seal_wait=15.0)
    while writer.enter(must_divert=True) is not Entry.STANDBY:  # it is sealed: somebody is about to open it
        _sleep(_AGAIN, check)


def _bring_over(  # noqa: PLR0917 (what a lane's replay needs, and when to give up)
    config: Config,
    store: Store,
    lane: Lane,
    alias: Alias,
    operation: str,
    settle: float,
    diverted: float,
    patience: float,
    check: Callable[[], None],
) -> LaneResult | None:
    """Replay a lane until it is open to the alias's topic; give what that came to, if it was not another's doing."""
    until, done = time.monotonic() + patience, None
    while not _is_over(store, lane, alias):
        try:
            done = drain(
                config,
                lane,
                operation=operation,
                settle=settle,
                store=store,
                later=lambda _: None,
                diverted_since=diverted,
            )
        except (UnavailableError, FencedError):
            if time.monotonic() > until:
                raise
            _sleep(_AGAIN, check)
        if LaneLog(store, lane).state().is_main and not _is_over(store, lane, alias):
            # A replay that had begun before the alias was set has opened it to the topic that is being left.
            _divert(config, store, lane, f"switch-{operation}-{time.monotonic_ns()}", check)
            diverted = time.monotonic()
        check()
    return done


@contextmanager
def _crossing(
    client: ClientConfig, alias: Alias, cluster: str, may_lag: Collection[str], check: Callable[[], None]
) -> Iterator[Crossing | None]:
    """Look up where consumers would go over now, before anybody stores: later only what has come since is looked at.

    Of a topic that others have published to, all may have to be read for that. Gives None if nobody needs places.
    """
    if alias.places or alias.unmoved:
        yield None
        return
    copied, returned = _copied(client, alias, cluster)
    with Crossing(client, cluster, alias.left, alias.current, copied, returned, check) as crossing:
        obstacle = _obstacle(crossing, copied)
        if obstacle and not _is_written(client, alias):  # else producers store already, and that is to end first
            stranded = sorted({group.name for group in Groups(client).on(alias.left)} - set(may_lag))
            until = time.monotonic() + _COPYING
            while stranded and obstacle:
                if time.monotonic() > until:
                    raise StrandedGroupsError(alias.left, alias.current, stranded, obstacle, way_back(alias))
                _sleep(_AGAIN, check)
                copied, returned = _copied(client, alias, cluster)
                crossing.renew(copied, returned)
                obstacle = _obstacle(crossing, copied)
        yield crossing


def _obstacle(crossing: Crossing, copied: Mapping[int, int]) -> str:
    """Say why consumers could not go over where the old topic has been copied to now; empty: they could."""
    return next((why for partition, at in copied.items() if (why := crossing.place(partition, at)[1])), "")


def way_back(alias: Alias) -> str:
    """Give the goal of a backfill that brings to the topic that was left what others publish where events go to now."""
    return "feed_back" if alias.current == alias.target else "copy"


def _is_written(client: ClientConfig, alias: Alias) -> bool:
    before = read_aliases(client).good.get(alias.name)
    return before is not None and before.generation == alias.generation


def _copied(client: ClientConfig, alias: Alias, cluster: str) -> tuple[dict[int, int], dict[int, int]]:
    here, there = alias.left, alias.current
    return copied_so_far(client, cluster, here, there), copied_so_far(client, cluster, there, here)


def _with_places(client: ClientConfig, alias: Alias, cluster: str, crossing: Crossing) -> tuple[Alias, str]:
    """Add where consumers leave the old topic and where they go on; or say why that can't be told."""
    copied, returned = _copied(client, alias, cluster)
    crossing.renew(copied, returned)
    places: dict[int, tuple[int, int]] = {}
    for partition, end in enumerate(end_offsets(client, alias.left)):
        at = copied.get(partition, end)  # what was never copied is empty
        place, obstacle = crossing.place(partition, at)
        if obstacle:
            return alias, obstacle
        places[partition] = (at, place)
    return msgspec.structs.replace(alias, places=places), ""


def _sleep(seconds: float, check: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check()
        time.sleep(min(left, 0.5))
