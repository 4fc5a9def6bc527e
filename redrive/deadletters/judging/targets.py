"""Where corrected events go: the main topics of a batch, and how values of each are encoded."""

from __future__ import annotations

from redrive.coding import Writer

Targets = dict[str, Writer | str]
"""Main topic → what encodes its values, or, as a code, why nothing can be published to it."""

NO_TOPIC = "no-main-topic"
OTHER_CLUSTER = "other-cluster"
TOPIC_GONE = "main-topic-gone"
NO_SCHEMA = "no-schema"
MOVED = "moved"
ODD_ALIAS = "odd-alias"
NO_CLUSTER = "no-cluster"
NO_ANSWER = "no-answer"

REASONS = {
    NO_TOPIC: "the letter does not say which topic it is for, or the settings do not have that topic",
    OTHER_CLUSTER: "its main topic lives on another cluster",
    TOPIC_GONE: "its main topic does not exist on the cluster",
    MOVED: "its main topic's producers were switched to another topic, where its events are read now",
    ODD_ALIAS: "whether its main topic's producers were switched to another topic is not known: the record of that "
    "name in redrive.aliases can't be read",
    NO_CLUSTER: "the settings do not have the cluster on which it stands",
    NO_ANSWER: "the cluster on which it stands does not answer; a later correction takes it",
    NO_SCHEMA: "its main topic has no Avro schema in the registry",
}
