"""The gateway over real HTTP on a real cluster: what partners send is safe, checked, counted, and there once."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from deployments.local.stack import Stack
from tests.stack.partners import Gateway, opened, order, value_of
from tests.stack.platform import wait_until


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            if not name.startswith("REDRIVE_"):
                patch.setenv(name, value)
        gateway = opened(stack, tmp_path_factory.mktemp("gateway"))
        try:
            gateway.start("--host", "0.0.0.0")
            yield gateway
        finally:
            gateway.close()


def test_an_event_that_is_accepted_is_in_kafka_with_its_key_its_value_and_what_came_with_it(gateway: Gateway) -> None:
    event = order(17, subject="basket", time="2026-01-31T12:00:00Z", traceparent="00-abc", source="/shop/a")

    answer = gateway.post(event)

    assert (answer.status_code, answer.json()) == (202, {"id": event["id"], "source": "/shop/a"})
    (message,) = gateway.found(gateway.orders, event["id"])
    headers = dict(message.headers() or [])
    assert message.key() == event["id"].encode()
    assert value_of(gateway, message) == {"id": 17, "note": None}
    assert headers["ce_id"] == f"acme/%2Fshop%2Fa/{event['id']}".encode()
    assert {name: headers[name] for name in ("ce_partner", "ce_subject", "ce_traceparent", "ce_partnertime")} == {
        "ce_partner": b"acme",
        "ce_subject": b"basket",
        "ce_traceparent": b"00-abc",
        "ce_partnertime": b"2026-01-31T12:00:00Z",
    }
    assert [name for name, _ in message.headers() or []].count("ce_time") == 1


def test_an_event_that_does_not_fit_its_schema_is_refused_with_field_and_reason_and_leaves_no_trace(
    gateway: Gateway,
) -> None:
    event = order("seventeen")

    answer = gateway.post(event)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"] == [{"field": "data.id", "reason": "is a string, not an integer (long)"}]
    assert gateway.found(gateway.orders, event["id"]) == []
    assert gateway.read(f"dlq.{gateway.config.door().name}") == []
    assert gateway.post(order(17, event["id"])).status_code == 202  # its id is still free


def test_an_event_that_its_topic_can_not_take_is_refused_without_a_word_of_the_topic(gateway: Gateway) -> None:
    large = gateway.post(order(1, data={"id": 1, "note": "x" * 1_020_000}))
    keyless = gateway.post(order(1, type="order.paid", partitionkey=None), "order.paid")
    assert (large.status_code, keyless.status_code) == (422, 422)
    assert "bytes with its headers, and may be 1,000,000" in large.json()["detail"]
    assert keyless.json()["errors"][0]["field"] == "partitionkey"
    assert "secret" not in large.text + keyless.text
    assert gateway.read(f"dlq.{gateway.config.door().name}") == []


def test_of_a_batch_the_good_events_get_through_in_order_and_each_bad_one_is_told(gateway: Gateway) -> None:
    same = f"order-{uuid.uuid4().hex}"
    batch = [order(number, partitionkey=same) for number in range(20)]
    batch[3]["data"] = {"id": None}
    batch[5] = 5  # type: ignore[call-overload]
    batch[7]["type"] = "order.paid"
    del batch[9]["id"]

    answer = gateway.post(batch)

    assert answer.status_code == 207
    results = answer.json()["events"]
    assert [number for number, result in enumerate(results) if result["status"] != 202] == [3, 5, 7, 9]
    told = [results[number]["problem"]["errors"][0]["field"] for number in (3, 5, 7, 9)]
    assert told == ["data.id", "", "type", "id"]
    assert [results[number]["id"] for number in (3, 5, 7, 9)] == [batch[3]["id"], None, batch[7]["id"], None]
    mine = [message for message in gateway.read(gateway.orders) if message.key() == same.encode()]
    numbers = [value_of(gateway, message)["id"] for message in mine]
    assert numbers == [number for number in range(20) if number not in (3, 5, 7, 9)]


def test_a_batch_of_good_events_is_answered_with_all_their_ids(gateway: Gateway) -> None:
    batch = [order(number) for number in range(100)]
    answer = gateway.post(batch)
    assert answer.status_code == 202
    assert [result["id"] for result in answer.json()["events"]] == [event["id"] for event in batch]


def test_the_same_event_again_gets_the_same_answer_and_is_published_once(gateway: Gateway) -> None:
    event = order(1)
    first = gateway.post(event)
    again = gateway.post(dict(reversed(event.items())))  # the same members, in another order
    twice = gateway.post([event, event])
    assert (first.status_code, again.status_code, twice.status_code) == (202, 202, 202)
    assert first.json() == again.json()
    assert len(gateway.found(gateway.orders, event["id"])) == 1


def test_the_same_event_many_times_at_once_is_published_once(gateway: Gateway) -> None:
    event = order(1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.post(event).status_code, range(16)))
    assert answers == [202] * 16
    assert len(gateway.found(gateway.orders, event["id"])) == 1


def test_an_id_with_another_content_is_refused(gateway: Gateway) -> None:
    event = order(1)
    assert gateway.post(event).status_code == 202
    for other in (event | {"data": {"id": 2}}, event | {"partitionkey": "x"}, event | {"subject": "x"}):
        answer = gateway.post(other)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:redrive:problem:id-reused")
    assert len(gateway.found(gateway.orders, event["id"])) == 1


def test_another_partner_or_source_may_use_the_same_id(gateway: Gateway) -> None:
    event = order(1)
    others = [gateway.post(event | {"source": "/other"}), gateway.post(event | {"data": {"id": 2}}, key=gateway.small)]
    assert [answer.status_code for answer in (gateway.post(event), *others)] == [202] * 3
    ids = {dict(message.headers() or [])["ce_id"] for message in gateway.found(gateway.orders, event["id"])}
    assert len(ids) == 3


def test_tokens_of_both_algorithms_name_the_partner(gateway: Gateway) -> None:
    for key in (gateway.issuer.rsa, gateway.issuer.ec):
        event = order(1)
        assert gateway.post(event, token=gateway.issuer.token(key)).status_code == 202
        (message,) = gateway.found(gateway.orders, event["id"])
        assert dict(message.headers() or [])["ce_partner"] == b"acme"


def test_a_quota_that_is_used_up_says_when_to_come_again_and_is_nobody_else_s(gateway: Gateway) -> None:
    # Another test may have used some of it.
    answers = [gateway.post(order(number), key=gateway.small) for number in range(4)]
    refused = answers[-1]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 8
    assert gateway.post(order(1)).status_code == 202
    large = gateway.post([order(number) for number in range(4)], key=gateway.small)
    assert large.status_code in (413, 429)


def test_each_answer_and_each_line_of_the_log_has_the_request_s_id(gateway: Gateway) -> None:
    mine = f"mine-{uuid.uuid4().hex}"
    answer = gateway.post(order("bad"), **{"X-Request-ID": mine})
    assert (answer.headers["X-Request-ID"], answer.json()["request_id"]) == (mine, mine)
    line = f"{mine} POST status=422 partner=acme type=order.created events=1 refused=1 problem=invalid-event ms="
    wait_until(lambda: line in gateway.log.read_text())  # it is written when the answer has gone out
    for bad in ("x" * 65, "a b", "a\tb"):
        answer = gateway.post(order(1), **{"X-Request-ID": bad})
        assert answer.headers["X-Request-ID"] not in ("", bad)


def test_what_was_counted_is_told_on_a_port_of_its_own(gateway: Gateway) -> None:
    def counts() -> tuple[float, ...]:
        told = gateway.metrics()
        names = (
            'redrive_gateway_requests_total{partner="acme",status="202"}',
            'redrive_gateway_requests_total{partner="acme",status="422"}',
            'redrive_gateway_events_total{path="main"}',
            'redrive_gateway_refused_events_total{problem="invalid-event"}',
            "redrive_gateway_request_seconds_count",
        )
        return tuple(told.get(name, 0.0) for name in names)

    before = counts()
    gateway.post(order(1))
    gateway.post([order(2), order(3)])
    gateway.post(order("bad"))
    wait_until(lambda: [now - then for now, then in zip(counts(), before, strict=True)] == [2, 1, 3, 1, 3])
    assert gateway.http.get("/metrics").status_code == 404


def test_what_was_counted_is_not_told_where_partners_are_served_unless_the_settings_say_so(gateway: Gateway) -> None:
    assert httpx2.get(f"http://127.0.0.2:{gateway.port}/livez").status_code == 200  # it listens on every address
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://127.0.0.2:{gateway.admin_port}/metrics")


def test_its_description_names_no_event_type_and_no_topic_and_no_page_takes_scripts_from_elsewhere(
    gateway: Gateway,
) -> None:
    document = gateway.http.get("/openapi.json")
    assert "/v1/events/{type}" in document.json()["paths"]
    assert "order.created" not in document.text
    assert gateway.orders not in document.text
    page = gateway.http.get("/docs")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "order.created" not in page.text
    assert gateway.orders not in page.text
    for elsewhere in ("/redoc", "/docs/oauth2-redirect"):
        assert gateway.http.get(elsewhere).status_code == 404


def test_told_to_stop_it_is_not_ready_any_more_finishes_what_is_under_way_and_ends_well(
    stack: Stack, tmp_path: Path
) -> None:
    gateway = opened(stack, tmp_path)
    try:
        gateway.start()
        sent = [order(number) for number in range(200)]
        answers: list[int] = []

        def send() -> None:
            for event in sent:
                try:
                    answers.append(gateway.post(event).status_code)
                except httpx2.TransportError:
                    answers.append(0)

        sending = threading.Thread(target=send)
        sending.start()
        while len(answers) < 20:
            time.sleep(0.01)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        states = set()
        while gateway.process.poll() is None:
            try:
                states.add(httpx2.get(f"http://127.0.0.1:{gateway.port}/readyz").status_code)
            except httpx2.TransportError:
                break
        assert gateway.process.wait(120) == 0
        sending.join(60)
        assert 503 in states
        accepted = [event["id"] for event, status in zip(sent, answers, strict=True) if status == 202]
        assert len(accepted) >= 20
        there = {dict(message.headers() or [])["ce_partnerid"].decode() for message in gateway.read(gateway.orders)}
        assert set(accepted) <= there
    finally:
        gateway.close()


def test_several_workers_serve_count_together_and_end_together(stack: Stack, tmp_path: Path) -> None:
    gateway = opened(stack, tmp_path)
    try:
        gateway.start("--workers", "2")
        for number in range(20):
            assert httpx2.post(
                f"http://127.0.0.1:{gateway.port}/v1/events/order.created",
                json=order(number),
                headers={"X-API-Key": gateway.acme, "Content-Type": "application/cloudevents+json"},
            ).status_code == 202  # fmt: skip
        wait_until(lambda: gateway.metrics()['redrive_gateway_events_total{path="main"}'] == 20)
        assert gateway.stop() == 0
    finally:
        gateway.close()


def test_a_registry_that_is_away_at_the_start_ends_it_with_one_line_and_the_code_for_that(
    stack: Stack, tmp_path: Path
) -> None:
    gateway = opened(stack, tmp_path, environment={"REDRIVE_REGISTRY__URL": "http://127.0.0.1:9"})
    try:
        with pytest.raises(AssertionError):
            gateway.start()
        assert gateway.process is not None
        assert gateway.process.wait(10) == 3
        log = gateway.log.read_text()
        assert "registry http://127.0.0.1:9 is unavailable" in log
        assert "Traceback" not in log
    finally:
        gateway.close()
