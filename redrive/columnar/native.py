"""What compiled loops are made of: C calls, and memory by its address.

Who changes anything here changes `redrive.columnar.loops.NATIVE` as well: numba keeps compiled loops until their own
file changes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from redrive.columnar.librdkafka import VU_SIZE, load

PAYLOAD, PAYLOAD_SIZE, KEY, KEY_SIZE, OFFSET = 24, 32, 40, 48, 56
"""Where fields of an ``rd_kafka_message_t`` are, in bytes, on a machine of 64 bits; its error is at 0."""

TOPIC_NAME, PARTITION, FLAGS, KEY_BYTES, VALUE_BYTES, TIMESTAMP, HEADERS = range(7)
"""The arguments that ``rd_kafka_produceva`` is given, in this order."""

KINDS = (1, 3, 7, 5, 4, 8, 10)
"""Their ``rd_kafka_vtype_t``."""

COPY = 2
"""``RD_KAFKA_MSG_F_COPY``: what is produced is the client's, from the call on."""

_names = ["XXH3_128bits"]
_int, _size, _pointer = types.int32, types.intp, types.intp


def _c(name: str, result: Any, *arguments: Any) -> Any:
    _names.append(name)
    return types.ExternalFunction(name, result(*arguments))


memcpy = _c("memcpy", _pointer, _pointer, _pointer, _size)
memcmp = _c("memcmp", _int, _pointer, _pointer, _size)
strlen = _c("strlen", _size, _pointer)
consume_batch_queue = _c("rd_kafka_consume_batch_queue", _size, _pointer, _int, _pointer, _size)
message_destroy = _c("rd_kafka_message_destroy", types.void, _pointer)
message_timestamp = _c("rd_kafka_message_timestamp", types.int64, _pointer, _pointer)
message_headers = _c("rd_kafka_message_headers", _int, _pointer, _pointer)
header_get_all = _c("rd_kafka_header_get_all", _int, _pointer, _size, _pointer, _pointer, _pointer)
headers_new = _c("rd_kafka_headers_new", _pointer, _size)
header_add = _c("rd_kafka_header_add", _int, _pointer, _pointer, _size, _pointer, _size)
headers_destroy = _c("rd_kafka_headers_destroy", types.void, _pointer)
produceva = _c("rd_kafka_produceva", _pointer, _pointer, _pointer, _size)
error_code = _c("rd_kafka_error_code", _int, _pointer)
error_destroy = _c("rd_kafka_error_destroy", types.void, _pointer)

load(*_names)


ARGUMENT = VU_SIZE
"""Bytes of an argument; what it is comes first, and from `IN_ARGUMENT` on the argument itself."""

IN_ARGUMENT = 8


def _load(width: Any, kind: Any) -> Any:
    def load_at(_context: Any, address: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.load(builder.inttoptr(arguments[0], width.as_pointer()), align=1)

        return kind(types.intp), code

    return intrinsic(load_at)


def _store(width: Any, kind: Any) -> Any:
    def store_at(_context: Any, address: Any, value: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            builder.store(arguments[1], builder.inttoptr(arguments[0], width.as_pointer()), align=1)
            return _context.get_dummy_value()

        return types.void(types.intp, kind), code

    return intrinsic(store_at)


int_at = _load(ir.IntType(32), types.int32)
word_at = _load(ir.IntType(64), types.int64)
set_int = _store(ir.IntType(32), types.int32)
set_word = _store(ir.IntType(64), types.int64)


@intrinsic
def xxh3_128(_typing: Any, address: Any, size: Any) -> Any:
    """Hash memory by XXH3 with 128 bits: the lower 64, the higher 64."""
    word = ir.IntType(64)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_c = ir.FunctionType(ir.LiteralStructType([word, word]), [word, word])
        function = cgutils.get_or_insert_function(builder.module, of_c, "XXH3_128bits")
        both = builder.call(function, arguments)
        return context.make_tuple(
            builder, signature.return_type, [builder.extract_value(both, 0), builder.extract_value(both, 1)]
        )

    return types.UniTuple(types.uint64, 2)(types.intp, types.intp), code
