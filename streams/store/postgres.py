"""A store in a database of a PostgreSQL server.

Promises
- A transaction that writes holds an advisory lock of the database (of the schema, where the search path names one)
  from its first statement on, so there is one writer at a time, as on SQLite. One that reads runs REPEATABLE READ,
  READ ONLY. One beside the write lock (`Store.beside`) locks the rows that it writes, and nothing else.
- Whoever vanishes while it holds the lock loses it: within half a minute where its machine is gone (keepalives), after
  a minute where it only stands still.
- A connection that was lost is an `UnreachableError`; the next transaction connects anew.
"""

import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from detector.errors import DamagedStoreError, TocsinError, UnreachableError, UsageError
from streams.store.connections import BESIDE

CONNECT_S = 10
IDLE_MS = 60_000
"""A writer that has begun and stands still for so long is cut off by the server."""
_SPACE = 0x746F6373
"""Our part of the database's advisory locks."""
_SERVER = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 4,
    "client_min_messages": "warning",
    "standard_conforming_strings": "on",
}
_LIBPQ = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,  # what was sent and is not acknowledged: else a lost network is noticed after minutes
}
"""Of a connection, unless the URL says otherwise."""

_NAMED = "hashtext(current_schema() || CAST(:name AS text))"
_HOLD = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_MS}', true), "
    f"pg_advisory_xact_lock({_SPACE}, hashtext(current_schema() || '/write'))"
)


def connect(url: sa.URL, *, busy_ms: int) -> sa.Engine:
    """Return an engine on a database; `busy_ms` is how long it waits for any lock."""
    import psycopg

    logging.getLogger("psycopg").setLevel(logging.ERROR)  # what it warns of we say ourselves
    given = url.query.get("options", "")
    settings = " ".join(f"-c {name}={value}" for name, value in {**_SERVER, "lock_timeout": busy_ms}.items())
    options = " ".join([settings, *([given] if isinstance(given, str) else given)])
    arguments = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    engine = sa.create_engine(
        url.difference_update_query(["options"]),
        connect_args={**arguments, "options": options, "application_name": "tocsin", "client_encoding": "utf8"},
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
    )
    levels = psycopg.IsolationLevel

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.adapters.register_dumper(str, _dumper())

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        given = connection.get_execution_options()
        reads = given.get("reads", False)
        raw: Any = connection.connection.dbapi_connection
        raw.isolation_level = levels.REPEATABLE_READ if reads else levels.READ_COMMITTED
        raw.read_only = bool(reads)
        if not reads and not given.get("beside", False):
            connection.exec_driver_sql(_HOLD)

    return engine


def _dumper() -> Any:
    """Return how text is written: PostgreSQL's has no NUL, so the sign for "cannot be shown" stands in its place."""
    from psycopg.types.string import StrDumperUnknown

    class Dumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)

    return Dumper


def lock(connection: sa.Connection, name: str) -> None:
    """Hold one of the store's locks until the transaction ends; waits for whoever holds it."""
    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_SPACE}, {_NAMED})"), {"name": f"/{name}"})


def session_lock(engine: sa.Engine, name: str) -> sa.Connection | None:
    """Take one of the store's locks on a connection of its own; returns None where somebody else holds it.

    The lock is held until that connection is closed, or lost.
    """
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT", **BESIDE)
    try:
        connection.detach()  # it does not go back to the pool
        wanted = sa.text(f"SELECT pg_try_advisory_lock({_SPACE}, {_NAMED})")
        if connection.execute(wanted, {"name": f"/{name}"}).scalar_one():
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def give_back(held: sa.Connection) -> None:
    """Give the locks of a session back, and end it; where it was lost they are given back already."""
    with contextlib.suppress(sa.exc.DBAPIError):
        held.execute(sa.text("SELECT pg_advisory_unlock_all()"))
    with contextlib.suppress(sa.exc.DBAPIError):
        held.close()


def check(connection: sa.Connection, label: object) -> bool:
    """Return whether there are any tables where the store is to be.

    Raises
    ------
    UsageError
        The database is no place for a store: its encoding, or a schema that is not there.
    """
    asked = "SELECT current_setting('server_encoding') AS encoding, current_schema() AS schema"
    found = connection.execute(sa.text(asked)).one()
    if found.encoding != "UTF8":
        message = (
            f"{label}: expected a database in UTF8, found {found.encoding}; "
            "make another: createdb --encoding UTF8 --template template0 NAME"
        )
        raise UsageError(message)
    if found.schema is None:
        message = f"{label}: the schema that its search_path names is not there; CREATE SCHEMA makes it"
        raise UsageError(message)
    tables = sa.text("SELECT count(*) FROM pg_tables WHERE schemaname = :schema")
    return bool(connection.execute(tables, {"schema": found.schema}).scalar_one())


