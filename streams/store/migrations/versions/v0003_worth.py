"""What a customer is worth, and what an affected one loses."""

import sqlalchemy as sa
from alembic import op

from streams.store.kinds import Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("customer", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tier", Text, nullable=True))
        batch_op.add_column(sa.Column("contract_value_milli", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.add_column(sa.Column("loss_milli", sa.BigInteger(), server_default="0", nullable=False))
    # A customer without a loss is not in it: where no signal names one, it costs nothing.
    lost = sa.text("loss_milli > 0")
    columns = ["tenant", "case_id", "loss_milli", "customer"]
    op.create_index("ledger_by_loss", "ledger", columns, sqlite_where=lost, postgresql_where=lost)
