"""What the program's exit codes mean."""

from __future__ import annotations

from redrive.errors import (
    ConfigError,
    LetterIdError,
    RedriveError,
    RulesError,
    UnavailableError,
    UncorrectableLetterError,
    UnknownLetterError,
    UnknownOperationError,
    UnknownTopicError,
)

GOOD = 0
BAD = 1  # something failed, or the verdict is bad
WRONG = 2  # the command or the settings ask for what can't be
UNAVAILABLE = 3  # a system does not answer; trying again later is right


def exit_code(error: RedriveError) -> int:
    """Say which code the program ends with after ``error``."""
    match error:
        case ConfigError() | RulesError() | LetterIdError():
            return WRONG
        case UnknownOperationError() | UnknownLetterError() | UnknownTopicError() | UncorrectableLetterError():
            return WRONG
        case UnavailableError():
            return UNAVAILABLE
        case _:
            return BAD
