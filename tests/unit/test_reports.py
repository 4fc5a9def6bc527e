"""What people read about a replay: plans, progress, verdicts."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from typing import Literal

import pytest

from redrive.pump.proof import Proof
from redrive.pump.pump import Outcome, Progress
from redrive.standby.drain import LaneResult
from redrive.standby.lanes import Lane
from redrive.standby.schema_ids import SchemaIds
from redrive.standby.survey import LaneBacklog
from tasks.board import Board
from tasks.operations import Run
from tasks.pictures import bars, curve
from tasks.side_by_side import Stop
from tasks.standby_replay.drain import LaneEnd
from tasks.standby_replay.plan import make_plan
from tasks.standby_replay.plan_report import headline, plan_text, schemas_line
from tasks.standby_replay.report import Ending, report_text
from tasks.words import cell, duration, size, table

NOW = 1_800_000_000_000


def lane(number: int, events: int = 100, *, topic: str = "orders", doubtful: int = 0) -> LaneBacklog:
    where = Lane("main", topic, number)
    if not events:
        return LaneBacklog(where, "open")
    return LaneBacklog(where, "divert", (1,), 1, 1, events, events * 10, NOW - 60_000, doubtful)


def end(
    number: int, how: Literal["open"] | Stop = "open", *, read: int = 100, published: int = 100, reason: str = ""
) -> LaneEnd:
    backlog = lane(number)
    outcome = Outcome(read, published, {}, {}, 1_000, 1.0, {}, None, 0.1)
    return LaneEnd(backlog, how, LaneResult(backlog.lane, outcome, (1,)) if how == "open" else None, reason)


def ending(*ends: LaneEnd, proof: Proof | None = None, unverified: str = "", pace: str = "full speed") -> Ending:
    good = Proof("proved", [], {each.backlog.lane.unit: 100 for each in ends}, 100, 0.5)
    proofs = {("main", "orders"): proof or good}
    return Ending(
        ends=ends, proofs=proofs, earlier=[], unverified=unverified, drain_seconds=2.0, started_pace=pace, changes=[],
        left_out=[],
    )  # fmt: skip


def a_run() -> Run:
    """What a report says of a run; nothing of it is asked for by Prefect or the ledger."""
    run = Run.__new__(Run)
    run.id, run.job, run.url, run.who = "op-1", "standby-replay", "", "somebody"
    return run


def test_a_plan_counts_only_lanes_that_are_not_open() -> None:
    plan = make_plan([lane(0), lane(1, 0), lane(2, 50)], SchemaIds(), rate=None, earlier=[], now=NOW)
    assert (plan.events, len(plan.lanes), len(plan.open)) == (150, 2, 1)
    assert headline(plan) == "150 events in 2 lanes of 1 topic, 1.5 KB; estimated time unknown"


def test_the_time_is_estimated_by_the_slower_of_rate_and_measured_speed() -> None:
    plan = make_plan([lane(0, 1_000)], SchemaIds(), rate=50, earlier=[], now=NOW)
    assert plan.seconds == 20


def test_a_plan_says_how_much_was_looked_at_and_what_the_registry_does_not_know() -> None:
    schemas = SchemaIds({1: 40, 7: 2}, without=3, unknown=(7,))
    plan = make_plan([lane(0, 100)], schemas, rate=None, earlier=[], now=NOW)
    assert schemas_line(plan) == (
        "id 1: 40, id 7: 2; 3 without one (tombstones or unframed); **unknown to the registry: 7** "
        "(looked at the first 45 of 100 events)"
    )
    assert "> **The registry does not know schema id 7.**" in plan_text(plan, "digest", "plan")


def test_a_registry_that_does_not_answer_is_no_obstacle_but_is_said() -> None:
    plan = make_plan([lane(0)], SchemaIds({1: 1}, not_asked="it is down"), rate=None, earlier=[], now=NOW)
    assert "could not be checked: it is down" in plan_text(plan, "digest", "run")


def test_all_open_and_all_found_is_proved() -> None:
    result = ending(end(0), end(1))
    assert (result.status, result.verdict) == ("done", "proved")
    assert result.headline == ("200 events back in Kafka, each once, in order, unchanged; 2 lanes open again; 2.0 s")


def test_a_plan_warns_of_events_that_are_older_than_their_topic_keeps_any() -> None:
    hour = 3_600_000
    waiting = [lane(0)]
    name = (waiting[0].lane.cluster, waiting[0].lane.topic)
    assert waiting[0].oldest is not None
    age = NOW - waiting[0].oldest
    plan = make_plan(waiting, SchemaIds(), rate=None, earlier=[], now=NOW, retention={name: age - 1})
    assert plan.expiring == {name: age - 1}
    assert "brokers may delete them soon after the replay" in plan_text(plan, "digest", "plan")
    plan = make_plan(waiting, SchemaIds(), rate=None, earlier=[], now=NOW, retention={name: age + hour})
    assert "brokers may delete" not in plan_text(plan, "digest", "plan")


def test_one_finding_makes_the_verdict_red() -> None:
    result = ending(end(0), proof=Proof("failed", ["orders: 3 events are missing"], {}, 97, 0.5))
    assert (result.status, result.word, result.headline) == ("failed", "failed", "orders: 3 events are missing")


def test_what_its_sender_has_sent_again_is_told_and_no_fault() -> None:
    result = ending(end(0), proof=Proof("proved", [], {end(0).backlog.lane.unit: 100}, 101, 0.5, repeated=2))
    assert result.verdict == "proved"
    assert "sent again by their senders | 2 (" in report_text(a_run(), result)
    assert result.evidence()["topics"][0]["repeated"] == 2
    assert "sent again" not in report_text(a_run(), ending(end(0)))


def test_what_was_read_must_add_up() -> None:
    result = ending(end(0, read=100, published=99))
    assert result.verdict == "failed"
    assert "do not add up" in result.headline


def test_a_cluster_that_went_away_again_pauses_without_a_verdict() -> None:
    result = ending(end(0), end(1, "paused", reason="Kafka 127.0.0.1:9092 is unavailable"))
    assert (result.status, result.verdict) == ("paused", None)
    assert "1 of 2 lanes not finished, nothing lost: orders[1]: Kafka 127.0.0.1:9092" in result.headline


def test_a_lane_that_failed_outweighs_one_that_paused() -> None:
    result = ending(end(0, "paused", reason="away"), end(1, "failed", reason="slots 3 to 4 are missing"))
    assert (result.status, result.verdict) == ("failed", "failed")
    assert result.headline == "orders[1]: slots 3 to 4 are missing"


def test_what_could_not_be_read_back_is_not_called_proved() -> None:
    result = ending(end(0), unverified="Kafka is unavailable")
    assert (result.status, result.verdict) == ("failed", None)


@pytest.mark.parametrize(("read", "pace", "speed"), [(10_000, "full speed", 5_000), (10, "full speed", None),
                                                      (10_000, "at most 500 events/s", None)])  # fmt: skip
def test_a_speed_is_kept_only_if_it_tells_something(read: int, pace: str, speed: float | None) -> None:
    assert ending(end(0, read=read, published=read), pace=pace).speed == speed


def test_a_board_sums_up_its_lanes() -> None:
    board = Board({each.lane: each.events for each in (lane(0, 100), lane(1, 300))})
    board.moved(Lane("main", "orders", 0), Progress(50, 40, 5, 5, 10.0, 5.0, "", 0.1))
    totals = board.totals()
    assert (totals.total, totals.read, totals.published, totals.skipped, totals.parked) == (400, 50, 40, 5, 5)
    assert totals.percent == 12.5


def test_trouble_is_over_as_soon_as_events_move() -> None:
    board, where = Board({lane(0).lane: 1}), Lane("main", "orders", 0)
    board.no_answer(where, "it is down")
    assert board.trouble_seconds(where) > 0
    board.moved(where, Progress(1, 1, 0, 0, 1.0, None, "", 0.1))
    assert board.trouble_seconds(where) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "unknown"), (0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (60, "1 min"), (61, "1 min 1 s"),
     (3_600, "1 h"), (5_430, "1 h 30 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_sizes_have_the_unit_that_suits() -> None:
    assert [size(value) for value in (0, 999, 1_000, 1_234_567, 5e12)] == ["0 B", "999 B", "1.0 KB", "1.2 MB", "5.0 TB"]


def test_no_value_breaks_out_of_its_table_cell() -> None:
    assert cell("a|b\nc") == "a\\|b c"
    assert table(["x"], [["1 | 2"]]).splitlines()[-1] == "| 1 \\| 2 |"


def test_pictures_are_well_formed_whatever_the_names_and_numbers() -> None:
    pictures = [
        bars("backlog", [("<b>&'\"", 0, 0, "none"), ("x" * 500, 1e12, 5, "many")]),
        bars("nothing", []),
        curve("speed", [(0, 0), (1, 0), (2, 0)], "events/s"),
        curve("speed", [(0, 0), (1, 5), (2, 3)], "<events>"),
    ]
    for picture in pictures:
        found = re.fullmatch(r"!\[[^]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", picture)
        assert found is not None
        ET.fromstring(base64.b64decode(found[1]))


def test_many_bars_are_cut_to_the_largest_and_that_is_said() -> None:
    assert "The 24 largest; 76 more are not drawn." in bars("b", [(str(n), n, 0, "") for n in range(100)])
