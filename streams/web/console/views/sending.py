"""How sending stands, for people: what is stuck, what waits and why, how much of the limits is used, what failed.

What the notifier says of itself (circuits, which limits bind) is as old as its last word; all other numbers are the
store's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.outbox.kill_switch import KillSwitch, kill_switch
from streams.settings import Settings
from streams.store import RECORDING, Store, outgoing
from streams.store.outgoing import DAY_MS, Held, Outcomes, Queue
from streams.store.standing import FRESH_MS, Process, standing

DOWN = ("open", "half-open", "stopped")
LIST_STATES = ("waiting", "claimed", "unknown", "failed", "sent", "suppressed")


@dataclass(frozen=True)
class Channel:
    """One channel as it stands.

    Attributes
    ----------
    circuit
        `closed`, `open`, `half-open`, `stopped`; "" where nobody has said.
    stopped
        Why the other side refuses us; "": it does not.
    waiting, later, claimed, unknown
        Of the outbox; `later` are those of `waiting` that are tried again later.
    since_ms
        Since when the longest due one waits.
    hour, day
        What went out, and what failed for good, in the last hour; attempts that failed in the last day.
    """

    name: str
    used: bool
    circuit: str
    stopped: str
    waiting: int
    later: int
    next_ms: int | None
    claimed: int
    unknown: int
    since_ms: int | None
    hour: int
    failed_day: int

    @property
    def down(self) -> bool:
        return self.circuit in DOWN


@dataclass(frozen=True)
class Cap:
    """A limit and how much of it is used: `hour`, `signal`, `rate` (a second) or `tier` (customers in a day)."""

    kind: str
    name: str
    """Of the signal or channel; "": all together."""
    used: int | None
    most: float
    binds: bool


@dataclass(frozen=True)
class Effect:
    """What the kill switch does now, in numbers."""

    waiting: int
    by_channel: tuple[tuple[str, int], ...]
    under_way: int
    stale_soon: int
    """Of those that wait: not sent any more within the hour."""


@dataclass(frozen=True)
class Sending:
    """How sending stands.

    Attributes
    ----------
    seen_ms, silent
        When the process that sends spoke last, and whether that is too long ago (or never).
    error
        What it waits for, or died of.
    failures
        Attempts of the last 24 hours that did not get through.
    """

    real: bool
    recording: bool
    switch: KillSwitch
    channels: tuple[Channel, ...]
    caps: tuple[Cap, ...]
    held: tuple[Held, ...]
    failures: tuple[Outcomes, ...]
    effect: Effect
    unknown: int
    went_hour: int
    seen_ms: int | None
    silent: bool
    error: str

    @property
    def waiting(self) -> int:
        return self.effect.waiting

    @property
    def held_total(self) -> int:
        return sum(one.n for one in self.held)

    @property
    def bound(self) -> tuple[Cap, ...]:
        return tuple(cap for cap in self.caps if cap.binds and cap.kind != "rate")

    @property
    def stuck(self) -> bool:
        """Whether something waits that does not go by itself soon."""
        down = any(channel.down and channel.waiting for channel in self.channels)
        stopped = any(channel.stopped for channel in self.channels)
        return self.switch.on or down or stopped or bool(self.bound) or self.unknown > 0 or self._left

    @property
    def _left(self) -> bool:
        return self.real and not self.recording and self.silent


def sending(store: Store, settings: Settings, now_ms: int) -> Sending:
    """Return how sending stands at a moment."""
    now = standing(store, now_ms)
    work = now.sender
    says: Mapping[str, Any] = {} if work is None else work.body.get("notifier") or {}
    queues = outgoing.queues(store, now_ms)
    used = settings.config.policy.channels
    names = tuple(dict.fromkeys((*used, *says.get("circuits", {}), *(q.channel for q in queues))))
    gone = outgoing.gone_out(store, names, now_ms)
    came = outgoing.outcomes(store, names, now_ms - DAY_MS)
    failures = tuple(one for one in came if one.outcome in ("failed", "again", "unknown"))
    channels = tuple(
        _channel(name, name in used, says, queues, now.outbox_since_ms.get(name), gone.hour, failures) for name in names
    )
    silent = work is None or now_ms - work.at_ms > FRESH_MS
    return Sending(
        real=settings.config.policy.send,
        recording=store.mode == RECORDING,
        switch=kill_switch(store),
        channels=channels,
        caps=_caps(settings, names, gone, bound_of(str(says.get("held_by") or ""))),
        held=tuple(outgoing.held(store)),
        failures=failures,
        effect=effect(queues),
        unknown=sum(q.n for q in queues if q.state == "unknown"),
        went_hour=sum(gone.hour.values()),
        seen_ms=None if work is None else work.at_ms,
        silent=silent,
        error=_error(work, says),
    )


def _error(work: Process | None, says: Mapping[str, Any]) -> str:
    return "" if work is None else str(says.get("error") or "")


def _channel(
    name: str,
    used: bool,
    says: Mapping[str, Any],
    queues: list[Queue],
    since_ms: int | None,
    hour: Mapping[tuple[str, str], int],
    failures: tuple[Outcomes, ...],
) -> Channel:
    mine = {q.state: q for q in queues if q.channel == name}
    waiting = mine.get("waiting")
    stopped = str(says.get("stopped", {}).get(name) or "")
    return Channel(
        name=name,
        used=used,
        circuit="stopped" if stopped else str(says.get("circuits", {}).get(name, "")),
        stopped=stopped,
        waiting=waiting.n if waiting else 0,
        later=waiting.later if waiting else 0,
        next_ms=waiting.next_ms if waiting else None,
        claimed=mine["claimed"].n if "claimed" in mine else 0,
        unknown=mine["unknown"].n if "unknown" in mine else 0,
        since_ms=since_ms,
        hour=sum(n for (channel, _), n in hour.items() if channel == name),
        failed_day=sum(one.n for one in failures if one.channel == name),
    )


def _caps(
    settings: Settings, channels: tuple[str, ...], gone: outgoing.GoneOut, binds: Mapping[str, frozenset[str]]
) -> tuple[Cap, ...]:
    """Return the limits with what went out."""
    by_signal: dict[str, int] = {}
    for (_, signal), n in gone.hour.items():
        by_signal[signal] = by_signal.get(signal, 0) + n
    everything, most, each = sum(by_signal.values()), settings.sending.per_hour, settings.sending.per_signal_hour
    out = [Cap("hour", "", everything, most, "hour" in binds)]
    signals = sorted({*by_signal, *binds.get("signal", ())})
    out += [Cap("signal", name, by_signal.get(name, 0), each, name in binds.get("signal", ())) for name in signals]
    if not signals:
        out.append(Cap("signal", "", 0, each, False))
    for name in channels:
        given = settings.channels.get(name, {})
        if given.get("per_day"):
            n = gone.customers_day.get(name, 0)
            out.append(Cap("tier", name, n, float(given["per_day"]), name in binds.get("tier", ())))
        if given.get("per_second"):
            out.append(Cap("rate", name, None, float(given["per_second"]), name in binds.get("rate", ())))
    return tuple(out)


def bound_of(words: str) -> dict[str, frozenset[str]]:
    """Return which limits bind, of which signals or channels, as the notifier words it (`streams.outbox.limits.named`).

    Examples
    --------
    >>> sorted((limit, sorted(names)) for limit, names in bound_of("hour; signal: logins, payments").items())
    [('hour', []), ('signal', ['logins', 'payments'])]
    """
    out: dict[str, frozenset[str]] = {}
    for part in filter(None, words.split("; ")):
        limit, _, names = part.partition(": ")
        out[limit] = frozenset(filter(None, names.split(", ")))
    return out


def effect(queues: list[Queue]) -> Effect:
    """Return what the kill switch would stop, or let go."""
    waiting = [q for q in queues if q.state == "waiting"]
    by_channel = sorted(((q.channel, q.n) for q in waiting), key=lambda item: (-item[1], item[0]))
    return Effect(
        waiting=sum(q.n for q in waiting),
        by_channel=tuple(by_channel),
        under_way=sum(q.n for q in queues if q.state == "claimed"),
        stale_soon=sum(q.stale_soon for q in waiting),
    )


def seen(switch: KillSwitch) -> str:
    """Return how the switch stood, as a form carries it: another turn in between shows.

    Examples
    --------
    >>> seen(KillSwitch(False)), seen(KillSwitch(True, "person:ani", "wrong words", 7))
    ('off:0', 'on:7')
    """
    return f"{'on' if switch.on else 'off'}:{switch.at_ms or 0}"
