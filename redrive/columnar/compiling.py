"""Compiles all loops, or loads them as they were compiled before: rather at the start than within a transaction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import typeof

from redrive.columnar import loops
from redrive.columnar.records import as_bytes


def compile_all() -> None:
    """Make all loops ready: ten seconds where that has never been done, and less than one where it has."""
    data, text = np.empty(0, np.uint8), as_bytes(b"")
    numbers, flags = np.empty(0, np.int64), np.empty(0, np.int8)
    column = data, numbers, numbers
    uses: list[tuple[Any, tuple[Any, ...]]] = [
        (loops.take, (0, 0, 0, text, text)),
        (loops.summed, (column, column, column, numbers, numbers, text, text)),
        (
            loops.produce,
            (0, text, 0, column, column, column, numbers, numbers, 0, (text, text, text), text, text, data),
        ),
        (loops.begin_with, (*column, text)),
        (loops.same_bodies, (*column, 0, text, numbers)),
        (loops.framed, (text, text, numbers)),
        (loops.equal, (*column, *column)),
        (
            loops.right_copies,
            ((numbers, numbers, flags, column, column), (numbers, flags, flags, column, column), text, text, text),
        ),
    ]
    for loop, arguments in uses:
        loop.compile(tuple(map(typeof, arguments)))
