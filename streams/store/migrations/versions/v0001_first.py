"""The first schema."""

import sqlalchemy as sa
from alembic import op

from streams.store.kinds import Numbered, Text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cases",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("id", Text, nullable=False),
        sa.Column("mode", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("severity", Text, nullable=False),
        sa.Column("onset_ms", sa.BigInteger(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.create_index("cases_by_state", ["tenant", "state", "opened_ms"], unique=False)

    op.create_table(
        "config",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", Text, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("from_window_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_table(
        "customer",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.Column("id", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("language", Text, nullable=False),
        sa.Column("time_zone", Text, nullable=False),
        sa.Column("email", Text, nullable=False),
        sa.Column("phone", Text, nullable=False),
        sa.Column("consent", Text, nullable=False),
        sa.Column("known", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
    )
    op.create_table(
        "customer_alias",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("alias", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "alias"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("customer_alias", schema=None) as batch_op:
        batch_op.create_index("alias_by_customer", ["tenant", "key"], unique=False)

    op.create_table(
        "dead_letter",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("source", Text, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("path", Text, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "n"),
    )
    with op.batch_alter_table("dead_letter", schema=None) as batch_op:
        batch_op.create_index("dead_letter_by_reason", ["tenant", "reason"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("notice", Text, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("channel", Text, nullable=False),
        sa.Column("outcome", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "notice", "attempt"),
    )
    op.create_table(
        "desk_log",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_table(
        "erased",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evidence",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("case_id", Text, nullable=False),
        sa.Column("signal", Text, nullable=False),
        sa.Column("window_ms", sa.BigInteger(), nullable=False),
        sa.Column("observed", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.Double(), nullable=False),
        sa.Column("trials", sa.BigInteger(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "case_id", "signal", "window_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inbox",
        sa.Column("id", Numbered, nullable=False),
        sa.Column("tenant", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("answer", Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "intake",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("source", Text, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("ingest_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_table(
        "ledger",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("case_id", Text, nullable=False),
        sa.Column("customer", sa.BigInteger(), nullable=False),
        sa.Column("grade", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("first_failure_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_failure_ms", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("last_success_ms", sa.BigInteger(), nullable=True),
        sa.Column("contact_ms", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "case_id", "customer"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ledger", schema=None) as batch_op:
        batch_op.create_index("ledger_by_customer", ["tenant", "customer"], unique=False)

    op.create_table(
        "meta",
        sa.Column("key", Text, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "notices",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("id", Text, nullable=False),
        sa.Column("case_id", Text, nullable=False),
        sa.Column("customer", sa.BigInteger(), nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("decision", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("channel", Text, nullable=True),
        sa.Column("language", Text, nullable=False),
        sa.Column("time_zone", Text, nullable=False),
        sa.Column("signal", Text, nullable=False),
        sa.Column("cause", sa.LargeBinary(), nullable=False),
        sa.Column("when_ms", sa.BigInteger(), nullable=False),
        sa.Column("stale_ms", sa.BigInteger(), nullable=False),
        sa.Column("checks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sa.UniqueConstraint("tenant", "case_id", "customer", "kind", "episode", name="one_intent_per_person"),
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.create_index("notices_by_customer", ["tenant", "customer"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("notice", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("channel", Text, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("stale_ms", sa.BigInteger(), nullable=False),
        sa.Column("claimed_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "notice"),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index("outbox_due", ["tenant", "state", "due_ms"], unique=False)

    op.create_table(
        "position",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("source", Text, nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source"),
    )
    op.create_table(
        "snapshot",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("engine", Text, nullable=False),
        sa.Column("config", Text, nullable=False),
        sa.Column("ended", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "tally",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("what", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "what", "reason"),
    )
    op.create_table(
        "timeline",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("case_id", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("what", Text, nullable=False),
        sa.Column("by", Text, nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "case_id", "seq", "n"),
    )
    op.create_table(
        "window_record",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("window_ms", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "window_ms", "partition"),
    )
