"""Rules that change values: of dead letters that are put right, and of events that are taken to another schema.

A rule is for a value by a condition in CEL, and for a letter also by what that says of itself; it then does operations
in the manner of JSON Patch, or calls a Python function, or says that the value need not go on.
``rules/every_operation.yaml`` shows each kind for corrections; a migration has the same rules twice, ``up`` and
``down``, as in ``rules/flights_v2.yaml``. ``redrive rules schema`` prints the JSON Schemas of such files.
"""

from redrive.rules.examples import Tried, try_examples, unexercised
from redrive.rules.functions import Reject, Skip
from redrive.rules.model import Direction, MigrationFile, RuleFile, json_schema
from redrive.rules.reading import load_rules, parse_migration, read_either, read_file, read_migration
from redrive.rules.ruleset import Corrected, Outcome, Rejected, RuleSet, Skipped, Unmatched, digest_of

__all__ = [
    "Corrected",
    "Direction",
    "MigrationFile",
    "Outcome",
    "Reject",
    "Rejected",
    "RuleFile",
    "RuleSet",
    "Skip",
    "Skipped",
    "Tried",
    "Unmatched",
    "digest_of",
    "json_schema",
    "load_rules",
    "parse_migration",
    "read_either",
    "read_file",
    "read_migration",
    "try_examples",
    "unexercised",
]
