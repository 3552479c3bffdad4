"""A small world for the Desk's tests: windows and anomalies made by hand, minute by minute."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from detector.config import MINUTE_MS, Config, Input, Policy, QuietHours
from detector.counter.record import SignalWindow, WindowRecord
from detector.desk.desk import Desk
from detector.desk.records import (
    Case,
    Command,
    DeskEffects,
    EvidencePoint,
    Kind,
    LedgerRow,
    LogRecord,
    Notice,
    Payload,
    Reach,
    TimelineEntry,
    Verb,
    Verdict,
    WindowClosed,
)
from detector.events import Ints
from detector.signals import Direction, Measure, Mode, Severity, Signal
from detector.watch.anomaly import Anomaly, Cause, Phase, Point, Why

T0 = 1_700_000_040_000 // MINUTE_MS * MINUTE_MS
LATENESS_MS = 2 * MINUTE_MS
NO_QUIET = QuietHours(0, 0)
WHY = Why(10.0, 8.0, "1 false case per week, level single", 10, 0.1)
ANYONE = Reach(language="id", time_zone="Asia/Jakarta", channels=frozenset({"whatsapp", "email"}))

Cell = tuple[str, ...]
Happening = tuple[int, Cell, int]
"""Customer, cell, milliseconds after the window's start."""


def signal(name: str, dimensions: tuple[str, ...], *, mode: Mode = Mode.LIVE, silence: bool = False) -> Signal:
    return Signal(
        name=name,
        title={"en": f"{name} fails", "id": f"{name} gagal"},
        what={"en": name, "id": name},
        events=(),
        measure=Measure.COUNT if silence else Measure.SHARE,
        direction=Direction.DOWN if silence else Direction.UP,
        dimensions=dimensions,
        window_ms=MINUTE_MS,
        mode=mode,
        severity=Severity.HIGH,
    )


LOGIN = signal("login", ("app", "provider"))
PAYMENT = signal("payment", ("bank", "app"))
SILENCE = signal("checkout", ("app",), silence=True)
HIDDEN = signal("hidden", ("app", "provider"), mode=Mode.SHADOW)


def config(**policy: object) -> Config:
    settings: dict[str, object] = {"quiet": NO_QUIET, **policy}
    return Config(
        input=Input(lateness_ms=LATENESS_MS),
        signals=(LOGIN, PAYMENT, SILENCE, HIDDEN),
        policy=msgspec.convert(settings, Policy),
    )


def losing(settings: Config, *names: str) -> Config:
    """The same with losses in these signals."""
    signals = (msgspec.structs.replace(s, loss="amount", loss_unit="IDR") for s in settings.signals if s.name in names)
    changed = {s.name: s for s in signals}
    return msgspec.structs.replace(settings, signals=tuple(changed.get(s.name, s) for s in settings.signals))


def ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), np.int64)


def signal_window(
    start_ms: int, bad: Sequence[Happening], back: Sequence[Happening], *, losing: bool = False
) -> SignalWindow:
    """One signal's window; of one that loses each failure is worth as many thousandths as it came milliseconds in."""
    cells = sorted({cell for _, cell, _ in (*bad, *back)})
    zeros = np.zeros(len(cells), np.int64)
    return SignalWindow(
        cells=cells,
        people=zeros,
        total=zeros,
        attempts=zeros,
        bad_customer=ints(c for c, _, _ in bad),
        bad_cell=ints(cells.index(cell) for _, cell, _ in bad),
        bad_time_ms=ints(start_ms + at for _, _, at in bad),
        back_customer=ints(c for c, _, _ in back),
        back_cell=ints(cells.index(cell) for _, cell, _ in back),
        back_time_ms=ints(start_ms + at for _, _, at in back),
        bad_loss_milli=ints(at for _, _, at in bad) if losing else msgspec.UNSET,
    )


@dataclass(frozen=True)
class Minute:
    """What happened in one window, by signal; contacts are (customer, milliseconds after its start)."""

    bad: Mapping[str, Sequence[Happening]] = field(default_factory=dict)
    back: Mapping[str, Sequence[Happening]] = field(default_factory=dict)
    contacts: Sequence[tuple[int, int]] = ()

    def record(self, start_ms: int, losing: Collection[str] = ()) -> WindowRecord:
        names = sorted({*self.bad, *self.back})
        return WindowRecord(
            tenant="default",
            partition=0,
            window_ms=start_ms,
            width_ms=MINUTE_MS,
            signals={
                n: signal_window(start_ms, self.bad.get(n, ()), self.back.get(n, ()), losing=n in losing) for n in names
            },
            contact_customer=ints(c for c, _ in self.contacts),
            contact_time_ms=ints(start_ms + at for _, at in self.contacts),
            contact_channel=["chat"] * len(self.contacts),
        )

    def renamed(self, names: Mapping[int, int]) -> "Minute":
        """The same with other keys for the customers."""

        def those(of: Mapping[str, Sequence[Happening]]) -> dict[str, list[Happening]]:
            return {s: [(names.get(c, c), cell, at) for c, cell, at in happened] for s, happened in of.items()}

        contacts = [(names.get(c, c), at) for c, at in self.contacts]
        return replace(self, bad=those(self.bad), back=those(self.back), contacts=contacts)


class Records:
    """`History` over a list of records."""

    def __init__(self) -> None:
        self.all: list[WindowRecord] = []

    def windows(self, from_ms: int, to_ms: int) -> Iterator[WindowRecord]:
        return (r for r in self.all if from_ms <= r.window_ms < to_ms)


