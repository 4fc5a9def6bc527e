"""An alias remembers which topics its name once stood for: the control topic keeps its last record alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrive.aliases import restoring, turning
from redrive.aliases.alias import Alias, Aliases
from redrive.aliases.turning import alias_back, alias_forth
from redrive.config import Config
from redrive.migrations.migration import Migration
from redrive.migrations.migrator import Recipe
from tests.unit.test_way_back import SETTINGS

THIRD = '[topics."orders.v3"]\ndomain = "sales"\nschema = "orders.avsc"\n'


class Name:
    """The name `orders`, and what the control topic says of it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.known: dict[str, Alias] = {}

    def goes(self, target: str, turn: Callable[[str], Alias | None]) -> Alias:
        alias = turn(target)
        assert alias is not None
        # As it is read: consumers have been told where they go over.
        written = msgspec.json.encode(msgspec.structs.replace(alias, places={0: (0, 0)}))
        self.known["orders"] = msgspec.json.decode(written, type=Alias)
        return self.known["orders"]

    def forth(self, target: str) -> Alias:
        recipe = Recipe(1, {}, "", "")
        return self.goes(
            target, lambda to: alias_forth(self._config, Migration("orders", to, recipe, {}, "digest", ""))
        )

    def back(self, target: str) -> Alias:
        return self.goes(target, lambda to: alias_back(self._config, "orders", to))


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Name:
    (tmp_path / "redrive.toml").write_text(SETTINGS + THIRD)
    (tmp_path / "orders.avsc").write_text(json.dumps({"type": "record", "name": "Order", "fields": []}))
    name = Name(Config.load(tmp_path / "redrive.toml"))
    known: Any = lambda _: Aliases(name.known, {})  # noqa: E731
    for module in (restoring, turning):
        monkeypatch.setattr(module, "read_aliases", known)
    monkeypatch.setattr(turning, "late_groups", lambda *_: [])
    monkeypatch.setattr(turning, "with_lost_places", lambda _, __, alias: alias)
    return name


def test_it_remembers_each_topic_that_its_name_has_left_for_another_one(name: Name) -> None:
    assert name.forth("orders.v2").past == ()
    assert name.back("orders.v2").past == (), "its target says so"
    third = name.forth("orders.v3")
    assert (third.current, third.past) == ("orders.v3", ("orders.v2",))
    assert name.back("orders.v3").past == ("orders.v2",)
    again = name.forth("orders.v2")
    assert (again.current, again.past) == ("orders.v2", ("orders.v3",))


def test_a_topic_that_consumers_have_not_followed_to_is_none_that_its_name_has_left(name: Name) -> None:
    """The switch was cut off and taken back: whoever reads that topic was moved there by hand, and reads it still."""
    name.forth("orders.v2")
    back = msgspec.structs.replace(name.back("orders.v2"), unmoved=True, places={})
    name.known["orders"] = back
    assert name.forth("orders.v3").past == ()


def test_one_that_was_written_before_it_could_remember_is_read_as_it_was() -> None:
    before = b'{"name":"orders","target":"v2","current":"v2","generation":1,"schema_id":1,"schema":"{}"}'
    assert msgspec.json.decode(before, type=Alias).past == ()
