"""A letter is read alike, in whichever order its headers come, and however often a name is among them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from redrive.deadletters.letter import Letter, read_letter
from redrive.errors import LetterFormatError

PLAIN = ("reason", "detail", "field", "topic", "producer", "at", "encoding")
NUMBERS = ("partition", "offset", "timestamp", "schema-id", "attempt")
NAMES = ["redrive-" + name for name in (*PLAIN, *NUMBERS, "lossy")] + ["ce_id", "ce_type", "redrive-x", ""]
TEXTS = st.sampled_from([None, b"", b"raw", b"1", b"22", b"\xff", b" 3", b"9" * 19])
NEEDED = st.tuples(
    st.just(("redrive-reason", b"r")), st.just(("redrive-topic", b"t")), st.just(("redrive-encoding", b"raw"))
)
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=12)


def plainly(headers: list[tuple[str, bytes | None]]) -> dict[str, Any] | None:
    last = {name: (text or b"").decode(errors="replace") for name, text in headers}
    if not {"redrive-reason", "redrive-topic", "redrive-encoding"} <= last.keys() or last["redrive-encoding"] != "raw":
        return None
    own = [header for header in headers if header[0] not in NAMES[:13]]
    ids = [text for name, text in own if name == "ce_id"]
    found: dict[str, Any] = {name: last.get(f"redrive-{name}", "") for name in PLAIN}
    for name in NUMBERS:
        text = last.get(f"redrive-{name}")
        if text is not None and not (text.isascii() and text.isdigit() and int(text) < 2**63):
            return None
        found[name.replace("-", "_")] = None if text is None else int(text)
    found["attempt"] = found["attempt"] or 1
    found["id"] = ids[0].decode(errors="replace") if ids and ids[0] else None
    return found | {"headers": own, "lossless": "redrive-lossy" not in last, "key": b"k", "value": b"v"}


@settings(max_examples=500, deadline=None)
@given(HEADERS, NEEDED, st.randoms())
def test_a_letter_is_read_alike_in_whichever_order_its_headers_come(headers: Any, needed: Any, order: Any) -> None:
    mixed = [*headers, *needed]
    order.shuffle(mixed)
    for given_headers in (headers, [*headers, *needed], mixed):
        try:
            letter: Letter | None = read_letter(given_headers, b"k", b"v")
        except LetterFormatError:
            letter = None
        expected = plainly(given_headers)
        assert (letter is None) == (expected is None)
        if letter is not None:
            assert {name: getattr(letter, name) for name in Letter.__struct_fields__} == expected
