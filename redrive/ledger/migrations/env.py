"""How Alembic is run: always on a connection, and in a transaction, that `redrive.ledger.database` gives."""

from alembic import context

from redrive.ledger.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
