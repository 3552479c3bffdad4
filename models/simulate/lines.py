"""Events as NDJSON lines: what took place in a block, written in the order in which it arrives.

A small share arrives some seconds late and a few lines arrive twice, as they do behind any queue.
"""

from datetime import UTC, datetime

import msgspec
import numpy as np

from detector.events import Ints
from models.simulate.traffic import Contacts, Done
from models.simulate.words import BY_PHONE_SHARE, CHANNEL_WEIGHTS, CHANNELS, TEXTS, TOPICS
from models.simulate.world import API, LOGIN, PAYMENT, Dimensions, Kind, pick

LATE_SHARE = 0.015
TWICE_SHARE = 0.001
MAX_DELAY_MS = 45_000
"""No event arrives later than this after its time."""

_MILLIS = tuple(f"{ms:03d}Z" for ms in range(1_000))
_OUTCOMES = {LOGIN.name: ("success", "failure"), PAYMENT.name: ("approved", "declined")}


def rfc3339(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds.

    Examples
    --------
    >>> rfc3339(1_772_409_600_250)
    '2026-03-02T00:00:00.250Z'
    """
    return datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + _MILLIS[time_ms % 1_000]


class _Tails(dict[int, str]):
    """The rest of a line after the customer, by cell and outcome: made once, then looked up."""

    def __init__(self, kind: Kind, dimensions: Dimensions) -> None:
        super().__init__()
        self._kind, self._dimensions = kind, dimensions

    def __missing__(self, code: int) -> str:
        cell, bad = divmod(code, 2)
        at = np.unravel_index(cell, self._dimensions.sizes(self._kind))
        parts = {d: self._dimensions.values[d][int(i)] for d, i in zip(self._kind.dimensions, at, strict=True)}
        if self._kind.name in _OUTCOMES:
            parts = {"outcome": _OUTCOMES[self._kind.name][bad]} | parts
        tail = self[code] = msgspec.json.encode(parts).decode()[1:]
        return tail


class Writer:
    """Turns a run's blocks into bytes, in order; keeps what arrives after its block's end."""

    def __init__(
        self, rng: np.random.Generator, dimensions: Dimensions, ids: list[str], phones: list[str], english: Ints
    ) -> None:
        self._rng, self._ids, self._phones, self._english = rng, ids, phones, english
        self._tails = {kind.name: _Tails(kind, dimensions) for kind in (LOGIN, PAYMENT)}
        self._dimensions = dimensions
        self._next = 1
        self._late: tuple[Ints, list[str]] = (np.zeros(0, np.int64), [])
        self.events = 0
        """Lines written so far, the second copies too."""

    def block(self, done: list[Done], contacts: Contacts, start_ms: int, end_ms: int, last: bool) -> bytes:
        """Lines that arrive before `end_ms` (in the last block: all of them)."""
        rng = self._rng
        times = np.concatenate([*(d.time_ms for d in done), contacts.time_ms])
        n = len(times)
        number = np.empty(n, np.int64)
        number[np.argsort(times, kind="stable")] = np.arange(self._next, self._next + n)
        self._next += n
        lines: list[str] = []
        seconds = [rfc3339(s)[:-4] for s in range(start_ms, end_ms, 1_000)]
        for part in done:
            upto = len(lines) + len(part.time_ms)
            lines += self._lines(part, number[len(lines) : upto], seconds, start_ms)
        lines += self._contact_lines(contacts, number[len(lines) :])

        arrival = times.copy()
        late = np.flatnonzero(rng.random(n) < LATE_SHARE)
        arrival[late] += np.minimum(rng.exponential(6_000, len(late)), MAX_DELAY_MS).astype(np.int64)
        twice = np.flatnonzero(rng.random(n) < TWICE_SHARE)
        again = np.minimum(arrival[twice] + rng.integers(0, 20_000, len(twice)), times[twice] + MAX_DELAY_MS)
        lines += [lines[i] for i in twice.tolist()]
        lines += self._late[1]
        arrival = np.concatenate([arrival, again, self._late[0]])
        order = np.argsort(arrival, kind="stable")
        cut = len(order) if last else int(np.searchsorted(arrival[order], end_ms))
        self._late = (arrival[order[cut:]], [lines[i] for i in order[cut:].tolist()])
        self.events += cut
        return "".join([lines[i] for i in order[:cut].tolist()]).encode()

    def _lines(self, part: Done, number: Ints, seconds: list[str], start_ms: int) -> list[str]:
        ids, millis, name = self._ids, _MILLIS, part.kind.name
        if name not in self._tails:
            self._tails[name] = _Tails(part.kind, self._dimensions)
        tails = self._tails[name]
        second, milli = np.divmod(part.time_ms - start_ms, 1_000)
        columns = zip(
            number.tolist(),
            second.tolist(),
            milli.tolist(),
            part.customer.tolist(),
            (part.cell * 2 + part.bad).tolist(),
            strict=True,
        )
        middle = f'","kind":"{name}","customer":"'
        value = {API.name: '"latency_ms":', PAYMENT.name: '"amount":'}.get(name)
        if value is None:
            return [
                f'{{"id":"e{i}","time":"{seconds[s]}{millis[m]}{middle}{ids[c]}",{tails[k]}\n'
                for i, s, m, c, k in columns
            ]
        return [
            f'{{"id":"e{i}","time":"{seconds[s]}{millis[m]}{middle}{ids[c]}",{value}{v},{tails[k]}\n'
            for (i, s, m, c, k), v in zip(columns, part.value.tolist(), strict=True)
        ]

    def _contact_lines(self, contacts: Contacts, number: Ints) -> list[str]:
        rng, n = self._rng, len(number)
        channel = pick(rng, np.array(CHANNEL_WEIGHTS), n)
        chance, choice = rng.random(n), rng.random(n)
        lines = []
        rows = zip(number.tolist(), contacts.time_ms.tolist(), contacts.customer.tolist(), strict=True)
        for j, (i, time_ms, customer) in enumerate(rows):
            via, topic = CHANNELS[int(channel[j])], TOPICS[int(contacts.topic[j])]
            texts = TEXTS[topic]["en" if self._english[customer] else "id"]
            by_phone = bool(chance[j] < BY_PHONE_SHARE[via]) and self._phones[customer]
            event = {
                "id": f"e{i}",
                "time": rfc3339(time_ms),
                "kind": "contact",
                "customer": by_phone or self._ids[customer],
                "channel": via,
                "topic": topic,
                "text": texts[int(choice[j] * len(texts))],
            }
            lines.append(msgspec.json.encode(event).decode() + "\n")
        return lines
