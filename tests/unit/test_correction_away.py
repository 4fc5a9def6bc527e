"""A cluster is away when a correction begins, or when it goes on with a plan that it has shown before."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.logging import disable_run_logger

import flows.dlq_correction as flow
from redrive.deadletters import answering
from redrive.deadletters.correction import Batch, Terms
from redrive.deadletters.selection import Selection
from redrive.ledger.letter_queries import Subject
from tasks.dlq_correction import steps

CLUSTERS = ("east", "west")


class Asked:
    """Clusters as one run sees them: which are away, or back when they are asked again, and which it has asked."""

    def __init__(self, *away: str, back: str = "") -> None:
        self.away, self.back, self.asked = away, back, Counter[str]()

    def answers(self, _config: object, cluster: str) -> bool:
        self.asked[cluster] += 1
        return cluster not in self.away or (cluster == self.back and self.asked[cluster] > 1)


def gathered(monkeypatch: pytest.MonkeyPatch, clusters: Asked, known: dict[str, Any] | None) -> Batch:
    """Let the flow gather a letter of each cluster, without an engine, and with nobody else at work."""
    letters = [Subject(cluster, "orders", "dlq.shop", 0, 0, 2_000, 1_000, b"k") for cluster in CLUSTERS]
    monkeypatch.setattr(flow, "select_letters", lambda work, *_: Batch(letters, clusters=CLUSTERS, away=work.away))
    monkeypatch.setattr(flow, "ask_clusters", steps.ask_clusters.fn)
    monkeypatch.setattr(flow, "look_up_topics", lambda *_: [])
    monkeypatch.setattr(flow, "find_doubles", lambda _, batch: batch)
    monkeypatch.setattr(flow, "find_others", lambda _, batch: batch.units)
    monkeypatch.setattr(flow, "settle_earlier", lambda *_, record: ({}, frozenset()))
    monkeypatch.setattr(answering, "answers", clusters.answers)
    monkeypatch.setattr(answering, "AGAIN", 0.0)
    nobody: Any = None  # no run is looked at by what is left
    settings: Any = SimpleNamespace(clusters=CLUSTERS)
    work = steps.Correcting(settings, nobody, Terms("", "hold", 5, {}, 1), None, Selection())
    with disable_run_logger():
        return flow.gather(nobody, work, flow.Correction(mode="run"), known)


def test_a_new_run_asks_and_leaves_the_letters_of_a_cluster_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = Asked("east")
    batch = gathered(monkeypatch, clusters, None)
    assert (batch.clusters, batch.away, clusters.asked) == (["west"], ["east"], {"east": 2, "west": 1})


def test_one_that_answers_when_it_is_asked_again_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = Asked("east", back="east")
    batch = gathered(monkeypatch, clusters, None)
    assert (batch.clusters, batch.away, clusters.asked) == (["east", "west"], [], {"east": 2, "west": 1})


def test_if_none_answers_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = gathered(monkeypatch, Asked(*CLUSTERS), None)
    assert (batch.clusters, batch.away) == (["east", "west"], [])


@pytest.mark.parametrize("known", [{}, {"upto": 1}])
def test_a_cluster_that_goes_away_after_the_plan_was_shown_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, Any]
) -> None:
    """Without its letters it would be another plan than what was approved."""
    clusters = Asked("east")
    batch = gathered(monkeypatch, clusters, known)
    assert (batch.clusters, batch.away, clusters.asked) == (["east", "west"], [], {})


def test_a_cluster_that_is_back_after_the_plan_was_shown_is_left_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = Asked()
    batch = gathered(monkeypatch, clusters, {"no_answer": ["east"]})
    assert (batch.clusters, batch.away, clusters.asked) == (["west"], ["east"], {})
