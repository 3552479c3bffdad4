"""Column types that differ between SQLite and PostgreSQL; the tables and the migrations take them from here.

Text sorts and compares by its bytes on both, whatever the database's own collation: results come in one order.
"""

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

Text: TypeEngine[str] = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
Numbered: TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A number that the database gives."""
