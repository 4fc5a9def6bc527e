"""How ``redrive cluster show`` shows the load of brokers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from redrive.cli.cluster import AMBER, BLUE, heated


def test_what_is_above_the_mean_of_the_brokers_that_are_up_is_amber_and_what_is_below_is_blue() -> None:
    brokers: Any = [SimpleNamespace(id=id_, up=id_ != 5) for id_ in range(1, 7)]
    cells = heated(brokers, [200.0, 0.0, 98.0, 102.0, 900.0, None], lambda value: f"{value:.0f} of them")
    amber, blue = (f"on rgb({red},{green},{blue})" for red, green, blue in (AMBER, BLUE))
    assert [str(cell.style) for cell in cells] == [amber, blue, "", "", amber, ""]
    assert [cell.plain for cell in cells] == [
        "200 of them",
        "0 of them",
        "98 of them",
        "102 of them",
        "900 of them",
        "–",
    ]


def test_where_nothing_is_nothing_is_coloured() -> None:
    brokers: Any = [SimpleNamespace(id=1, up=True)]
    assert [str(cell.style) for cell in heated(brokers, [0.0], str)] == [""]
