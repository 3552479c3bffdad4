"""The kill switch: while it is on, nothing is handed to a channel, whoever runs.

It stands in two places, each of which is enough: a file beside the store (`<db>.kill`; an empty one made by hand
counts) and a value in the store. So it works where the store is locked or its disk is full, and it survives a restart
and a store that was put back. Off means that neither is there. Of a store on a server the file, `<database>.kill` where
a process was started, stops that machine's; the value stops all, and is written without waiting for the write lock.

Promises
- A running notifier looks before every message, and at least every second.
- What waits stays waiting; nothing is dropped while the switch is on.
- Who turned it, when and why is in the audit log.
- Of two who turn it as they saw it (`turn_kill_switch`) at the same moment one does, and the other is told.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import sqlalchemy as sa

from detector.errors import UnreachableError
from streams.clock import SystemClock
from streams.store import Store, audit, rows
from streams.store import tables as t

META = "kill_switch"


class StuckError(UnreachableError):
    """The switch could not be turned; the text says whether anything is sent."""


class KillSwitch(msgspec.Struct, frozen=True):
    """How the switch stands. `by`, `reason` and `at_ms` are unknown where somebody only made the file."""

    on: bool
    by: str = ""
    reason: str = ""
    at_ms: int | None = None


def file_of(store: Store) -> Path:
    """Return the file whose presence stops sending."""
    return store.where.beside(".kill")


def kill_switch(store: Store) -> KillSwitch:
    """Return how the switch stands; what cannot be read counts as on."""
    return _stands(store, store.meta(META))


def _stands(store: Store, data: bytes | None) -> KillSwitch:
    file = file_of(store)
    kept = KillSwitch(False) if data is None else _decoded(data)
    if not file.exists():
        return kept
    if kept.on:
        return kept
    try:
        return msgspec.structs.replace(_decoded(file.read_bytes()), on=True)
    except FileNotFoundError:
        return kept
    except OSError:
        return KillSwitch(True)


def set_kill_switch(store: Store, on: bool, by: str, reason: str = "", now_ms: int | None = None) -> KillSwitch:
    """Turn the switch; returns how it stands then.

    Parameters
    ----------
    by : str
        Who, as the audit log names people: `person:NAME`, `token:ID`, `cli:LOGIN`.
    now_ms : int, optional
        The machine's clock where not given.

    Raises
    ------
    UnreachableError
        It could not be turned on in either place, or not off in both.
    """
    now_ms = SystemClock().now_ms() if now_ms is None else now_ms
    after, file = KillSwitch(on, by, reason, now_ms), file_of(store)
    written = on and _at_once(store, after)
    try:
        with store.transaction() as connection:
            _write(connection, store, after)
    except UnreachableError:
        if not written:
            raise
    if not on:
        _remove(file)
    return after


class TurnedError(Exception):
    """Somebody else has turned the switch meanwhile; nothing was done."""

    def __init__(self, now: KillSwitch) -> None:
        super().__init__("the kill switch has been turned meanwhile")
        self.now = now


def turn_kill_switch(
    store: Store, on: bool, by: str, reason: str, now_ms: int, *, expected: Callable[[KillSwitch], bool]
) -> KillSwitch:
    """Turn the switch where it still stands as somebody saw it; returns how it stands then.

    Looking and turning are one transaction of the store, its file with it.  Where the store can't be written to,
    stopping works all the same: by the file.

    Parameters
    ----------
    expected
        Whether this is how it stood for whoever turns it.

    Raises
    ------
    TurnedError
        It stands otherwise by now.
    UnreachableError
        As `set_kill_switch` does.
    """
    after, file = KillSwitch(on, by, reason, now_ms), file_of(store)
    try:
        with store.transaction() as connection:
            data = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == META)).scalar_one_or_none()
            before = _stands(store, None if data is None else bytes(data))
            if not expected(before):
                raise TurnedError(before)
            _write(connection, store, after)
            if on:
                with suppress(OSError):
                    file.write_bytes(msgspec.json.encode(after))
            else:
                _remove(file)
    except UnreachableError as error:
        if not on:
            raise
        if not _at_once(store, after):
            message = f"{file}: cannot be written, nor can the store: sending goes on"
            raise StuckError(message) from error
    return after


def _at_once(store: Store, after: KillSwitch) -> bool:
    """Turn it on without waiting for the write lock; returns whether that could be done anywhere."""
    data, written = msgspec.json.encode(after), False
    with suppress(OSError):
        file_of(store).write_bytes(data)
        written = True
    if store.on_server:  # where other machines' notifiers see it, too
        with suppress(UnreachableError), store.beside() as connection:
            connection.execute(rows.upsert(t.meta), {"key": META, "value": data})
            written = True
    return written


def _write(connection: sa.Connection, store: Store, after: KillSwitch) -> None:
    connection.execute(rows.upsert(t.meta), {"key": META, "value": msgspec.json.encode(after)})
    what = "kill-switch.on" if after.on else "kill-switch.off"
    audit.record(connection, store.tenant, after.by, what, "", after.reason, after.at_ms or 0)


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        message = f"{file}: cannot be removed ({error.strerror}), so nothing is sent; remove it"
        raise StuckError(message) from error


def killed(store: Store) -> bool:
    """Whether nothing may be sent now; cheaper than `kill_switch`, for asking often."""
    if file_of(store).exists():
        return True
    with store.reading() as connection:
        data = connection.execute(sa.select(t.meta.c.value).where(t.meta.c.key == META)).scalar_one_or_none()
    return data is not None and _decoded(bytes(data)).on


def _decoded(data: bytes) -> KillSwitch:
    try:
        return msgspec.json.decode(data, type=KillSwitch)
    except msgspec.MsgspecError:
        return KillSwitch(True)
