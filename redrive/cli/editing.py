"""A value in a person's editor, as JSON that keeps all of it (see `redrive.tagged_json`).

JSON, since it is what `redrive dlq show` prints, and since nobody's "no" becomes a boolean in it. Lines at the top that
begin with ``//`` tell the person what it is about; they are no part of the value.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import typer

from redrive import tagged_json
from redrive.cli.output import note, safe
from redrive.errors import ConfigError, InvalidEventError

_REMARK = "//"
_ALL = 1 << 31  # characters


def edit(value: Any, about: Sequence[str], check: Callable[[Any], None]) -> Any:
    """Have a person edit a value until it is good, or they give up; nothing of what they typed is lost in between.

    The value is in a file of the person's own while the editor is open, and nowhere afterwards.

    Args:
        value: what to begin with.
        about: lines that say what it is.
        check: raises `InvalidEventError` for a value that does not fit.

    Raises:
        typer.Abort: they gave up, emptied the file, or changed nothing.
        ConfigError: there is no editor, or it failed.
    """
    before = typed = to_text(value)
    complaint = ""
    with _private_file() as file:
        while True:
            head = [*about, *([f"Not yet right: {complaint}"] if complaint else [])]
            _write(file, "".join(_remark(line) for line in head) + typed)
            _open_editor(file)
            typed = _without_remarks(_read(file))
            if not typed.strip():
                note("the file is empty: nothing is done")
                raise typer.Abort
            try:
                edited = from_text(typed, first_line=len(about) + 2)  # as the file will be that is opened next
                check(edited)
            except InvalidEventError as error:
                complaint = f"{f'field {error.field}' if error.field else 'the value'} {error.reason}"
            except ValueError as error:
                complaint = str(error)
            else:
                if to_text(edited) == before:
                    note("nothing was changed: nothing is done")
                    raise typer.Abort
                return edited
            note(safe(complaint))
            if not typer.confirm("Edit it again?", default=True, err=True):
                raise typer.Abort


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="surrogateescape")


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="surrogateescape")


def to_text(value: Any) -> str:
    """Write a value so that `from_text` gives it back; what can't be seen is escaped.

    Raises:
        ValueError: a part of it is of a type that no event has.
    """
    document, lossless = tagged_json.encode(value, limit=_ALL)
    if not lossless:
        raise ValueError("parts of the value are of types that can't be written down")
    text = json.dumps(json.loads(document), ensure_ascii=False, indent=2) + "\n"
    if text.isascii():
        return text
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def from_text(text: str, first_line: int = 1) -> Any:
    """Read what `to_text` writes, and what a person makes of it.

    Args:
        text: the text.
        first_line: the number of its first line, in messages.

    Raises:
        ValueError: it is not that; says in which line, where that is known. Quotes no value.
    """
    try:
        json.loads(text, object_pairs_hook=_once_each)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {first_line - 1 + error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return tagged_json.decode(text.encode())


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!a} is there twice in one object; of two values, only one can be meant")
    return found


def _remark(line: str) -> str:
    return f"{_REMARK} {safe(' '.join(line.splitlines()))}\n"


def _without_remarks(text: str) -> str:
    lines = text.splitlines(keepends=True)
    while lines and lines[0].lstrip().startswith(_REMARK):
        del lines[0]
    return "".join(lines)


@contextmanager
def _private_file() -> Iterator[Path]:
    """Give a file that only this person can read, and take it away afterwards, with what editors leave beside it."""
    with (
        # Closing the terminal, too, must take the file away.
        _handling({signal.SIGHUP: signal.default_int_handler, signal.SIGTERM: signal.default_int_handler}),
        tempfile.TemporaryDirectory(prefix="redrive-") as folder,  # of mode 0700
    ):
        file = Path(folder) / "value.json"
        file.touch(mode=0o600)
        yield file


def _open_editor(file: Path) -> None:
    # Ctrl-C is for the editor. Not ignored, since it would inherit that.
    with _handling({signal.SIGINT: lambda *_: None}):
        try:
            click.edit(filename=str(file))
        except click.ClickException as error:
            reason = f"{error.format_message()}; set VISUAL or EDITOR to one that works"
            raise ConfigError("EDITOR", reason) from None


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Callable[[int, FrameType | None], object]]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
