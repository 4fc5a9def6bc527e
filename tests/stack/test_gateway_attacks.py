"""The gateway, attacked over real HTTP: what is refused, how, and what the answers do not tell."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import given as given_cases
from joserfc.jwk import ECKey, RSAKey
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deployments.local.stack import Stack
from redrive.gateway.api_keys import new_key
from redrive.gateway.issuer_keys import AFTER_FAILURE, AT_MOST_EVERY
from tests.stack.partners import Gateway, order, serving
from tests.stack.platform import wait_until

LIMITS = "max_body_bytes = 20_000\nmax_batch = 50\nbody_timeout = 1.0"


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(stack, tmp_path_factory.mktemp("attacked"), more=LIMITS) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _it_goes_on_and_tells_no_secret(gateway: Gateway) -> Iterator[None]:
    yield
    assert gateway.post(order(1)).status_code == 202
    log = gateway.log.read_text()
    for secret in (gateway.acme, gateway.small, "eyJ", "payload-secret"):
        assert secret not in log
    assert "Traceback" not in log


def refusal(answer: Any, status: int) -> str:
    """Check that an answer is a problem, and one that names no topic; return its kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert "secret" not in answer.text + str(answer.headers)
    return str(problem["type"]).removeprefix("urn:redrive:problem:")


def test_tokens_that_are_not_good_are_refused(gateway: Gateway) -> None:
    issuer = gateway.issuer
    now = int(time.time())
    stranger = RSAKey.generate_key(2048, {"kid": "rsa-1"})
    bad = {
        "wrong audience": issuer.token(aud="others"),
        "wrong issuer": issuer.token(iss="https://evil.example/"),
        "expired": issuer.token(exp=now - 120),
        "not yet valid": issuer.token(nbf=now + 120),
        "somebody else's key": issuer.token(stranger),
        "somebody else's key, brought along": issuer.token(stranger, {"jwk": stranger.as_dict(private=False)}),
        "somebody else's key, to be fetched": issuer.token(stranger, {"jku": "https://evil.example/"}),
        "unknown client": issuer.token(client_id="stranger"),
        "no token": "nonsense",
        "without signature": issuer.token().rpartition(".")[0] + ".",
    }
    for what, token in bad.items():
        answer = gateway.post(order(1), token=token)
        assert refusal(answer, 401) == "unauthenticated", what
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_invented_key_ids_are_refused_and_make_nobody_ask_the_issuer_again_and_again(gateway: Gateway) -> None:
    gateway.post(order(1), token=gateway.issuer.token())
    before, started = gateway.issuer.asked, time.monotonic()
    for kid in ("../../rsa-1", *(f"k{number}" for number in range(50))):
        answer = gateway.post(order(1), token=gateway.issuer.token(header={"kid": kid}))
        assert refusal(answer, 401) == "unauthenticated"
    assert gateway.issuer.asked - before <= 1 + (time.monotonic() - started) // AT_MOST_EVERY


def test_an_issuer_that_is_away_keeps_nobody_out_whose_key_is_known_and_others_are_put_off_until_it_is_back(
    gateway: Gateway,
) -> None:
    issuer = gateway.issuer
    assert gateway.post(order(1), token=issuer.token()).status_code == 202
    new = ECKey.generate_key("P-256", {"kid": "ec-new", "use": "sig"})
    issuer.keys.append(new)
    issuer.open = False
    try:
        # It may have been asked just now, and is not asked again at once.
        wait_until(lambda: gateway.post(order(1), token=issuer.token(new)).status_code == 503, AT_MOST_EVERY + 20)
        before, started = issuer.asked, time.monotonic()
        for number in range(10):
            answer = gateway.post(order(1), token=issuer.token(header={"kid": f"while-away-{number}"}))
            assert refusal(answer, 503) == "unavailable"
            assert 1 <= int(answer.headers["Retry-After"]) <= AFTER_FAILURE
            assert gateway.post(order(1), token=issuer.token(issuer.ec)).status_code == 202
        assert issuer.asked - before <= 1 + (time.monotonic() - started) // AFTER_FAILURE
        ready = gateway.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "tokens": "known-keys-only"})
        assert gateway.metrics()['redrive_gateway_key_set_asks_total{outcome="failed"}'] > 0
    finally:
        issuer.open = True
    wait_until(lambda: gateway.http.get("/readyz").json() == {"status": "ready"}, AFTER_FAILURE + 20)
    assert gateway.post(order(1), token=issuer.token(new)).status_code == 202
    assert refusal(gateway.post(order(1), token=issuer.token(header={"kid": "invented"})), 401) == "unauthenticated"


def test_api_keys_that_are_not_good_are_refused(gateway: Gateway) -> None:
    for key in (new_key(), gateway.acme[:-1], gateway.acme.lower(), "x" * 5_000):
        assert refusal(gateway.post(order(1), key=key), 401) == "unauthenticated"
    assert refusal(gateway.post(order(1), key=None), 401) == "unauthenticated"
    both = gateway.post(order(1), token=gateway.issuer.token(), **{"X-API-Key": gateway.acme})
    assert refusal(both, 401) == "unauthenticated"
    basic = gateway.post(order(1), key=None, Authorization="Basic YWNtZTphY21l")
    assert refusal(basic, 401) == "unauthenticated"


