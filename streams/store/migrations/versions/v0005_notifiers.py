"""Several notifiers at once: who claimed a message, and which attempts the others have not counted yet."""

import sqlalchemy as sa
from alembic import op

from streams.store.kinds import Text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("claimed_by", Text, server_default="", nullable=False))
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.add_column(sa.Column("n", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.create_index("delivery_by_number", ["tenant", "n"], unique=False)
