"""What a start of the service sees to before anyone may enter: the first token, a link to sign in, a safe address.

Promises
- There is no moment without authentication, and no password that ships: the first token is drawn at the first start
  and written where only the owner can read it.
- On an address that others reach, the service starts only if teams can sign in there, or somebody says in so many words
  that they want it otherwise.
"""

import hashlib
import os
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from detector.errors import UsageError
from streams.clock import Clock
from streams.sections import ServiceSection
from streams.settings import SIGNALS, TOCSIN, Settings
from streams.store import Store, audit, rows, sign_ins, tokens
from streams.store import tables as t
from streams.store.tokens import Scope

TOKEN_FILE = "admin.token"
_FILES = "config_files"
OVERRIDE = "--i-know-that-anyone-can-reach-this"


@dataclass(frozen=True)
class FirstStart:
    """What a person is told at the start."""

    link_path: str
    """Behind the service's address it signs in, once, within an hour."""
    token_file: Path | None
    """Where the first admin token was written; None where the store has tokens already."""


def prepare(store: Store, settings: Settings, clock: Clock, login: str) -> FirstStart:
    """Make what lets the owner in: at the first start a token in a file, at each start a link.

    Parameters
    ----------
    login : str
        Who starts the service, as the audit log and the page will call them.

    Raises
    ------
    UsageError
        The token's file can't be written.
    """
    now_ms = clock.now_ms()
    by = f"cli:{login}"
    note_settings(store, settings, by, now_ms)
    file = None if tokens.listed(store) else _write_token(store, by, now_ms)
    code = sign_ins.make_link(store, Scope.ADMIN, f"person:{login}", by, now_ms)
    return FirstStart(f"/sign-in?code={code}", file)


def note_settings(store: Store, settings: Settings, by: str, now_ms: int) -> bool:
    """Put into the audit log that the configuration's files are others than last time; return whether they are."""
    files = [settings.directory / name for name in (TOCSIN, SIGNALS)]
    found = hashlib.sha256(b"\0".join(file.read_bytes() if file.exists() else b"" for file in files)).digest()
    key = f"{_FILES}:{store.tenant}"
    before = store.meta(key)
    if before == found:
        return False
    with store.transaction() as connection:
        connection.execute(rows.upsert(t.meta), {"key": key, "value": found})
        what = "config.changed" if before is not None else "config.first"
        audit.record(connection, store.tenant, by, what, "", f"files {found.hex()[:12]}", now_ms)
    return True


def check_listening(service: ServiceSection, host: str, *, override: bool) -> None:
    """Refuse an address that others reach while only tokens and local links let anyone in.

    Raises
    ------
    UsageError
        It is not loopback, no sign-in for teams is configured, and nobody insists.
    """
    if override or is_loopback(host) or has_team_sign_in(service):
        return
    message = (
        f"service.host: expected a loopback address such as 127.0.0.1, found {host}, which others reach: configure "
        f"service.oidc or service.proxy (docs/security.md), or insist with {OVERRIDE}"
    )
    raise UsageError(message)


def has_team_sign_in(service: ServiceSection) -> bool:
    """Return whether people other than the owner can sign in."""
    proxy, oidc = service.proxy, service.oidc
    return bool((proxy is not None and proxy.addresses and proxy.roles) or (oidc is not None and oidc.roles))


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.5", "tocsin.example")]
    [True, True, True, False, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _write_token(store: Store, by: str, now_ms: int) -> Path:
    """Draw the first admin token and put it beside the store, in the transaction that makes it."""
    with store.transaction() as connection:
        _token_id, token = tokens.create_in(connection, store.tenant, Scope.ADMIN, "first start", by, now_ms)
        own = store.where.beside(f".{TOKEN_FILE}").resolve()
        folder = own.parent
        try:
            try:
                return _write(folder / TOKEN_FILE, token)
            except FileExistsError:  # another store's; this name is ours alone
                own.unlink(missing_ok=True)
                return _write(own, token)
        except OSError as error:
            message = (
                f"{error.filename}: the first token can't be written ({error.strerror}); check the folder, "
                "or make a token before with `tocsin token create`"
            )
            raise UsageError(message) from error


def _write(path: Path, token: str) -> Path:
    # O_EXCL also refuses a link that somebody put in the way.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.fchmod(handle, 0o600)
        os.write(handle, token.encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    return path
