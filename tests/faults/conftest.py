"""The stack that tests of crashes break: one for all of them, or one for each worker of xdist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.local.stack import Stack
from tests.stacks import stack_to_break


# To start one takes as much processor time as four of these tests.
@pytest.fixture(scope="package")
def _own_stack() -> Iterator[Stack]:
    with stack_to_break() as stack:
        yield stack