class People:
    """`Directory` where everybody is known and reachable, but for those named otherwise."""

    def __init__(self, others: Mapping[int, Reach | None] | None = None) -> None:
        self.others = dict(others or {})

    def reach(self, customers: Ints) -> dict[int, Reach]:
        found = {c: self.others.get(c, ANYONE) for c in customers.tolist()}
        return {c: r for c, r in found.items() if r is not None}


@dataclass
class Store:
    """What a store holds after the effects were written."""

    cases: dict[str, Case] = field(default_factory=dict)
    ledger: dict[tuple[str, int], LedgerRow] = field(default_factory=dict)
    notices: dict[tuple[str, int, Kind, int], Notice] = field(default_factory=dict)
    timeline: list[TimelineEntry] = field(default_factory=list)
    evidence: dict[tuple[str, str, int], EvidencePoint] = field(default_factory=dict)

    def write(self, effects: DeskEffects) -> None:
        self.cases.update({c.id: c for c in effects.cases})
        self.ledger.update({(r.case, r.customer): r for r in effects.ledger})
        self.notices.update({(n.case, n.customer, n.kind, n.episode): n for n in effects.notices})
        self.timeline.extend(effects.timeline)
        for case, name in effects.rewritten:
            self.evidence = {k: p for k, p in self.evidence.items() if k[:2] != (case, name)}
        self.evidence.update({(p.case, p.signal, p.point.window_ms): p for p in effects.evidence})

    def listed(self, case: str) -> dict[int, LedgerRow]:
        return {c: r for (k, c), r in self.ledger.items() if k == case and not r.withdrawn}

    def story(self, case: str) -> list[str]:
        return [t.what for t in self.timeline if t.case == case]

    def notice(self, case: str, customer: int, kind: Kind = Kind.PROBLEM, episode: int = 1) -> Notice:
        return self.notices[case, customer, kind, episode]


def point(window_ms: int, observed: int, expected: float) -> Point:
    return Point(window_ms, observed, expected, 10 * max(observed, 1), 0.0, expected * 2)


def anomaly(
    id: str,
    signal: str,
    where: Mapping[str, str] | Sequence[Mapping[str, str]],
    window_ms: int,
    *,
    phase: Phase = Phase.UPDATED,
    onset_ms: int = T0,
    ended_ms: int | None = None,
    observed: int = 10,
    expected: float = 1.0,
    trials: int = 1000,
    points: Sequence[Point] | None = None,
    rewrite: bool = False,
    new_level: float | None = None,
    why: Why = WHY,
) -> Anomaly:
    if points is None:  # as Watch does: the new window, and all since the onset in its first word
        first_ms = onset_ms if phase is Phase.OPENED else window_ms
        points = [point(at, observed, expected) for at in range(first_ms, window_ms + 1, MINUTE_MS)]
    causes = [where] if isinstance(where, Mapping) else where
    return Anomaly(
        id=id,
        signal=signal,
        phase=phase,
        at_ms=window_ms + MINUTE_MS + LATENESS_MS,
        window_ms=window_ms,
        onset_ms=onset_ms,
        detected_ms=onset_ms + 3 * MINUTE_MS,
        ended_ms=ended_ms,
        causes=tuple(Cause(dict(w), 1.0 / len(causes)) for w in causes),
        observed=observed,
        expected=expected,
        trials=trials,
        score=12.0,
        points=tuple(points),
        rewrite=rewrite,
        new_level=new_level,
        why=why,
    )


class World:
    """A Desk that is driven minute by minute, and what a store would hold of it."""

    def __init__(self, settings: Config | None = None, others: Mapping[int, Reach | None] | None = None) -> None:
        self.config = settings or config()
        self.losing = {s.name for s in self.config.signals if s.loss is not msgspec.UNSET}
        self.desk = Desk(self.config)
        self.records = Records()
        self.people = People(others)
        self.store = Store()
        self.minute = 0
        self.seq = 0

    @property
    def window_ms(self) -> int:
        """Start of the next window."""
        return T0 + self.minute * MINUTE_MS

    @property
    def now_ms(self) -> int:
        """Time of the last barrier."""
        return self.window_ms + LATENESS_MS

    def step(self, payload: Payload, at_ms: int) -> DeskEffects:
        self.seq += 1
        record = LogRecord(tenant="default", seq=self.seq, at_ms=at_ms, payload=payload)
        effects = self.desk.step(record, self.records, self.people)
        self.store.write(effects)
        return effects

    def go(self, minute: Minute | None = None, *anomalies: Anomaly) -> DeskEffects:
        """Close the next window."""
        start_ms = self.window_ms
        self.records.all.append((minute or Minute()).record(start_ms, self.losing))
        self.minute += 1
        closed = WindowClosed(window_ms=start_ms, width_ms=MINUTE_MS, anomalies=anomalies)
        return self.step(closed, start_ms + MINUTE_MS + LATENESS_MS)

    def rest(self, minutes: int) -> None:
        """Let empty windows pass."""
        for _ in range(minutes):
            self.go()

    def skip(self, minutes: int) -> None:
        """Let so many minutes pass in one barrier: nothing happens in them."""
        self.minute += minutes - 1
        self.go()

    def command(self, verb: Verb, case: str, verdict: Verdict | None = None, into: str | None = None) -> DeskEffects:
        return self.step(Command(verb, case, "ani", verdict, into), self.now_ms)


def fails(name: str, customers: Iterable[int], cell: Cell, at: int = 1000) -> dict[str, list[Happening]]:
    return {name: [(c, cell, at) for c in customers]}
