"""What the engines of several machines share: where each stands, and what a Watch gave for the Desk."""

import sqlalchemy as sa
from alembic import op

from streams.store.kinds import Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "engine",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("engine", Text, nullable=False),
        sa.Column("config", Text, nullable=False),
        sa.Column("checksum", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "anomalies",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("window_ms", sa.BigInteger(), nullable=False),
        sa.Column("signal", Text, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "window_ms", "signal"),
    )
    op.create_table(
        "control",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
