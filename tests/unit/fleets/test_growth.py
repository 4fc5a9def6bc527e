"""What a scaling has set about comes back from the journal as it was."""

from __future__ import annotations

import json
from dataclasses import replace

from redrive.fleets.growth import Growth


def test_it_comes_back_from_the_journal_as_it_was() -> None:
    growth = replace(Growth.new([1, 2, 3], 4, {"throttle": "auto"}, "anna"), step="moving", brokers=(4,), moves="a-run")
    assert Growth.read(json.loads(json.dumps(growth.entry()))) == growth


def test_each_is_told_from_all_others() -> None:
    assert Growth.new([1], 2, {}).id != Growth.new([1], 2, {}).id


def test_an_entry_of_before_there_were_terms_and_names_is_read() -> None:
    entry = Growth.new([1], 2, {}, "anna").entry()
    del entry["terms"], entry["who"]
    assert (Growth.read(entry).terms, Growth.read(entry).who) == ({}, "")
