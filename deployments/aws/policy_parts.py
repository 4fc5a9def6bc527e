"""A policy in as many parts as IAM needs, which takes only so much text in one; together they say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

MOST = 6_144
"""Characters of a managed policy (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""
_UNIQUE = 40  # at least as many characters as the last part of a cluster's ARN has, for which a token stands here

Document = dict[str, Any]


def parts(document: Document, tokens: Sequence[str] = (), most: int = MOST) -> list[Document]:
    """Share a policy's statements out, in their order; one that is too long by itself is divided by its resources.

    Args:
        document: the policy.
        tokens: texts in it that stand for others of up to 40 characters.
        most: characters of a part.
    """

    def length(statements: Sequence[Document]) -> int:
        text = json.dumps({**document, "Statement": statements}, separators=(",", ":"))
        for token in tokens:
            text = text.replace(token, "x" * _UNIQUE)
        return len(text)

    def divided(statement: Document) -> Iterator[Document]:
        resources = statement["Resource"]
        if len(resources) == 1 or length([statement]) <= most:
            yield statement
            return
        middle = len(resources) // 2
        for letter, some in (("A", resources[:middle]), ("B", resources[middle:])):
            yield from divided({**statement, "Sid": statement["Sid"] + letter, "Resource": some})

    shared: list[list[Document]] = [[]]
    for statement in (one for each in document["Statement"] for one in divided(each)):
        if shared[-1] and length([*shared[-1], statement]) > most:
            shared.append([])
        shared[-1].append(statement)
    return [{**document, "Statement": statements} for statements in shared]
