"""YAML as plain values, each with the place where it stands, so that a mistake can be shown there.

The parser is PyYAML's; what a plain scalar means is that of YAML 1.2's core schema. PyYAML's own reading is YAML
1.1, in which a look-up table's ``NO`` is false, ``1:30`` is 90 and ``010`` is 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

_NULL, _TRUE, _FALSE = ("", "~", "null", "Null", "NULL"), ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")
_LONGEST_INT = 4_000  # digits; Python refuses to read integers of more than 4,300
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column, from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """A YAML text, read.

    Attributes:
        value: dicts (keys are strings; a key such as ``1`` or ``true`` is the text that it stands as), lists, scalars.
        mistakes: what in the text is not fit for it: place and reason.
    """

    value: Any = None
    mistakes: list[tuple[Place, str]] = field(default_factory=list)
    _keys: dict[Path, Place] = field(default_factory=dict)
    _values: dict[Path, tuple[yaml.Node, str]] = field(default_factory=dict)

    def key_place(self, path: Path) -> Place:
        """Return where the key at ``path`` stands, or else the nearest thing around it."""
        return self._keys.get(path) or self.place(path)

    def place(self, path: Path) -> Place:
        """Return where the value at ``path`` begins, or else the nearest thing around it."""
        for depth in range(len(path), -1, -1):
            if found := self._values.get(path[:depth]):
                return _place(found[0].start_mark)
        return Place(1, 1)

    def place_inside(self, path: Path, line: int, column: int) -> Place:
        """Return the place of a line and column (from 1) of the text that the value at ``path`` is.

        Exact for text that stands in the file as it is; where YAML has folded or unescaped it, the place where it
        begins.
        """
        node, text = self._values[path]
        start, end = node.start_mark, node.end_mark
        source = text[start.index : end.index]
        style = getattr(node, "style", None)
        if style == "|":
            first = next((row for row in source.splitlines()[1:] if row.strip()), "")
            indent = len(first) - len(first.lstrip())
            return Place(start.line + 1 + line, indent + column)
        quote = 1 if style in ("'", '"') else 0
        if line == 1 and "\n" not in source and source[quote : len(source) - quote] == node.value:
            return Place(start.line + 1, start.column + quote + column)
        return _place(start)


def read(text: str) -> Document:
    """Read the one document that ``text`` is; never raises."""
    document = Document()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.context, error.problem)))
        document.mistakes.append((_place(mark) if mark else Place(1, 1), f"is not YAML: {reason}"))
        return document
    except (yaml.YAMLError, RecursionError) as error:
        document.mistakes.append((Place(1, 1), f"is not YAML: {str(error).splitlines()[0]}"))
        return document
    if node is not None:
        document.value = _Builder(document, text).build(node, ())
    return document


class _Builder:
    def __init__(self, document: Document, text: str) -> None:
        self._document, self._text = document, text
        self._seen: set[int] = set()

    def build(self, node: yaml.Node, path: Path) -> Any:
        document = self._document
        document._values[path] = (node, self._text)
        if id(node) in self._seen:
            self._complain(node, "is an alias (*…), which rules don't have; share look-up tables by name, in `tables`")
            return None
        self._seen.add(id(node))
        if len(path) > _DEEPEST:
            self._complain(node, "is nested too deeply")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, at)) for at, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain(key, "is no name")
                continue
            if key.value in built:
                self._complain(key, f"{key.value!r} stands here a second time")
                continue
            self._document._keys[(*path, key.value)] = _place(key.start_mark)
            built[key.value] = self.build(item, (*path, key.value))
        return built

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        explicit = self._text[node.start_mark.index : node.start_mark.index + 1] == "!"
        if explicit:
            self._complain(node, "has a tag (!…), which rules don't have")
        if node.style is not None:
            return text
        return _plain(text)

    def _complain(self, node: yaml.Node, reason: str) -> None:
        self._document.mistakes.append((_place(node.start_mark), reason))


def _plain(text: str) -> Any:
    for texts, value in ((_NULL, None), (_TRUE, True), (_FALSE, False)):
        if text in texts:
            return value
    if _INT.fullmatch(text) and len(text) <= _LONGEST_INT:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float(special[1] + special[2])
    return text


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def dotted(path: Path) -> str:
    """Write a path as people do: ``rules[2].do[0].path``."""
    return "".join(_steps(path)).lstrip(".")


def _steps(path: Path) -> Iterator[str]:
    for step in path:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"
