"""What people read about a correction: its plan, and how it ended."""

from __future__ import annotations

from array import array
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from redrive.deadletters.correction import Plan, Sample, Terms, Unit, UnitResult
from redrive.deadletters.correction.diff import Change
from redrive.deadletters.letter_id import LetterId
from redrive.pump.evidence import Evidence
from redrive.pump.names import PARKING_TOPIC
from redrive.pump.proof import Proof
from redrive.pump.pump import Outcome
from tasks.dlq_correction.plan import approval_text, headline, plan_text
from tasks.dlq_correction.report import Ending, report_text
from tasks.dlq_correction.steps import End
from tasks.operations import Run

RUN = cast(Run, SimpleNamespace(who="anna", id="op-1", url="http://prefect/op-1"))
PROVED = Proof("proved", [], {"u": 8}, 9, 0.5)


def plan(policy: Any = "hold", **more: Any) -> Plan:
    terms = Terms(rules="ab" * 32, policy=policy, attempts=5, selection={}, upto=3)
    given: dict[str, Any] = {
        "letters": 12,
        "counts": Counter(publish=6, reject=1, park=1, skip=1, leave=2, gone=1),
        "overtaken": 2,
        "rules": Counter({"numbers | as text": 6, "others": 1}),
        "reasons": Counter({("reject", "invalid-value"): 1, ("leave", "no-rule"): 2, ("gone", "gone"): 1}),
        "details": Counter({("reject", "invalid-value", "id is a | string"): 1}),
        "topics": Counter(orders=6),
        "targets": {"one": {"orders": 7, "refunds": "main-topic-gone"}},
        "samples": [Sample(LetterId("one", "dlq.shop", 0, 4), ("numbers",), [Change("id", "'1|2'", "1")])],
        "seconds": 2.0,
    }
    return Plan(terms, **given | more)


def text(of: Plan, *, mode: str = "plan", rate: float | None = None) -> str:
    return plan_text(of, "cd" * 32, mode=mode, rate=rate)


def test_the_headline_counts_every_letter_once() -> None:
    assert headline(plan()) == (
        "4 of 12 letters would be published, 2 held, 1 rejected, 1 parked, 1 skipped, 2 left open, 1 gone"
    )


def test_letters_whose_lanes_are_diverted_are_left_and_it_says_what_to_do_first() -> None:
    of = plan(diverted=1)
    assert headline(of) == (
        "3 of 12 letters would be published, 2 held, 1 rejected, 1 parked, 1 skipped, 3 left open, 1 gone"
    )
    assert "**1 letter left open:** the lanes of their keys are diverted" in text(of)
    assert "Run `standby-replay` first" in approval_text(of, "ab" * 32)


def test_it_names_topics_whose_brokers_give_events_their_time() -> None:
    assert "**2 events for `orders`, whose brokers" in text(plan(stamped=Counter(orders=2, refunds=0)))
    assert "refunds`, whose" not in text(plan(stamped=Counter(orders=2, refunds=0)))


def test_it_warns_of_topics_on_several_clusters_since_the_guard_has_looked_on_one() -> None:
    of = plan(several=Counter(orders=2, refunds=0))
    assert "**2 events for `orders`, which is on several clusters:**" in approval_text(of, "ab" * 32)
    assert "refunds`, which" not in text(of)


def test_it_warns_of_events_that_have_letters_on_two_clusters() -> None:
    assert "**2 letters of events that have a letter on another cluster" in approval_text(
        plan(on_two_clusters=2), "ab" * 32
    )
    assert "another cluster" not in text(plan())


def test_it_says_how_many_letters_are_of_events_that_have_others() -> None:
    of = plan(reasons=Counter({("skip", "same-event"): 1, ("leave", "another-first"): 2}))
    assert "**3 letters of events that have another letter, too,**" in approval_text(of, "ab" * 32)


