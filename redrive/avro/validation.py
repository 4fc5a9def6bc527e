"""The strict validator: compiled once per schema, run on every event.

fastavro writes 1.5 or True as a long, 2**40 as an int, infinity for a float out of range, and drops fields that
the schema does not have. This validator refuses all that. What it accepts, fastavro writes and reads back as an
equal value, save that floats are rounded to the schema's 32 bits, that times finer than the schema's unit are cut
off, that logical types may be given raw (see `redrive.avro.logical_types`), and that defaults fill missing fields.
"""

from __future__ import annotations

from typing import Any

from redrive.avro.logical_types import logical_check
from redrive.avro.misfit import Misfit, kind, shown
from redrive.avro.simple_types import PRIMITIVES, Check, enum, fixed, string

Schema = Any
"""A schema as fastavro parses it: a string, a dict, or a list for a union."""


def fits(check: Check, value: Any) -> bool:
    """Say whether ``value`` passes ``check``."""
    try:
        check(value)
    except Misfit:
        return False
    return True


def definition(schema: Schema, named: dict[str, Schema]) -> Schema:
    """Return the type itself for the name of one."""
    return named.get(schema, schema) if isinstance(schema, str) else schema


def branch_order(branches: list[Schema]) -> list[Schema]:
    """Return a union's branches in the order in which a value is tried on them.

    It is the schema's order, except that logical types come after plain ones, so that an integer does not become a
    date while there is a long, and after those come double and float, so that it does not become a double either.
    """

    def rank(branch: Schema) -> int:
        logical = isinstance(branch, dict) and "logicalType" in branch
        return {"double": 2, "float": 3}.get(branch_name(branch), 1 if logical else 0)

    return sorted(branches, key=rank)


def branch_name(branch: Schema) -> str:
    """Return the name of a union's branch, as fastavro's tuple notation knows it."""
    return str(branch.get("name", branch["type"])) if isinstance(branch, dict) else str(branch)


class Compiler:
    """Makes checks of schemas that share named types.

    Args:
        named: name → schema of the types that may be referred to.
    """

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named
        self._checks: dict[str, Check] = {}  # of named types; a recursive type finds itself here

    def check(self, schema: Schema) -> Check:  # noqa: PLR0911 - one for each kind of type
        """Make the check of ``schema``, whose defaults are in native form (see `redrive.avro.schema.parse`).

        Raises:
            ValueError: the schema uses something that is not Avro.
        """
        if isinstance(schema, list):
            return self._union(schema)
        if isinstance(schema, str):
            return PRIMITIVES.get(schema) or self._reference(schema)
        logical = logical_check(schema)
        match schema["type"]:
            case "record" | "error":
                return self._record(schema)
            case _ if logical is not None:
                return logical
            case "enum":
                return enum(schema["symbols"])
            case "fixed":
                return fixed(schema["size"])
            case "array":
                return _array(self.check(schema["items"]))
            case "map":
                return _map(self.check(schema["values"]))
            case inner:
                return self.check(inner)

    def _reference(self, name: str) -> Check:
        if name not in self._named:
            raise ValueError(f"{name!r} is neither an Avro type nor defined in the schema")
        if name not in self._checks:
            self._checks[name] = self._later(name)
            self._checks[name] = self.check(self._named[name])
        return self._checks[name]

    def _later(self, name: str) -> Check:
        """Return a check that finds the real one when it is called, for a type that refers to itself."""
        return lambda value: self._checks[name](value)  # noqa: PLW0108

    def _record(self, schema: dict[str, Any]) -> Check:
        name = schema["name"]
        self._checks.setdefault(name, self._later(name))
        checks = {field["name"]: self.check(field["type"]) for field in schema["fields"]}
        optional = {
            field["name"]
            for field in schema["fields"]
            if "default" in field and fits(checks[field["name"]], field["default"])
        }
        self._checks[name] = _record(checks, optional)
        return self._checks[name]

    def _union(self, branches: list[Schema]) -> Check:
        checks = [self.check(branch) for branch in branch_order(branches)]
        real = [self.check(branch) for branch in branches if branch != "null"]
        if len(real) == 1:
            return _nullable(real[0]) if len(branches) > 1 else real[0]
        return _union(checks, ", ".join(branch_name(branch) for branch in branches))


def _nullable(check: Check) -> Check:
    def check_nullable(value: Any) -> None:
        if value is not None:
            check(value)

    return check_nullable


def _union(checks: list[Check], names: str) -> Check:
    def check_union(value: Any) -> None:
        deeper = []
        for check in checks:
            try:
                return check(value)
            except Misfit as misfit:
                if misfit.field:
                    deeper.append(misfit)
        if len(deeper) == 1:  # the only branch of the right shape: what is wrong inside says more
            raise deeper[0]
        raise Misfit(f"is {kind(value)} and fits none of {names}")

    return check_union


def _array(check: Check) -> Check:
    def check_array(value: Any) -> None:
        if not isinstance(value, list):
            raise Misfit(f"is {kind(value)}, not a list")
        at = 0
        try:
            for item in value:
                check(item)
                at += 1
        except Misfit as misfit:
            raise misfit.inside(f"[{at}]") from None

    return check_array


def _map(check: Check) -> Check:
    def check_map(value: Any) -> None:
        if not isinstance(value, dict):
            raise Misfit(f"is {kind(value)}, not a map (a dict)")
        for key, item in value.items():
            try:
                if type(key) is not str or not key.isascii():
                    string(key)
            except Misfit as misfit:
                raise Misfit(f"has a key ({shown(key)}) that {misfit.reason}") from None
            try:
                check(item)
            except Misfit as misfit:
                raise misfit.inside(f"[{shown(key)}]") from None

    return check_map


def _record(checks: dict[str, Check], optional: set[str]) -> Check:
    def check_record(value: Any) -> None:
        if not isinstance(value, dict):
            raise Misfit(f"is {kind(value)}, not a record (a dict)")
        seen = 0
        for name, check in checks.items():
            if name in value:
                seen += 1
                try:
                    check(value[name])
                except Misfit as misfit:
                    raise misfit.inside(name) from None
            elif name not in optional:
                raise Misfit("is missing and has no default", name)
        if seen != len(value):
            extra = next(name for name in value if name not in checks)
            raise Misfit("is not in the schema", shown(extra).strip("'"))

    return check_record
