"""From facts to a verdict, and from one look to the next: what is wrong, what to do, and who is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redrive.cli.health import _document, _rows
from redrive.health.changes import BACKLOG, RECOVERED, UNAVAILABLE, UNWELL, changes, look_of
from redrive.health.facts import Books, ClusterState, Disks, Facts, Lag, Standby, Stayed, Unknown
from redrive.health.judging import Health, judge
from redrive.ledger import Look
from redrive.ledger.runs import Hold, LastRun
from redrive.partitions.state import BrokerState, LogDirs
from tasks.cluster_health.report import headline, report_text
from tasks.cluster_health.steps import artifact_key

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
GB = 10**9
AWAY = Unknown("listing brokers: NoBrokersAvailable")


def state(*, up: int = 3, down: int = 0, **more: Any) -> ClusterState:
    brokers = {id_: BrokerState(id_, None, up=id_ <= up) for id_ in range(1, up + down + 1)}
    given: dict[str, Any] = {
        "controller": 1, "partitions": 12, "leaders": dict.fromkeys(range(1, up + 1), 4),
        "topics": frozenset({"orders", "menus", "others"}), "without_leader": (), "under_min_isr": (),
        "under_replicated": (), "moving": (),
    }  # fmt: skip
    return ClusterState(brokers, **given | more)


def disks(free: float = 0.5) -> Disks:
    return Disks({id_: LogDirs({}, 100 * GB, int(free * 100 * GB)) for id_ in (1, 2, 3)}, ())


def run(status: str, job: str = "standby-replay", id_: str = "0b1c2d3e4f") -> LastRun:
    return LastRun(id_, job, "run", status, None, "east", "anna", NOW, None, None, NOW)


OPEN = Standby(lanes=6, diverted=0, events=0, bytes=0, oldest=None)
WAITING = Standby(lanes=6, diverted=4, events=1_200, bytes=90_000, oldest=NOW - timedelta(minutes=7))
GOOD = Facts(
    cluster="east", at=NOW, seconds=0.4, ours=frozenset({"orders", "menus"}), state=state(), disks=disks(),
    lags=(Lag("billing", 0, 1, 2),), standby=OPEN, books=Books({}, {}, (), ()),
)  # fmt: skip


ORDERS = Stayed(
    name="orders", topic="orders", current="orders.v2", target="orders.v2", generation=1, events=3,
    since=int((NOW - timedelta(hours=5)).timestamp() * 1000), last=int((NOW - timedelta(minutes=9)).timestamp() * 1000),
    read_to={0: 40}, latest={0: 39}, is_copied=False, is_whole=True,
)  # fmt: skip


def found(**parts: Any) -> Health:
    return judge(replace(GOOD, **parts))


def test_a_cluster_with_nothing_wrong_is_well() -> None:
    assert found().verdict == "well"
    assert found().reasons == ()


def test_a_topic_that_producers_have_left_may_be_deleted() -> None:
    without = state(topics=frozenset({"orders"}))
    assert found(state=without, deleted=frozenset({"menus"})).verdict == "well"
    assert found(state=without, deleted=frozenset({"others"})).verdict == "unwell"


@pytest.mark.parametrize(
    ("parts", "what", "way_out"),
    [
        ({"state": AWAY}, "does not answer", "start its brokers"),
        ({"state": state(without_leader=(("orders", 3),))}, "orders/3 is without a leader", "start the brokers"),
        ({"state": state(under_min_isr=(("orders", 3), ("menus", 0)))}, "orders/3, menus/0 are under min", "start"),
    ],
)
def test_it_is_unavailable_when_events_of_its_topics_can_not_be_published(
    parts: dict[str, Any], what: str, way_out: str
) -> None:
    health = found(**parts)
    assert health.verdict == "unavailable"
    assert what in health.reasons[0].what
    assert way_out in health.reasons[0].way_out


@pytest.mark.parametrize(
    ("parts", "what", "way_out"),
    [
        ({"state": state(up=2, down=1)}, "1 of 3 brokers is down: 3", "--broker 3` shows the plan; then"),
        ({"state": state(without_leader=(("others", 0),))}, "others/0 is without a leader", "start"),
        ({"state": state(under_replicated=(("orders", 1),))}, "orders/1 is under-replicated", "redrive cluster show"),
        ({"state": state(topics=frozenset({"orders"}))}, "menus is of the settings", "redrive topics apply"),
        ({"disks": disks(0.05)}, "less than 10% of the disk is free on broker 1, 2, 3", "retention"),
        ({"disks": Unknown("it did not answer in time")}, "disks are not known", "redrive cluster show"),
        ({"standby": WAITING}, "1,200 events wait in 4 lanes", "redrive run standby-replay --cluster east"),
        ({"standby": Unknown("no answer")}, "standby store does not answer", "mend it"),
        (
            {"standby": Unknown("standby.table: there is no table redrive", "not-asked")},
            "the standby store answers, and is of no use: standby.table: there is no table redrive",
            "never made: `redrive topics apply`",
        ),
        ({"standby": Unknown("9 lanes", "slow")}, "could not be counted in time: 9 lanes", "redrive standby status"),
        ({"standby": replace(WAITING, is_whole=False)}, "at least 1,200 events", "redrive run standby-replay"),
        ({"state": Unknown("not all was answered in time", "slow")}, "it is slow", "load of its brokers"),
        ({"state": state(unsaid="reassignments")}, "nobody knows wholly how it is: reassignments", "load"),
        (
            {"lags": Unknown("KeyError: 3", "fault")},
            "consumer groups nothing is known, by a fault of ours",
            "report it",
        ),
        ({"books": Unknown("KeyError: 3", "fault")}, "of the ledger nothing is known", "report it"),
        ({"stayed": (ORDERS,)}, "3 events have come to orders since 2026-11-26 22:00 UTC", "schemas writers orders"),
        ({"stayed": (replace(ORDERS, last=ORDERS.since),)}, "not all are in orders.v2", "orders.v2 --goal copy"),
        ({"stayed": (replace(ORDERS, is_copied=True),)}, "were switched to orders.v2", "redrive run schema-backfill"),
        ({"odd_aliases": {"orders": "no JSON"}}, "its replays wait", "orders TARGET --goal switch_producers"),
        (
            {"odd_aliases": {"junk": "no JSON"}},
            "the record of junk in redrive.aliases can't be read: no JSON",
            "delete it",
        ),
        ({"books": Unknown("no answer")}, "ledger does not answer", "mend it"),
        ({"books": Books({}, {"0b1c": 3}, (), ())}, "3 settings are still", "redrive debts settle east"),
        (
            {"books": Books({}, {"0b1c": 3}, (), ()), "state": state(moving=(("orders", 1),))},
            "3 settings are still",
            "redrive run partition-rebalance --cluster east --goal go_on --mode run",
        ),
        ({"books": Books({}, {}, (), (run("failed"),))}, "standby-replay has failed", "operations show 0b1c2d3e"),
    ],
)
def test_it_is_unwell_when_something_else_is_wrong(parts: dict[str, Any], what: str, way_out: str) -> None:
    health = found(**parts)
    assert health.verdict == "unwell"
    assert [what in reason.what and way_out in reason.way_out for reason in health.reasons] == [True]


def test_what_can_not_be_judged_hides_no_other_trouble_and_leaves_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such as a time that no calendar has."""
    odd = replace(ORDERS, last=10**18)
    health = found(stayed=(odd,), state=state(without_leader=(("orders", 3),)), standby=WAITING)
    assert [reason.code for reason in health.reasons] == ["no-leader", "fault:topics that were left"]
    assert "Traceback" in caplog.text
    assert look_of(health, None).verdict == "unavailable"
    assert "of topics that were left nothing is known" in report_text(health, None)


