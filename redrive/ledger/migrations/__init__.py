"""The steps that the ledger's tables have come by, run by Alembic."""
