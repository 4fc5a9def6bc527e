"""What keeps a version, and what is never asked for, since it could not be known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from redrive.aliases.alias import Alias, Aliases
from redrive.config import Config
from redrive.deadletters.fate import FATES, Fate, FateName
from redrive.deadletters.letter_id import LetterId
from redrive.errors import SchemaError, SchemaInUseError
from redrive.governance import deleting
from redrive.governance.deleting import check_deletion
from redrive.ledger import Ledger
from redrive.standby.lanes import LaneState
from tests.ledger.letters import begin, fill, sighting
from tests.unit.one_cluster import one_cluster


class Registry:
    """Has two versions of a schema, with the ids 1 and 2."""

    def ids(self, _: str) -> dict[int, int]:
        return {1: 1, 2: 2}

    def subjects_with(self, _: int) -> list[tuple[str, int]]:
        return []


class Archive:
    """A ledger, a registry, aliases, and no events in topics or in the standby store.

    Attributes:
        aliases: what the control topic says.
        open_to: the topic that the lanes of flights are open to; empty: flights.
    """

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self.config, self.ledger = config, ledger
        self.aliases, self.open_to = Aliases({}, {}), ""

    def all(self) -> dict[str, int]:
        return {"flights": 2}

    def state(self) -> LaneState:
        return LaneState(3, "open", 1, self.open_to)

    def uses(self, version: int = 1) -> tuple[str, ...]:
        """What keeps a version."""
        try:
            check_deletion(self.config, cast(Any, Registry()), self.ledger, "flights-value", version)
        except SchemaInUseError as error:
            return error.uses
        return ()


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    config = one_cluster(tmp_path, "flights", cluster="local")
    for elsewhere in ("_in_topics", "_in_standby"):
        monkeypatch.setattr(deleting, elsewhere, lambda *_: iter(()))
    with Ledger.open(config.ledger_url()) as ledger:
        archive = Archive(config, ledger)
        monkeypatch.setattr(deleting, "read_aliases", lambda _: archive.aliases)
        for lanes in ("Topics", "LaneLog"):
            monkeypatch.setattr(deleting, lanes, lambda *_: archive)
        yield archive


@pytest.mark.parametrize("fate", [None, *FATES])
def test_a_letter_keeps_it_until_it_has_come_to_its_end(archive: Archive, fate: FateName | None) -> None:
    """What waits for a person is read once somebody looks at it."""
    fill(archive.ledger, [sighting(0, schema_id=1)])
    if fate is not None:
        about: dict[str, Any] = {"topic": "flights", "partition": 0, "offset": 1} if fate == "published" else {}
        given = Fate(LetterId("local", "dlq.flights", 0, 0), fate, **about)
        archive.ledger.letters.record_fates(begin(archive.ledger, "dlq-correction"), [given])
    uses = archive.uses()
    if fate in ("published", "rejected", "discarded"):
        assert uses == ()
    else:
        assert "1 dead letters that have not come to their end" in uses[0]
        assert f"--fate {fate or 'none'}" in uses[0]


SWITCHED = Alias("flights", "flights.v2", "flights.v2", 1, schema_id=1, schema="{}")


def test_producers_that_were_switched_keep_what_they_write_with_until_all_are_back(archive: Archive) -> None:
    """They may be about to write the first event with it."""
    archive.aliases = Aliases({"flights": SWITCHED}, {})
    [use] = archive.uses()
    assert "producers of flights on local were switched to flights.v2" in use
    assert "redrive run schema-backfill flights flights.v2 --goal switch_back --mode run" in use

    back = replace(SWITCHED, current="flights", generation=2)
    archive.aliases, archive.open_to = Aliases({"flights": back}, {}), "flights.v2"
    assert len(archive.uses()) == 1, "the way back was cut off"
    archive.open_to = ""
    assert archive.uses() == ()


def test_producers_that_write_with_another_version_keep_none(archive: Archive) -> None:
    archive.aliases = Aliases({"flights": replace(SWITCHED, schema_id=3)}, {})
    assert archive.uses() == ()


def test_a_topic_whose_alias_nobody_can_read_may_be_written_with_any(archive: Archive) -> None:
    archive.aliases = Aliases({}, {"flights": "it is malformed", "junk": "it is malformed"})
    [use] = archive.uses()
    assert use == "nobody knows what producers of flights on local write with, by its record in redrive.aliases"


@pytest.mark.parametrize("subject", ["orders.created-key", "orders.created", "com.acme.Order"])
def test_a_version_of_a_subject_that_is_not_one_of_values_is_not_deleted(subject: str) -> None:
    """Whether a key needs it, nobody looks for; nor does anybody look anywhere, here: there is nothing to look at."""
    nothing = cast(Any, None)
    with pytest.raises(SchemaError, match=f"{subject}: is no subject of values.* keys are not looked at"):
        check_deletion(nothing, nothing, nothing, subject, 1)
