"""Tagged JSON is read as Python's own parser reads it, tag by tag, whichever way is taken."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from redrive import tagged_json
from tests.properties.avro_values import ANYTHING

given_time = settings(max_examples=500, deadline=None)

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4, alphabet='a$"\\é\ud800')),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "$a", "$tuple", "$bytes", "$float", "\\u0024int"]), inner, max_size=2),
    ),
    max_leaves=8,
)


def plainly(data: bytes) -> Any:
    try:
        return tagged_json._untag(json.loads(data))
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        return ValueError


def read(data: bytes) -> Any:
    try:
        return tagged_json.decode(data)
    except ValueError:
        return ValueError


@given_time
@given(VALUES, st.booleans(), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_any_json_is_read_as_it_is_by_pythons_own_parser(value: Any, ascii: bool, encoding: str) -> None:
    data = json.dumps(value, ensure_ascii=ascii).replace("\\\\u0024", "\\u0024").encode(encoding, "surrogatepass")
    assert repr(read(data)) == repr(plainly(data))


@given_time
@given(st.one_of(st.binary(max_size=12), st.text('[]{}",:$\\u0024-.eE10 \t', max_size=12).map(str.encode)))
@example(b"1e400")
@example(b"[" * 300 + b"]" * 300)
@example(b"[" * 100_000)
@example(b"9" * 5_000)
def test_whatever_is_no_json_is_refused_by_both(data: bytes) -> None:
    assert repr(read(data)) == repr(plainly(data))


@given_time
@given(ANYTHING)
def test_what_was_written_is_read_alike(value: Any) -> None:
    data, _ = tagged_json.encode(value)
    assert repr(read(data)) == repr(plainly(data))