def test_if_brokers_can_not_be_judged_the_last_verdict_stands() -> None:
    before = look_of(found(state=AWAY), None)
    odd: Any = replace(state(), brokers=None)
    health = found(state=odd, standby=WAITING)
    assert (health.is_certain, health.backlog) == (False, None)
    assert [change.name for change in changes(before, health)] == [UNWELL]
    assert look_of(health, before).verdict == "unavailable"


def test_so_many_records_that_nobody_can_read_are_not_named_one_by_one_and_topics_of_ours_come_first() -> None:
    health = found(odd_aliases=dict.fromkeys([*(f"junk-{number}" for number in range(2_000)), "orders"], "no JSON"))
    assert len(health.reasons) == 11
    assert health.reasons[0].code == "odd-alias:orders"
    assert "1,991 more records" in health.reasons[-1].what


@pytest.mark.parametrize(
    "parts",
    [
        {"standby": WAITING, "books": Books({}, {}, (), (run("running"),))},
        {"books": Books({}, {"0b1c2d3e4f": 3}, (Hold("east", "partition-rebalance", "0b1c2d3e4f", NOW, NOW),), ())},
        {"books": Books({"invalid-value": 7}, {}, (), (run("paused"),))},
        {"lags": (Lag("billing", 1_000_000, 3, 0),)},
        {"state": state(moving=(("orders", 1),))},
        {"stayed": (replace(ORDERS, is_copied=True, last=ORDERS.since),)},
        {"stayed": Unknown("it did not answer in time")},
    ],
    ids=[
        "a replay is at work",
        "debts of a run at work",
        "open letters",
        "lag",
        "moves",
        "stayed behind once, and copied",
        "not known who stayed behind",
    ],
)
def test_what_is_being_dealt_with_or_has_no_limit_makes_nobody_unwell(parts: dict[str, Any]) -> None:
    assert found(**parts).verdict == "well"


