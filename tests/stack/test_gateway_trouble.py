"""The gateway in trouble: an issuer, a registry or clusters that are away, and events that Kafka refuses."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deployments.local.stack import Stack
from redrive.config import Config
from redrive.dispatch import DispatchSettings
from redrive.gateway import app as application
from redrive.gateway.app import create_app
from redrive.gateway.issuer_keys import AFTER_FAILURE
from tests.stack.environment import forget_settings
from tests.stack.partners import Gateway, opened, order, serving
from tests.stack.platform import wait_until


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose issuer was away when it started."""
    with serving(stack, tmp_path_factory.mktemp("gateway"), knows_keys=False) as gateway:
        yield gateway


def test_an_issuer_that_is_away_at_the_start_keeps_out_tokens_only_until_it_is_back(gateway: Gateway) -> None:
    log = gateway.log.read_text()
    assert f"gateway.tokens.jwks: the key set {gateway.issuer.url} can't be read (it answered 500)" in log
    assert gateway.http.get("/readyz").json() == {"status": "ready", "tokens": "unavailable"}
    assert gateway.post(order(1)).status_code == 202
    refused = gateway.post(order(1), token=gateway.issuer.token())
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["Retry-After"]) <= AFTER_FAILURE

    gateway.issuer.open = True
    wait_until(lambda: gateway.http.get("/readyz").json() == {"status": "ready"})
    assert gateway.post(order(1), token=gateway.issuer.token()).status_code == 202


def test_an_event_that_kafka_refuses_after_it_was_accepted_is_kept_and_the_log_says_which_why_and_what_to_do(
    gateway: Gateway,
) -> None:
    configure(gateway, gateway.payments, "message.timestamp.before.max.ms", "0")  # so that every event is too old
    event = order(1, type="order.paid", data={"id": 1, "note": "payload-secret"})

    answer = gateway.post(event, "order.paid")

    assert answer.status_code == 202
    letters = f"dlq.{gateway.config.door().name}"
    assert gateway.metrics()['redrive_gateway_events_total{path="dead_letter"}'] == 1  # in its topic, or stored for it
    assert gateway.found(gateway.payments, event["id"]) == []
    (line,) = [line for line in gateway.log.read_text().splitlines() if "Kafka refuses" in line]
    assert f"'acme/%2Fshop/{event['id']}' for {gateway.payments}" in line
    assert re.search(r"\(Broker: [^)]*timestamp[^)]*\)", line), line
    assert letters in line
    assert "redrive run dlq-correction" in line
    assert "payload-secret" not in gateway.log.read_text()


def test_a_cluster_and_a_store_that_take_nothing_are_told_by_503_and_harm_nobody_on_another_cluster(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, whose producer holds but two events of each cluster: 100,000 would take minutes."""
    forget_settings(gateway.stack, monkeypatch)
    config = away(gateway, tmp_path)
    few = {"max_unacknowledged": 2, "block_timeout": 0.5}
    monkeypatch.setattr(application, "DispatchSettings", lambda **given: DispatchSettings(**given | few))

    async def steps(partner: httpx2.AsyncClient) -> None:
        async def timed(event: dict[str, Any]) -> tuple[httpx2.Response, float]:
            started = time.monotonic()
            content, kind = json.dumps(event).encode(), event["type"]
            headers = {"X-API-Key": gateway.acme, "Content-Type": "application/cloudevents+json"}
            answer = await partner.post(f"/v1/events/{kind}", content=content, headers=headers)
            return answer, time.monotonic() - started

        await timed(order(0))  # from now on it is known that the store is away
        stuck = [asyncio.create_task(timed(order(number, type="order.paid"))) for number in range(12)]
        await asyncio.sleep(0.3)
        elsewhere = [await timed(order(number)) for number in range(20)]
        assert {answer.status_code for answer, _ in elsewhere} == {202}
        assert max(seconds for _, seconds in elsewhere) < 3
        refused = await asyncio.gather(*stuck)
        assert {answer.status_code for answer, _ in refused} == {503}
        assert all(answer.headers["Retry-After"] == "5" for answer, _ in refused)
        crowded = [answer for answer, _ in refused if "too many events wait" in answer.json()["detail"]]
        assert crowded, [answer.json()["detail"] for answer, _ in refused]
        assert {answer.json()["type"] for answer in crowded} == {"urn:redrive:problem:unavailable"}
        assert max(seconds for _, seconds in refused) < config.door().answer_within + 10

    async def served() -> None:
        app = create_app(config)
        transport = httpx2.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://x") as it:
            await steps(it)

    monkeypatch.setattr(application, "CLOSE_WITHIN", 0.5)
    asyncio.run(served())


def test_a_worker_that_can_not_start_again_ends_no_other_and_starts_once_it_can(stack: Stack, tmp_path: Path) -> None:
    gateway = opened(stack, tmp_path)
    good = gateway.file.read_text()
    try:
        gateway.start("--workers", "2")
        wait_until(lambda: gateway.log.read_text().count("Application startup complete") == 2, 60)  # both have read it
        gateway.file.write_text(good.replace("drain", "dryn"))
        gateway.workers()[0].kill()
        wait_until(lambda: "gateway.dryn" in gateway.log.read_text(), 60)
        for number in range(10):
            assert gateway.post(order(number)).status_code == 202
        gateway.file.write_text(good)
        before = gateway.log.read_text().count("Application startup complete")
        wait_until(lambda: gateway.log.read_text().count("Application startup complete") > before, 60)
        assert len(gateway.workers()) == 2
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.log.read_text()
    finally:
        gateway.close()


def configure(gateway: Gateway, topic: str, name: str, value: str) -> None:
    """Set a topic's configuration."""
    admin = AdminClient({"bootstrap.servers": gateway.stack.endpoints.bootstrap})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(120)


def away(gateway: Gateway, folder: Path) -> Config:
    """Return the gateway's settings, but for a store that is away, and payments on a cluster that is away, too."""
    (folder / "order.avsc").write_text((gateway.file.parent / "order.avsc").read_text())
    text = gateway.file.read_text()
    text = text.replace(gateway.stack.endpoints.dynamodb, "http://127.0.0.1:9")
    text = text.replace(
        f'[topics."{gateway.payments}"]\ndomain = "sales"', f'[topics."{gateway.payments}"]\ndomain = "far"'
    )
    text = text.replace("[standby]", "[standby]\ndivert_after = 1.0")
    text = text.replace("drain = 0.5", "drain = 0\nanswer_within = 4")
    file = folder / "redrive.toml"
    file.write_text(f'{text}\n[clusters.two]\nbootstrap = "127.0.0.1:9"\n[domains.far]\ncluster = "two"\n')
    return Config.load(file)
