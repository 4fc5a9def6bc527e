"""What an expression's text tells about it, by its tokens: which fields it needs, and what it goes through."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    //[^\n]*
  | (?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
  | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | [A-Za-z_][A-Za-z0-9_]*
  | [0-9][A-Za-z0-9_]*
  | \S
    """,
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIMPLE_TEXT = re.compile(r"""(["'])([^"'\\]*)\1""")
_CLOSERS = {")": "(", "]": "[", "}": "{"}


def fields_of_value(expression: str) -> tuple[str, ...] | None:
    """Return the fields of ``value`` that the expression looks at, or None if it may look at all of it.

    In doubt it is None: whoever is given only these fields must see no difference.
    """
    tokens = [token[0] for token in _tokens(expression)]
    fields = set()
    for at, token in enumerate(tokens):
        if token != "value":
            continue
        following = [*tokens[at + 1 : at + 5], "", "", ""]
        if following[:2] == [".", "?"]:  # optional selection
            del following[1]
        if following[0] == "." and _NAME.fullmatch(following[1]) and following[2] != "(":
            fields.add(following[1])
        elif following[0] == "[" and (text := _SIMPLE_TEXT.fullmatch(following[1])) and following[2] == "]":
            fields.add(text[2])
        else:
            return None
    return tuple(sorted(fields))


def with_lists_only(expression: str) -> str:
    """Add ``[]`` to everything of which ``map`` or ``filter`` makes a list, so that it must be a list.

    Of a map they would give its keys, and in an order that differs from process to process.
    """
    tokens = _tokens(expression)
    texts = [token[0] for token in tokens]
    before: list[int] = []  # positions in the text at which "(" and " + [])" go
    after: list[int] = []
    for at, text in enumerate(texts):
        if text in ("map", "filter") and texts[at - 1 : at] == ["."] and texts[at + 1 : at + 2] == ["("]:
            before.append(tokens[_receiver(texts, at - 2)].start())
            after.append(tokens[at - 2].end())
    parts, done = [], 0
    for position, written in sorted([(at, 1) for at in before] + [(at, 0) for at in after]):
        parts += [expression[done:position], "(" if written else " + [])"]
        done = position
    return "".join(parts) + expression[done:]


def _receiver(texts: list[str], end: int) -> int:
    """Return where the operand that ends at token ``end`` begins: a name, a literal or brackets, with selectors."""
    at = end
    while True:
        bracketed = texts[at] in _CLOSERS
        if bracketed:
            at = _opening(texts, at)
        # A call, an index or a message's fields belong to the operand in front of them.
        before = texts[at - 1] if at else ""
        if bracketed and ((_NAME.fullmatch(before) and before != "in") or (texts[at] == "[" and _ends_operand(before))):
            at -= 1
            continue
        if texts[at - 1 : at] == ["?"] and texts[at - 2 : at - 1] == ["."]:
            at -= 3
        elif at and before == ".":
            at = at - 2 if at > 1 and _ends_operand(texts[at - 2]) else at - 1
            if texts[at] == ".":
                return at
        else:
            return at


def _ends_operand(text: str) -> bool:
    return text in _CLOSERS or text[-1:] in ("'", '"', "`") or bool(_NAME.fullmatch(text) and text != "in")


def _opening(texts: list[str], at: int) -> int:
    depth = 0
    while at >= 0:
        depth += (texts[at] in _CLOSERS) - (texts[at] in _CLOSERS.values())
        if not depth:
            return at
        at -= 1
    return 0


def _tokens(expression: str) -> list[re.Match[str]]:
    return [token for token in _TOKEN.finditer(expression) if not token[0].startswith("//")]
