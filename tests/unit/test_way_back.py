"""By which rules events go back to the topic that was copied: never by none, if there were any on the way there."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from redrive.config import Config
from redrive.errors import ConfigError
from redrive.migrations import way_back
from redrive.migrations.migration import Migration, digest_of_up, prepare
from redrive.migrations.migrator import Recipe
from redrive.migrations.source import Cursor
from redrive.migrations.unit import Unit
from redrive.migrations.way_back import see_that_rules_are_the_same
from redrive.pump.checkpoint import Checkpoint

UP = """\
topic: orders
up:
  match: first
  rules:
    - name: a remark is a note now
      match: {}
      do:
        - {op: rename, path: /remark, to: note}
"""
DOWN = """\
down:
  match: first
  rules:
    - name: a note was a remark
      match: {}
      do:
        - {op: rename, path: /note, to: remark}
"""
OTHER = UP.replace("a remark is", "what was a remark is")
SETTINGS = """\
[registry]
url = "http://127.0.0.1:1"
[clusters.one]
bootstrap = "127.0.0.1:1"
[domains.sales]
cluster = "one"
[topics.orders]
domain = "sales"
schema = "orders.avsc"
[topics."orders.v2"]
domain = "sales"
schema = "orders.avsc"
"""


def back_by(rules: str) -> Migration:
    recipe = Recipe(1, {}, rules, "rules.yaml" if rules else "", "down")
    return Migration("orders.v2", "orders", recipe, {}, "digest", digest_of_up(rules, "rules.yaml"))


@pytest.fixture
def filled_by(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """By which rules the target was filled."""
    rules: list[str | None] = [digest_of_up(UP, "rules.yaml")]

    def cursors(*_: object) -> dict[str, bytes]:
        at = msgspec.msgpack.encode(Cursor("digest", 5, rules[0]))
        return {Unit("one", "orders", "orders.v2", 0).name: Checkpoint(operation="op", source=at).encode()}

    monkeypatch.setattr(way_back, "read_alias", lambda *_: None)
    monkeypatch.setattr(way_back, "end_offsets", lambda *_: [5])
    monkeypatch.setattr(way_back, "read_cursors", cursors)
    return rules


def test_rules_without_a_way_back_are_refused_for_it(tmp_path: Path) -> None:
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    schema = {"type": "record", "name": "Order", "fields": [{"name": "note", "type": "string", "default": ""}]}
    (tmp_path / "orders.avsc").write_text(json.dumps(schema))
    rules = tmp_path / "rules.yaml"
    rules.write_text(UP)
    config = Config.load(tmp_path / "redrive.toml")
    with pytest.raises(ConfigError, match="has no `down`"):
        prepare(config, "orders.v2", "orders", rules=rules, direction="down")


@pytest.mark.parametrize("rules", ["", OTHER + DOWN], ids=["none", "others"])
def test_events_do_not_go_back_by_other_rules_than_they_came_by(filled_by: list[str | None], rules: str) -> None:
    with pytest.raises(ConfigError, match="by other rules"):
        see_that_rules_are_the_same({}, "one", back_by(rules))


def test_a_way_back_that_was_added_since_is_no_other_file(filled_by: list[str | None]) -> None:
    see_that_rules_are_the_same({}, "one", back_by(UP + DOWN))


@pytest.mark.parametrize("known", ["", None], ids=["without rules", "before that was noted"])
def test_without_rules_there_need_be_none_back(filled_by: list[str | None], known: str | None) -> None:
    filled_by[0] = known
    see_that_rules_are_the_same({}, "one", back_by(""))


def test_a_cursor_that_says_nothing_of_rules_is_read() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(["digest", 5]), type=Cursor).rules is None
