"""Files of rules."""

from __future__ import annotations

from collections.abc import Sequence

from redrive.errors.base import RedriveError


class RuleMistake(RedriveError):  # noqa: N818 - one of many that `RulesError` carries
    """One mistake in a file of rules.

    Attributes:
        file: the file.
        line: from 1; 0 if it is about the file as a whole.
        column: from 1; 0 likewise.
        at: what it is about, such as ``rules[2].do[0].path``; empty for the whole file.
        reason: what is wrong, and what to write instead.
    """

    def __init__(self, file: str, line: int, column: int, at: str, reason: str) -> None:
        self.file, self.line, self.column, self.at, self.reason = file, line, column, at, reason
        place = f"{file}:{line}:{column}" if line else file
        super().__init__(f"{place}: {at + ': ' if at else ''}{reason}")


class RulesError(RedriveError):
    """A file of rules can't be used.

    Attributes:
        file: the file.
        mistakes: every mistake found, in the order of the lines.
    """

    def __init__(self, file: str, mistakes: Sequence[RuleMistake]) -> None:
        self.file, self.mistakes = file, tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))
