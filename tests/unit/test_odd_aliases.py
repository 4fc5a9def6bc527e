"""A record in the control topic of aliases that nobody can read: it keeps nobody from the other names."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from redrive.aliases import Alias, read_alias, read_aliases
from redrive.aliases.alias import Aliases
from redrive.cli import topics as topics_command
from redrive.config import Config
from redrive.consuming.alias_watch import AliasWatch
from redrive.errors import UnavailableError
from redrive.pump.names import ALIASES_TOPIC
from tests.unit.mock_kafka import MockKafka
from tests.unit.one_cluster import one_cluster

ORDERS = Alias("orders", "orders.v2", "orders.v2", 1, 7, "{}", places={0: (3, 7)})
ODD = {
    "no JSON": b"hello",
    "no UTF-8": b'{"name": "\xff"}',
    "no object": b"[]",
    "a field is missing": b'{"name": "odd"}',
    "as deep as a stack": b'{"x": ' + b"[" * 100_000,
    "another name": msgspec.json.encode(ORDERS),
    "a third topic": msgspec.json.encode(msgspec.structs.replace(ORDERS, name="odd", current="elsewhere")),
}


@pytest.fixture
def client(mock_kafka: MockKafka) -> dict[str, str]:
    return {"bootstrap.servers": mock_kafka.bootstrap}


def write(mock_kafka: MockKafka, alias: Alias) -> None:
    mock_kafka.produce(ALIASES_TOPIC, alias.name.encode(), msgspec.json.encode(alias))


def test_the_other_names_are_known_and_that_one_is_never_taken_for_one_that_was_not_switched(
    mock_kafka: MockKafka, client: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    for what, value in ODD.items():
        mock_kafka.produce(ALIASES_TOPIC, what.encode(), value)
    mock_kafka.produce(ALIASES_TOPIC, b"\xff\n", b"hello")
    mock_kafka.produce(ALIASES_TOPIC, b"", b"hello")
    write(mock_kafka, ORDERS)
    aliases = read_aliases(client)
    assert aliases.good == {"orders": ORDERS}
    assert set(aliases.odd) == {*ODD, "\\xff\N{REPLACEMENT CHARACTER}", ""}
    assert read_alias(client, "orders") == ORDERS
    assert read_alias(client, "refunds") is None
    with pytest.raises(UnavailableError, match=r"alias no JSON .* --goal switch_producers"):
        read_alias(client, "no JSON")
    assert "the record of 'no JSON' in redrive.aliases can't be read" in caplog.text
    assert f"(and {len(aliases.odd) - 1} others)" in caplog.text
    assert "hello" not in caplog.text


@pytest.mark.parametrize("mended", [ORDERS, None], ids=["written anew", "deleted"])
def test_what_comes_after_it_under_its_name_mends_it(
    mock_kafka: MockKafka, client: dict[str, str], mended: Alias | None
) -> None:
    mock_kafka.produce(ALIASES_TOPIC, b"orders", b"hello")
    mock_kafka.produce(ALIASES_TOPIC, b"orders", None if mended is None else msgspec.json.encode(mended))
    assert read_alias(client, "orders") == mended


def news(watch: AliasWatch, *, until: str) -> list[Alias]:
    """Ask for news until the watch says that it is ready, or raises."""
    deadline, found = time.monotonic() + 20, list[Alias]()
    while time.monotonic() < deadline and not (until == "ready" and watch.is_ready) and not (until == "news" and found):
        found += watch.news()
        time.sleep(0.02)
    return found


def test_a_consumer_begins_in_spite_of_one_under_another_name_and_waits_for_one_under_its_own(
    mock_kafka: MockKafka, client: dict[str, str]
) -> None:
    """Without it there is no telling that the group has left its topic."""
    mock_kafka.produce(ALIASES_TOPIC, b"junk", b"hello")
    write(mock_kafka, ORDERS)
    watch = AliasWatch(client, {"orders": "orders.v2"})
    assert news(watch, until="ready") == [ORDERS]
    watch.close()

    mock_kafka.produce(ALIASES_TOPIC, b"orders", b"hello")
    watch = AliasWatch(client, {"orders": "orders.v2"})
    with pytest.raises(UnavailableError, match="alias orders"):
        news(watch, until="ready")
    assert not watch.is_ready
    watch.close()


def test_a_consumer_at_work_goes_by_what_it_knew_and_hears_of_what_comes_with_it(
    mock_kafka: MockKafka, client: dict[str, str]
) -> None:
    write(mock_kafka, ORDERS)
    watch = AliasWatch(client, {"orders": "orders.v2"})
    assert news(watch, until="ready") == [ORDERS]
    mock_kafka.produce(ALIASES_TOPIC, b"orders", b"hello")
    back = msgspec.structs.replace(ORDERS, current="orders", generation=2, places={0: (9, 5)})
    write(mock_kafka, back)
    assert news(watch, until="news") == [back]
    watch.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return one_cluster(tmp_path, "orders", "orders.v2", schema='{"type": "record", "name": "Order", "fields": []}')


def test_topics_list_says_that_it_is_not_known_where_that_name_goes(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Aliases({"orders": ORDERS}, {"refunds": "it is malformed"})
    monkeypatch.setattr("redrive.aliases.alias.read_aliases", lambda _: known)
    assert topics_command._goes_to(config, "one") == {"orders": "orders.v2", "refunds": "not known"}
