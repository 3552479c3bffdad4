"""Bearer tokens: made once, shown once, kept as a hash.

Promises
- Of a token's secret (256 random bits) the store has only the SHA-256; a guess is compared in constant time.
- A token is one tenant's: in another tenant's part of the store it does not exist.
- What is revoked or expired stays listed, and opens nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from detector.errors import UsageError
from streams.store import audit
from streams.store import tables as t
from streams.store.store import Store

PREFIX = "toc_"
NAME_LENGTH = 60
USED_EVERY_MS = 60_000
"""How exactly the last use of a token is known: a write for every request would be a flood of its own."""

_FORM = re.compile(r"toc_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH = b"\0" * 32


class Scope(StrEnum):
    """What whoever comes in may do. A ladder (`read` < `operate` < `admin`), and `ingest` beside it."""

    INGEST = "ingest"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


ALLOWS: dict[Scope, frozenset[Scope]] = {
    Scope.INGEST: frozenset({Scope.INGEST}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.OPERATE: frozenset({Scope.READ, Scope.OPERATE}),
    Scope.ADMIN: frozenset(Scope),
}
"""What whoever holds a scope may do."""


def widest(found: Iterable[Scope]) -> Scope | None:
    """Return the one of these scopes that allows most; None where there is none."""
    return max(found, key=lambda scope: (len(ALLOWS[scope]), scope is not Scope.INGEST), default=None)


class Standing(StrEnum):
    """Whether a token opens anything."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Token:
    """A token as it is listed: everything but its secret."""

    id: str
    scope: Scope
    name: str
    by: str
    created_ms: int
    expires_ms: int | None
    used_ms: int | None
    revoked_ms: int | None

    def standing(self, now_ms: int) -> Standing:
        if self.revoked_ms is not None:
            return Standing.REVOKED
        if self.expires_ms is not None and self.expires_ms <= now_ms:
            return Standing.EXPIRED
        return Standing.VALID

    @property
    def who(self) -> str:
        """How the audit log calls whoever holds it."""
        return f"token:{self.id}"


def create(
    store: Store, scope: Scope, name: str, by: str, now_ms: int, *, expires_ms: int | None = None
) -> tuple[str, str]:
    """Make a token; return its id and the token itself, which nobody can read again.

    Parameters
    ----------
    name : str
        What it is for, as the list shows it.
    by : str
        Who asks for it.
    expires_ms : int, optional
        From when on it opens nothing (epoch ms).

    Raises
    ------
    UsageError
        It would have expired already, or its name is too long.
    """
    with store.transaction() as connection:
        return create_in(connection, store.tenant, scope, name, by, now_ms, expires_ms=expires_ms)


def create_in(
    connection: sa.Connection,
    tenant: str,
    scope: Scope,
    name: str,
    by: str,
    now_ms: int,
    *,
    expires_ms: int | None = None,
) -> tuple[str, str]:
    """`create` within a transaction of the caller's."""
    if expires_ms is not None and expires_ms <= now_ms:
        message = "expires: expected a moment to come, found one that is over"
        raise UsageError(message)
    if len(name) > NAME_LENGTH or not name.isprintable():
        message = f"name: expected printable text of at most {NAME_LENGTH} characters, found {len(name)}"
        raise UsageError(message)
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = {
        "tenant": tenant,
        "id": token_id,
        "hash": _hash(secret),
        "scope": scope.value,
        "name": name,
        "by": by,
        "created_ms": now_ms,
        "expires_ms": expires_ms,
        "used_ms": None,
        "revoked_ms": None,
    }
    connection.execute(sa.insert(t.token), row)
    audit.record(connection, tenant, by, "token.created", f"token:{token_id}", f"scope {scope.value}", now_ms)
    return token_id, f"{PREFIX}{token_id}_{secret}"


def find(store: Store, text: str) -> Token | None:
    """Return the token that this text is, valid or not (ask its `standing`); None for a guess."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    token_id, secret = found.groups()
    with store.reading() as connection:
        row = connection.execute(
            sa.select(t.token).where(t.token.c.tenant == store.tenant, t.token.c.id == token_id)
        ).first()
    same = hmac.compare_digest(_hash(secret), _NO_HASH if row is None else bytes(row.hash))
    return _token(row) if row is not None and same else None


def listed(store: Store) -> list[Token]:
    """Return all tokens, the newest first."""
    wanted = sa.select(t.token).where(t.token.c.tenant == store.tenant)
    with store.reading() as connection:
        return [_token(row) for row in connection.execute(wanted.order_by(t.token.c.created_ms.desc(), t.token.c.id))]


def revoke(store: Store, token_id: str, by: str, now_ms: int) -> Token:
    """Make a token open nothing from now on; return it. One that is revoked already stays as it was.

    Raises
    ------
    UsageError
        There is none of this id.
    """
    this = (t.token.c.tenant == store.tenant, t.token.c.id == token_id)
    with store.transaction() as connection:
        changed = connection.execute(
            sa.update(t.token).where(*this, t.token.c.revoked_ms.is_(None)).values(revoked_ms=now_ms)
        ).rowcount
        row = connection.execute(sa.select(t.token).where(*this)).first()
        if row is None:
            message = f"token {token_id}: there is none of this id; `tocsin token list` shows them"
            raise UsageError(message)
        if changed:
            audit.record(connection, store.tenant, by, "token.revoked", f"token:{token_id}", "", now_ms)
    return _token(row)


def used(store: Store, token_id: str, now_ms: int) -> None:
    """Note that a token was used; the audit log has the first time."""
    this = (t.token.c.tenant == store.tenant, t.token.c.id == token_id)
    with store.transaction() as connection:
        first = connection.execute(
            sa.update(t.token).where(*this, t.token.c.used_ms.is_(None)).values(used_ms=now_ms)
        ).rowcount
        if first:
            who = f"token:{token_id}"
            audit.record(connection, store.tenant, who, "token.first-used", who, "", now_ms)
        else:
            connection.execute(sa.update(t.token).where(*this, t.token.c.used_ms < now_ms).values(used_ms=now_ms))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    found = row._mapping
    return Token(
        id=found["id"],
        scope=Scope(found["scope"]),
        name=found["name"],
        by=found["by"],
        created_ms=found["created_ms"],
        expires_ms=found["expires_ms"],
        used_ms=found["used_ms"],
        revoked_ms=found["revoked_ms"],
    )
