"""What a rule's part says when it can't do its work on a value."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer, caught by the rule that asked
    """A condition or an operation can't be applied to this value.

    Attributes:
        reason: why; quotes nothing of the value.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
