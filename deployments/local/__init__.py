"""The local stack: real Kafka, DynamoDB Local, schema registry and Prefect, from package registries alone.

``with deployments.local.stack.Stack(folder) as stack`` runs it for a block; ``redrive local up`` until told otherwise.
"""

DATA_VARIABLE = "REDRIVE_LOCAL_DATA"
"""The environment variable with the folder of the stack that commands are about, unless they are told."""
