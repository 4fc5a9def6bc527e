"""The steps of a triage of dead letters."""
