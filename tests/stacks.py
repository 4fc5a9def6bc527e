"""A stack of one's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local.stack import Stack


@contextmanager
def stack_to_break() -> Iterator[Stack]:
    """Three brokers, DynamoDB and registry, all serving; no Prefect."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="redrive-faults-")), "free", prefect=False)
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)
