"""The health of clusters: what an operator wants to see of each, whether that is well, and what has changed."""
