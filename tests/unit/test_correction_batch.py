"""A batch: which partitions to read where, and which keys to look for on main topics."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

import tasks.dlq_correction.steps
from flows.dlq_correction import corrected_topics
from redrive.config import Config
from redrive.deadletters.correction import Plan, Terms, make_plan
from redrive.deadletters.correction.batch import SPARSE, Batch, Unit, rounds
from redrive.deadletters.judging.targets import NO_ANSWER, NO_CLUSTER
from redrive.errors import StalePlanError, UnavailableError
from redrive.ledger.letter_queries import Subject
from tasks.board import Board
from tasks.dlq_correction.steps import correct_partitions


def subject(offset: int, **more: object) -> Subject:
    given = {"cluster": "one", "main_topic": "orders", "topic": "dlq.shop", "partition": 0, "offset": offset}
    return Subject(**given | {"written": 2_000 + offset, "timestamp": 1_000 + offset, "key": b"k"} | more)  # type: ignore[arg-type]


def unit(*offsets: int) -> Unit:
    return Unit("one", "dlq.shop", 0, array("q", offsets))


def test_there_is_a_unit_for_each_partition_with_its_offsets_in_order() -> None:
    letters = [subject(offset, partition=offset % 3, cluster=c) for offset in range(12) for c in ("two", "one")]
    random.Random(1).shuffle(letters)
    batch = Batch(letters)
    assert [unit.name for unit in batch.units] == [f"dlq/{c}/dlq.shop/{p}" for c in ("one", "two") for p in range(3)]
    assert [list(unit.offsets) for unit in batch.units] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]] * 2
    assert (batch.letters, batch.clusters) == (24, ["one", "two"])


def lost_its_end() -> Batch:
    """Partition 0 of dlq.shop has letters of three generations, partition 1 of one, and so has another topic."""
    topics = ["dlq.shop@10", "dlq.shop", "dlq.shop@2", "dlq.shop.more"]
    return Batch([subject(1, topic=topic) for topic in topics] + [subject(1, partition=1)])


def test_of_a_partition_that_has_lost_its_end_older_letters_come_first() -> None:
    batch = lost_its_end()
    expected = ["dlq.shop/0", "dlq.shop@2/0", "dlq.shop@10/0", "dlq.shop/1", "dlq.shop.more/0"]
    assert [str(unit) for unit in batch.units] == expected
    assert [str(unit) for unit in batch.units if unit.follows] == ["dlq.shop@2/0", "dlq.shop@10/0"]
    by_round = [[str(unit) for unit in some] for some in rounds(batch.units)]
    assert by_round == [["dlq.shop/0", "dlq.shop/1", "dlq.shop.more/0"], ["dlq.shop@2/0"], ["dlq.shop@10/0"]]


@pytest.mark.parametrize(
    ("error", "how"), [(UnavailableError("Kafka", "no answer"), "paused"), (StalePlanError("another run"), "failed")]
)
def test_newer_letters_of_a_partition_are_corrected_when_all_older_ones_are_done(
    monkeypatch: pytest.MonkeyPatch, error: Exception, how: str
) -> None:
    batch, at_work = lost_its_end(), []
    failing = ""

    def work_at(_work: object, _task: object, units: Iterable[Unit], **_: object) -> dict[Unit, object]:
        at_work.append([str(unit) for unit in units])
        return {unit: error if str(unit) == failing else SimpleNamespace(unit=unit) for unit in units}

    monkeypatch.setattr(tasks.dlq_correction.steps, "work_at", work_at)
    work = SimpleNamespace(board=Board(dict.fromkeys(batch.units, 1)))

    def ends() -> dict[str, tuple[str, str]]:
        at_work.clear()
        ends = correct_partitions(work, batch.units, parallel=4, on_cancel=lambda: None)  # type: ignore[arg-type]
        assert [end.unit for end in ends] == batch.units
        return {str(end.unit): (end.how, end.reason) for end in ends if end.how != "done"}

    assert ends() == {}
    assert at_work == [["dlq.shop/0", "dlq.shop/1", "dlq.shop.more/0"], ["dlq.shop@2/0"], ["dlq.shop@10/0"]]

    failing = "dlq.shop/0"
    left = "stopped" if how == "failed" else how
    assert ends() == {
        "dlq.shop/0": (how, str(error)),
        "dlq.shop@2/0": (left, "waits for older letters of its partition: dlq.shop/0"),
        "dlq.shop@10/0": (left, "waits for older letters of its partition: dlq.shop@2/0"),
    }
    assert [each for some in at_work for each in some] == ["dlq.shop/0", "dlq.shop/1", "dlq.shop.more/0"]


def test_keys_are_looked_for_on_their_main_topics_since_the_oldest_letter() -> None:
    batch = Batch([subject(5, key=b"a"), subject(3, key=b"b"), subject(1, key=None), subject(9, main_topic="refunds")])
    orders = batch.wanted["one", "orders"]
    assert (orders.keys, orders.since) == ({b"a", b"b"}, 1_003)
    assert batch.wanted["one", "refunds"].keys == {b"k"}
    assert batch.main_topics("one") == ["orders", "refunds"]
    assert batch.main_topics("two") == []


def test_letters_without_a_key_have_nothing_to_look_for() -> None:
    wanted = Batch([subject(1, key=None, main_topic="")]).wanted["one", ""]
    assert wanted.keys == set()


def test_no_letter_is_no_unit() -> None:
    batch = Batch([])
    assert (batch.units, batch.letters, batch.wanted, batch.clusters) == ([], 0, {}, [])


@pytest.mark.parametrize(
    ("offsets", "since", "stretches"),
    [
        ((), 0, []),
        ((7,), 0, [(7, 8)]),
        ((7,), 7, [(7, 8)]),
        ((7,), 8, []),
        ((1, 2, 9), 0, [(1, 10)]),
        ((1, 2, 9), 2, [(2, 10)]),
        ((1, 2, 9), 3, [(9, 10)]),
        ((0, SPARSE), 0, [(0, SPARSE + 1)]),
        ((0, SPARSE + 1), 0, [(0, 1), (SPARSE + 1, SPARSE + 2)]),
        ((0, 1, SPARSE * 3, SPARSE * 3 + 5, SPARSE * 9), 0,
         [(0, 2), (SPARSE * 3, SPARSE * 3 + 6), (SPARSE * 9, SPARSE * 9 + 1)]),
        ((0, 1, SPARSE * 3, SPARSE * 9), 2, [(SPARSE * 3, SPARSE * 3 + 1), (SPARSE * 9, SPARSE * 9 + 1)]),
    ],
)  # fmt: skip
def test_long_gaps_are_not_read(offsets: tuple[int, ...], since: int, stretches: list[tuple[int, int]]) -> None:
    assert list(unit(*offsets).stretches(since)) == stretches


def test_a_unit_is_equal_to_itself_only_so_that_it_can_be_a_key() -> None:
    one, other = unit(1), unit(1)
    assert one != other
    assert {one: 1, other: 2}[one] == 1


def test_letters_keep_their_times_when_they_are_brought_in_order() -> None:
    (unit,) = Batch([subject(7), subject(3, main_topic="refunds"), subject(5, main_topic="refunds")]).units
    assert list(unit.offsets) == [3, 5, 7]
    assert list(unit.written) == [2_003, 2_005, 2_007]
    assert unit.is_letter(1, 2_005)
    assert not unit.is_letter(1, 2_006)


def test_letters_of_clusters_that_the_settings_no_longer_have_are_left_and_counted() -> None:
    batch = Batch([subject(1), subject(1, cluster="gone"), subject(2, cluster="gone")], clusters={"one"})
    assert (batch.letters, batch.clusters, batch.main_topics("gone")) == (1, ["one"], [])
    batch = Batch([subject(1, cluster="gone")], clusters={"one"})
    plan = make_plan(Terms("", "hold", 5, {}, 1), batch, {})
    assert (plan.letters, plan.writes, plan.reasons) == (1, 0, {("leave", NO_CLUSTER): 1})


CONFIG = """
[standby]
table = "unused"
[registry]
url = "http://127.0.0.1:1"
[ledger]
url = "sqlite:///unused.db"
[clusters.one]
bootstrap = "127.0.0.1:1"
[domains.shop]
cluster = "one"
[topics."orders"]
domain = "shop"
[topics."moved"]
domain = "shop"
[topics."unknown"]
domain = "shop"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "redrive.toml").write_text(CONFIG)
    return Config.load(tmp_path / "redrive.toml")


