"""Sign-in links, which work once, and the browsers that are signed in.

Promises
- Of a link's code and of a browser's cookie (256 random bits each) the store has only the SHA-256.
- A link is gone in the transaction that opens its session; of two who use it at once one gets in.
- A session ends when it was not used for a while, at its absolute end, and when its owner signs out: on the server, so
  a copied cookie is worth nothing then.
- Rows are bounded: what is over is deleted when the next one is made, and the oldest go first.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from detector.config import DAY_MS, HOUR_MS
from streams.store import audit
from streams.store import tables as t
from streams.store.store import Store
from streams.store.tokens import Scope

LINK_MS = HOUR_MS
LONGEST_MS = 7 * DAY_MS
"""A session ends this long after the sign-in however much it is used (or after the idle time, if that is longer)."""
SEEN_EVERY_MS = 60_000
MAX_LINKS, MAX_SESSIONS = 20, 1_000


@dataclass(frozen=True)
class Session:
    """A browser that is signed in."""

    hash: bytes
    who: str
    scope: Scope
    csrf: str
    created_ms: int
    seen_ms: int
    expires_ms: int


def make_link(store: Store, scope: Scope, who: str, by: str, now_ms: int, *, valid_ms: int = LINK_MS) -> str:
    """Make a link that signs in once; return its code.

    Parameters
    ----------
    who : str
        Who is signed in by it, as the audit log will call them.
    by : str
        Who asks for it.
    """
    code = secrets.token_urlsafe(32)
    row = {
        "tenant": store.tenant,
        "hash": _hash(code),
        "scope": scope.value,
        "who": who,
        "expires_ms": now_ms + valid_ms,
    }
    with store.transaction() as connection:
        _tidy(connection, store.tenant, t.sign_in, t.sign_in.c.expires_ms, MAX_LINKS, now_ms)
        connection.execute(sa.insert(t.sign_in), row)
        audit.record(connection, store.tenant, by, "link.created", who, f"scope {scope.value}", now_ms)
    return code


def use_link(store: Store, code: str, now_ms: int, *, idle_ms: int, old: str = "") -> tuple[str, Session] | None:
    """Sign in by a link's code; return the cookie's value and the session, or None where the link is used or over.

    Parameters
    ----------
    old : str
        The cookie that the browser had before: its session ends.
    """
    this = (t.sign_in.c.tenant == store.tenant, t.sign_in.c.hash == _hash(code))
    with store.transaction() as connection:
        row = connection.execute(sa.select(t.sign_in).where(*this)).first()
        if row is None or connection.execute(sa.delete(t.sign_in).where(*this)).rowcount != 1:
            return None
        if row.expires_ms <= now_ms:
            return None
        return _opened(connection, store.tenant, row.who, Scope(row.scope), "by link", now_ms, idle_ms, old)


def open_session(
    store: Store, who: str, scope: Scope, how: str, now_ms: int, *, idle_ms: int, old: str = ""
) -> tuple[str, Session]:
    """Sign in somebody whom an identity provider vouches for; return the cookie's value and the session."""
    with store.transaction() as connection:
        return _opened(connection, store.tenant, who, scope, how, now_ms, idle_ms, old)


def find_session(store: Store, cookie: str, now_ms: int, *, idle_ms: int) -> Session | None:
    """Return the session of a cookie, or None where there is none or it is over."""
    wanted = sa.select(t.session).where(t.session.c.tenant == store.tenant, t.session.c.hash == _hash(cookie))
    with store.reading() as connection:
        row: Any = connection.execute(wanted).first()
    if row is None or now_ms >= min(row.expires_ms, row.seen_ms + idle_ms):
        return None
    return Session(bytes(row.hash), row.who, Scope(row.scope), row.csrf, row.created_ms, row.seen_ms, row.expires_ms)


def seen(store: Store, session: Session, now_ms: int) -> None:
    """Note that a session is in use."""
    this = (t.session.c.tenant == store.tenant, t.session.c.hash == session.hash, t.session.c.seen_ms < now_ms)
    with store.transaction() as connection:
        connection.execute(sa.update(t.session).where(*this).values(seen_ms=now_ms))


def close_session(store: Store, session: Session, now_ms: int) -> None:
    """Sign out."""
    this = (t.session.c.tenant == store.tenant, t.session.c.hash == session.hash)
    with store.transaction() as connection:
        if connection.execute(sa.delete(t.session).where(*this)).rowcount:
            audit.record(connection, store.tenant, session.who, "signed-out", "", "", now_ms)


def close_all(store: Store, by: str, now_ms: int, *, who: str | None = None) -> int:
    """Sign out everybody, or one person wherever they are signed in; return how many browsers it was."""
    these = [t.session.c.tenant == store.tenant, *([] if who is None else [t.session.c.who == who])]
    with store.transaction() as connection:
        closed = connection.execute(sa.delete(t.session).where(*these)).rowcount
        audit.record(connection, store.tenant, by, "signed-out-by-command", who or "", f"{closed} browsers", now_ms)
    return closed


def _opened(
    connection: sa.Connection, tenant: str, who: str, scope: Scope, how: str, now_ms: int, idle_ms: int, old: str
) -> tuple[str, Session]:
    _tidy(connection, tenant, t.session, t.session.c.expires_ms, MAX_SESSIONS, now_ms)
    stale = t.session.c.seen_ms + idle_ms <= now_ms
    connection.execute(
        sa.delete(t.session).where(t.session.c.tenant == tenant, stale | (t.session.c.hash == _hash(old)))
    )
    cookie = secrets.token_urlsafe(32)
    session = Session(
        hash=_hash(cookie),
        who=who,
        scope=scope,
        csrf=secrets.token_urlsafe(32),
        created_ms=now_ms,
        seen_ms=now_ms,
        expires_ms=now_ms + max(LONGEST_MS, idle_ms),
    )
    values = {name: getattr(session, name) for name in ("hash", "who", "csrf", "created_ms", "seen_ms", "expires_ms")}
    connection.execute(sa.insert(t.session), {"tenant": tenant, "scope": scope.value, **values})
    audit.record(connection, tenant, who, "signed-in", "", f"{how}, scope {scope.value}", now_ms)
    return cookie, session


def _tidy(
    connection: sa.Connection, tenant: str, table: sa.Table, expires: sa.Column[Any], most: int, now_ms: int
) -> None:
    """Delete what is over, and the oldest until there is room for one more."""
    ours = table.c.tenant == tenant
    connection.execute(sa.delete(table).where(ours, expires <= now_ms))
    kept = connection.execute(sa.select(table.c.hash).where(ours).order_by(expires.desc())).scalars().all()
    for old in kept[most - 1 :]:
        connection.execute(sa.delete(table).where(ours, table.c.hash == old))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
