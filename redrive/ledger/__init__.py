"""The ledger: who did what to which topic, when, by which plan, and with what verdict.

One row an operation (one run of a job), and a journal of entries chained by hash, so that tampering shows. Nothing
is written here per event, but for dead letters: one row a letter, one row for each of its fates, never a payload.
SQLite by default, PostgreSQL by URL.
"""

from redrive.ledger.chain import Finding, digest
from redrive.ledger.debts import Change, DebtRow, Debts
from redrive.ledger.ledger import Ledger
from redrive.ledger.letters import Letters
from redrive.ledger.looks import Look
from redrive.ledger.models import EntryRow, OperationRow, Status
from redrive.ledger.operation import Operation
from redrive.verdict import Verdict

__all__ = [
    "Change",
    "DebtRow",
    "Debts",
    "EntryRow",
    "Finding",
    "Ledger",
    "Letters",
    "Look",
    "Operation",
    "OperationRow",
    "Status",
    "Verdict",
    "digest",
]