@dataclass(frozen=True)
class Server:
    """How a server does."""

    version: str
    bytes: int
    """Of our database."""
    connections: int
    most_connections: int


def look(connection: sa.Connection) -> Server:
    """Return how the server does."""
    asked = (
        "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes, "
        "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections, "
        "current_setting('max_connections')::int AS most_connections"
    )
    found = connection.execute(sa.text(asked)).one()
    return Server(found.version.split()[0], found.bytes, found.connections, found.most_connections)


_BY_CODE: dict[str, tuple[type[TocsinError], str]] = {
    "55P03": (UnreachableError, "another process holds the store, and did not let go of it in time; try again"),
    "57014": (UnreachableError, "it took longer than statement_timeout allows; raise it for this user, or try again"),
    "40001": (UnreachableError, "it was changed by another process at the same time; try again"),
    "40P01": (UnreachableError, "two processes waited for each other; try again"),
    "53100": (
        UnreachableError,
        "the server's disk is full; nothing was lost, make room and run the same command again",
    ),
    "53200": (UnreachableError, "the server has no memory left; try again, or give it more"),
    "53300": (UnreachableError, "the server has no connection left; raise its max_connections, or try again"),
    "25006": (UnreachableError, "cannot be written: the server is a standby or read-only; name the one that is not"),
    "57P03": (UnreachableError, "the server is starting or stopping; try again"),
    "25P03": (UnreachableError, "stood still for too long within a transaction and was cut off; try again"),
    "3D000": (UsageError, "there is no such database; make it: createdb --encoding UTF8 --template template0 NAME"),
    "42501": (
        UsageError,
        "this user may not do that there; give it the database (ALTER DATABASE … OWNER TO …) or a schema of its own",
    ),
}
_BY_CLASS: dict[str, tuple[type[TocsinError], str]] = {
    "08": (UnreachableError, "the connection to the server was lost; it is made anew at the next try"),
    "57": (UnreachableError, "the server went away; it is asked again at the next try"),
    "28": (UnreachableError, "the server lets this user not in; check user and password (PGPASSWORD, ~/.pgpass)"),
    "XX": (DamagedStoreError, "the server finds the store damaged; restore a backup"),
    "58": (UnreachableError, "the server cannot read or write its files; look at its log"),
}
_REFUSED = ("password authentication failed", "no password supplied", "authentication failed", "no pg_hba.conf entry")


def ours(label: object, error: Any) -> TocsinError:
    """Return what psycopg reports as one of our errors; the values of a statement are in none."""
    import psycopg

    code = error.sqlstate or ""
    said = " ".join(str(error.diag.message_primary or "").split())
    if not code and isinstance(error, psycopg.ProgrammingError):
        return UsageError(f"{label}: the URL cannot be used ({_first_line(error)})")
    if not code and isinstance(error, psycopg.OperationalError):
        return _not_connected(label, _first_line(error))
    for known, table in ((code, _BY_CODE), (code[:2], _BY_CLASS)):
        if known in table:
            kind, words = table[known]
            return kind(f"{label}: {words}" + (f" ({said})" if said and kind is not UsageError else ""))
    return TocsinError(f"{label}: {said or type(error).__name__}")


def _not_connected(label: object, text: str) -> TocsinError:
    if "does not exist" in text and "database" in text:
        return UsageError(f"{label}: {_BY_CODE['3D000'][1]}")
    if any(sign in text for sign in _REFUSED):
        return UnreachableError(f"{label}: {_BY_CLASS['28'][1]}")
    if "starting up" in text or "shutting down" in text or "recovery mode" in text:
        return UnreachableError(f"{label}: {_BY_CODE['57P03'][1]}")
    if "too many clients" in text or "remaining connection slots" in text:
        return UnreachableError(f"{label}: {_BY_CODE['53300'][1]}")
    if "server closed the connection" in text or "consuming input failed" in text or "connection is lost" in text:
        return UnreachableError(f"{label}: {_BY_CLASS['08'][1]}")
    return UnreachableError(f"{label}: the server does not answer; is it up, and are host and port right? ({text})")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
