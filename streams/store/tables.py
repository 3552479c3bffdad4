"""What the store keeps: one table per noun, `tenant` first in every key.

Rules of the file
- A customer's raw id, name and addresses stand in `customer` only; everywhere else is the keyed hash (an int64).
- Times are epoch milliseconds, booleans 0 and 1, structures JSON or packed bytes: the SQL is the same on SQLite and
  PostgreSQL.
- Text sorts by its bytes everywhere (`kinds.py`).
- A change here needs a migration; a test holds the two equal.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)

from streams.store.kinds import Numbered, Text

metadata = MetaData()

_EMPTY = {BigInteger: "0", Text: ""}


def _need(name: str, kind: Any) -> Column[object]:
    return Column(name, kind, nullable=False)


def _may(name: str, kind: Any) -> Column[object]:
    return Column(name, kind, nullable=True)


def _had(name: str, kind: Any) -> Column[object]:
    """A column that came later: rows written before have 0 or ""."""
    return Column(name, kind, nullable=False, server_default=_EMPTY[kind])


meta = Table("meta", metadata, Column("key", Text, primary_key=True), _need("value", LargeBinary))
"""What holds for the whole store: its customer hash key, its mode (recording or live), which program made it."""

config = Table(
    "config",
    metadata,
    _need("tenant", Text),
    _need("seq", BigInteger),
    _need("hash", Text),
    _need("body", LargeBinary),
    _may("from_window_ms", BigInteger),
    PrimaryKeyConstraint("tenant", "seq"),
)
"""Which configuration was in force from which window on; NULL: from the first."""

position = Table(
    "position",
    metadata,
    _need("tenant", Text),
    _need("source", Text),
    _need("next", BigInteger),
    _need("detail", LargeBinary),
    PrimaryKeyConstraint("tenant", "source"),
)
"""How far each source was read. The row with the empty source counts the commits: it fences every one of them."""

snapshot = Table(
    "snapshot",
    metadata,
    _need("tenant", Text),
    _need("engine", Text),
    _need("config", Text),
    _need("ended", Integer),
    _need("checksum", LargeBinary),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant"),
)

window_record = Table(
    "window_record",
    metadata,
    _need("tenant", Text),
    _need("window_ms", BigInteger),
    _need("partition", Integer),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "window_ms", "partition"),
)

desk_log = Table(
    "desk_log",
    metadata,
    _need("tenant", Text),
    _need("seq", BigInteger),
    _need("kind", Text),
    _need("at_ms", BigInteger),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "seq"),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Numbered, primary_key=True),
    _need("tenant", Text),
    _need("state", Text),
    _need("data", LargeBinary),
    _need("answer", Text),
    sqlite_autoincrement=True,
)
"""Commands for a runner that is at work: `waiting`, then `done` or `refused` with the reason as `answer`."""

cases = Table(
    "cases",
    metadata,
    _need("tenant", Text),
    _need("id", Text),
    _need("mode", Text),
    _need("state", Text),
    _need("severity", Text),
    _need("onset_ms", BigInteger),
    _need("opened_ms", BigInteger),
    _had("still_failing", BigInteger),
    _had("assignee", Text),
    _had("signals", Text),
    _had("search", Text),
    _need("body", LargeBinary),
    PrimaryKeyConstraint("tenant", "id"),
    Index("cases_by_state", "tenant", "state", "opened_ms"),
    Index(
        "cases_listed",
        *("tenant", "opened_ms", "id", "state", "mode", "severity", "onset_ms", "still_failing", "assignee", "signals"),
    ).ddl_if(dialect="sqlite"),
    Index("cases_opened", "tenant", "opened_ms", "id").ddl_if(dialect="postgresql"),
)
"""`signals` has a space before and after each name, `search` is what a search looks through: lists read an index, and
the bodies of the cases that they show. (PostgreSQL's indexes hold short rows only, and its tables keep a long body
elsewhere anyway: there the index has the order alone.)"""

timeline = Table(
    "timeline",
    metadata,
    _need("tenant", Text),
    _need("case_id", Text),
    _need("seq", BigInteger),
    _need("n", Integer),
    _need("at_ms", BigInteger),
    _need("what", Text),
    _need("by", Text),
    _need("detail", Text),
    PrimaryKeyConstraint("tenant", "case_id", "seq", "n"),
)

evidence = Table(
    "evidence",
    metadata,
    _need("tenant", Text),
    _need("case_id", Text),
    _need("signal", Text),
    _need("window_ms", BigInteger),
    _need("observed", BigInteger),
    _need("expected", Double),
    _need("trials", BigInteger),
    _need("low", Double),
    _need("high", Double),
    PrimaryKeyConstraint("tenant", "case_id", "signal", "window_ms"),
    sqlite_with_rowid=False,
)

_LOST = text("loss_milli > 0")

ledger = Table(
    "ledger",
    metadata,
    _need("tenant", Text),
    _need("case_id", Text),
    _need("customer", BigInteger),
    _need("grade", Text),
    _need("state", Text),
    _need("probability", Double),
    _need("first_failure_ms", BigInteger),
    _need("last_failure_ms", BigInteger),
    _need("tries", BigInteger),
    _may("last_success_ms", BigInteger),
    _may("contact_ms", BigInteger),
    _need("withdrawn", Integer),
    _had("loss_milli", BigInteger),
    PrimaryKeyConstraint("tenant", "case_id", "customer"),
    Index("ledger_by_customer", "tenant", "customer"),
    Index(
        "ledger_by_loss", *("tenant", "case_id", "loss_milli", "customer"), sqlite_where=_LOST, postgresql_where=_LOST
    ),
    sqlite_with_rowid=False,
)
"""`loss_milli` is in thousandths of the unit that the case's signals state, 0 where nothing is known to be lost; who
has none is not in `ledger_by_loss`."""

notices = Table(
    "notices",
    metadata,
    _need("tenant", Text),
    _need("id", Text),
    _need("case_id", Text),
    _need("customer", BigInteger),
    _need("kind", Text),
    _need("episode", Integer),
    _need("decision", Text),
    _need("state", Text),
    _need("reason", Text),
    _may("until_ms", BigInteger),
    _need("at_ms", BigInteger),
    _may("channel", Text),
    _need("language", Text),
    _need("time_zone", Text),
    _need("signal", Text),
    _need("cause", LargeBinary),
    _need("when_ms", BigInteger),
    _need("stale_ms", BigInteger),
    _had("priority", BigInteger),
    _need("checks", LargeBinary),
    PrimaryKeyConstraint("tenant", "id"),
    UniqueConstraint("tenant", "case_id", "customer", "kind", "episode", name="one_intent_per_person"),
    Index("notices_by_customer", "tenant", "customer"),
)

outbox = Table(
    "outbox",
    metadata,
    _need("tenant", Text),
    _need("notice", Text),
    _need("state", Text),
    _need("channel", Text),
    _need("attempts", Integer),
    _need("due_ms", BigInteger),
    _need("stale_ms", BigInteger),
    _may("claimed_ms", BigInteger),
    _had("customer", BigInteger),
    _had("case_id", Text),
    _had("signal", Text),
    _had("kind", Text),
    _had("rank", BigInteger),
    _had("at_ms", BigInteger),
    _had("claimed_by", Text),
    PrimaryKeyConstraint("tenant", "notice"),
    Index("outbox_next", "tenant", "state", "channel", "signal", "rank", "due_ms"),
    Index("outbox_stale", "tenant", "state", "stale_ms"),
    Index("outbox_by_customer", "tenant", "customer", "state"),
)
"""What is to be sent: `waiting`, `claimed` (being sent), `sent`, `failed`, `suppressed`, `unknown` (a person decides).
Of those that are due the lowest `rank` (the notice's priority, negated) goes first. `at_ms` is when it was decided,
`due_ms` when it is looked at next, `attempts` counts those on this channel. `claimed_by` names the notifier that sends
it, which has a lease of it from `claimed_ms` on."""

delivery = Table(
    "delivery",
    metadata,
    _need("tenant", Text),
    _need("notice", Text),
    _need("attempt", Integer),
    _need("channel", Text),
    _need("outcome", Text),
    _need("at_ms", BigInteger),
    _need("detail", Text),
    _had("customer", BigInteger),
    _had("case_id", Text),
    _had("signal", Text),
    _had("reference", Text),
    _had("n", BigInteger),
    PrimaryKeyConstraint("tenant", "notice", "attempt"),
    Index("delivery_by_time", "tenant", "channel", "at_ms"),
    Index("delivery_by_customer", "tenant", "customer", "at_ms"),
    Index("delivery_by_reference", "tenant", "reference"),
    Index("delivery_by_number", "tenant", "n"),
)
"""Attempts and what came of them. Attempt 0 is the simulated one of a recording or a dry run. `reference` is what the
provider calls the message; what it says of it later (`delivered`, `read` …) becomes the `detail`. `n` numbers the real
ones in the order of their commits: each notifier counts those of the others once."""

dead_letter = Table(
    "dead_letter",
    metadata,
    _need("tenant", Text),
    _need("n", BigInteger),
    _need("source", Text),
    _need("position", BigInteger),
    _need("reason", Text),
    _need("path", Text),
    _need("size", BigInteger),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "n"),
    Index("dead_letter_by_reason", "tenant", "reason"),
)
"""Records that are no events, numbered as they came; `data` holds their first 4 KiB."""

tally = Table(
    "tally",
    metadata,
    _need("tenant", Text),
    _need("what", Text),
    _need("reason", Text),
    _need("n", BigInteger),
    PrimaryKeyConstraint("tenant", "what", "reason"),
)
"""Sums over the store's life: `events`, `applied`, `windows`, `dropped` and `dead` by reason."""

customer = Table(
    "customer",
    metadata,
    _need("tenant", Text),
    _need("key", BigInteger),
    _need("id", Text),
    _need("name", Text),
    _need("language", Text),
    _need("time_zone", Text),
    _need("email", Text),
    _need("phone", Text),
    _need("consent", Text),
    _need("known", Integer),
    _may("tier", Text),
    _may("contract_value_milli", BigInteger),
    PrimaryKeyConstraint("tenant", "key"),
)
"""The one table with customers' ids. `known` 0: a bare row, seen failing but not in the directory."""

customer_alias = Table(
    "customer_alias",
    metadata,
    _need("tenant", Text),
    _need("alias", BigInteger),
    _need("key", BigInteger),
    PrimaryKeyConstraint("tenant", "alias"),
    Index("alias_by_customer", "tenant", "key"),
    sqlite_with_rowid=False,
)

erased = Table(
    "erased",
    metadata,
    _need("tenant", Text),
    _need("key", BigInteger),
    PrimaryKeyConstraint("tenant", "key"),
    sqlite_with_rowid=False,
)
"""Tombstones: the salted hashes of an erased customer's id and aliases, who stays unknown whatever comes later."""

withdrawn = Table(
    "withdrawn",
    metadata,
    _need("tenant", Text),
    _need("key", BigInteger),
    _need("channel", Text),
    PrimaryKeyConstraint("tenant", "key", "channel"),
    sqlite_with_rowid=False,
)
"""On which channels customers want nothing any more (`all`: on none), whatever an import says."""

intake = Table(
    "intake",
    metadata,
    _need("tenant", Text),
    _need("seq", BigInteger),
    _need("source", Text),
    _need("position", BigInteger),
    _need("next", BigInteger),
    _need("ingest_ms", BigInteger),
    _may("data", LargeBinary),
    _need("detail", LargeBinary),
    PrimaryKeyConstraint("tenant", "seq"),
)
"""The log of a live store: blocks of lines as they came, stamped once; `data` NULL is a tick."""

# --- engines on several machines --------------------------------------------------------------------------------------

engine = Table(
    "engine",
    metadata,
    _need("tenant", Text),
    _need("name", Text),
    _need("epoch", BigInteger),
    _need("next", BigInteger),
    _may("until_ms", BigInteger),
    _need("at_ms", BigInteger),
    _need("body", LargeBinary),
    _need("engine", Text),
    _need("config", Text),
    _need("checksum", LargeBinary),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "name"),
)
"""Where each engine stands, and its state there: a Counter per partition, a Watch per signal, the Desk. `epoch` is
raised by whoever takes an engine over: what another still wanted to write is refused. `next` is the first record (a
Counter's) or window (of the others) that was not worked off; `until_ms` up to where a Counter has closed its windows;
`body` what else the others want to know of it."""

