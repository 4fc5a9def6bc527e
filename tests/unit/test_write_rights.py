"""What a producer may write, as long as nobody says that it may not."""

from __future__ import annotations

import time

import pytest

from redrive.dispatch import rights
from redrive.dispatch.rights import WriteRights


def test_topics_of_a_cluster_that_does_not_answer_pass_for_writable_and_nobody_waits_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rights, "PATIENCE", 0.3)
    known = WriteRights({"bootstrap.servers": "127.0.0.1:1"}, lambda call: call())
    began = time.monotonic()
    known.learn(["orders", "dlq.shop"])
    known.ask_again()
    assert time.monotonic() - began < 5
    assert (known.why_not("orders"), known.why_not("never.heard.of")) == ("", "")


def test_what_a_cluster_has_not_told_is_asked_again_whatever_it_tells_of_other_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacking = {"orders": "this principal lacks Write on topic orders"}
    answers = iter([None, {}, lacking, lacking])
    asked: list[set[str]] = []

    def forbidden(_config: object, topics: set[str]) -> dict[str, str] | None:
        asked.append(set(topics))
        return next(answers)

    monkeypatch.setattr(rights, "forbidden", forbidden)
    monkeypatch.setattr(rights, "AGAIN", 0)
    known = WriteRights({}, lambda call: call())
    known.learn(["orders"])
    known.learn(["menu"])
    known.why_not("menu")
    assert asked == [{"orders"}, {"menu"}, {"orders", "menu"}]
    assert "lacks Write" in known.why_not("orders")
