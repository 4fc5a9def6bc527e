"""``redrive rules``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.text import Text

from redrive.cli.exits import BAD, WRONG
from redrive.cli.output import Json, note, out, show_json, show_table
from redrive.errors import RulesError

if TYPE_CHECKING:
    from redrive.rules import Outcome, RuleFile, Tried

app = typer.Typer(help="Correction rules for dead letters.", no_args_is_help=True)


@app.command("test")
def run_examples(file: Annotated[Path, typer.Argument(help="The rules, in YAML.")], json: Json = False) -> None:
    """Run the examples in a file of rules, and show what came out.

    Exit code 1 if one came out otherwise than expected, 2 if the file has mistakes.
    """
    from redrive.rules import RuleSet, read_file, try_examples, unexercised

    # Functions that rules name are modules of the folder in which one stands, as for `python -m`.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        rules = read_file(file)
    except RulesError as error:
        _show_mistakes(error, json)
        raise typer.Exit(WRONG) from None
    tried = try_examples(rules)
    untried = unexercised(rules, tried)
    if json:
        examples = [
            {"name": one.name, "outcome": _outcome(one.outcome), "good": not one.complaint, "complaint": one.complaint}
            for one in tried
        ]
        show_json({"digest": RuleSet(rules).digest, "examples": examples, "unexercised": untried})
    else:
        _show(rules, tried, untried, RuleSet(rules).digest)
    if any(one.complaint for one in tried):
        raise typer.Exit(BAD)


@app.command()
def schema() -> None:
    """Print the JSON Schema of files of rules, for editors and other checkers."""
    from redrive.rules import json_schema

    show_json(json_schema())


def _show_mistakes(error: RulesError, json: bool) -> None:
    if json:
        fields = ("file", "line", "column", "at", "reason")
        show_json({"mistakes": [{name: getattr(one, name) for name in fields} for one in error.mistakes]})
        return
    for mistake in error.mistakes:
        out.print(str(mistake), markup=False, highlight=False, soft_wrap=True)


def _show(rules: RuleFile, tried: list[Tried], untried: list[str], digest: str) -> None:
    if tried:
        rows = ((one.name, ", ".join(one.rules) or None, _said(one.outcome), _verdict(one.complaint)) for one in tried)
        show_table(("example", "by", "came out", "verdict"), rows)
    failed = sum(bool(one.complaint) for one in tried)
    counted = f"rules {len(rules.rules)}, examples {len(tried)}, failed {failed}"
    out.print(f"{counted}, digest {digest}", highlight=False, soft_wrap=True)
    for name in untried:
        note(f"no example exercises the rule {name!r}")


def _verdict(complaint: str) -> Text:
    return Text(complaint, "red") if complaint else Text("good", "green")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    from redrive import tagged_json

    told: dict[str, Any] = {"kind": type(outcome).__name__.lower(), **msgspec.structs.asdict(outcome)}
    if "value" in told:
        told["value"] = msgspec.Raw(tagged_json.encode(told["value"])[0])
    return told


def _said(outcome: Outcome) -> str:
    told = _outcome(outcome)
    if "value" in told:
        return bytes(told["value"]).decode()
    return f"{told['kind']}: {told['reason']}" if "reason" in told else str(told["kind"])
