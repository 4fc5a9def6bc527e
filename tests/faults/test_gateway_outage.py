"""The gateway when every broker dies: partners notice nothing but a delay, and all that they sent gets there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive.standby.drain import drain, open_store
from redrive.standby.survey import survey
from tests.stack.environment import forget_settings
from tests.stack.partners import Gateway, opened, order


@pytest.fixture
def gateway(fault_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    forget_settings(fault_stack, monkeypatch)
    gateway = opened(fault_stack, tmp_path)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.close()


def test_partners_notice_nothing_of_an_outage_but_a_delay_and_no_event_is_lost_or_doubled(
    fault_stack: Stack, gateway: Gateway
) -> None:
    before = [order(number) for number in range(10)]
    assert gateway.post(before).status_code == 202

    fault_stack.kill(*fault_stack.brokers)
    during = [order(number) for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(gateway.post, during))
    batch = [order(number) for number in range(50)]
    bad = gateway.post(order("bad"))
    assert {answer.status_code for answer in answers} == {202}
    assert gateway.post(batch).status_code == 202
    assert gateway.post(during[0]).status_code == 202  # again: as before, and not stored twice
    assert bad.status_code == 422
    assert gateway.is_ready()
    assert gateway.metrics()['redrive_gateway_events_total{path="standby"}'] == 150
    store = open_store(gateway.config)
    waiting = [lane for lane in survey(store, "one", [gateway.orders]) if not lane.is_open]
    assert sum(lane.events for lane in waiting) == 150
    assert gateway.stop() == 0

    fault_stack.start(*fault_stack.brokers)
    for lane in waiting:
        drain(gateway.config, lane.lane, operation="replay", settle=0.0)
    there = [dict(message.headers() or [])["ce_partnerid"].decode() for message in gateway.read(gateway.orders)]
    assert sorted(there) == sorted(event["id"] for event in (*before, *during, *batch))
