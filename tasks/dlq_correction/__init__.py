"""The steps of a correction of dead letters."""
