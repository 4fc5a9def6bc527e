"""The compiled loops, all in one file: numba keeps what it has compiled until that file changes, not what it calls.

They let go of the interpreter's lock, so that partitions are worked at side by side.

Bytes of many events lie one after the other in one array (``data``); an event's go from ``begins[i]`` to ``ends[i]``.
Where a key or a value is null, ``begins[i]`` is -1.

Headers are kept as MessagePack has them, an array of pairs: that is what evidence hashes (`redrive.pump.evidence`).
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numba import njit

from redrive.columnar import native as c

log = logging.getLogger(__name__)

NATIVE = "f3b8197e4a8c6ab1"
"""The beginning of the SHA-256 of ``native.py`` (see there)."""

MARKED, ODD = 1, 2
"""What is special about a record: its last header is the one that marks it; a header's name is not ASCII."""


def _compiled(function: Any) -> Any:
    try:
        return njit(function, nogil=True, cache=True)
    except RuntimeError:
        log.warning("no folder for compiled loops can be written to: each process compiles them; set NUMBA_CACHE_DIR")
        return njit(function, nogil=True)


@_compiled
def take(queue, most, timeout_ms, mark, beginning):
    """Take messages from a queue of librdkafka.

    Args:
        queue: ``rd_kafka_queue_t *``.
        most: so many at most.
        timeout_ms: how long to wait for so many.
        mark: the name of the header that marks a record, as its last one.
        beginning: how its value begins.

    Returns:
        keys, values and headers as (data, begins, ends); offsets, timestamps, kinds of timestamps, what is special; of
        errors, codes and offsets.
    """
    pointers = np.empty(most, np.int64)
    count = c.consume_batch_queue(queue, timeout_ms, np.int64(pointers.ctypes.data), most)
    place = np.zeros(4, np.int64)
    at = np.int64(place.ctypes.data)
    headers_at, name_at, value_at, size_at = at, at + 8, at + 16, at + 24
    good = failed = key_bytes = value_bytes = header_bytes = 0
    for number in range(max(0, count)):
        message = pointers[number]
        if c.int_at(message):
            failed += 1
            continue
        good += 1
        key_bytes += c.word_at(message + c.KEY_SIZE)
        value_bytes += c.word_at(message + c.PAYLOAD_SIZE)
        header_bytes += 5
        if c.message_headers(message, headers_at) == 0:
            index = 0
            headers = np.int64(place[0])
            while c.header_get_all(headers, index, name_at, value_at, size_at) == 0:
                header_bytes += 11 + c.strlen(np.int64(place[1])) + place[3]
                index += 1
    keys, key_begins, key_ends = np.empty(key_bytes, np.uint8), np.empty(good, np.int64), np.empty(good, np.int64)
    values, value_begins = np.empty(value_bytes, np.uint8), np.empty(good, np.int64)
    value_ends = np.empty(good, np.int64)
    packed, begins, ends = np.empty(header_bytes, np.uint8), np.empty(good, np.int64), np.empty(good, np.int64)
    offsets, times, kinds = np.empty(good, np.int64), np.empty(good, np.int64), np.empty(good, np.int8)
    special = np.zeros(good, np.int8)
    codes, places = np.empty(failed, np.int32), np.empty(failed, np.int64)
    good = failed = key_end = value_end = end = 0
    for number in range(max(0, count)):
        message = pointers[number]
        if c.int_at(message):
            codes[failed], places[failed] = c.int_at(message), c.word_at(message + c.OFFSET)
            failed += 1
            c.message_destroy(message)
            continue
        key_begins[good], key_ends[good] = _taken(message + c.KEY, message + c.KEY_SIZE, keys, key_end)
        key_end = max(key_end, key_ends[good])
        value_begins[good], value_ends[good] = _taken(message + c.PAYLOAD, message + c.PAYLOAD_SIZE, values, value_end)
        value_end = max(value_end, value_ends[good])
        offsets[good] = c.word_at(message + c.OFFSET)
        times[good] = c.message_timestamp(message, name_at)
        kinds[good] = np.int8(place[1] & 0xFF)
        begins[good] = end
        index = 0
        if c.message_headers(message, headers_at) == 0:
            headers = np.int64(place[0])
            while c.header_get_all(headers, index, name_at, value_at, size_at) == 0:
                index += 1
            end = _length(packed, end, index, 0x90, 15, 0xDC)
            for each in range(index):
                c.header_get_all(headers, each, name_at, value_at, size_at)
                packed[end] = 0x92
                end += 1
                size = c.strlen(np.int64(place[1]))
                end = _text(packed, end, np.int64(place[1]), size)
                for byte in range(end - size, end):
                    if packed[byte] >= 0x80:
                        special[good] |= ODD
                if (
                    each == index - 1
                    and (size == len(mark) and place[3] >= len(beginning))
                    and c.memcmp(place[1], np.int64(mark.ctypes.data), size) == 0
                    and c.memcmp(place[2], np.int64(beginning.ctypes.data), len(beginning)) == 0
                ):
                    special[good] |= MARKED
                end = _binary(packed, end, np.int64(place[2]), place[3])
        else:
            packed[end] = 0x90
            end += 1
        ends[good] = end
        good += 1
        c.message_destroy(message)
    return (
        (keys, key_begins, key_ends), (values, value_begins, value_ends), (packed[:end], begins, ends),
        offsets, times, kinds, special, codes, places,
    )  # fmt: skip


