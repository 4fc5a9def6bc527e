"""What is a partner's event, and what is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrive.gateway.cloud_events import PartnerEvent, check_event, parse_batch, parse_one
from redrive.gateway.problems import Problem

GOOD = {"specversion": "1.0", "id": "7", "source": "shop", "type": "order.created", "data": {"id": 7}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def check(given: Any) -> PartnerEvent:
    return check_event(given, "acme", "order.created")


def refusal(given: Any) -> tuple[str, str]:
    with pytest.raises(Problem) as refused:
        check(given)
    assert refused.value.status == 422
    ((field, reason),) = [(error["field"], error["reason"]) for error in refused.value.errors or []]
    return field, reason


def test_an_event_is_known_by_partner_source_and_id_and_keeps_what_came_with_it() -> None:
    event = check(GOOD | {"source": "/a/b%", "partitionkey": "k", "subject": "s", "retries": 2, "urgent": True})
    assert (event.event_id, event.key, event.data) == ("acme/%2Fa%2Fb%25/7", "k", {"id": 7})
    assert event.headers == [
        ("ce_partner", b"acme"),
        ("ce_partnerid", b"7"),
        ("ce_partnersource", b"/a/b%"),
        ("ce_partnertype", b"order.created"),
        ("ce_subject", b"s"),
        ("ce_retries", b"2"),
        ("ce_urgent", b"true"),
    ]


@settings(deadline=None)
@given(*[st.text(st.sampled_from("a/%2F"), min_size=1, max_size=5)] * 4)
def test_no_two_events_come_to_the_same_id(source: str, identity: str, other_source: str, other: str) -> None:
    one = check(GOOD | {"source": source, "id": identity})
    two = check(GOOD | {"source": other_source, "id": other})
    assert (one.event_id == two.event_id) == ((source, identity) == (other_source, other))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": "x" * 1_025}, "id"),
        ({"source": None}, "source"),
        ({"type": "order.paid"}, "type"),
        ({"data": None}, "data"),
        ({"data_base64": "AAAA"}, "data_base64"),
        ({"partitionkey": 5}, "partitionkey"),
        ({"partitionkey": ""}, "partitionkey"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-01-31T12:00:00"}, "time"),
        ({"time": "2026-W05-6T12:00:00Z"}, "time"),
        ({"time": "20260131T120000Z"}, "time"),
        ({"datacontenttype": "application/xml"}, "datacontenttype"),
        ({"partner": "other"}, "partner"),
        ({"partnerid": "1"}, "partnerid"),
        ({"Bad-Name": "1"}, "'Bad-Name'"),
        ({"extension": {"nested": 1}}, "extension"),
        ({"extension": 2**31}, "extension"),
        ({"extension": 1.5}, "extension"),
        ({f"x{number}": "" for number in range(40)}, ""),
    ],
)
def test_what_is_wrong_is_told_by_the_attribute(changes: dict[str, Any], field: str) -> None:
    assert refusal(GOOD | changes)[0] == field


def test_a_time_goes_along_as_it_was_sent_however_many_digits_it_has() -> None:
    given = "2026-01-31t12:00:00.123456789z"
    assert ("ce_partnertime", given.encode()) in check(GOOD | {"time": given}).headers


def test_attributes_that_are_null_are_as_good_as_missing() -> None:
    assert check(GOOD | {"subject": None, "partitionkey": None, "time": None}).key is None


@settings(deadline=None)
@given(JSON)
def test_any_json_is_an_event_or_a_problem(value: Any) -> None:
    for each in (value, GOOD | {"data": value}, GOOD | {"x": value}, GOOD | {"id": value}):
        try:
            check(each)
        except Problem as problem:
            assert problem.status == 422  # noqa: PT017 - one of two good ends


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_body_is_json_or_a_problem(body: bytes) -> None:
    try:
        parse_one(body)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - one of two good ends


@pytest.mark.parametrize("body", [b'{"x":"\xff"}', b'{"\xff":1}', b'"\xed\xa0\x80"'])
def test_a_body_with_bytes_in_a_string_that_are_no_utf_8_is_a_problem(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        parse_one(body)
    assert caught.value.status == 400


def test_a_body_that_is_nested_too_deeply_is_a_problem() -> None:
    with pytest.raises(Problem):
        parse_one(b"[" * 100_000 + b"]" * 100_000)


def test_a_batch_is_an_array_that_is_not_empty_nor_too_long() -> None:
    assert parse_batch(b"[1, 2]", 2) == [1, 2]
    for body, status in ((b"{}", 400), (b"[]", 400), (b"[1, 2, 3]", 413)):
        with pytest.raises(Problem) as refused:
            parse_batch(body, 2)
        assert refused.value.status == status


def test_the_order_of_members_is_no_difference_and_any_other_change_is_one() -> None:
    fingerprint = check(GOOD).fingerprint
    assert check(dict(reversed(GOOD.items()))).fingerprint == fingerprint
    for change in ({"data": {"id": 8}}, {"subject": "s"}, {"data": {"id": 7.5}}, {"data": {"id": "7"}}):
        assert check(GOOD | change).fingerprint != fingerprint


def test_numbers_longer_than_64_bits_are_for_the_schema_to_refuse() -> None:
    assert check(GOOD | {"data": msgspec.json.decode(b"1" * 40)}).data == int("1" * 40)