@pytest.mark.parametrize(
    ("policy", "publishes", "words"),
    [("hold", 4, "2 held"), ("skip", 4, "2 skipped as overtaken"), ("publish", 6, "")],
)
def test_what_the_guard_has_found_counts_by_the_policy(policy: str, publishes: int, words: str) -> None:
    of = plan(policy)
    assert (of.publishes, of.writes) == (publishes, 10)
    assert headline(of).startswith(f"{publishes} of 12")
    assert words in headline(of)


def test_a_plan_tells_what_becomes_of_each_letter_why_and_where_it_goes() -> None:
    shown = text(plan())
    assert "This is a plan: nothing was changed" in shown
    assert "**2 letters overtaken:**" in shown
    assert "| numbers \\| as text | 6 |" in shown
    assert "| leave open | no-rule | no rule matches it | 2 |" in shown
    assert "| reject | invalid-value | id is a \\| string | 1 |" in shown
    assert "| orders | 7 | 6 |" in shown
    assert "| `dlq.shop/0/4` | numbers | `id` | '1\\|2' | 1 |" in shown
    assert "cd" * 32 in shown


def test_every_table_of_a_plan_has_as_many_cells_in_each_row() -> None:
    for block in text(plan()).split("\n\n"):
        rows = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block


def test_a_run_says_that_it_carries_the_plan_out() -> None:
    assert "This run carries it out." in text(plan(), mode="run")


def test_the_time_is_estimated_by_what_is_slower() -> None:
    assert "2.0 s (by how long planning took)" in text(plan())
    assert "12 s (by the rate)" in text(plan(), rate=1.0)


def test_an_empty_selection_says_what_to_do() -> None:
    empty = plan(letters=0, counts=Counter(), overtaken=0)
    assert headline(empty) == "no letter is selected"
    assert "run `dlq-triage`" in text(empty)


def test_the_text_above_the_form_names_what_is_approved() -> None:
    shown = approval_text(plan("skip"), "cd" * 32)
    assert headline(plan("skip")) in shown
    assert "given up, for good" in shown
    assert "`cdcdcdcdcdcdcdcd…`" in shown


def test_events_that_delete_that_do_not_last_or_are_refused_are_counted_before_anybody_approves() -> None:
    of = plan(deletions=2, fading=3, refused=Counter({"INVALID_RECORD: it has no key, and the topic is compacted": 1}))
    for shown in (text(of), approval_text(of, "cd" * 32)):
        assert "**2 events without a value:** tombstones" in shown
        assert "**3 events older than their main topics keep** (`retention.ms`)" in shown
        assert "**1 event that brokers will refuse**, so that they go to the parking topic: INVALID_RECORD" in shown


def end(how: Any = "done", *, letters: int = 12, reason: str = "", read: int | None = None) -> End:
    unit = Unit("one", "dlq.shop", 0, array("q", range(letters)))
    evidence = {"orders": Evidence(6), "dlq.shop": Evidence(1), PARKING_TOPIC: Evidence(1)}
    skipped = {"held: newer-event": 1, "skipped: gone": 1, "left: no-rule": 2}
    outcome = Outcome(letters if read is None else read, 8, skipped, {}, 1_000, 1.0, evidence, None, 0.1)
    return End(unit, how, UnitResult(unit, outcome) if how == "done" else None, reason)


FATES = {"published": 6, "held": 1, "skipped": 1, "rejected": 1, "parked": 1}


def ending(*ends: End, **more: Any) -> Ending:
    given: dict[str, Any] = {"plan": plan(), "approved": "", "proofs": {"one": PROVED}, "earlier": {}, "fates": FATES}
    given |= {"unverified": "", "seconds": 2.0, "started_pace": "full speed", "changes": []}
    return Ending(ends=ends or (end(),), **given | more)


def test_three_sums_that_agree_are_proved() -> None:
    result = ending()
    assert (result.status, result.verdict, result.word) == ("done", "proved", "proved")
    assert result.counts == {"letters": 12, **FATES, "left": 2}
    assert result.headline == (
        "6 letters published again, each once, in order, as it was sent, "
        "1 held, 1 skipped, 1 rejected, 1 parked, 2 left; 2.0 s"
    )
    report = report_text(RUN, result)
    assert report.startswith("## Proved: 6 letters published again\n\nEach once, in order, as it was sent")
    assert "| written to Kafka | 8, with those that went back or were parked |" in report
    assert "| found again in Kafka | 8 |" in report
    assert "| entered in the ledger | 10 |" in report


def test_letters_that_stand_where_nobody_could_read_them_are_left_and_the_end_says_so() -> None:
    reasons = Counter({("leave", "no-answer"): 5_000, ("leave", "no-cluster"): 3, ("leave", "no-rule"): 2})
    result = ending(plan=plan(reasons=reasons, no_answer=["east"]))
    assert (result.status, result.verdict) == ("done", "proved")
    assert result.counts == {"letters": 5_015, **FATES, "left": 5_005}
    assert sum(letters for name, letters in result.counts.items() if name != "letters") == 5_015
    assert "1 parked, 5,005 left; 2.0 s" in result.headline
    assert result.evidence()["reasons"]["left: no-answer"] == 5_000
    report = report_text(RUN, result)
    assert "| letters of the batch | 5,015 |" in report
    assert "| no answer from | east |" in report
    assert "| time to correct | 2.0 s (6 letters/s) |" in report
    assert (
        "| left: no-answer | the cluster on which it stands does not answer; a later correction takes it | 5,000 |"
        in report
    )
    assert "| left: no-cluster | the settings do not have the cluster on which it stands | 3 |" in report
    assert "no answer from" not in report_text(RUN, ending())


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ({"fates": FATES | {"published": 5}}, "the ledger has 5 letters as published by this run; it should be 6"),
        ({"fates": FATES | {"discarded": 1, "parked": 0}}, "0 letters as parked by this run; it should be 1"),
        ({"proofs": {"one": Proof("failed", ["orders: 1 events are missing"], {"u": 7}, 7, 0.5)}}, "are missing"),
        ({"earlier": {"op-0": Proof("failed", ["op-0: not there"], {}, 7, 0.5)}}, "op-0: not there"),
    ],
)
def test_one_sum_that_does_not_agree_is_a_finding(more: dict[str, Any], finding: str) -> None:
    result = ending(**more)
    assert (result.status, result.verdict) == ("failed", "failed")
    assert finding in result.headline
    assert finding in report_text(RUN, result)


def test_letters_that_were_not_read_are_a_finding() -> None:
    assert "11 letters were read, of 12" in ending(end(read=11)).headline
    assert "12 letters were read, of 13" in ending(end(letters=13, read=12)).headline


@pytest.mark.parametrize("how", ["paused", "stopped"])
def test_partitions_that_are_not_done_pause_the_run_without_a_verdict(how: str) -> None:
    result = ending(end(), end(how, reason="Kafka is away"))
    assert (result.status, result.verdict, result.word) == ("paused", None, "paused")
    assert "1 of 2 partitions not finished, nothing lost: dlq.shop/0: Kafka is away" in result.headline
    assert "**dlq.shop/0**: Kafka is away" in report_text(RUN, result)


def test_a_partition_that_another_run_has_taken_over_fails_without_a_verdict() -> None:
    assert (ending(end("taken over")).status, ending(end("taken over")).verdict) == ("failed", None)


def test_a_partition_that_failed_is_the_verdict() -> None:
    result = ending(end(), end("failed", reason="the plan is stale"))
    assert (result.verdict, result.headline) == ("failed", "dlq.shop/0: the plan is stale")


def test_what_could_not_be_read_back_has_no_verdict() -> None:
    result = ending(unverified="Kafka is away", proofs={})
    assert (result.status, result.verdict) == ("failed", None)
    assert "not verified: Kafka is away" in report_text(RUN, result)


def test_what_was_only_counted_is_not_called_unchanged() -> None:
    result = ending(proofs={"one": Proof("counted", [], {"u": 8}, 9, 0.5)})
    assert result.verdict == "counted"
    assert "each once and in order" in result.headline


def test_a_report_tells_of_the_dead_run_whose_work_it_has_entered() -> None:
    report = report_text(RUN, ending(earlier={"op-0": PROVED}))
    assert "> Operation `op-0` had corrected 8 letters and not entered them" in report
