"""Strategies for schemas that have evolved from others."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from redrive.avro.schema import AvroSchema, parse
from redrive.errors import SchemaError

PROMOTIONS = {
    "int": ["long", "float", "double"],
    "long": ["float", "double"],
    "float": ["double"],
    "string": ["bytes"],
    "bytes": ["string"],
}


@st.composite
def evolved(draw: st.DrawFn, schema: Any) -> Any:
    """Draw a schema that differs from ``schema`` here and there, in ways that Avro may or may not resolve."""

    def change(part: Any) -> Any:
        often = draw(st.integers(0, 9))
        if isinstance(part, list):
            branches = [change_inside(branch) for branch in part]
            return branches if often else draw(st.permutations(branches))
        if isinstance(part, str):
            if often < 3 and part in PROMOTIONS:
                return draw(st.sampled_from(PROMOTIONS[part]))
            if often == 3 and part != "null":
                return draw(st.sampled_from([["null", part], [part, "null"]]))
            return part if often else draw(st.sampled_from(["string", "long"]))
        return change_inside(part)

    def change_inside(part: Any) -> Any:
        if isinstance(part, str | list):
            return part
        part = dict(part)
        for inner in ("items", "values"):
            if inner in part:
                part[inner] = change(part[inner])
        if part.get("type") == "enum" and draw(st.booleans()):
            part |= {"symbols": draw(st.sampled_from([["A"], ["C", "B", "A", "D"], ["B", "C"]]))}
            part |= {"default": part["symbols"][0]} if draw(st.booleans()) else {}
        if "fields" in part:
            fields = [change_field(field) for field in part["fields"] if draw(st.integers(0, 5))]
            if draw(st.booleans()):
                fields.append({"name": "added", "type": ["null", "string"], "default": None})
            if draw(st.booleans()):
                fields.append({"name": "more", "type": {"type": "array", "items": "int"}, "default": [1]})
            part["fields"] = draw(st.permutations(fields)) if draw(st.booleans()) else fields
        return part

    def change_field(field: dict[str, Any]) -> dict[str, Any]:
        field = {**field, "type": change(field["type"])}
        if draw(st.integers(0, 3)) == 0:
            field |= {"aliases": ["unknown", field["name"]], "name": f"new_{field['name']}"}
        if "default" in field and field["type"] != schema:
            del field["default"]
        return field

    return change(deepcopy(schema))


def parsed(wanted: Any, written: Any) -> AvroSchema:
    """Parse what was drawn from `evolved`, or else what it was drawn from."""
    try:
        return parse(json.dumps(wanted), name="new")
    except SchemaError:  # a dropped field had the type that another one names
        return parse(json.dumps(written), name="new")
