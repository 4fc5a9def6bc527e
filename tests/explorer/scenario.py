"""What a scenario is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from redrive.dispatch import DispatchSettings

SETTINGS = DispatchSettings(
    divert_after=2.0, gate_refresh=1.0, gate_strict=True, seal_wait=2.0, publish_timeout=1e9, block_timeout=1e9
)


@dataclass(frozen=True)
class Producer:
    """A producer and what it does.

    Attributes:
        name: its instance's name.
        script: a letter publishes an event with that key; ``.`` waits until all so far are acknowledged; ``-`` lets it
            tick once; ``(Aa1)`` waits until event ``Aa1`` is acknowledged, at most ``patience`` seconds. An event is
            named by producer, key and number.
        after: begin only once this process has ended.
        threads: True: publisher, ticker and workers interleave; False: one thread does all.
        ahead: milliseconds by which its calendar is ahead.
    """

    name: str
    script: str
    after: str = ""
    threads: bool = False
    ahead: int = 0


@dataclass(frozen=True)
class Scenario:
    """A small world: who is there and what may go wrong.

    Attributes:
        producers: see `Producer`.
        replays: how many replays of the lane start by themselves once it is diverted.
        limits: how often each kind of trouble may happen, see `World`.
        killable: processes that may be killed; a replay that was killed is started again as ``NAME+``.
        outages: see `ModelKafka`.
        lost: ids of events whose confirmation by Kafka is lost.
        noticed: see `ModelKafka`.
        lanes: lanes of the topic, and its partitions; of two, keys ``a`` and ``d`` use one each.
        settings: the dispatchers' settings.
        quick: `LaneReplay`'s.
        skew: `LaneReplay`'s.
        nap: seconds that one sleeps who is made to.
        patience: seconds that a producer waits for another's acknowledgement.
        together: True: a transaction carries all there is; False: one event.
        batch_events: events in a batch.
        item_bytes: bytes of a batch that fit into a slot; 0: all.
        prefetch: chunks that a replay reads ahead.
        guess: lanes that the topic has by the producers' settings; 0: as many as it has in the table.
        at_once: see `ModelStore`.
        table_away: see `ModelStore`.
        across: whether order between producers is promised.
    """

    name: str
    producers: tuple[Producer, ...]
    replays: int = 1
    limits: dict[str, int] = field(default_factory=dict)
    killable: tuple[str, ...] = ()
    outages: tuple[tuple[str, int, int], ...] = (("appended", 0, 3),)
    lost: tuple[str, ...] = ()
    noticed: bool = False
    lanes: int = 1
    settings: DispatchSettings = SETTINGS
    quick: int = 0
    skew: float = 0.0
    nap: int = 4
    patience: int = 15
    together: bool = False
    batch_events: int = 1
    item_bytes: int = 0
    across: bool = True
    prefetch: int = 0
    guess: int = 0
    at_once: str = "topics|"
    table_away: int = 0

    @property
    def may_give_up(self) -> bool:
        """Tell whether a producer may give an event up."""
        return self.settings.publish_timeout < 1e6
