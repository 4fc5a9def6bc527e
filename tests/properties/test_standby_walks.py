"""Beyond what is explored exhaustively: any scenario, any schedule, as Hypothesis thinks them up, and shrinks them."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from redrive.dispatch import DispatchSettings
from tests.explorer.explore import broken, schedule
from tests.explorer.scenario import Producer, Scenario

EXAMPLES = 30_000 if os.environ.get("REDRIVE_EXPLORE") == "long" else 250

TROUBLES = (
    *("nap", "kill", "tick", "fail", "lose", "outage", "up", "unconfirmed", "confirm", "fatal"),
    *("commit fail", "commit lose"),
)

words = st.sampled_from(("a", "a", "aa", "d", "a.", "a-", "-", "--", ".", "(Aa1)", "(Ba1)", "(Aa2)", "(Ba2)"))
scripts = st.lists(words, min_size=1, max_size=6).map("".join)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Draw who is there, what they do, and what may go wrong."""
    threads = draw(st.booleans())
    producers = [Producer("A", draw(scripts), threads=threads), Producer("B", draw(scripts), threads=threads)]
    if draw(st.booleans()):
        producers.append(Producer("A2", draw(scripts), after="A", threads=threads))
    outages = [("appended", draw(st.integers(0, 2)), draw(st.integers(2, 6)))]
    if draw(st.booleans()):
        kind = draw(st.sampled_from(("commits", "appended")))
        outages.append((kind, draw(st.integers(1, 6)), draw(st.integers(2, 6))))
    batch_events = draw(st.integers(1, 2))
    return Scenario(
        "drawn",
        tuple(producers),
        replays=draw(st.integers(0, 2)),
        limits={trouble: draw(st.integers(0, 2)) for trouble in TROUBLES},
        killable=("A", "B", "R1", "R2"),
        outages=tuple(outages),
        noticed=draw(st.booleans()),
        lanes=draw(st.integers(1, 2)),
        settings=DispatchSettings(
            divert_after=draw(st.sampled_from((1.0, 2.0, 4.0))),
            gate_refresh=draw(st.sampled_from((1.0, 3.0))),
            gate_strict=True,
            seal_wait=draw(st.sampled_from((1.0, 3.0))),
            publish_timeout=draw(st.sampled_from((1e9, 3.0))),
            max_unacknowledged=2 if threads and draw(st.booleans()) else 100,
            block_timeout=1e9,
        ),
        patience=4,
        quick=draw(st.sampled_from((0, 100))),
        nap=draw(st.sampled_from((1, 2, 4, 8))),
        prefetch=draw(st.integers(0, 2)),
        together=draw(st.booleans()),
        batch_events=batch_events,
        item_bytes=draw(st.sampled_from((0, 28))),
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios(), st.dictionaries(st.integers(0, 250), st.integers(1, 7), max_size=12))
def test_whatever_happens_when_each_acknowledged_event_arrives_once_and_in_order(
    scenario: Scenario, picks: dict[int, int]
) -> None:
    reason = broken(scenario, picks)
    if reason:
        note("\n".join(schedule(scenario, picks)))
    assert not reason
