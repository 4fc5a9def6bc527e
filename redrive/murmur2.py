"""The partitioner of Kafka's Java clients, so that a key lands on the same partition whoever publishes it.

The hash is MurmurHash2 (32 bit) with the seed of ``org.apache.kafka.common.utils.Utils.murmur2``; librdkafka's
``murmur2`` and ``murmur2_random`` partitioners compute the same. Its own default (CRC32) does not.
"""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Hash ``data`` to a signed 32-bit integer, as the Java client does."""
    length = len(data)
    whole = length & ~3
    h = _SEED ^ length
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if whole != length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    h ^= h >> 15
    return h - (1 << 32) if h >> 31 else h


@lru_cache(maxsize=65_536)
def _positive_hash(key: bytes) -> int:
    return murmur2(key) & 0x7FFFFFFF


def partition_of(key: bytes, count: int) -> int:
    """Say which of ``count`` partitions ``key`` belongs to; hashes of the last 65,536 keys are kept.

    An event without a key (None) has no partition of its own; an empty key does.
    """
    return _positive_hash(key) % count
