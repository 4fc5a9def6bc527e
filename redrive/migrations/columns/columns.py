"""All values of a group at once, each proved; see `redrive.migrations.columns`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from redrive.columnar.records import Column, as_bytes
from redrive.migrations.columns.avro import ColumnsError, decoded, encoded
from redrive.migrations.columns.changing import Changing
from redrive.migrations.columns.coverage import FEWEST, Cover

_MOST = 2_000
"""Values at once. With more, it is not quicker; and they are in memory five times, as bytes and as columns."""


class Columns:
    """Migrates values of one schema to another. Lets go of the interpreter's lock most of the time.

    Args:
        cover: what becomes of what.

    Attributes:
        trouble: the kind of the last error that has left values to the per-event way; empty if there was none.

    Raises:
        ColumnsError: on creation, pyruhvro does not take the schemas.
    """

    def __init__(self, cover: Cover) -> None:
        self._cover = cover
        self._changing = Changing(cover)
        self.trouble = ""

    def migrate(self, bodies: list[bytes]) -> list[bytes | None]:
        """Migrate Avro bodies, without their frames; None is for the per-event way."""
        if len(bodies) < FEWEST:
            return [None] * len(bodies)
        if len(bodies) <= _MOST:
            try:
                return self._all(bodies)
            except Exception as error:  # whatever it is, the per-event way says of which event it is
                self.trouble = type(error.__cause__ or error).__name__
        half = len(bodies) // 2
        return self.migrate(bodies[:half]) + self.migrate(bodies[half:])

    def whole(self, values: Column, header: bytes, prefix: bytes) -> Column | None:
        """Migrate values that all begin with ``header``; the new ones begin with ``prefix``.

        None: not each of them goes by columns.
        """
        from redrive.columnar import loops

        data, begins, ends = values.plain
        try:
            batch = decoded([body or b"" for body in values.each(skip=len(header))], self._cover.old)
            again = _bytes(encoded(batch, self._cover.old), len(values))
            if not loops.same_bodies(data, begins, ends, len(header), *again):
                return None
            if self._changing.doubtful(batch) is not None:
                return None
            return Column(*loops.framed(as_bytes(prefix), *_bytes(self._migrated(batch), len(values))))
        except Exception as error:  # whatever it is, the per-event way says of which event it is
            self.trouble = type(error.__cause__ or error).__name__
            return None

    def _all(self, bodies: list[bytes]) -> list[bytes | None]:
        batch = decoded(bodies, self._cover.old)
        good = pc.equal(encoded(batch, self._cover.old), pa.array(bodies, pa.binary()))
        doubtful = self._changing.doubtful(batch)
        if doubtful is not None:
            good = pc.and_not(good, doubtful)
        places = np.flatnonzero(good.to_numpy(zero_copy_only=False))
        if not len(places):
            return [None] * len(bodies)
        if len(places) < len(bodies):
            batch = batch.filter(good)
        found: list[bytes | None] = [None] * len(bodies)
        for place, value in zip(places.tolist(), self._migrated(batch).to_pylist(), strict=True):
            found[place] = value
        return found

    def _migrated(self, batch: pa.RecordBatch) -> pa.Array:
        changed = self._changing.changed(batch)
        values = encoded(changed, self._cover.new)
        if not decoded(values.to_pylist(), self._cover.new).equals(changed):
            raise ColumnsError
        return values


def _bytes(values: pa.Array, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of a binary array, and where each value begins, and where the last one ends.

    Raises:
        ColumnsError: it is not one of so many values.
    """
    binary = pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)
    if not binary or values.null_count or len(values) != count:
        raise ColumnsError
    _, places, data = values.buffers()
    first = values.offset
    width = np.int64 if pa.types.is_large_binary(values.type) else np.int32
    places = np.frombuffer(places, width)[first : first + count + 1].astype(np.int64)
    return np.frombuffer(data if data is not None else b"", np.uint8), places
