"""Opens a store, and makes one where it may."""

import secrets
from pathlib import Path

import sqlalchemy as sa

from detector.errors import UsageError
from streams.store import migrate, rows
from streams.store import tables as t
from streams.store.database import READS, DamagedStoreError, connect, path_of, publish, translated
from streams.store.store import Store


def open_store(
    url: str | Path, *, tenant: str | None = None, create: bool = False, customer_key: bytes | None = None
) -> Store:
    """Open a store; with `create` a new one is made where there is none.

    Parameters
    ----------
    url : str or Path
        A file, or `sqlite:///FILE`.
    tenant : str, optional
        Whose part; where not given, the store's only tenant.
    customer_key : bytes, optional
        Secret for hashing customers' ids, where the settings give one; else a new store draws 32 random bytes.

    Raises
    ------
    UsageError
        There is none and `create` is false; it was made by a newer program; or under another customer key.
    DamagedStoreError
        The file's bytes are no store.
    """
    path = path_of(str(url))
    if path.is_dir():
        message = f"--db: expected a file or sqlite:///FILE, found the folder {path}"
        raise UsageError(message)
    if not path.exists():
        if not create:
            message = f"{path}: there is no store here; make one with `tocsin replay` or give --db"
            raise UsageError(message)
        _make(path, customer_key or secrets.token_bytes(32))
    elif path.stat().st_size == 0:
        message = f"{path}: is empty, so its contents are lost; restore a backup, or remove it to start anew"
        raise DamagedStoreError(message)
    engine = connect(path)
    with translated(path):
        migrate.bring_up(engine, path)
    store = Store(engine, path, tenant or _only_tenant(engine, path))
    if customer_key is not None and store.customer_key != customer_key:
        message = (
            f"{path}: was made under another customer hash key than the settings give; use that key or another --db"
        )
        raise UsageError(message)
    return store


def _only_tenant(engine: sa.Engine, path: Path) -> str:
    with translated(path), engine.connect().execution_options(**READS) as connection, connection.begin():
        tenants = sa.union(sa.select(t.position.c.tenant), sa.select(t.token.c.tenant))
        found = [str(row[0]) for row in connection.execute(tenants)]
    return found[0] if len(found) == 1 else "default"


def _make(path: Path, customer_key: bytes) -> None:
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
            engine = connect(made, journal="delete")
            with engine.begin() as connection:
                migrate.upgrade(connection)
                connection.execute(
                    rows.upsert(t.meta),
                    [
                        {"key": "customer_key", "value": customer_key},
                        {"key": "format", "value": b"1"},
                    ],
                )
            engine.dispose()
            publish(made, path)
        finally:
            made.unlink(missing_ok=True)