def test_a_run_that_shows_no_sign_of_life_does_not_pass_for_one_at_work() -> None:
    killed = replace(run("running"), heartbeat_at=NOW - timedelta(minutes=3))
    held = Hold("east", "partition-rebalance", "moves", NOW, NOW - timedelta(minutes=3))
    health = found(standby=WAITING, books=Books({}, {"moves": 3}, (held,), (killed,)))
    assert [reason.code for reason in health.reasons] == ["backlog", "debts", "run-silent:standby-replay"]


def test_a_cluster_that_could_not_be_asked_is_not_said_to_be_away() -> None:
    health = found(state=Unknown("the file of the password is not there", "not-asked"))
    assert health.verdict == "unwell"
    assert "password" in health.reasons[0].what


def test_the_next_look_goes_on_where_one_has_stopped_in_topics_that_producers_left() -> None:
    look = look_of(found(stayed=(ORDERS,)), None)
    assert look.stayed["orders"] | {"read_to": {"0": 40}, "latest": {"0": 39}, "events": 3} == look.stayed["orders"]
    assert look_of(found(stayed=AWAY), look).stayed == look.stayed
    assert "orders" in report_text(found(stayed=(ORDERS,)), None)


def test_the_worst_comes_first() -> None:
    health = found(state=state(up=2, down=1, without_leader=(("orders", 0),)), standby=WAITING)
    assert [reason.verdict for reason in health.reasons] == ["unavailable", "unwell"]
    assert not health.backlog, "while it is unavailable, events have to wait"


def look(verdict: str, *troubles: str, backlog: bool = False, ago: int = 60) -> Look:
    at, since = NOW - timedelta(seconds=ago), NOW - timedelta(hours=1)
    return Look("east", at, verdict, since, backlog, {"billing": 600}, dict.fromkeys(troubles, at.isoformat()))


DOWN, BROKER_DOWN = {"state": AWAY}, {"state": state(up=2, down=1)}


@pytest.mark.parametrize(
    ("before", "parts", "told"),
    [
        (None, {}, []),
        (None, DOWN, [UNAVAILABLE]),
        (None, BROKER_DOWN, [UNWELL]),
        (look("well"), {}, []),
        (look("well"), DOWN, [UNAVAILABLE]),
        (look("unavailable"), DOWN, []),
        (look("unavailable"), {}, [RECOVERED]),
        (look("unavailable"), BROKER_DOWN, [RECOVERED, UNWELL]),
        (look("unavailable"), {"standby": WAITING}, [RECOVERED, UNWELL]),
        (look("unwell", "brokers-down:3"), BROKER_DOWN, []),
        (look("unwell", "run-failed:dlq-triage"), BROKER_DOWN, [UNWELL]),
        (look("unwell", "brokers-down:2"), BROKER_DOWN, [UNWELL]),
        (look("unwell"), {}, []),
        (look("well"), {"standby": WAITING}, [UNWELL, BACKLOG]),
        (look("unwell", "backlog", backlog=True), {"standby": WAITING}, []),
        (look("unwell", backlog=True), {}, []),
    ],
)
def test_only_what_is_new_is_told(before: Look | None, parts: dict[str, Any], told: list[str]) -> None:
    said = changes(before, found(**parts))
    assert [change.name for change in said] == told
    assert all(change.payload["cluster"] == "east" for change in said)


def test_a_trouble_that_comes_and_goes_is_told_again_only_after_it_was_away_for_a_while() -> None:
    before, told = None, list[int]()
    down = [(minute < 20 and minute % 2 == 0) or minute in (31, 55) for minute in range(60)]
    for minute, is_down in enumerate(down):
        health = found(at=NOW + timedelta(minutes=minute), **(BROKER_DOWN if is_down else {}))
        told += [minute for change in changes(before, health) if change.name == UNWELL]
        before = look_of(health, before)
    assert told == [0, 55]


def test_a_cluster_that_comes_and_goes_with_a_broker_down_is_unwell_once_and_its_recoveries_say_what_is_left() -> None:
    before, told = None, list[Any]()
    for minute in range(12):
        parts = {"state": AWAY} if minute % 2 == 0 else BROKER_DOWN
        health = found(at=NOW + timedelta(minutes=minute), **parts)
        told += changes(before, health)
        before = look_of(health, before)
    assert [change.name for change in told] == [UNAVAILABLE, RECOVERED, UNWELL, *[UNAVAILABLE, RECOVERED] * 5]
    left = [change.payload["reasons"] for change in told if change.name == RECOVERED]
    assert all("1 of 3 brokers is down" in reasons[0]["what"] for reasons in left)


