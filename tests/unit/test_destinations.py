"""What a name stands for, asked of a cluster while somebody waits to publish."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from redrive.aliases.destination import Destinations
from redrive.avro.schema import AvroSchema
from redrive.dispatch.rights import WriteRights
from redrive.errors import UnavailableError

NOWHERE = {"bootstrap.servers": "127.0.0.1:1"}


def ask(_schema_id: int) -> AvroSchema:
    raise AssertionError


def known(_name: str) -> Mapping[int, AvroSchema]:
    return {}


def test_a_cluster_that_is_away_holds_a_publisher_up_for_a_second_and_for_all_names_but_once() -> None:
    with ThreadPoolExecutor(1) as elsewhere:
        destinations = Destinations(
            NOWHERE, "local", ask, known, elsewhere, rights=WriteRights(NOWHERE, elsewhere.submit)
        )
        began = time.monotonic()
        for name in ("orders", "menu", "staff"):
            with pytest.raises(UnavailableError, match="Kafka local"):
                destinations.current(name)
        assert 0.9 < time.monotonic() - began < 3
