"""Correction rules for dead letters: a YAML file that says which letters are put right, and how.

A rule matches on what a letter says of itself and, by a condition in CEL, on its value; it then does operations in the
manner of JSON Patch, or calls a Python function, or says that the letter need not go on. ``rules/every_operation.yaml``
shows each kind, and ``redrive rules schema`` prints the JSON Schema of such files.
"""

from redrive.rules.examples import Tried, try_examples, unexercised
from redrive.rules.functions import Reject, Skip
from redrive.rules.model import RuleFile, json_schema
from redrive.rules.reading import load_rules, read_file
from redrive.rules.ruleset import Corrected, Outcome, Rejected, RuleSet, Skipped, Unmatched

__all__ = [
    "Corrected",
    "Outcome",
    "Reject",
    "Rejected",
    "RuleFile",
    "RuleSet",
    "Skip",
    "Skipped",
    "Tried",
    "Unmatched",
    "json_schema",
    "load_rules",
    "read_file",
    "try_examples",
    "unexercised",
]
