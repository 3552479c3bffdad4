"""What the running service keeps: who is at work, who may enter, who did what, what the world was told."""

import json

import sqlalchemy as sa
from alembic import op

from streams.store.kinds import Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _fill_cases() -> None:
    """Say of the cases that are there what their lists need; older ones have nobody assigned."""
    cases = sa.table("cases", *map(sa.column, ("tenant", "id", "body", "still_failing", "signals", "search")))
    here = (cases.c.tenant == sa.bindparam("of"), cases.c.id == sa.bindparam("case"))
    for row in op.get_bind().execute(sa.select(cases.c.tenant, cases.c.id, cases.c.body)).all():
        case = json.loads(row.body)
        values = [value for cause in case.get("causes", ()) for value in cause["where"].values()]
        words = [*case["title"].values(), *case["signals"], *values]
        found = {
            "still_failing": (case.get("affected") or {}).get("still_failing", 0),
            "signals": f" {' '.join(case['signals'])} ",
            "search": " ".join(words).casefold()[:2_000],
        }
        op.get_bind().execute(sa.update(cases).where(*here).values(found), {"of": row.tenant, "case": row.id})


def upgrade() -> None:
    op.create_table(
        "withdrawn",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.Column("channel", Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", "channel"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("who", Text, nullable=False),
        sa.Column("what", Text, nullable=False),
        sa.Column("target", Text, nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_table(
        "feed",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("type", Text, nullable=False),
        sa.Column("subject", Text, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_table(
        "idempotency",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("who", Text, nullable=False),
        sa.Column("key", Text, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "who", "key"),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index("idempotency_by_time", ["at_ms"], unique=False)

    op.create_table(
        "process",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name"),
    )
    op.create_table(
        "session",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("who", Text, nullable=False),
        sa.Column("scope", Text, nullable=False),
        sa.Column("csrf", Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "hash"),
    )
    op.create_table(
        "sign_in",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", Text, nullable=False),
        sa.Column("who", Text, nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "hash"),
    )
    op.create_table(
        "token",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("id", Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scope", Text, nullable=False),
        sa.Column("name", Text, nullable=False),
        sa.Column("by", Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "webhook",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("id", Text, nullable=False),
        sa.Column("url", Text, nullable=False),
        sa.Column("types", Text, nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered_ms", sa.BigInteger(), nullable=True),
        sa.Column("failing_ms", sa.BigInteger(), nullable=True),
        sa.Column("answer", Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "webhook_queue",
        sa.Column("tenant", Text, nullable=False),
        sa.Column("webhook", Text, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "webhook", "seq"),
    )
    with op.batch_alter_table("webhook_queue", schema=None) as batch_op:
        batch_op.create_index("webhook_queue_due", ["tenant", "webhook", "state", "due_ms"], unique=False)

    with op.batch_alter_table("cases", schema=None, recreate="always") as batch_op:
        failing = sa.Column("still_failing", sa.BigInteger(), server_default="0", nullable=False)
        batch_op.add_column(failing, insert_before="body")
        for name in ("assignee", "signals", "search"):
            batch_op.add_column(sa.Column(name, Text, server_default="", nullable=False), insert_before="body")
    _fill_cases()
    if op.get_bind().dialect.name == "sqlite":
        listed = ["tenant", "opened_ms", "id", "state", "mode", "severity", "onset_ms", "still_failing", "assignee"]
        op.create_index("cases_listed", "cases", [*listed, "signals"], unique=False)
    else:
        op.create_index("cases_opened", "cases", ["tenant", "opened_ms", "id"], unique=False)

    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.add_column(sa.Column("customer", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("case_id", Text, server_default="", nullable=False))
        batch_op.add_column(sa.Column("signal", Text, server_default="", nullable=False))
        batch_op.add_column(sa.Column("reference", Text, server_default="", nullable=False))
        batch_op.create_index("delivery_by_reference", ["tenant", "reference"], unique=False)
        batch_op.create_index("delivery_by_time", ["tenant", "channel", "at_ms"], unique=False)
        batch_op.create_index("delivery_by_customer", ["tenant", "customer", "at_ms"], unique=False)

    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("priority", sa.BigInteger(), server_default="0", nullable=False))

    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.add_column(sa.Column("customer", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("case_id", Text, server_default="", nullable=False))
        batch_op.add_column(sa.Column("signal", Text, server_default="", nullable=False))
        batch_op.add_column(sa.Column("kind", Text, server_default="", nullable=False))
        batch_op.add_column(sa.Column("rank", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("at_ms", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.drop_index("outbox_due")
        batch_op.create_index("outbox_stale", ["tenant", "state", "stale_ms"], unique=False)
        batch_op.create_index("outbox_by_customer", ["tenant", "customer", "state"], unique=False)
        batch_op.create_index("outbox_next", ["tenant", "state", "channel", "signal", "rank", "due_ms"], unique=False)
    for table in ("outbox", "delivery"):
        _fill_from_notices(table)


def _fill_from_notices(table: str) -> None:
    """Give the rows that are there what their notices know."""
    columns = {"customer": "customer", "case_id": "case_id", "signal": "signal"}
    if table == "outbox":
        columns |= {"kind": "kind", "at_ms": "at_ms"}
    mine = f"n.tenant = {table}.tenant AND n.id = {table}.notice"
    sets = ", ".join(
        f"{new} = COALESCE((SELECT n.{old} FROM notices n WHERE {mine}), {new})" for new, old in columns.items()
    )
    op.execute(f"UPDATE {table} SET {sets}")