anomalies = Table(
    "anomalies",
    metadata,
    _need("tenant", Text),
    _need("window_ms", BigInteger),
    _need("signal", Text),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "window_ms", "signal"),
)
"""What a Watch found in a window, until the Desk has taken it; a window in which it found nothing has no row."""

control = Table(
    "control",
    metadata,
    _need("tenant", Text),
    _need("seq", BigInteger),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "seq"),
)
"""What the Desk tells the Watches (verdicts, facts, mutes), in order: each counts from the next window that a Watch
takes."""

# --- the service -----------------------------------------------------------------------------------------------------

process = Table(
    "process",
    metadata,
    _need("tenant", Text),
    _need("name", Text),
    _need("pid", BigInteger),
    _need("at_ms", BigInteger),
    _need("body", LargeBinary),
    PrimaryKeyConstraint("tenant", "name"),
)
"""Who is at work and how: each process of the service writes its row every few seconds, `body` is JSON."""

token = Table(
    "token",
    metadata,
    _need("tenant", Text),
    _need("id", Text),
    _need("hash", LargeBinary),
    _need("scope", Text),
    _need("name", Text),
    _need("by", Text),
    _need("created_ms", BigInteger),
    _may("expires_ms", BigInteger),
    _may("used_ms", BigInteger),
    _may("revoked_ms", BigInteger),
    PrimaryKeyConstraint("tenant", "id"),
)
"""Bearer tokens; of the secret only its SHA-256."""

