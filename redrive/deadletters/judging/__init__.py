"""What is to become of one letter: the judge of corrections, and how it works in other processes.

Processes that judge load this package and what it needs, and nothing else, so that they start quickly: no ledger, no
settings, no producer.
"""
