"""Times as RFC 3339 has them, and none of the other forms of ISO 8601."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrive.gateway import rfc3339

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31t12:00:00z", NOON),
        ("2026-01-31T13:30:00+01:30", NOON),
        ("2026-01-31T12:00:00-00:00", NOON),
        ("2026-01-31T12:00:00.5Z", NOON + timedelta(milliseconds=500)),
        ("2026-01-31T12:00:00.123456789012Z", NOON + timedelta(microseconds=123_456)),
        ("2026-01-31T12:00:00.999999999+00:00", NOON + timedelta(microseconds=999_999)),
    ],
)
def test_the_forms_of_the_rfc_are_read_and_what_is_finer_than_a_microsecond_is_cut_off(
    text: str, moment: datetime
) -> None:
    assert rfc3339.is_date_time(text)
    assert rfc3339.date_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "20260131T120000Z",
        "2026-01-31T120000Z",
        "2026-W05-6T12:00:00Z",
        "2026-031T12:00:00Z",
        "2026-01-31T12:00Z",
        "2026-01-31T12Z",
        "2026-01-31",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00+01",
        "2026-01-31T12:00:00+0100",
        "2026-01-31T12:00:00+01:00:00",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00+01:60",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-02-29T12:00:00Z",
        "٢٠٢٦-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z\n",
        " 2026-01-31T12:00:00Z",
        "",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    assert not rfc3339.is_date_time(text)
    with pytest.raises(ValueError):  # noqa: PT011 - its text is for nobody
        rfc3339.date_time(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2016-12-31T23:59:60Z", True),
        ("1990-12-31T15:59:60-08:00", True),  # both are the RFC's own examples
        ("2016-12-31T23:59:61Z", False),
        ("2016-12-31T12:00:60Z", False),
        ("2016-12-31T23:59:60+01:00", False),
        ("0001-01-01T00:00:60+10:00", False),
    ],
)
def test_a_leap_second_is_a_time_at_the_end_of_a_day_of_utc(text: str, is_one: bool) -> None:
    assert rfc3339.is_date_time(text) is is_one


@given(st.datetimes(timezones=st.integers(-1_439, 1_439).map(lambda each: timezone(timedelta(minutes=each)))))
def test_what_python_writes_is_read_again(moment: datetime) -> None:
    assert rfc3339.date_time(moment.isoformat()) == moment


def test_dates_and_times_without_offset_have_the_same_forms() -> None:
    assert rfc3339.full_date("2026-01-31") == date(2026, 1, 31)
    assert rfc3339.partial_time("12:30:00.1234567") == time(12, 30, 0, 123_456)
    assert rfc3339.local_date_time("2026-01-31t12:00:00") == NOON.replace(tzinfo=None)
    for read, bad in (
        (rfc3339.full_date, "20260131"),
        (rfc3339.full_date, "2026-W05-6"),
        (rfc3339.partial_time, "12:30"),
        (rfc3339.partial_time, "12:30:00Z"),
        (rfc3339.local_date_time, "2026-01-31T12:00:00Z"),
        (rfc3339.local_date_time, "2026-01-31 12:00:00"),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - its text is for nobody
            read(bad)