sign_in = Table(
    "sign_in",
    metadata,
    _need("tenant", Text),
    _need("hash", LargeBinary),
    _need("scope", Text),
    _need("who", Text),
    _need("expires_ms", BigInteger),
    PrimaryKeyConstraint("tenant", "hash"),
)
"""One-use sign-in links that were not used yet."""

session = Table(
    "session",
    metadata,
    _need("tenant", Text),
    _need("hash", LargeBinary),
    _need("who", Text),
    _need("scope", Text),
    _need("csrf", Text),
    _need("created_ms", BigInteger),
    _need("seen_ms", BigInteger),
    _need("expires_ms", BigInteger),
    PrimaryKeyConstraint("tenant", "hash"),
)
"""Browsers that are signed in; of the cookie only its SHA-256."""

audit = Table(
    "audit",
    metadata,
    _need("tenant", Text),
    _need("seq", BigInteger),
    _need("at_ms", BigInteger),
    _need("who", Text),
    _need("what", Text),
    _need("target", Text),
    _need("detail", Text),
    _need("chain", LargeBinary),
    PrimaryKeyConstraint("tenant", "seq"),
)
"""Who did what; `chain` is the hash of the row before and this one, so that a change shows."""

idempotency = Table(
    "idempotency",
    metadata,
    _need("tenant", Text),
    _need("who", Text),
    _need("key", Text),
    _need("request", LargeBinary),
    _need("at_ms", BigInteger),
    _need("status", Integer),
    _need("body", LargeBinary),
    PrimaryKeyConstraint("tenant", "who", "key"),
    Index("idempotency_by_time", "at_ms"),
)
"""What a request with an idempotency key was answered; `status` 0: it is being worked on."""

