"""Benchmarks: what Redrive does beside what a user would write without it, in one run on one machine."""
