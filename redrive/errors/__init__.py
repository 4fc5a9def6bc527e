"""Every error that Redrive raises on purpose, in one hierarchy.

An error carries the fields that name what it is about and builds its message from them; the message says what happened,
to which event, field, setting, topic or broker, and what to do. They are sorted by area, one file each; all are
imported from here.
"""

from redrive.errors.base import RedriveError
from redrive.errors.events import (
    BackPressureError,
    IncompatibleSchemaError,
    InvalidEventError,
    InvalidKeyError,
    PublishError,
    SchemaError,
    SchemaInUseError,
    UnknownSchemaError,
    WireFormatError,
)
from redrive.errors.letters import (
    LetterFormatError,
    LetterIdError,
    StaleTriageError,
    UncorrectableLetterError,
    UnknownLetterError,
)
from redrive.errors.migrations import (
    CopyTooSlowError,
    FedBackError,
    GroupInUseError,
    OtherMigrationError,
    OthersEventsError,
    PartitionsChangedError,
    SwitchedBackError,
    SwitchedError,
)
from redrive.errors.operations import FencedError, HeldError, StalePlanError, StoppedError, UnknownOperationError
from redrive.errors.partitions import GoalError, ThrottleTooLowError, at_least_in_mb
from redrive.errors.pump import CheckpointError, OvertakenError, RefusedError, TopicCutError, UnparkableError
from redrive.errors.rules import RuleMistake, RulesError
from redrive.errors.switching import LateGroupsError, StrandedGroupsError
from redrive.errors.systems import ConfigError, FleetError, RefusedByClusterError, UnavailableError, UnknownTopicError

__all__ = [
    "BackPressureError",
    "CheckpointError",
    "ConfigError",
    "CopyTooSlowError",
    "FedBackError",
    "FencedError",
    "FleetError",
    "GoalError",
    "GroupInUseError",
    "HeldError",
    "IncompatibleSchemaError",
    "InvalidEventError",
    "InvalidKeyError",
    "LateGroupsError",
    "LetterFormatError",
    "LetterIdError",
    "OtherMigrationError",
    "OthersEventsError",
    "OvertakenError",
    "PartitionsChangedError",
    "PublishError",
    "RedriveError",
    "RefusedByClusterError",
    "RefusedError",
    "RuleMistake",
    "RulesError",
    "SchemaError",
    "SchemaInUseError",
    "StalePlanError",
    "StaleTriageError",
    "StoppedError",
    "StrandedGroupsError",
    "SwitchedBackError",
    "SwitchedError",
    "ThrottleTooLowError",
    "TopicCutError",
    "UnavailableError",
    "UncorrectableLetterError",
    "UnknownLetterError",
    "UnknownOperationError",
    "UnknownSchemaError",
    "UnknownTopicError",
    "UnparkableError",
    "WireFormatError",
    "at_least_in_mb",
]
