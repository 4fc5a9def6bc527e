"""A policy in as many parts as IAM needs, which takes only so much text in one; together they say the same."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

MOST = 6_144
"""Characters of a managed policy (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""
_UNIQUE = 40  # at least as many characters as the last part of a cluster's ARN has, for which a token stands here

Document = dict[str, Any]


def parts(document: Document, tokens: Sequence[str] = ()) -> list[Document]:
    """Share a policy's statements out, in their order; one that does not fit is divided by its resources.

    Args:
        document: the policy.
        tokens: texts in it that stand for others of up to 40 characters.
    """

    def fits(statements: Sequence[Document]) -> bool:
        text = json.dumps({**document, "Statement": statements}, separators=(",", ":"))
        for token in tokens:
            text = text.replace(token, "x" * _UNIQUE)
        return len(text) <= MOST

    def room(beside: Sequence[Document], statement: Document, resources: Sequence[str]) -> int:
        """Say for how many of the resources there is room."""
        return _most(len(resources), lambda count: fits([*beside, {**statement, "Resource": resources[:count]}]))

    shared: list[list[Document]] = [[]]
    for statement in document["Statement"]:
        pieces = 0
        left = statement["Resource"]
        while left:
            piece = statement if not pieces else {**statement, "Sid": f"{statement['Sid']}Part{pieces + 1}"}
            count = room(shared[-1], piece, left)
            if not count and shared[-1]:
                shared.append([])
                continue
            count = max(count, 1)
            shared[-1].append({**piece, "Resource": left[:count]})
            left, pieces = left[count:], pieces + 1
    return [{**document, "Statement": statements} for statements in shared]


def _most(highest: int, good: Callable[[int], bool]) -> int:
    """Give the highest number up to ``highest`` that is good, where each below a good one is; 0 if none is."""
    return highest if good(highest) else bisect_left(range(1, highest + 1), True, key=lambda number: not good(number))