feed = Table(
    "feed",
    metadata,
    _need("tenant", Text),
    _need("seq", BigInteger),
    _need("at_ms", BigInteger),
    _need("type", Text),
    _need("subject", Text),
    _need("data", LargeBinary),
    PrimaryKeyConstraint("tenant", "seq"),
)
"""What the world is told of cases and customers, in order: server-sent events and webhooks read from here."""

webhook = Table(
    "webhook",
    metadata,
    _need("tenant", Text),
    _need("id", Text),
    _need("url", Text),
    _need("types", Text),
    _need("secrets", LargeBinary),
    _need("state", Text),
    _need("reason", Text),
    _need("from_seq", BigInteger),
    _need("created_ms", BigInteger),
    _may("delivered_ms", BigInteger),
    _may("failing_ms", BigInteger),
    _need("answer", Text),
    PrimaryKeyConstraint("tenant", "id"),
)
"""Who wants the feed: `active`, `paused`, or `disabled` with the reason; `from_seq` is the next one to queue for them,
`failing_ms` since when every delivery fails, `answer` what the last one got."""

webhook_queue = Table(
    "webhook_queue",
    metadata,
    _need("tenant", Text),
    _need("webhook", Text),
    _need("seq", BigInteger),
    _need("state", Text),
    _need("attempts", Integer),
    _need("due_ms", BigInteger),
    _need("detail", Text),
    PrimaryKeyConstraint("tenant", "webhook", "seq"),
    Index("webhook_queue_due", "tenant", "webhook", "state", "due_ms"),
)
"""Feed entries on their way to a webhook: `waiting`, `sent`, `failed` (given up); `due_ms` is of a settled one when."""
