"""What a plan shows of a letter before and after: enough to judge a rule by, and nothing of masked fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from redrive.deadletters.correction.diff import MASK, Change, diff

SECRET = "ada@example.org"


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, []),
        ({"a": "1"}, {"a": 1}, [("a", "'1'", "1")]),
        ({"a": 1}, {"a": True}, [("a", "1", "True")]),
        ({"a": 1}, {"a": None}, [("a", "1", "null")]),
        ({"a": 1}, {}, [("a", "1", "(absent)")]),
        ({}, {"a": None}, [("a", "(absent)", "null")]),
        ({"a": {"b": [{"c": 1}, {"c": 2}]}}, {"a": {"b": [{"c": 1}, {"c": 3}]}}, [("a.b[1].c", "2", "3")]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", "[1]", "[1, 2]")]),
        ("x", {"a": 1}, [("", "'x'", "{'a': 1}")]),
        ({"a": Decimal("1.10")}, {"a": "1.10"}, [("a", "Decimal('1.10')", "'1.10'")]),
    ],
)
def test_what_differs_is_named_by_its_path(before: Any, after: Any, changes: list[tuple[str, str, str]]) -> None:
    assert diff(before, after) == [Change(*change) for change in changes]


def test_long_values_are_cut_and_many_changes_are_left_out() -> None:
    (change,) = diff({"a": "x" * 1_000}, {"a": None})
    assert len(change.before) == 60
    assert change.before.endswith("…")
    assert len(diff({str(n): 0 for n in range(100)}, {str(n): 1 for n in range(100)})) == 20


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"email": SECRET}, {"email": None}, id="changed"),
        pytest.param({"email": None}, {"email": SECRET}, id="set"),
        pytest.param({"email": SECRET}, {}, id="dropped"),
        pytest.param({"email": {"home": SECRET}}, {"email": {"home": None}}, id="below it"),
        pytest.param({"email": {SECRET: 1}}, {"email": {}}, id="a key below it"),
        pytest.param({"email": [SECRET]}, {"email": []}, id="a list"),
        pytest.param({"who": {"email": SECRET}}, {"who": None}, id="what it is in was removed"),
        pytest.param({"who": None}, {"who": {"email": SECRET}}, id="what it is in was added"),
        pytest.param({"who": [{"email": SECRET}]}, {"who": [{"email": SECRET}, {"email": "b"}]}, id="lists of it"),
        pytest.param([{"email": SECRET}], {"email": SECRET}, id="the value itself"),
        pytest.param({"who": ("shop.Person", {"email": SECRET})}, {"who": None}, id="a branch"),
        pytest.param({"email": SECRET}, {"mail": SECRET}, id="renamed"),
        pytest.param({"email": SECRET}, {"email": SECRET, "who": {"mail": [SECRET]}}, id="copied"),
        pytest.param({"email": SECRET}, {"user": "ada", "host": "example.org"}, id="split"),
        pytest.param({"email": SECRET, "note": None}, {"email": SECRET, "note": f"<{SECRET}>"}, id="in a text"),
        pytest.param({"mail": SECRET}, {"email": SECRET}, id="renamed to it"),
    ],
)
def test_nothing_of_a_masked_field_is_shown_wherever_it_was_or_went(before: Any, after: Any) -> None:
    changes = diff(before, after, {"email"})
    assert changes
    text = "".join(map("".join, changes))
    assert MASK in text
    for part in (SECRET, "ada", "example"):
        assert part not in text


def test_a_masked_number_is_not_shown_as_a_text_either() -> None:
    assert diff({"card": 4711}, {"number": "4711"}, {"card"}) == [
        Change("card", MASK, "(absent)"),
        Change("number", "(absent)", MASK),
    ]


def test_what_is_not_masked_is_shown() -> None:
    changes = diff({"email": SECRET, "n": "1", "e": "x"}, {"email": SECRET, "n": 1, "e": None}, {"email"})
    assert changes == [Change("n", "'1'", "1"), Change("e", "'x'", "null")]


def test_a_masked_field_that_stays_is_no_change() -> None:
    assert diff({"email": SECRET}, {"email": SECRET}, {"email"}) == []


@pytest.mark.parametrize("odd", [{1, 2}, bytearray(b"x"), object()], ids=["set", "bytearray", "object"])
def test_values_of_any_type_are_shown(odd: Any) -> None:
    assert len(diff({"a": 1, "email": odd}, {"a": odd, "email": 1}, {"email"})) == 2