@_compiled
def _taken(pointer, length, data, at):
    source, size = c.word_at(pointer), c.word_at(length)
    if source == 0:
        return -1, -1
    c.memcpy(np.int64(data.ctypes.data) + np.int64(at), np.int64(source), size)
    return at, at + size


@_compiled
def _length(out, at, length, few, most, code):
    """Write the head of an array or a text of MessagePack; returns where it ends."""
    if length <= most:
        out[at] = few | length
        return at + 1
    if length <= 0xFFFF:
        out[at], out[at + 1], out[at + 2] = code, length >> 8, length & 0xFF
        return at + 3
    out[at] = code + 1
    return _long(out, at + 1, length)


@_compiled
def _long(out, at, length):
    for shift in (24, 16, 8, 0):
        out[at] = (length >> shift) & 0xFF
        at += 1
    return at


@_compiled
def _text(out, at, source, size):
    if 31 < size <= 0xFF:
        out[at], out[at + 1] = 0xD9, size
        at += 2
    else:
        at = _length(out, at, size, 0xA0, 31, 0xDA)
    c.memcpy(np.int64(out.ctypes.data) + np.int64(at), source, size)
    return at + size


@_compiled
def _binary(out, at, source, size):
    if source == 0:
        out[at] = 0xC0
        return at + 1
    if size <= 0xFF:
        out[at], out[at + 1] = 0xC4, size
        at += 2
    elif size <= 0xFFFF:
        out[at], out[at + 1], out[at + 2] = 0xC5, size >> 8, size & 0xFF
        at += 3
    else:
        out[at] = 0xC6
        at = _long(out, at + 1, size)
    c.memcpy(np.int64(out.ctypes.data) + np.int64(at), source, size)
    return at + size


@_compiled
def _digits(out, at, number):
    """Write a number that is not negative, in decimal."""
    count, rest = 1, number // 10
    while rest:
        count, rest = count + 1, rest // 10
    for place in range(at + count - 1, at - 1, -1):
        out[place] = 48 + number % 10
        number //= 10
    return at + count


@_compiled
def summed(keys, values, headers, offsets, times, before, after):
    """Sum up events as `redrive.pump.evidence.Tally` does: bytes, the lower and higher half of digests, times."""
    (key_data, key_begins, key_ends), (value_data, value_begins, value_ends) = keys, values
    (header_data, header_begins, header_ends) = headers
    longest = 0
    for i in range(len(offsets)):
        longest = max(
            longest, key_ends[i] - key_begins[i] + value_ends[i] - value_begins[i] + header_ends[i] - header_begins[i]
        )
    out = np.empty(longest + len(before) + len(after) + 64, np.uint8)
    origin = np.empty(len(before) + len(after) + 24, np.uint8)
    origin[: len(before)] = before
    start, origin_at = np.int64(out.ctypes.data), np.int64(origin.ctypes.data)
    key_at, value_at = np.int64(key_data.ctypes.data), np.int64(value_data.ctypes.data)
    header_at = np.int64(header_data.ctypes.data)
    size = time = 0
    low = high = np.uint64(0)
    for i in range(len(offsets)):
        end = _digits(origin, len(before), offsets[i])
        origin[end : end + len(after)] = after
        out[0] = 0x94
        at = _binary(out, 1, origin_at, end + len(after))
        at = _part(out, at, key_at, key_begins[i], key_ends[i])
        at = _part(out, at, value_at, value_begins[i], value_ends[i])
        length = header_ends[i] - header_begins[i]
        c.memcpy(start + np.int64(at), header_at + np.int64(header_begins[i]), length)
        at += length
        more_low, more_high = c.xxh3_128(start, at)
        low += more_low
        high += more_high + np.uint64(low < more_low)
        size += at
        time += times[i]
    return size, low, high, time


@_compiled
def _part(out, at, data, begin, end):
    if begin < 0:
        return _binary(out, at, np.int64(0), 0)
    return _binary(out, at, data + np.int64(begin), end - begin)


