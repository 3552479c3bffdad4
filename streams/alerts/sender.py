"""Keeps Alertmanagers told of the cases: look → decide → send to each → look again, in a thread beside the engines.

Promises
- A case that is open is an alert that fires in every Alertmanager that can be reached, within seconds of its opening,
  and stays one: it is sent again at `resend`, and counts as resolved there only where nothing was sent for `expire`.
- What was told stands in the store: a restart resolves nothing, and resolves what ended meanwhile.
- Alertmanagers do not wait for each other. One that can't be reached is asked again after growing pauses, at most half
  a minute, and then gets all that fires and what ended while it was away, for a day.
- Where the store can't be read or written now, what was told before is kept firing.
- Every request is checked by `streams.net`; no message holds an address.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from detector.errors import ConfigError, Problem, TocsinError
from detector.fields import did_you_mean, listed, shown
from streams.alerts.told import Key, Told, following, posted
from streams.background import Background
from streams.clock import Clock
from streams.net import NoAnswerError, RefusedError, Way
from streams.sections import AlertmanagerSection
from streams.settings import Secret, Settings, secret_of
from streams.store import Store, queries

PATH = "/api/v2/alerts"
LOOK_S = 5.0
"""How often it looks by itself; a commit wakes it."""
PAUSE_S = 0.25
"""Between two rounds, unless it is woken."""
FIRST_AGAIN_S, LONGEST_AGAIN_S = 1.0, 30.0
KEPT_MS = 86_400_000
"""An end that an Alertmanager has not taken is told for so long."""
AT_A_TIME = 200
"""Alerts in a request."""
STOP_S = 2.0

_log = structlog.get_logger()


@dataclass
class _Endpoint:
    """One Alertmanager."""

    number: int
    url: str
    taken: dict[Key, tuple[bool, float]] = field(default_factory=dict)
    """What it took last of each alert: whether it fires, and when that was."""
    failures: int = 0
    not_before_s: float = 0.0
    task: "asyncio.Task[None] | None" = None

    def due(self, alerts: Sequence[Told], now_s: float, resend_s: float) -> list[Told]:
        if now_s < self.not_before_s or self.task is not None:
            return []

        def wanted(told: Told) -> bool:
            fires, at_s = self.taken.get(told.key, (None, 0.0))
            return fires is not (told.ended_ms is None) or now_s - at_s >= resend_s

        return [told for told in alerts if wanted(told)]

    def note(self, *, ok: bool, now_s: float) -> None:
        self.failures = 0 if ok else self.failures + 1
        pause_s = 0.0 if ok else min(FIRST_AGAIN_S * 2 ** min(self.failures - 1, 10), LONGEST_AGAIN_S)
        self.not_before_s = now_s + pause_s

    def has(self, told: Told) -> bool:
        return self.taken.get(told.key, (True, 0.0))[0] is False


class AlertSender(Background):
    """Sends one tenant's cases to its Alertmanagers, from `start` to `stop`.

    Parameters
    ----------
    store
        Of a live run; the thread opens a handle of its own.

    Raises
    ------
    ConfigError
        The certificates are not there.
    """

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        super().__init__("alerts")
        section = settings.alertmanager
        assert section is not None
        self._given, self._clock, self._section = store, clock, section
        self._public_url = settings.service.public_url
        self._headers = _headers(section, settings.directory)
        self._way = _way(section, settings.directory)
        self._endpoints = [_Endpoint(n, url.rstrip("/") + PATH) for n, url in enumerate(section.urls)]
        self._alerts: tuple[Told, ...] = ()
        self._written: list[tuple[Key, int, int | None]] | None = None
        """What is written down of them; None: not read yet."""
        self._changed, self._looked_s = False, float("-inf")
        self._error = ""

    # --- for whoever runs it --------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Say that cases may have changed."""
        self._changed = True
        super().wake()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End, and resolve nothing; returns whether it did in time."""
        return super().stop(timeout_s)

    def status(self) -> dict[str, Any]:
        """Return how it goes: `alive`, `error` of the store, `firing`, and by Alertmanager whether it takes alerts."""
        firing = sum(told.ended_ms is None for told in self._alerts)
        taken = [endpoint.failures == 0 for endpoint in self._endpoints]
        return {"alive": self.alive, "error": self._error, "firing": firing, "taken": taken}

    # --- the thread -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        with self._given.again() as self._store:
            try:
                while not self._stopping.is_set():
                    await self._round()
                    await self._pause(PAUSE_S)
            finally:
                tasks = [endpoint.task for endpoint in self._endpoints if endpoint.task is not None]
                if tasks:
                    await asyncio.wait(tasks, timeout=STOP_S)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._way.close()

    async def _round(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._changed or now_s - self._looked_s >= LOOK_S:
            self._changed, self._looked_s = False, now_s
            try:
                await asyncio.to_thread(self._look, self._clock.now_ms())
            except TocsinError as error:  # the store can't be read or written now: what was told is kept firing
                self._complain(str(error))
            else:
                self._error = ""
        for endpoint in self._endpoints:
            due = endpoint.due(self._alerts, now_s, self._section.resend / 1_000)
            if due:
                endpoint.task = asyncio.get_running_loop().create_task(self._send(endpoint, due))

    def _look(self, now_ms: int) -> None:
        """Take the cases as they are, and write down what is told of them."""
        name = f"alerts:{self._store.tenant}"
        if self._written is None:
            self._alerts = _read(self._store.meta(name))
            self._written = _standing(self._alerts)
        cases = queries.list_cases(self._store)
        now = following(self._alerts, cases, self._section, now_ms, self._public_url)
        self._alerts = tuple(told for told in now if not self._done(told, now_ms))
        keys = {told.key for told in self._alerts}
        for endpoint in self._endpoints:
            endpoint.taken = {key: taken for key, taken in endpoint.taken.items() if key in keys}
        standing = _standing(self._alerts)
        if standing != self._written:  # numbers in the annotations change all the time, and are not worth a write
            self._store.set_meta(name, msgspec.json.encode(self._alerts))
            self._written = standing

    def _done(self, told: Told, now_ms: int) -> bool:
        """Whether an end need not be told any more: all know it, and have for long; or it was yesterday."""
        if told.ended_ms is None:
            return False
        for_ms = now_ms - told.ended_ms
        known = all(endpoint.has(told) for endpoint in self._endpoints)
        return for_ms > KEPT_MS or (known and for_ms > self._section.expire)

    async def _send(self, endpoint: _Endpoint, due: Sequence[Told]) -> None:
        try:
            for i in range(0, len(due), AT_A_TIME):
                some = due[i : i + AT_A_TIME]
                said = await self._post(endpoint, some)
                now_s = self._clock.monotonic_s()
                endpoint.note(ok=not said, now_s=now_s)
                if said:
                    if endpoint.failures == 1:
                        _log.warning("alertmanager_fails", number=endpoint.number, error=said)
                    return
                endpoint.taken |= {told.key: (told.ended_ms is None, now_s) for told in some}
        finally:
            endpoint.task = None

    async def _post(self, endpoint: _Endpoint, alerts: Sequence[Told]) -> str:
        """Return what went wrong; empty where nothing did."""
        now_ms = self._clock.now_ms()
        body = msgspec.json.encode([posted(told, now_ms, self._section.expire) for told in alerts])
        try:
            secrets = {name: secret.read(1).decode() for name, secret in self._headers.items()}
            headers = {"Content-Type": "application/json", **secrets}
            answer = await self._way.request("POST", endpoint.url, headers, body)
        except ConfigError:
            return "a header's secret is not where the settings say"
        except UnicodeDecodeError:
            return "a header's secret is no text"
        except (NoAnswerError, RefusedError) as error:
            return str(error)
        except Exception as error:  # of ours: the others are told all the same
            _log.exception("alertmanager_broke", number=endpoint.number)
            return f"internal error ({type(error).__name__})"
        return "" if 200 <= answer.status < 300 else f"HTTP {answer.status}"

    def _complain(self, error: str) -> None:
        if error != self._error:
            _log.warning("alerts_wait", error=error)
        self._error = error


def problems(settings: Settings) -> list[Problem]:
    """Return what is named in the settings and is not there: secrets, certificates, dimensions of no signal."""
    section, found = settings.alertmanager, list[Problem]()
    if section is None:
        return found
    for secret in _headers(section, settings.directory).values():
        try:
            secret.read(1)
        except ConfigError as error:
            found += error.problems
    try:
        _way(section, settings.directory)
    except ConfigError as error:
        found += error.problems
    known = sorted({dimension for signal in settings.config.signals for dimension in signal.dimensions})
    allowed = f"dimensions of signals: {listed(known)}" if known else "none: no signal has dimensions"
    for i, name in enumerate(section.dimensions):
        if name not in known:
            where, do = f"tocsin.yml: alertmanager.dimensions[{i}]", did_you_mean(name, known)
            found.append(Problem(where, shown(name), allowed, do))
    return found


def _read(written: bytes | None) -> tuple[Told, ...]:
    """Return what was told; nothing where it can't be read: then it is told anew."""
    try:
        return msgspec.json.decode(written or b"[]", type=tuple[Told, ...])
    except msgspec.DecodeError:
        _log.warning("alerts_forgotten")
        return ()


def _standing(alerts: Iterable[Told]) -> list[tuple[Key, int, int | None]]:
    return [(told.key, told.starts_ms, told.ended_ms) for told in alerts]


def _headers(section: AlertmanagerSection, directory: Path) -> Mapping[str, Secret]:
    where = "tocsin.yml: alertmanager.headers"
    found = {name: secret_of(secret, f"{where}.{name}", directory) for name, secret in section.headers.items()}
    return {name: secret for name, secret in found.items() if secret is not None}


def _way(section: AlertmanagerSection, directory: Path) -> Way:
    file = None if section.ca_file is None else directory / section.ca_file
    try:
        return Way(section.rules, limit_s=section.timeout / 1_000, authorities=file)
    except OSError as error:
        problem = Problem("tocsin.yml: alertmanager.ca_file", shown(section.ca_file), "a file of certificates (PEM)")
        raise ConfigError([problem]) from error
