"""Whoever changes a setting, and wherever we die: what is left at the end is never ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redrive.ledger.debts import Change, owing
from redrive.partitions.settling import AS_BEFORE, RESTORED, how_to_settle

OTHERS = st.one_of(st.none(), st.sampled_from(["1", "2", "3"]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ours"), st.sampled_from(["a", "b", "c"])),
        st.tuples(st.just("ours, but killed before it was set"), st.sampled_from(["a", "b", "c"])),
        st.tuples(st.just("somebody else's"), OTHERS),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("settle, but killed before that was entered"), st.none()),
    ),
    max_size=12,
)


@given(OTHERS, STEPS)
def test_a_setting_ends_as_it_was_or_as_somebody_else_has_last_set_it(
    first: str | None, steps: list[tuple[str, str | None]]
) -> None:
    now, expected = first, first
    debt: tuple[str | None, list[str]] | None = None
    for what, value in [*steps, ("settle", None)]:
        if what.startswith("ours") and value is not None:
            debt = owing(*(debt or (now, [])), Change("broker", "1", "rate", now, value))
            now = value if what == "ours" else now
        elif what == "somebody else's":
            now = expected = value
        elif debt is not None:
            settled, how = how_to_settle("rate", *debt, now)
            assert how in (RESTORED, AS_BEFORE) or now == expected
            now = settled
            debt = debt if "killed" in what else None
    assert now == expected
