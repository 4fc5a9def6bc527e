"""Numbers, times and tables as people read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def number(value: float) -> str:
    """Write a count with thousands apart."""
    return f"{value:,.0f}"


def count(value: int, thing: str) -> str:
    """Write a count of things: ``1 lane``, ``2 lanes``."""
    return f"{value:,} {thing}{'' if value == 1 else 's'}"


def size(value: float) -> str:
    """Write bytes in the unit that suits."""
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float | None) -> str:
    """Write a time span in at most two units; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, length in (("d", "h", 86_400), ("h", "min", 3_600), ("min", "s", 60)):
        if whole >= length:
            rest = whole % length // {"h": 3_600, "min": 60, "s": 1}[small]
            return f"{whole // length} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def moment(ms: int) -> str:
    """Write a time in UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Make a Markdown table.

    Args:
        head: the names of the columns.
        rows: their cells.
        left: how many columns, from the left, hold text; the others hold numbers.
    """
    rule = [":--" if index < left else "--:" for index in range(len(head))]
    lines = [head, rule, *([cell(each) for each in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: object) -> str:
    """Write a value so that it can't break out of its cell."""
    text = number(value) if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
