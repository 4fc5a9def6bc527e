"""What README and docs promise is there: settings, commands, names, links."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from fastavro import validate

import redrive
from deployments.cli import app
from redrive.config import Config
from redrive.config.reference import SECTIONS, descriptions, page

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[str]:
    """The examples of the README in a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands() -> Iterator[str]:
    """Each command that there is, such as ``dlq fix``."""

    def below(command: object, path: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", {})
        for name, each in inner.items():
            yield from below(each, (*path, name))
        if not inner:
            yield " ".join(path)

    return below(typer.main.get_command(app), ())


def test_the_page_of_settings_is_what_the_models_say_now() -> None:
    """Else: ``redrive config reference > docs/settings.md``."""
    assert (ROOT / "docs" / "settings.md").read_text() == page()


def test_each_section_of_the_settings_is_on_that_page_and_each_setting_is_explained() -> None:
    assert {re.findall(r"\w+", header)[0] for header, _ in SECTIONS} == set(Config.model_fields)
    for _, model in SECTIONS:
        assert set(model.model_fields) <= descriptions(model).keys()


def test_the_readme_s_settings_are_good_and_have_what_its_program_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [settings], [schema], [program] = blocks("toml"), blocks("json"), blocks("python")
    (tmp_path / "order.avsc").write_text(schema)
    file = tmp_path / "redrive.toml"
    file.write_text(settings)
    assert Config.check(file) == []
    config = Config.load(file)
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom):
            assert node.module == "redrive"
            assert {each.name for each in node.names} <= set(redrive.__all__)
    for name in re.findall(r'Event(?:Producer|Consumer)\("([^"]+)"', program):
        assert config.topic(f"dlq.{name}").dead_letters
    for name in re.findall(r'\["([^"]+)"\]', program):
        assert config.topic(name).schema
    [value] = re.findall(r"value=({.*?})", program)
    validate(ast.literal_eval(value), json.loads(schema), strict=True)


def test_each_command_is_in_the_list_of_commands() -> None:
    listed = set(re.findall(r"`(?:redrive )?([a-z][^`]*)`", COMMANDS))
    assert [
        name for name in commands() if not any(each == name or each.startswith(f"{name} ") for each in listed)
    ] == []


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_to_something(file: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", file.read_text()):
        path, _, part = link.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{file.name}: {link}"
        if part:
            heads = [line.lstrip("# ") for line in there.read_text().splitlines() if line.startswith("#")]
            assert part in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, link
