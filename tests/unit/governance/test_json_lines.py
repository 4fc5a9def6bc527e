"""The line of each value of a JSON text is known, however the text is laid out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from redrive.governance.json_lines import Path, value_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_lines_are_those_of_an_editor() -> None:
    text = '{\n  "a": 1, "b": [\n    {"c\\"]": "}"},\n\n    2]\n}'
    assert value_lines(text) == {(): 1, ("a",): 2, ("b",): 2, ("b", 0): 3, ("b", 0, 'c"]'): 3, ("b", 1): 5}


@given(VALUES, st.sampled_from([None, 0, 2]))
def test_each_value_stands_in_the_line_that_is_told(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    lines = value_lines(text)
    assert set(lines) == set(paths(value, ()))
    for path, line in lines.items():
        begun = json.dumps(at(value, path), indent=indent).split("\n", 1)[0]
        assert begun in text.split("\n")[line - 1]


def paths(value: Any, here: Path) -> list[Path]:
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for step, each in inner for path in paths(each, (*here, step)))]


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value