@_compiled
def _unpacked(data, at):
    """Read the head of a text or of bytes of MessagePack: where they begin, and how many they are; -1 of none."""
    code = data[at]
    if code == 0xC0:
        return at + 1, -1
    if code & 0xE0 == 0xA0:
        return at + 1, np.int64(code & 31)
    if code in (0xC4, 0xD9):
        return at + 2, np.int64(data[at + 1])
    if code in (0xC5, 0xDA):
        return at + 3, (np.int64(data[at + 1]) << 8) | np.int64(data[at + 2])
    size = 0
    for place in range(at + 1, at + 5):
        size = (size << 8) | np.int64(data[place])
    return at + 5, size


@_compiled
def produce(client, topic, partition, keys, values, headers, offsets, times, first, own, before, after, arguments):
    """Produce events from number ``first`` on.

    Args:
        client: ``rd_kafka_t *``.
        topic: its name, with a zero at its end.
        partition: for all of them.
        keys: as (data, begins, ends).
        values: likewise.
        headers: likewise.
        offsets: where they were in the source.
        times: milliseconds; none is 0.
        first: the first one.
        own: name and value of a header that each gets, after its own, and the name of another: its value is the origin.
        before: of the origin, what comes before the offset.
        after: what comes after it.
        arguments: room for 7 ``rd_kafka_vu_t``. Not made here: an array that a loop makes lives for as long as it is
            used by its name, not by its address.

    Returns:
        How many are in the client's queue by now, counted from the first of all, and the code of the error that has
        kept the next one out; 0 if there was none.
    """
    (key_data, key_begins, key_ends), (value_data, value_begins, value_ends) = keys, values
    (header_data, header_begins, _) = headers
    key_at, value_at = np.int64(key_data.ctypes.data), np.int64(value_data.ctypes.data)
    header_at = np.int64(header_data.ctypes.data)
    operation, operation_value, source = own
    origin = np.empty(len(before) + len(after) + 24, np.uint8)
    origin[: len(before)] = before
    origin_at = np.int64(origin.ctypes.data)
    args = np.int64(arguments.ctypes.data)
    for number, kind in enumerate(c.KINDS):
        c.set_int(args + c.ARGUMENT * number, kind)
    inside = args + c.IN_ARGUMENT
    c.set_word(inside + c.ARGUMENT * c.TOPIC_NAME, topic.ctypes.data)
    c.set_int(inside + c.ARGUMENT * c.PARTITION, partition)
    c.set_int(inside + c.ARGUMENT * c.FLAGS, c.COPY)
    for i in range(first, len(offsets)):
        _memory(inside + c.ARGUMENT * c.KEY_BYTES, key_at, key_begins[i], key_ends[i])
        _memory(inside + c.ARGUMENT * c.VALUE_BYTES, value_at, value_begins[i], value_ends[i])
        c.set_word(inside + c.ARGUMENT * c.TIMESTAMP, times[i])
        at, count = _counted(header_data, header_begins[i])
        made = c.headers_new(count + 2)
        for _ in range(count):
            name_at, name_size = _unpacked(header_data, at + 1)
            body_at, body_size = _unpacked(header_data, name_at + name_size)
            if body_size < 0:
                c.header_add(made, header_at + np.int64(name_at), name_size, np.int64(0), 0)
                at = body_at
            else:
                c.header_add(made, header_at + np.int64(name_at), name_size, header_at + np.int64(body_at), body_size)
                at = body_at + body_size
        c.header_add(
            made, np.int64(operation.ctypes.data), len(operation), np.int64(operation_value.ctypes.data),
            len(operation_value),
        )  # fmt: skip
        end = _digits(origin, len(before), offsets[i])
        origin[end : end + len(after)] = after
        c.header_add(made, np.int64(source.ctypes.data), len(source), origin_at, end + len(after))
        c.set_word(inside + c.ARGUMENT * c.HEADERS, made)
        error = c.produceva(client, args, len(c.KINDS))
        if error != 0:
            code = c.error_code(error)
            c.error_destroy(error)
            c.headers_destroy(made)
            return i, code
    return len(offsets), 0


@_compiled
def _memory(argument, data, begin, end):
    if begin < 0:
        c.set_word(argument, 0)
        c.set_word(argument + np.int64(8), 0)
    else:
        c.set_word(argument, np.int64(data + np.int64(begin)))
        c.set_word(argument + np.int64(8), end - begin)


@_compiled
def same_bodies(data, begins, ends, skipped, others, other_begins):
    """Say whether each event's bytes, but the first ``skipped``, are those from ``other_begins[i]`` to the next."""
    at, other_at = np.int64(data.ctypes.data), np.int64(others.ctypes.data)
    if len(other_begins) != len(begins) + 1:
        return False
    for i in range(len(begins)):
        begin, length = begins[i] + skipped, ends[i] - begins[i] - skipped
        if length != other_begins[i + 1] - other_begins[i]:
            return False
        if c.memcmp(at + np.int64(begin), other_at + np.int64(other_begins[i]), length) != 0:
            return False
    return True


