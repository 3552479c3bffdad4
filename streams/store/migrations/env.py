"""Alembic's environment: runs on the connection that `streams.store.opening` hands over, inside its transaction."""

from alembic import context

from streams.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
