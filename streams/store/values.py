"""The values that go into and come out of the store beside the core's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

ENGINE = "1"
"""Version of what a snapshot holds; a snapshot of another one is not restored."""


def units(milli: int) -> int | float:
    """Return an amount in its unit of one in thousandths: a whole number where it is one.

    Examples
    --------
    >>> units(84_000), units(99_950)
    (84, 99.95)
    """
    return milli / 1_000 if milli % 1_000 else milli // 1_000


@dataclass(frozen=True)
class Advance:
    """A source was read from `old` (None: never before) up to `new`; `detail` is the intake's own note on it."""

    source: str
    old: int | None
    new: int
    detail: bytes = b""


@dataclass(frozen=True)
class Position:
    next: int
    detail: bytes


@dataclass(frozen=True)
class Snapshot:
    """The pipeline's state at the positions it was committed with."""

    data: bytes
    config: str
    """Hash of the configuration it was made under."""
    ended: bool = False
    """The input's end was reached and all windows are closed."""
    engine: str = ENGINE


@dataclass(frozen=True)
class InForce:
    """A configuration and the window from which it counts."""

    hash: str
    body: bytes
    from_window_ms: int | None


@dataclass(frozen=True)
class IntakeRow:
    """One stretch of the live log: lines as they came, or a tick (`data` None).

    `seq` is the store's to give, when the row is appended.
    """

    source: str
    position: int
    next: int
    ingest_ms: int
    data: bytes | None
    detail: bytes = b""
    seq: int = -1


@dataclass(frozen=True)
class Piece:
    """What comes from a source without places of its own: `size` bytes of it, of which `data` is kept."""

    data: bytes
    size: int
    detail: bytes = b""


@dataclass(frozen=True)
class Waiting:
    """A command in the inbox."""

    id: int
    data: bytes


@dataclass(frozen=True)
class Answer:
    """What came of a command: `refused` with the reason, or done."""

    id: int
    refused: str = ""


@dataclass(frozen=True)
class Commit:
    """Everything one transaction writes beside the effects."""

    advances: Sequence[Advance] = ()
    snapshot: Snapshot | None = None
    config: InForce | None = None
    answers: Sequence[Answer] = ()
    worked_off: int = 0
    """Rows of the live log before this one are behind the snapshot: they are forgotten."""
    retried: Sequence[int] = ()
    """Numbers of dead letters that were read again: they are taken out, and counted as what they are now."""
    sources: Sequence[str] = ()
    """Where each of the effects' invalid records came from."""
    at_ms: int = 0
    """What time it is: when the feed tells what this brought."""


def rfc3339(ms: int) -> str:
    """Return epoch milliseconds as RFC 3339 in UTC.

    Examples
    --------
    >>> rfc3339(1_767_225_600_250), rfc3339(1_767_225_600_000)
    ('2026-01-01T00:00:00.250Z', '2026-01-01T00:00:00Z')
    """
    seconds, rest = divmod(ms, 1_000)
    return f"{_second(seconds)}.{rest:03d}Z" if rest else f"{_second(seconds)}Z"


@lru_cache(8_192)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
