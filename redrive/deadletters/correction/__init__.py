"""Correction of dead letters: a batch, what is to become of each letter, the plan, the work, and what it came to.

::

    Letters.subjects ─► Batch ─► make_plan        nothing is written
                          │        │  (the same judge, the same guard)
                          └──────► correct ─► settle
                                   one unit   read back, proved, entered in the ledger
"""

from redrive.deadletters.correction.batch import Batch, Unit, origin_of, rounds, topics_in
from redrive.deadletters.correction.context import Context, find_context, topics_of, twins_of
from redrive.deadletters.correction.copies import note_copies, without_copy, without_readable_copy
from redrive.deadletters.correction.correct import UnitResult, correct
from redrive.deadletters.correction.doubles import give_way, mark_doubles, to_settle
from redrive.deadletters.correction.earlier import Earlier, settle_earlier
from redrive.deadletters.correction.order_guard import OrderGuard, Policy
from redrive.deadletters.correction.plan import JOB, Plan, Sample, Terms, make_plan
from redrive.deadletters.correction.settling import settle
from redrive.deadletters.judging.elsewhere import JudgeElsewhere
from redrive.deadletters.judging.judge import Judge, Judgement, Judging, Rules

__all__ = [
    "JOB",
    "Batch",
    "Context",
    "Earlier",
    "Judge",
    "JudgeElsewhere",
    "Judgement",
    "Judging",
    "OrderGuard",
    "Plan",
    "Policy",
    "Rules",
    "Sample",
    "Terms",
    "Unit",
    "UnitResult",
    "correct",
    "find_context",
    "give_way",
    "make_plan",
    "mark_doubles",
    "note_copies",
    "origin_of",
    "rounds",
    "settle",
    "settle_earlier",
    "to_settle",
    "topics_in",
    "topics_of",
    "twins_of",
    "without_copy",
    "without_readable_copy",
]
