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
