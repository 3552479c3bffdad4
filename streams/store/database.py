"""How a database is reached: what `--db` names, an engine on it, and its errors as ours.

Promises, on SQLite (`sqlite.py`) and PostgreSQL (`postgres.py`) alike
- A transaction that writes holds the store's one write lock from its first statement on; one that reads sees one state
  throughout and waits for nobody.
- Whoever waits for the write lock waits `BUSY_MS`, then says so.
- What the database reports is translated into the error tree: locked, gone, full and damaged each say what to do. No
  message holds a password.
"""

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from detector.errors import TocsinError, UnreachableError, UsageError
from streams.store.connections import BUSY_MS

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+]+):")
_FORMS = "a file, sqlite:///FILE or postgresql://USER@HOST/DATABASE"


@dataclass(frozen=True)
class Where:
    """Where a store is: a file, or a database of a PostgreSQL server.  Its text is for messages: without a password."""

    path: Path | None = None
    url: sa.URL | None = None

    def __str__(self) -> str:
        if self.url is None:
            return str(self.path)
        url, query = self.url, {name: value for name, value in self.url.query.items() if "password" not in name}
        return str(sa.URL.create(_POSTGRES[0], url.username, None, url.host, url.port, url.database, query))

    @property
    def file(self) -> Path:
        """The SQLite file."""
        if self.path is None:
            message = f"{self}: expected a store in a file, found a database of PostgreSQL"
            raise UsageError(message)
        return self.path

    def beside(self, suffix: str) -> Path:
        """Return the place of a file that belongs to the store: beside its file; of a server's, where we were started.

        Examples
        --------
        >>> where_of("shop/tocsin.db").beside(".kill").as_posix()
        'shop/tocsin.db.kill'
        >>> where_of("postgresql://ani:secret@db.example/shop").beside(".kill").name
        'shop.kill'
        """
        if self.url is not None:
            return Path.cwd() / f"{self.url.database or 'tocsin'}{suffix}"
        return self.file.with_name(self.file.name + suffix)


def where_of(db: str | Path | Where) -> Where:
    """Return what `--db` names.

    Raises
    ------
    UsageError
        For the URL of a database that this version does not speak, or what begins like one and is none.
    """
    if isinstance(db, Where):
        return db
    text = str(db)
    if text.startswith(_SQLITE):
        return Where(Path(text.removeprefix(_SQLITE)))
    scheme, mark, _ = text.partition("://")
    if not mark:
        if isinstance(db, str):
            _refuse_scheme(text)
        return Where(Path(text))
    if scheme not in _POSTGRES:
        message = f"--db: expected {_FORMS}, found a URL of {scheme}"
        raise UsageError(message)
    return Where(url=_server(text))


def _refuse_scheme(text: str) -> None:
    """A URL with a slash too few is no file that is to be made (`C:` is a drive)."""
    found = _SCHEME.match(text)
    if found is not None and not Path(text).exists():
        scheme = found[1]
        meant = _SQLITE + "FILE" if scheme.startswith("sqlite") else "postgresql://USER@HOST/DATABASE"
        message = f"--db: expected {_FORMS}, found a name that begins with {scheme}: (did you mean {meant}?)"
        raise UsageError(message)


def _server(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        url = None
    # What stands between the colon and an @ too many would be shown as the host.
    if url is None or "@" in (url.host or "") or not url.database:
        message = (
            "--db: expected postgresql://USER@HOST/DATABASE, found another URL of PostgreSQL "
            "(in a password write @ as %40, / as %2F, or leave it to PGPASSWORD or ~/.pgpass)"
        )
        raise UsageError(message)
    return url.set(drivername=_POSTGRES[2])


def connect(where: Where, *, busy_ms: int | None = None) -> sa.Engine:
    """Return an engine on a store."""
    from streams.store import postgres, sqlite

    busy_ms = BUSY_MS if busy_ms is None else busy_ms
    if where.url is not None:
        return postgres.connect(where.url, busy_ms=busy_ms)
    return sqlite.connect(where.file, busy_ms=busy_ms)


@contextmanager
def streamed(connection: sa.Connection, wanted: sa.Select[Any], at_once: int) -> Iterator[sa.CursorResult[Any]]:
    """Give the rows one after the other, of which so many are in memory; whoever stops half-way leaves nothing open."""
    found = connection.execute(wanted, execution_options={"yield_per": at_once})
    try:
        yield found
    finally:
        found.close()


@contextmanager
def translated(label: object) -> Iterator[None]:
    """Turn the database's errors into ours; `label` names the store."""
    try:
        yield
    except IntegrityError:
        raise
    except PoolTimeoutError as error:
        message = f"{label}: all of this process' connections are in use; try again"
        raise UnreachableError(message) from error
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        ours = _ours(label, cause)
        if ours is None:
            raise
        raise ours from error


def _ours(label: object, cause: BaseException | None) -> TocsinError | None:
    from streams.store import sqlite

    if isinstance(cause, sqlite3.Error):
        return sqlite.ours(label, cause)
    if "psycopg" in sys.modules:
        import psycopg

        from streams.store import postgres

        if isinstance(cause, psycopg.Error):
            return postgres.ours(label, cause)
    return None