def test_a_group_is_looked_for_where_letters_go_whatever_the_settings_have() -> None:
    batch = Batch([subject(1, topic="dlq.of.a.consumer.that.is.gone")])
    touched = [("one", topic) for topic in ("dlq.of.a.consumer.that.is.gone", "orders", "orders.v2")]
    assert corrected_topics(touched, batch) == touched[1:]


def test_letters_on_a_cluster_that_is_away_are_left_and_the_plan_says_so() -> None:
    letters = [subject(0), subject(1, cluster="gone"), subject(2, cluster="away"), subject(3, cluster="away")]
    batch = Batch(letters, clusters=["one", "away"], away={"away"})
    assert (batch.clusters, batch.letters, batch.no_answer) == (["one"], 1, {"away": 2})
    batch.units.clear()
    plan = make_plan(Terms("", "hold", 5, {}, 1), batch, {})
    assert plan.reasons == {("leave", NO_CLUSTER): 1, ("leave", NO_ANSWER): 2}
    assert (plan.letters, plan.counts["leave"]) == (3, 3)
    assert plan.canonical()["no_answer"] == ["away"]
    assert "no_answer" not in make_plan(Terms("", "hold", 5, {}, 1), Batch([]), {}).canonical()


def test_what_others_do_with_letters_of_a_cluster_that_was_away_leaves_the_approved_plan_as_it_is() -> None:
    def plan(*letters: Subject) -> Plan:
        batch = Batch(letters, clusters=["one", "away", "far"], away={"away", "far"})
        batch.units.clear()
        return make_plan(Terms("", "hold", 5, {}, 1), batch, {})

    gone, away, far = subject(0, cluster="gone"), subject(1, cluster="away"), subject(2, cluster="far")
    approved = plan(gone, away, subject(3, cluster="away"), far)
    assert approved.canonical()["no_answer"] == ["away", "far"]
    assert (approved.canonical()["letters"], approved.canonical()["outcomes"]) == (0, {})
    assert (approved.letters, approved.counts["leave"]) == (4, 4)
    for later in (plan(gone, away, far), plan(gone, far), plan(gone)):
        assert later.canonical() == approved.canonical()


def test_letters_of_a_cluster_that_the_settings_do_not_have_may_be_discarded_while_a_plan_waits_for_approval() -> None:
    def plan(*letters: Subject) -> Plan:
        return make_plan(Terms("", "hold", 5, {}, 1), Batch(letters, clusters=["one"]), {})

    approved = plan(subject(0, cluster="gone"), subject(1, cluster="gone"))
    assert (approved.letters, approved.unreachable()) == (2, {NO_CLUSTER: 2})
    for later in (plan(subject(0, cluster="gone")), plan()):
        assert later.canonical() == approved.canonical()
