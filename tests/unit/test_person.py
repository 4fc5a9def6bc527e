"""A person has a name, also where the system knows none."""

from __future__ import annotations

import getpass

import pytest

from redrive.person import person


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 4711"), OSError("No username set")])
def test_in_a_container_whose_user_has_no_name_it_is_the_number(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert person() == "uid 4711"


def test_else_it_is_the_user_s() -> None:
    assert person() == getpass.getuser()
