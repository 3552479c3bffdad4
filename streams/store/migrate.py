"""Brings a store's schema up to this program's; refuses one that a newer program made.

A store that is behind is copied first (`FILE.backup-REVISION`), then migrated in one transaction.
"""

from pathlib import Path

import sqlalchemy as sa

from detector.errors import UsageError
from streams.store.database import translated

HEAD = "0003"
"""The newest migration in `migrations/versions`; a test holds them equal."""

SCRIPTS = Path(__file__).parent / "migrations"


def revision_of(connection: sa.Connection) -> str | None:
    """Return the schema's revision, None where there is none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing, inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    setting = Config()
    setting.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    setting.attributes["connection"] = connection
    command.upgrade(setting, "head")


def bring_up(engine: sa.Engine, path: Path) -> None:
    """Migrate an existing store where it is behind.

    Raises
    ------
    UsageError
        It was made by a newer program, or is a database of something else.
    """
    with translated(path), engine.connect().execution_options(reads=True) as connection, connection.begin():
        found = revision_of(connection)
    if found == HEAD:
        return
    if found is None:
        message = f"{path}: is not a store of Tocsin; give --db another file"
        raise UsageError(message)
    if found > HEAD:
        message = (
            f"{path}: was made by a newer Tocsin (schema {found}, this one knows up to {HEAD}); "
            "install that version or give --db another file"
        )
        raise UsageError(message)
    backup = path.with_name(f"{path.name}.backup-{found}")
    with translated(path):
        if not backup.exists():
            backup.touch(mode=0o600)
            raw = engine.raw_connection()
            raw.cursor().execute("VACUUM INTO ?", (str(backup),))
            raw.close()
        with engine.begin() as connection:
            upgrade(connection)
