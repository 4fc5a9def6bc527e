"""Quotas and API keys."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from redrive.cli import app
from redrive.config import GatewayConfig, PartnerConfig
from redrive.gateway.api_keys import ApiKeys, hash_of, new_key
from redrive.gateway.problems import Problem
from redrive.gateway.quotas import Quotas


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def quotas(clock: Clock) -> Quotas:
    partners = {
        "acme": PartnerConfig(types=frozenset({"t"}), rate=2, burst=4),
        "plain": PartnerConfig(types=frozenset({"t"}), rate=2),
    }
    return Quotas(GatewayConfig(types={"t": "topic"}, partners=partners, max_batch=50), clock)


def test_a_burst_goes_through_at_once_and_then_as_many_a_second_as_the_rate_says() -> None:
    clock = Clock()
    bucket = quotas(clock)
    for _ in range(4):
        bucket.take("acme", 1)
    with pytest.raises(Problem) as refused:
        bucket.take("acme", 3)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "2")
    clock.now = 1.5
    bucket.take("acme", 3)
    with pytest.raises(Problem):
        bucket.take("acme", 1)
    clock.now = 1_000
    bucket.take("acme", 4)
    with pytest.raises(Problem):
        bucket.take("acme", 1)


def test_a_batch_that_comes_again_when_it_was_told_to_gets_through() -> None:
    clock = Clock()
    bucket = quotas(clock)
    bucket.take("acme", 4)
    for _ in range(2):
        clock.now += 0.5
        bucket.take("acme", 1)
        with pytest.raises(Problem) as refused:
            bucket.take("acme", 4, held=1)
    # What was refused has cost its token, twice.
    assert refused.value.headers["Retry-After"] == "2"
    clock.now += 2
    bucket.take("acme", 1)
    bucket.take("acme", 4, held=1)


def test_who_has_no_burst_of_its_own_may_send_a_full_batch() -> None:
    assert quotas(Clock()).largest("plain") == 50


def test_a_key_names_its_partner_and_nothing_like_it_does() -> None:
    mine, other = new_key(), new_key()
    keys = ApiKeys(
        {
            "acme": PartnerConfig(types=frozenset(), keys=frozenset({hash_of(new_key()), hash_of(mine)})),
            "other": PartnerConfig(types=frozenset(), keys=frozenset({hash_of(other)})),
        }
    )
    assert (keys.partner(mine), keys.partner(other)) == ("acme", "other")
    wrong = (new_key(), mine[:-1], mine + "A", mine.upper(), hash_of(mine), "", "é" * 48, mine + "\n")
    assert [keys.partner(key) for key in wrong] == [None] * len(wrong)


def test_the_command_makes_a_key_and_the_line_for_the_settings() -> None:
    result = CliRunner().invoke(app, ["gateway", "key"])
    key, line = [text for text in result.stdout.splitlines() if text]
    assert line == f'keys = ["{hash_of(key)}"]'
    made = json.loads(CliRunner().invoke(app, ["gateway", "key", "--json"]).stdout)
    assert made["hash"] == hash_of(made["key"]) != hash_of(key)