NOBODY_KNOWS: dict[str, dict[str, Any]] = {
    "rights are missing": {"state": Unknown("listing brokers: SaslAuthenticationFailedError", "not-asked")},
    "it is slow": {"state": Unknown("not all was answered in time", "slow")},
    "it says half of it": {"state": state(unsaid="listing reassignments: no answer")},
    "a fault of ours": {"state": Unknown("KeyError: 3", "fault")},
}


@pytest.mark.parametrize("nobody_knows", NOBODY_KNOWS.values(), ids=NOBODY_KNOWS)
def test_one_that_nobody_knows_of_has_not_recovered_and_its_recovery_is_told_when_it_comes(
    nobody_knows: dict[str, Any],
) -> None:
    before, told = None, list[list[str]]()
    for parts in (DOWN, nobody_knows, nobody_knows, DOWN, nobody_knows, {}, {}):
        health = found(**{"standby": WAITING, **parts})
        told.append([change.name for change in changes(before, health)])
        before = look_of(health, before)
    assert [names[:1] for names in told] == [[UNAVAILABLE], [UNWELL], [], [], [], [RECOVERED], []]


@pytest.mark.parametrize("nobody_knows", NOBODY_KNOWS.values(), ids=NOBODY_KNOWS)
def test_while_nobody_knows_a_backlog_stays_what_it_was(nobody_knows: dict[str, Any]) -> None:
    waiting = look("unwell", "backlog", backlog=True)
    kept = look_of(found(standby=WAITING, **nobody_knows), waiting)
    assert (kept.verdict, kept.since, kept.backlog) == ("unwell", waiting.since, True)
    assert changes(kept, found(standby=WAITING)) == [], "it was told"
    assert not look_of(found(standby=WAITING, **nobody_knows), look("well")).backlog
    silent = look_of(found(standby=Unknown("no answer")), waiting)
    assert silent.backlog
    assert not look_of(found(), silent).backlog


def test_what_was_counted_is_kept_while_the_store_does_not_answer() -> None:
    counted = {"table": "t", "streams": {"s": [3, 3, 30, 21, 1, 0]}}
    kept = look_of(found(standby=replace(WAITING, counted=counted)), None)
    assert look_of(found(standby=Unknown("no answer")), kept).counted == counted


def test_a_look_is_told_once() -> None:
    health = found(state=AWAY)
    kept = look_of(health, look("well"))
    assert kept.verdict == "unavailable"
    assert kept.since == NOW
    assert changes(kept, health) == []
    assert look_of(health, kept).since == NOW


def test_an_event_says_what_is_wrong_and_how_much_waits() -> None:
    _, backlog = changes(look("well"), found(standby=WAITING))
    assert backlog.payload["events"] == 1_200
    assert backlog.payload["before"] == "well"
    assert "redrive run standby-replay" in backlog.payload["reasons"][0]["way_out"]


def test_the_report_says_first_what_is_wrong_and_what_to_do() -> None:
    health = found(state=state(up=2, down=1), lags=(Lag("billing", 900, 1, 0),), standby=WAITING)
    text = report_text(health, look("unwell"))
    assert text.startswith("## east is unwell\n\nsince 2026-11-27 02:00:00 UTC")
    assert text.index("what to do") < text.index("### Brokers")
    assert "| billing | 900 | +5/s | 1 | **none** |" in text
    assert "**1,200 events**" in text
    assert "the oldest for 7 min" in text


def test_a_report_of_what_does_not_answer_is_no_empty_page() -> None:
    nothing = Unknown("no answer")
    health = found(state=AWAY, disks=nothing, lags=nothing, standby=nothing, books=nothing)
    text = report_text(health, None)
    assert "## east is unavailable" in text
    assert "NoBrokersAvailable" in text
    assert "### Brokers" not in text


def test_a_headline_is_one_line() -> None:
    assert headline(found()) == "east is well: 3 of 3 brokers, 12 partitions"
    both = found(state=state(up=2, down=1), standby=WAITING)
    assert headline(both) == "east is unwell: 1 of 3 brokers is down: 3; and 1 more reason"


def test_an_artifact_s_key_is_one_that_prefect_takes() -> None:
    assert artifact_key("east_2") == "cluster-health-east-2"


@pytest.mark.parametrize("lags", [(), (Lag("billing", 40, 1, 2),)], ids=["none answers", "one does"])
def test_that_not_all_groups_were_asked_about_is_said_since_the_worst_may_be_among_the_others(
    lags: tuple[Lag, ...],
) -> None:
    health = found(lags=lags, unasked_groups=1_200)
    assert health.verdict == "well"
    assert "**1,200 more groups** not asked about, since there are so many: one may be" in report_text(health, None)
    assert "1,200 more groups" in dict(_rows(health))["not asked about"]
    assert _document(health)["unasked_groups"] == 1_200
    assert "not asked about" not in report_text(found(lags=lags), None)
