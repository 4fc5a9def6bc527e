"""Keys land where Kafka's Java client puts them."""

import pytest

from redrive.murmur2 import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_equals_the_vectors_of_kafkas_own_tests(data: bytes, expected: int) -> None:
    assert murmur2(data) == expected


def test_a_negative_hash_gives_a_partition_too() -> None:
    """The sign bit is dropped, as by Java's toPositive; it is not the absolute value."""
    assert partition_of(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7


@pytest.mark.parametrize("key", [b"", b"\x00", b"\xff\xfe\xfd", b"\xff" * 1001])
def test_any_bytes_are_a_key(key: bytes) -> None:
    assert 0 <= partition_of(key, 12) < 12
    assert partition_of(key, 1) == 0
