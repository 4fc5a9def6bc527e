"""The section ``[gateway]``: each mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.utilities.engine import collect_task_run_inputs_sync

from redrive.config import Config
from redrive.errors import ConfigError

GOOD = """\
[registry]
url = "http://127.0.0.1:1"
[clusters.a]
bootstrap = "a:1"
[domains.d]
cluster = "a"
[topics.orders]
domain = "d"
schema = "o.avsc"
[topics."dlq.gateway"]
domain = "d"
"""
DOOR = """\
[gateway]
[gateway.types]
"order.created" = "orders"
[gateway.tokens]
issuer = "https://i.example/"
audience = "events"
jwks = "https://i.example/jwks"
[gateway.partners.acme]
types = ["order.created"]
clients = ["acme-backend"]
"""
HASH = "sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def _schema(alone: None) -> None:
    Path("o.avsc").write_text('"string"')


def mistakes(door: str, platform: str = GOOD) -> list[str]:
    Path("redrive.toml").write_text(platform + door)
    return [str(mistake).removeprefix("redrive.toml:") for mistake in Config.check()]


def test_a_door_needs_types_and_partners_and_all_else_has_defaults() -> None:
    assert mistakes(DOOR) == []
    door = Config.load().door()
    assert (door.port, door.max_batch, door.partners["acme"].types) == (8080, 500, {"order.created"})
    assert (door.admin_host, door.admin_port) == ("127.0.0.1", 9464)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('= "orders"', '= "order"', "14: gateway.types.order.created: there is no topic 'order'"),
        ('= "orders"', '= "dlq.gateway"', "14: gateway.types.order.created: topic 'dlq.gateway' has no schema"),
        ('["order.created"]', '["order.paid"]', "20: gateway.partners.acme.types: there is no event type 'order.paid'"),
        ('["acme-backend"]', "[]", "19: gateway.partners.acme: has neither clients nor keys"),
        ("clients", "client", "21: gateway.partners.acme.client: is not a setting of Redrive; it knows burst, clients"),
        ("issuer =", "isuer =", "16: gateway.tokens.isuer: is not a setting of Redrive; it knows audience, client_cl"),
        ("[gateway]", "[gateway]\ndoors = 1", "13: gateway.doors: is not a setting of Redrive; it knows admin_host"),
        ("[gateway]", '[gateway]\nname = "g"', "13: gateway.name: there is no topic dlq.g, which takes"),
        ("https://i.example/jwks", "http://i.example/jwks", "18: gateway.tokens.jwks: must be https"),
        ("https://i.example/jwks", "ftp://i.example/jwks", "18: gateway.tokens.jwks: must be an https URL"),
        ("https://i.example/jwks", "keys.json", "18: gateway.tokens.jwks: there is no file"),
        ('= "orders"', '= ["a"]', "14: gateway.types.order.created: must be a valid string"),
        ("[gateway]", '[gateway]\nname = ["x"]', "13: gateway.name: must be a valid string"),
        ('"order.created" =', '"order/created" =', "14: gateway.types.order/created: is no event type: use letters, "),
        ('["order.created"]', '["order/paid"]', "20: gateway.partners.acme.types.0: is no event type: use letters, "),
        ("[gateway]", "[gateway]\nanswer_within = 7.5", "13: gateway.answer_within: must be 8 s or more"),
        ("clients = [", 'keys = ["rdgw_secret"]\nclients = [', "21: gateway.partners.acme.keys.0: must be the hash"),
    ],
)
def test_each_mistake_is_named_with_its_line(old: str, new: str, told: str) -> None:
    found = mistakes(DOOR.replace(old, new, 1))
    assert any(mistake.startswith(told) for mistake in found), found
    assert "rdgw_secret" not in "".join(found)


def test_an_answer_is_not_due_before_an_outage_is_noticed_and_what_waits_is_stored() -> None:
    slow = GOOD + "[standby]\ndivert_after = 28\n"
    (told,) = mistakes(DOOR, slow)
    assert told.startswith("14: gateway: must be 31 s or more: standby.divert_after (28) + standby.gate_refresh (1)")
    assert mistakes(DOOR.replace("[gateway]", "[gateway]\nanswer_within = 31"), slow) == []


def test_without_the_section_there_is_no_gateway() -> None:
    assert mistakes("") == []
    with pytest.raises(ConfigError, match="gateway: is missing"):
        Config.load().door()


def test_clients_mean_nothing_without_an_issuer() -> None:
    begin, end = DOOR.index("[gateway.tokens]"), DOOR.index("[gateway.partners.acme]")
    (found,) = mistakes(DOOR[:begin] + DOOR[end:])
    assert "means nothing without [gateway.tokens]" in found


@pytest.mark.parametrize("line", ['clients = ["acme-backend"]', f'keys = ["{HASH}"]'])
def test_a_credential_of_two_partners_is_a_mistake(line: str) -> None:
    twice = DOOR.replace('clients = ["acme-backend"]', f'clients = ["acme-backend"]\nkeys = ["{HASH}"]')
    (found,) = mistakes(f"{twice}[gateway.partners.other]\ntypes = []\n{line}\n")
    assert "has one that partner 'acme' has, too" in found


def test_settings_with_a_gateway_can_be_handed_to_a_task() -> None:
    """Prefect looks into what tasks are given, and takes what has an attribute ``keys`` for a mapping."""
    Path("redrive.toml").write_text(GOOD + DOOR + f'keys = ["{HASH}"]\n')
    config = Config.load()
    assert config.door().partners["acme"].api_keys == {HASH}
    assert collect_task_run_inputs_sync(config) == set()
