"""The steps of a look at the health of clusters."""
