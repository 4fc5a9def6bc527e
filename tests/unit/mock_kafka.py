"""librdkafka's own mock cluster, in this process: for records that confluent-kafka would not let through."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import confluent_kafka

PARTITIONS = 4
_VALUE, _KEY, _TOPIC, _PARTITION, _TIMESTAMP, _HEADER = 4, 5, 1, 3, 8, 9  # of rd_kafka_vtype_t


class _Memory(ctypes.Structure):
    _fields_ = [("at", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_char_p), ("size", ctypes.c_ssize_t)]


class _Content(ctypes.Union):
    _fields_ = [
        ("text", ctypes.c_char_p),
        ("memory", _Memory),
        ("header", _Header),
        ("number", ctypes.c_int32),
        ("time", ctypes.c_int64),
        ("room", ctypes.c_char * 64),
    ]


class _Part(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("content", _Content)]


class MockKafka:
    """A cluster of one broker, whose topics have `PARTITIONS` partitions.

    Attributes:
        bootstrap: where it listens.
    """

    def __init__(self) -> None:
        lib = self._lib = ctypes.CDLL(_librdkafka())
        lib.rd_kafka_conf_new.restype = ctypes.c_void_p
        lib.rd_kafka_conf_set.argtypes = [ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t]
        lib.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        lib.rd_kafka_handle_mock_cluster.argtypes = lib.rd_kafka_destroy.argtypes = [ctypes.c_void_p]
        lib.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        lib.rd_kafka_new.restype = lib.rd_kafka_handle_mock_cluster.restype = ctypes.c_void_p
        lib.rd_kafka_produceva.restype = ctypes.c_void_p
        lib.rd_kafka_produceva.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        lib.rd_kafka_flush.argtypes = [ctypes.c_void_p, ctypes.c_int]
        error = ctypes.create_string_buffer(512)
        conf = lib.rd_kafka_conf_new()
        for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"0")):
            lib.rd_kafka_conf_set(conf, name, value, error, 512)
        self._producer = lib.rd_kafka_new(0, conf, error, 512)
        cluster = lib.rd_kafka_handle_mock_cluster(self._producer)
        self.bootstrap = lib.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def produce(
        self, topic: str, key: bytes, value: bytes | None, *headers: tuple[bytes, bytes], timestamp: int = 0
    ) -> None:
        """Write one record to partition 0; names of headers are any bytes. A timestamp of 0 is now."""
        given: list[tuple[int, dict[str, Any]]] = [
            (_TOPIC, {"text": topic.encode()}),
            (_PARTITION, {"number": 0}),
            (_KEY, {"memory": _Memory(key, len(key))}),
            (_VALUE, {"memory": _Memory(value, len(value or b""))}),
            (_TIMESTAMP, {"time": timestamp}),
            *((_HEADER, {"header": _Header(name, content, len(content))}) for name, content in headers),
        ]
        parts = (_Part * len(given))(*(_Part(kind, _Content(**content)) for kind, content in given))
        assert not self._lib.rd_kafka_produceva(self._producer, parts, len(given))
        assert self._lib.rd_kafka_flush(self._producer, 10_000) == 0

    def close(self) -> None:
        """End the cluster."""
        self._lib.rd_kafka_destroy(self._producer)


def _librdkafka() -> str:
    """Find the library that confluent-kafka has loaded."""
    assert confluent_kafka.libversion()
    return next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "librdkafka" in line)
