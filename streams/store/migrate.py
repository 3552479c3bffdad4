"""Brings a store's schema up to this program's; refuses one that a newer program made.

A store that is behind is migrated in one transaction, by one process: whoever else comes waits, and finds it done. A
file is copied first (`FILE.backup-REVISION`).
"""

import re
from pathlib import Path

import sqlalchemy as sa

from detector.errors import UsageError
from streams.store.database import Where, translated

HEAD = "0005"
"""The newest migration in `migrations/versions`; a test holds them equal."""

_OURS = re.compile("[0-9]{4}")
SCRIPTS = Path(__file__).parent / "migrations"


def revision_of(connection: sa.Connection) -> str | None:
    """Return the schema's revision, None where there is none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def upgrade(connection: sa.Connection, until: str = "head") -> None:
    """Run the migrations that are missing, inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    setting = Config()
    setting.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    setting.attributes["connection"] = connection
    command.upgrade(setting, until)


def bring_up(engine: sa.Engine, where: Where) -> None:
    """Migrate an existing store where it is behind.

    Raises
    ------
    UsageError
        It was made by a newer program, or is a database of something else.
    """
    with translated(where), engine.connect().execution_options(reads=True) as connection, connection.begin():
        found = revision_of(connection)
    if found == HEAD:
        return
    refuse_foreign(found, f"{where}", "; give --db another")
    with translated(where):
        if where.path is not None:
            _copy(engine, where.path.with_name(f"{where.path.name}.backup-{found}"))
        with engine.begin() as connection:
            upgrade(connection)


def refuse_foreign(found: str | None, label: str, do: str = "") -> None:
    """Refuse a database that is no store, or a newer program's.

    Raises
    ------
    UsageError
        It is one of these.
    """
    if found is None or not _OURS.fullmatch(found):
        message = f"{label}: is not a store of Tocsin{do}"
        raise UsageError(message)
    if found > HEAD:
        message = (
            f"{label}: was made by a newer Tocsin (schema {found}, this one knows up to {HEAD}); "
            f"install that version{' or' + do.removeprefix(';') if do else ''}"
        )
        raise UsageError(message)


def _copy(engine: sa.Engine, backup: Path) -> None:
    if not backup.exists():
        backup.touch(mode=0o600)
        raw = engine.raw_connection()
        raw.cursor().execute("VACUUM INTO ?", (str(backup),))
        raw.close()
