"""A value in a person's editor: what they see, what becomes of their mistakes, and that nothing is left lying about."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from redrive.cli.editing import edit, from_text, to_text
from redrive.errors import ConfigError, InvalidEventError
from tests.editor import FAIL, Editor

LETTER = {"id": "sieben", "raw": b"\x00\xff", "price": Decimal("1.10"), "who": "Zoë\u200b\ud800", "no": "no"}


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    return Editor(tmp_path, monkeypatch)


def needs_a_number(value: Any) -> None:
    if not isinstance(value["id"], int):
        raise InvalidEventError("orders", "id", "is a string, not a long")


def edited(value: Any, typed: str = "", check: Callable[[Any], None] = needs_a_number) -> tuple[int, str, list[Any]]:
    """Edit a value, answering questions with what is typed; gives exit code, what was said, and the new value."""
    values: list[Any] = []
    app = typer.Typer()
    app.command()(lambda: values.append(edit(value, ["letter dlq.a/0/1", "is a\nstring\x1b[31m"], check)))
    result = CliRunner().invoke(app, [], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output, values


def test_what_was_typed_is_the_new_value_and_all_else_stays_as_it_was(editor: Editor) -> None:
    editor.will([('"sieben"', "7")])
    code, _, values = edited(LETTER)
    assert (code, values) == (0, [LETTER | {"id": 7}])


def test_the_text_says_what_it_is_about_and_hides_nothing_that_can_not_be_seen(editor: Editor) -> None:
    editor.will([('"sieben"', "7")])
    edited(LETTER)
    (text,) = editor.texts
    assert text.startswith("// letter dlq.a/0/1\n// is a string\\x1b[31m\n{\n")
    assert '"who": "Zoë\\u200b\\ud800"' in text
    assert '"raw": {' in text
    assert '"$bytes": "AP8="' in text


def test_the_file_is_the_persons_own_and_gone_afterwards(editor: Editor) -> None:
    editor.will([('"sieben"', "7")])
    edited(LETTER)
    (shown,) = editor.shown
    assert shown["modes"] == [0o600, 0o700]
    assert not Path(str(shown["file"])).parent.exists()


def test_a_misfit_is_named_and_what_was_typed_is_kept_for_the_next_try(editor: Editor) -> None:
    editor.will([('"sieben"', '"acht"'), ('"no": "no"', '"no": "yes"')], [('"acht"', "8")])
    code, said, values = edited(LETTER, "\n")
    assert (code, values) == (0, [LETTER | {"id": 8, "no": "yes"}])
    assert "field id is a string, not a long" in said
    assert '"acht"' in editor.texts[1]
    assert "// Not yet right: field id is a string, not a long\n" in editor.texts[1]
    assert editor.texts[1].count("// letter dlq.a/0/1") == 1


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        ("7,,", "line 5, column 11"),
        ('7, "id": 8', "'id' is there twice in one object"),
        ('{"$decimal": "secret"}', "what stands after $decimal can't be read as that"),
        ('{"$bytes": "secret!"}', "what stands after $bytes can't be read as that"),
        ("9" * 5_000, "4300 digits"),
    ],
    ids=["no JSON", "twice", "no decimal", "no base64", "too long a number"],
)
def test_a_slip_of_the_keyboard_is_named_without_quoting_the_value(editor: Editor, new: str, complaint: str) -> None:
    editor.will([('"sieben"', new)], [(new, "7")])
    code, said, values = edited(LETTER, "y\n")
    assert (code, values) == (0, [LETTER | {"id": 7}])
    assert complaint in said
    assert "secret" not in said
    assert f"// Not yet right: {said.splitlines()[0]}" in editor.texts[1]


@pytest.mark.parametrize(
    ("step", "typed", "said"),
    [
        ([], "", "nothing was changed: nothing is done"),
        ([("\n  ", "\n\n    ")], "", "nothing was changed"),
        ([('"sieben"', '"acht"')], "n\n", "field id is a string"),
    ],
    ids=["unchanged", "only laid out anew", "no second try"],
)
def test_who_gives_up_changes_nothing(editor: Editor, step: list[tuple[str, str]], typed: str, said: str) -> None:
    editor.will(step)
    code, output, values = edited(LETTER, typed, lambda _: None if not typed else needs_a_number(LETTER))
    assert (code, values) == (1, [])
    assert said in output


def test_an_empty_file_means_to_give_up(editor: Editor) -> None:
    editor.will([(to_text(LETTER), "  \n")])
    code, said, values = edited(LETTER)
    assert (code, values) == (1, [])
    assert "the file is empty: nothing is done" in said


@pytest.mark.parametrize("program", [None, "/nowhere/editor"], ids=["fails", "is none"])
def test_an_editor_that_does_not_work_is_named_and_no_file_is_left(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    editor.will(FAIL)
    if program:
        monkeypatch.setenv("VISUAL", program)
    with pytest.raises(ConfigError, match=r"^EDITOR: .*; set VISUAL or EDITOR to one that works$"):
        edited(LETTER)
    assert not any(Path(str(shown["file"])).parent.exists() for shown in editor.shown)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_terminal_that_is_closed_takes_the_file_away_and_ctrl_c_is_the_editors_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The editor signals the program that has started it."""
    program = tmp_path / "editor.sh"
    program.write_text(f'echo "$1" > {tmp_path}/file; kill -{number.name.removeprefix("SIG")} $PPID; sleep 0.3\n')
    monkeypatch.setenv("VISUAL", f"sh {program}")
    handlers = [signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)]
    if number is signal.SIGINT:
        assert edited(LETTER)[0] == 1  # unchanged
    else:
        with pytest.raises(KeyboardInterrupt):
            edit(LETTER, [], needs_a_number)
    assert not Path((tmp_path / "file").read_text().strip()).parent.exists()
    assert [signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)] == handlers
    assert os.environ["VISUAL"]


def test_what_a_person_writes_by_hand_is_read_as_json() -> None:
    assert from_text('[1, 1.0, NaN, true, null, {"$map": [[1, 2]]}]')[:2] == [1, 1.0]
    with pytest.raises(ValueError, match="line 1, column 1"):
        from_text("id: 7")