def test_a_type_that_is_not_granted_is_refused_alike_whether_or_not_there_is_one(gateway: Gateway) -> None:
    answers = [
        gateway.post(order(1, type=kind), kind) for kind in ("order.lost", "order.invented", gateway.orders, "*", ".")
    ]
    assert [refusal(answer, 403) for answer in answers[:3]] == ["not-granted"] * 3
    assert len({answer.text.replace(answer.headers["X-Request-ID"], "") for answer in answers[:3]}) == 1
    assert refusal(gateway.post(order(1, type="order.paid"), "order.paid", key=gateway.small), 403) == "not-granted"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events/",
        "/v1/events",
        "/v1/events/order.created/",
        "/v1/events/../events/order.created",
        "/v1/events/%2e%2e/order.created",
        "/v1/events/x%2Forder.created",
        "/v1/events/order.created%2F..%2Forder.lost",
        "/v1/events/order.created%00",
        "/v1/events/order.created;x=1",
        "/v1/events/%FF",
        "/v1/events//order.created",
        "//v1/events/order.created",
        "/V1/events/order.created",
        "/v1/events/" + "x" * 5_000,
    ],
)
def test_path_tricks_lead_nowhere(gateway: Gateway, path: str) -> None:
    body = json.dumps(order(1)).encode()
    answer = raw(gateway, f"POST {path}", body, {"X-API-Key": gateway.acme})
    assert int(answer.split(b" ")[1]) in (400, 403, 404), answer
    assert b"secret" not in answer


def test_other_methods_and_media_types_are_refused(gateway: Gateway) -> None:
    assert refusal(gateway.http.get("/v1/events/order.created"), 405) == "method"
    for media in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        answer = gateway.post(order(1), media=media)
        assert refusal(answer, 415) == "media-type"
        assert "application/cloudevents+json" in answer.headers["Accept-Post"]
    assert refusal(gateway.post(order(1), **{"Content-Encoding": "gzip"}), 415) == "encoding"


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff\xfe", b'{"specversion": NaN}', b"[" * 9_000, b'"\\ud800"'])
def test_bodies_that_are_no_json_are_refused(gateway: Gateway, body: bytes) -> None:
    assert refusal(gateway.post(body), 400) == "malformed"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"7", b'{"data": "payload-secret"}'])
def test_json_that_is_no_event_is_refused_and_not_quoted(gateway: Gateway, body: bytes) -> None:
    answer = gateway.post(body)
    assert answer.status_code == 422
    assert b"payload-secret" not in answer.content


def test_oversized_bodies_and_batches_are_refused_with_or_without_a_length(gateway: Gateway) -> None:
    large = json.dumps(order(1, data={"id": 1, "note": "x" * 30_000})).encode()
    assert refusal(gateway.post(large), 413) == "too-large"
    chunked = gateway.http.post(
        "/v1/events/order.created",
        content=iter([large[:10_000], large[10_000:]]),
        headers={"X-API-Key": gateway.acme, "Content-Type": "application/cloudevents+json"},
    )
    assert refusal(chunked, 413) == "too-large"
    assert refusal(gateway.post([{}] * 51), 413) == "batch-too-large"


def test_a_body_that_drips_is_given_up_in_time_and_holds_up_nobody(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        head = f"POST /v1/events/order.created HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.acme}\r\n"
        slow.sendall(f"{head}Content-Type: application/cloudevents+json\r\nContent-Length: 1000\r\n\r\n".encode())
        started = time.monotonic()
        assert gateway.post(order(1)).status_code == 202
        slow.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - started < 100:
            with contextlib.suppress(OSError):
                slow.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()


def test_senders_that_leave_in_the_middle_harm_nobody(gateway: Gateway) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gateway.port)) as gone:
            head = f"POST /v1/events/order.created HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.acme}\r\n"
            gone.sendall(f"{head}Content-Type: application/cloudevents+json\r\nContent-Length: 1000\r\n\r\n{{".encode())


def test_requests_that_could_be_read_in_two_ways_are_refused(gateway: Gateway) -> None:
    for more in ({"Transfer-Encoding": "chunked", "Content-Length": "5"}, {"Content-Length": "5, 6"}):
        answer = raw(gateway, "POST /v1/events/order.created", b"0\r\n\r\n", {"X-API-Key": gateway.acme} | more)
        assert int(answer.split(b" ")[1]) in (400, 415), answer


PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
schemathesis_settings = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def test_all_that_its_description_allows_is_answered_as_it_says(gateway: Gateway) -> None:
    """schemathesis makes requests from the OpenAPI document, good and bad ones, and checks each answer against it."""
    document = schemathesis.openapi.from_dict(gateway.http.get("/openapi.json").json())
    document.config.update(base_url=f"http://127.0.0.1:{gateway.port}")
    answers: set[int] = set()
    for result in document.get_all_operations():
        operation = result.ok()

        @schemathesis_settings
        @given_cases(case=operation.as_strategy() | operation.as_strategy(GenerationMode.NEGATIVE))
        def ask(case: Any) -> None:
            headers = {"X-API-Key": gateway.acme}
            if case.operation.method == "post":
                case.path_parameters = {"type": "order.created"}
            response = case.call(headers=headers)
            answers.add(response.status_code)
            case.validate_response(response, checks=PROMISES)

        ask()
    assert {200, 422} <= answers
    assert not any(status >= 500 for status in answers)


def raw(gateway: Gateway, start: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Send a request as it is written here: clients of HTTP tidy paths up. Return how the answer begins."""
    lines = {"Host": "x", "Content-Type": "application/cloudevents+json", "Connection": "close"}
    if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        lines["Content-Length"] = str(len(body))
    text = "".join(f"{name}: {value}\r\n" for name, value in (lines | headers).items())
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(f"{start} HTTP/1.1\r\n{text}\r\n".encode() + body)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer
