"""Tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

# Whoever reads from a pipe wants whole lines, not lines folded at the width that a terminal might have.
out = Console(width=None if sys.stdout.isatty() else 200)


def show_json(value: Any) -> None:
    """Print a value as one JSON document."""
    document = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2)
    sys.stdout.write(document.decode() + "\n")


def show_json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")


def show_table(columns: Iterable[str], rows: Iterable[Iterable[Any]], *, numbers: Iterable[str] = ()) -> None:
    """Print a table; the columns in ``numbers`` are set to the right."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    right = set(numbers)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        # As text, not as markup: a "[" in a value is just that.
        table.add_row(*(value if isinstance(value, Text) else Text(_shown(value)) for value in row))
    out.print(table)


def note(text: str) -> None:
    """Print a line for a person, apart from the output that a program may read."""
    print(text, file=sys.stderr)


def age(moment: datetime | None) -> str:
    """Say how long ago something was: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    if moment is None:
        return "–"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size(count: int) -> str:
    """Write a number of bytes as a person reads it."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} B"


def short(text: str) -> str:
    """Cut a text that is too long for a table."""
    return text if len(text) <= 60 else text[:59] + "…"


def hexdump(data: bytes) -> Iterator[str]:
    """Show bytes in lines of 16: where, in hexadecimal, in ASCII."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{at:08x}  {row.hex(' '):<47}  {shown}"


def safe(text: str) -> str:
    """Escape what could steer a terminal, or what it can't show; line ends stay."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
