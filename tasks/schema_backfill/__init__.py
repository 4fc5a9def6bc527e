"""The steps of a schema backfill."""