@_compiled
def framed(frame, data, places):
    """Put a frame before each of the values that lie from ``places[i]`` to ``places[i + 1]``."""
    count, size = len(places) - 1, len(frame)
    out = np.empty(places[count] - places[0] + count * size, np.uint8)
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    start, source = np.int64(out.ctypes.data), np.int64(data.ctypes.data)
    at = 0
    for i in range(count):
        begins[i] = at
        out[at : at + size] = frame
        at += size
        length = places[i + 1] - places[i]
        c.memcpy(start + np.int64(at), source + np.int64(places[i]), length)
        at += length
        ends[i] = at
    return out, begins, ends


@_compiled
def begin_with(data, begins, ends, frame):
    """Say whether all values begin with the same bytes."""
    for i in range(len(begins)):
        if begins[i] < 0 or ends[i] - begins[i] < len(frame):
            return False
        for j in range(len(frame)):
            if data[begins[i] + j] != frame[j]:
                return False
    return True


@_compiled
def equal(data, begins, ends, others, other_begins, other_ends):
    """Say whether bytes of two columns are the same, null for null."""
    at, other_at = np.int64(data.ctypes.data), np.int64(others.ctypes.data)
    if len(other_begins) != len(begins):
        return False
    for i in range(len(begins)):
        if not _equal(at, begins[i], ends[i], other_at, other_begins[i], other_ends[i]):
            return False
    return True


@_compiled
def _equal(data, begin, end, others, other_begin, other_end):
    if begin < 0 or other_begin < 0:
        return begin < 0 and other_begin < 0
    return end - begin == other_end - other_begin and c.memcmp(data + begin, others + other_begin, end - begin) == 0


@_compiled
def right_copies(events, copies, before, after, source):
    """Say how many of the first events have, one by one, a copy that is right but for its value, which does not matter.

    Args:
        events: offsets, times, what is special; keys, headers.
        copies: times, kinds of times, what is special; keys, headers: the event's, one more, and its origin.
        before: of an origin, what comes before the offset.
        after: what comes after it.
        source: the name of the header that has the origin.
    """
    offsets, times, special, (keys, key_begins, key_ends), (heads, head_begins, head_ends) = events
    copy_times, kinds, copy_special, (copy_keys, copy_key_begins, copy_key_ends), (copy_heads, begins, ends) = copies
    key_at, copy_key_at = np.int64(keys.ctypes.data), np.int64(copy_keys.ctypes.data)
    head_at, copy_head_at = np.int64(heads.ctypes.data), np.int64(copy_heads.ctypes.data)
    origin = np.empty(len(before) + len(after) + 24, np.uint8)
    origin[: len(before)] = before
    last = np.empty(len(source) + len(origin) + 16, np.uint8)
    for i in range(min(len(offsets), len(copy_times))):
        if special[i] or copy_special[i] & ODD or (kinds[i] == 1 and copy_times[i] != times[i]):
            return i
        if not _equal(key_at, key_begins[i], key_ends[i], copy_key_at, copy_key_begins[i], copy_key_ends[i]):
            return i
        at, count = _counted(heads, head_begins[i])
        copy_at, copy_count = _counted(copy_heads, begins[i])
        size = head_ends[i] - at
        if copy_count != count + 2 or ends[i] - copy_at < size:
            return i
        if c.memcmp(head_at + at, copy_head_at + copy_at, size) != 0:
            return i
        end = _digits(origin, len(before), offsets[i])
        origin[end : end + len(after)] = after
        last[0] = 0x92
        length = _text(last, 1, np.int64(source.ctypes.data), len(source))
        length = _binary(last, length, np.int64(origin.ctypes.data), end + len(after))
        name_at, name_size = _unpacked(copy_heads, copy_at + size + 1)
        value_at, value_size = _unpacked(copy_heads, name_at + name_size)
        if value_at + max(0, value_size) + length != ends[i]:
            return i
        if c.memcmp(np.int64(last.ctypes.data), copy_head_at + ends[i] - length, length) != 0:
            return i
    return min(len(offsets), len(copy_times))


@_compiled
def _counted(data, at):
    """Read the head of an array of MessagePack: where its items begin, and how many they are."""
    if data[at] & 0xF0 == 0x90:
        return at + 1, np.int64(data[at] & 15)
    if data[at] == 0xDC:
        return at + 3, (np.int64(data[at + 1]) << 8) | np.int64(data[at + 2])
    size = 0
    for place in range(at + 1, at + 5):
        size = (size << 8) | np.int64(data[place])
    return at + 5, size
