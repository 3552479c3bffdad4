"""Opens a store, and makes one where it may."""

import secrets
from pathlib import Path

import sqlalchemy as sa

from detector.errors import DamagedStoreError, UsageError
from detector.fields import shown
from streams.store import migrate, rows, sqlite
from streams.store import tables as t
from streams.store.connections import READS
from streams.store.database import Where, connect, translated, where_of
from streams.store.store import Store

_DEFAULT = "default"


def open_store(
    db: str | Path | Where,
    *,
    tenant: str | None = None,
    create: bool = False,
    customer_key: bytes | None = None,
    known: bool = False,
    whole: bool = False,
) -> Store:
    """Open a store; with `create` a new one is made where there is none.

    Parameters
    ----------
    db : str or Path
        A file, `sqlite:///FILE`, or `postgresql://USER@HOST/DATABASE`.
    tenant : str, optional
        Whose part; where not given, the store's only tenant (of a store that has none yet: `default`).
    customer_key : bytes, optional
        Secret for hashing customers' ids, where the settings give one; else a new store draws 32 random bytes.
    known : bool
        The tenant named must have something in the store already, unless nobody has.
    whole : bool
        What is to be done concerns the whole store: of several tenants none has to be named.

    Raises
    ------
    UsageError
        There is none and `create` is false; it was made by a newer program, or under another customer key; it has
        several tenants and none is named, or none of that name.
    UnreachableError
        The server does not answer, or does not let us in.
    DamagedStoreError
        The file's bytes are no store.
    """
    where = where_of(db)
    key = customer_key or secrets.token_bytes(32)
    if where.path is not None:
        _see_to_file(where.path, key if create else None)
    engine = connect(where)
    try:
        if where.url is not None:
            _see_to_database(engine, where, key if create else None)
        migrate.bring_up(engine, where)
        if tenant is None or known:
            tenant = _tenant(where, _tenants(engine, where), tenant, whole)
        store = Store(engine, where, tenant)
        if customer_key is not None and store.customer_key != customer_key:
            message = (
                f"{where}: was made under another customer hash key than the settings give; "
                "use that key or another --db"
            )
            raise UsageError(message)
    except BaseException:
        engine.dispose()
        raise
    return store


def _tenants(engine: sa.Engine, where: Where) -> list[str]:
    """Return who has something in a store: events, engines or processes; else customers or tokens only."""
    with translated(where), engine.connect().execution_options(**READS) as connection, connection.begin():
        for tables in ((t.position, t.engine, t.config, t.process), (t.token,)):
            wanted = sa.union(*(sa.select(table.c.tenant) for table in tables))
            found = sorted(str(row[0]) for row in connection.execute(wanted))
            if found:
                return found
        ends = connection.execute(sa.select(sa.func.min(t.customer.c.tenant), sa.func.max(t.customer.c.tenant))).one()
    return sorted({str(name) for name in ends if name is not None})


def _tenant(where: Where, tenants: list[str], named: str | None, whole: bool) -> str:
    if named is not None:
        if tenants and named not in tenants:
            message = f"--tenant: expected one of those in {where}: {', '.join(tenants)}; found {shown(named)}"
            raise UsageError(message)
        return named
    if len(tenants) > 1 and not whole:
        message = f"{where}: has several tenants: {', '.join(tenants)}; name one by --tenant NAME or TOCSIN_TENANT"
        raise UsageError(message)
    return tenants[0] if len(tenants) == 1 else _DEFAULT


def _see_to_file(path: Path, key: bytes | None) -> None:
    """Make the file where there is none and a key is given; one that is lost is named."""
    if path.is_dir():
        message = f"--db: expected a file or sqlite:///FILE, found the folder {path}"
        raise UsageError(message)
    if not path.exists():
        if key is None:
            message = f"{path}: there is no store here; make one with `tocsin replay` or give --db"
            raise UsageError(message)
        _make_file(path, key)
    elif path.stat().st_size == 0:
        message = f"{path}: is empty, so its contents are lost; restore a backup, or remove it to start anew"
        raise DamagedStoreError(message)


def _make_file(path: Path, key: bytes) -> None:
    if not path.parent.is_dir():
        message = f"{path}: its folder does not exist; make it first"
        raise UsageError(message)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with translated(path):
        try:
            made.touch(mode=0o600)
        except OSError as error:
            message = f"{path}: cannot be made ({error.strerror}); check the folder's permissions"
            raise UsageError(message) from error
        try:
            engine = sqlite.connect(made, journal="delete")
            with engine.begin() as connection:
                _fill(connection, key)
            engine.dispose()
            sqlite.publish(made, path)
        finally:
            made.unlink(missing_ok=True)


def _see_to_database(engine: sa.Engine, where: Where, key: bytes | None) -> None:
    """Make the tables where the database is empty and a key is given; of several processes one makes them."""
    from streams.store import postgres

    with translated(where):
        with engine.connect().execution_options(**READS) as connection, connection.begin():
            if postgres.check(connection, where):
                return
        if key is None:
            message = f"{where}: there is no store here; make one with `tocsin replay` or give --db"
            raise UsageError(message)
        with engine.begin() as connection:
            if not postgres.check(connection, where):
                _fill(connection, key)


def _fill(connection: sa.Connection, key: bytes) -> None:
    migrate.upgrade(connection)
    values = [{"key": "customer_key", "value": key}, {"key": "format", "value": b"1"}]
    connection.execute(rows.upsert(t.meta), values)
