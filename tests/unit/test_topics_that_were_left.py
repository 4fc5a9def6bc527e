"""Topics that producers have left and somebody has deleted are not made anew; who makes none need not know of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redrive import topics
from redrive.aliases.alias import Alias, Aliases
from redrive.errors import UnavailableError
from redrive.pump.names import ALIASES_TOPIC
from redrive.topics import Change
from tests.unit.one_cluster import one_cluster

CREATE = Change("topic", "orders", "one", "create", "3 partitions, 3 replicas")
LEFT = Alias("orders", "orders.v2", "orders.v2", 1, 7, "{}")


def refuse(_: Any) -> Aliases:
    raise UnavailableError("Kafka one", "this principal needs Read and Describe on topic redrive.aliases")


@pytest.mark.parametrize(
    ("aliases", "action", "outcome", "said"),
    [
        (Aliases({}, {}), "create", "planned", "3 partitions"),
        (Aliases({"orders": LEFT}, {}), "leave", "planned", "goes to orders.v2"),
        (Aliases({}, {"orders": "it is malformed"}), "create", "failed", "can't be read (it is malformed)"),
        (UnavailableError("Kafka one", "no leader"), "create", "failed", "no leader"),
    ],
)
def test_a_topic_is_created_only_if_its_producers_are_known_not_to_have_left_it(
    aliases: Aliases | UnavailableError, action: str, outcome: str, said: str
) -> None:
    change = topics._unless_left(CREATE, aliases)
    assert (change.action, change.outcome) == (action, outcome)
    assert said in f"{change.detail} {change.reason}"


def test_nobody_is_asked_what_names_stand_for_while_all_topics_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = one_cluster(tmp_path, "orders")
    monkeypatch.setattr(topics, "read_aliases", refuse)
    present: Any = {ALIASES_TOPIC: None, "orders": None}
    assert topics._aliases(config, "one", present) == Aliases({}, {})
    assert isinstance(topics._aliases(config, "one", {ALIASES_TOPIC: present[ALIASES_TOPIC]}), UnavailableError)
