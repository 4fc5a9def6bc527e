"""The small worlds that are explored; each is about one thing that can go wrong."""

from __future__ import annotations

from dataclasses import replace

from tests.explorer.scenario import SETTINGS, Producer, Scenario

SCENARIOS = (
    Scenario(
        "one producer through an outage and back",
        (Producer("A", "aa.a-a"),),
        outages=(("appended", 1, 3),),
        limits={"nap": 1, "kill": 1, "unconfirmed": 1},
        killable=("A", "R1"),
    ),
    Scenario(
        "two producers, the same key",
        (Producer("A", "a.a"), Producer("B", "a.a")),
        limits={"nap": 1, "kill": 1, "tick": 1},
        killable=("A", "B"),
    ),
    Scenario(
        "an event is stored and acknowledged while another producer's view is young",
        (Producer("B", "a.(Aa1)a"), Producer("A", "a.")),
        outages=(("appended", 1, 3),),
        replays=0,
        settings=replace(SETTINGS, gate_refresh=10.0),
        limits={"nap": 1, "tick": 1},
    ),
    Scenario(
        "events are stored in two streams while a round reads them",
        (Producer("A", "a.---a"), Producer("B", "a.(Aa2)a")),
        outages=(("appended", 0, 5),),
        limits={"nap": 1},
        nap=6,
    ),
    Scenario(
        "a divert is learned of from the gate, with events in flight",
        (Producer("A", "a.a"), Producer("B", "---a-a-a")),
        outages=(("appended", 0, 9),),
        settings=replace(SETTINGS, divert_after=4.0),
        limits={"nap": 1, "tick": 1, "unconfirmed": 1, "confirm": 1, "up": 1},
    ),
    Scenario(
        "a producer is killed, and a new instance goes on",
        (Producer("A", "aa.a"), Producer("A2", "aa", after="A")),
        outages=(("appended", 1, 4),),
        limits={"kill": 1, "nap": 1},
        killable=("A",),
    ),
    Scenario(
        "two replays at once",
        (Producer("A", "aa.a"),),
        replays=2,
        outages=(("appended", 0, 5),),
        limits={"nap": 2},
    ),
    Scenario(
        "a replay is killed at each step and started again",
        (Producer("A", "a.aa"), Producer("B", "a")),
        outages=(("appended", 0, 5),),
        limits={"kill": 1, "nap": 1},
        killable=("R1",),
    ),
    Scenario(
        "a replay of large transactions is killed at each step and started again",
        (Producer("A", "a.aa"), Producer("B", "a")),
        outages=(("appended", 0, 5),),
        limits={"kill": 1, "nap": 1},
        killable=("R1",),
        together=True,
    ),
    Scenario(
        "a second outage in the middle of the replay",
        (Producer("A", "aa.---a-a"),),
        outages=(("appended", 0, 4), ("commits", 2, 5)),
        limits={"nap": 1, "kill": 1, "tick": 1},
        killable=("R1",),
    ),
    Scenario(
        "the next epoch begins before the last one is published",
        (Producer("A", "aa.--a.-a"), Producer("B", "(Aa4)a")),
        outages=(("appended", 0, 4), ("commits", 1, 4), ("commits", 2, 7)),
        quick=100,
        limits={"nap": 1, "kill": 1, "tick": 1},
        killable=("R1",),
    ),
    Scenario(
        "a producer sleeps through seal, open and the next epoch",
        (Producer("A", "a.---a.a"), Producer("B", "a.(Aa2)a")),
        outages=(("appended", 0, 4),),
        limits={"nap": 2},
        nap=9,
    ),
    Scenario(
        "the table does not answer, or its answers are lost",
        (Producer("A", "aa.a"),),
        outages=(("appended", 0, 4),),
        limits={"fail": 1, "lose": 1, "nap": 1},
    ),
    Scenario(
        "the table fails for one of two producers",
        (Producer("A", "a.a"), Producer("B", "a.(Aa1)a")),
        outages=(("appended", 0, 4),),
        limits={"fail": 1, "lose": 1, "nap": 1},
    ),
    Scenario(
        "the table is away when a topic is first used, and has more lanes of it than the settings say",
        (Producer("A", "ad.ad"),),
        outages=(("appended", 1, 4),),
        settings=replace(SETTINGS, gate_strict=False),
        limits={"fail": 2, "nap": 1, "unconfirmed": 1},
        lanes=2,
        guess=1,
        at_once="",
    ),
    Scenario(
        "lanes are cut anew while Kafka has events of them",
        (Producer("A", "a-------d-d"),),
        outages=(("appended", 0, 5), ("time", 7, 13)),
        settings=replace(SETTINGS, gate_strict=False, divert_after=4.0),
        limits={"nap": 1, "unconfirmed": 1, "tick": 1},
        replays=0,
        guess=2,
        at_once="",
        table_away=9,
    ),
    Scenario(
        "a replay reads ahead",
        (Producer("A", "a.aa"), Producer("B", "a")),
        outages=(("appended", 0, 5),),
        limits={"kill": 1, "nap": 1},
        killable=("R1",),
        replays=2,
        prefetch=2,
    ),
    Scenario(
        "a commit is not confirmed",
        (Producer("A", "a.aa"),),
        outages=(("appended", 0, 5),),
        limits={"commit fail": 1, "commit lose": 1, "nap": 1},
    ),
    Scenario(
        "events in doubt that landed, and some that did not",
        (Producer("A", "aaa.a"), Producer("B", "a")),
        outages=(("appended", 2, 3),),
        lost=("Aa1", "Aa2", "Ba1"),
        limits={"nap": 1, "kill": 1, "unconfirmed": 1},
        killable=("A", "R1"),
    ),
    Scenario(
        "Kafka refuses one of several events under way",
        (Producer("A", "aaa.a"), Producer("B", "a")),
        outages=(),
        limits={"refuse": 1, "nap": 1, "kill": 1},
        killable=("A", "R1"),
    ),
    Scenario(
        "batches cut in parts, stored in part",
        (Producer("A", "aa.aa"), Producer("B", "a")),
        replays=2,
        outages=(("appended", 0, 4),),
        batch_events=2,
        item_bytes=28,
        limits={"nap": 1, "kill": 1, "lose": 1},
        killable=("A", "R1"),
    ),
    Scenario(
        "clocks disagree",
        (Producer("A", "a.a", ahead=3000), Producer("B", "a.a", ahead=-3000)),
        limits={"nap": 1, "tick": 1},
        across=False,
    ),
    Scenario(
        "two lanes",
        (Producer("A", "adad"), Producer("B", "ad")),
        lanes=2,
        limits={"nap": 1, "unconfirmed": 1},
    ),
    Scenario(
        "threads of one producer",
        (Producer("A", "aa.a-a", threads=True),),
        outages=(("appended", 1, 3),),
        limits={"nap": 1, "unconfirmed": 1},
    ),
    Scenario(
        "a look at the lanes takes long while a thread beside it diverts one",
        (Producer("B", "d"), Producer("A", "-a---a", threads=True)),
        lanes=2,
        replays=0,
        settings=replace(SETTINGS, gate_refresh=4.0),
        limits={"nap": 1},
        nap=1,
    ),
    Scenario(
        "threads of two producers",
        (Producer("A", "a.a", threads=True), Producer("B", "a.a", threads=True)),
        limits={"nap": 1},
    ),
)

REQUEST_LANDS_LATE = Scenario(
    "a request that was taken back lies in a socket and lands late",
    (Producer("A", "aa.a"),),
    limits={"late": 1, "nap": 1},
)
"""Beyond the guarantee: nothing on a client can recall it (see the design's "In-doubt events")."""

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
