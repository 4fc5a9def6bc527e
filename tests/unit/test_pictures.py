"""Pictures in reports: what is written on a colour can be read, on whatever page."""

from __future__ import annotations

import base64
import re

import pytest

from tasks.pictures import curve, heat
from tasks.words import size


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 has it."""
    parts = [each / 255 for each in bytes.fromhex(colour[1:])]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("off", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
def test_a_cell_of_a_heat_map_can_be_read_however_hot_it_is(off: float) -> None:
    picture = heat("load", ["bytes"], [("broker 1", [(off, "8.0 MB")])])
    cell = r"<rect [^>]*fill='(#\w{6})'/><text [^>]*fill='(#\w{6})' [^>]*>8\.0 MB</text>"
    found = re.search(cell, svg_of(picture))
    assert found is not None, "opaque, so that nothing of the page shines through"
    dark, light = sorted(map(luminance, found.groups()))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_bytes_on_a_curve_are_in_the_unit_that_suits() -> None:
    picture = curve("Bytes copied a second", [(0, 0), (1, 1_045_741), (2, 0)], "a second", size)
    assert ">1.0 MB a second</text>" in svg_of(picture)


def svg_of(picture: str) -> str:
    return base64.b64decode(picture.split("base64,")[1].rstrip(")")).decode()
