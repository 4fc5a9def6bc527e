"""A domain in two regions: what is published to one of them is looked after on both."""

from __future__ import annotations

from pathlib import Path

import pytest

from redrive.config import Config
from redrive.errors import ConfigError
from redrive.security.scoping import scopes
from tasks.dlq_triage.steps import dead_letter_topics
from tasks.standby_replay.survey import survey

SETTINGS = """\
[registry]
url = "http://registry.example"
[clusters.one]
bootstrap = "one.example:9092"
[clusters.two]
bootstrap = "two.example:9092"
[clusters.yard]
bootstrap = "yard.example:9092"
[domains.orders]
regions = { east = "one", west = "two" }
active = "west"
[domains.moves]
cluster = "yard"
[topics."orders.created"]
domain = "orders"
[topics."dlq.shop"]
domain = "orders"
[topics."dlq.crane"]
domain = "moves"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    return Config.load(tmp_path / "redrive.toml")


def test_a_producer_has_its_rights_on_both_so_that_a_switch_needs_none(config: Config) -> None:
    found = {scope.cluster: scope.topics for scope in scopes(config, "producer", "shop", ["orders.created"])}
    assert found == dict.fromkeys(("one", "two"), ("orders.created", "dlq.shop"))


def test_dead_letters_are_triaged_on_both(config: Config) -> None:
    places = [(topic.name, topic.cluster) for topic in dead_letter_topics(config, [], None)]
    assert places == [("dlq.crane", "yard"), ("dlq.shop", "two"), ("dlq.shop", "one")]
    assert [topic.cluster for topic in dead_letter_topics(config, ["dlq.shop"], "one")] == ["one"]


def test_a_replay_of_a_topic_on_a_cluster_that_it_is_not_on_is_refused_with_those_that_it_is_on(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"orders\.created: lives on cluster two and one, not on yard"):
        survey.fn(config, ["yard"], ["orders.created"])
