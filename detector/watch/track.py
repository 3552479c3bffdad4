"""One problem of one signal, followed from its detection until it has stayed gone.

While a track is open, the cells in its causes have left the population: they neither teach the baseline nor count in
any other segment. Window by window the track revises its causes and its onset, and judges on evidence whether the
excess is gone, has come back, or has stayed gone.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.config import HOUR_MS, MINUTE_MS
from detector.events import Floats, Ints
from detector.watch.anomaly import Beside, Cause, Contrast, Phase, Point
from detector.watch.causes import Cells, Found, find_causes, noise_of
from detector.watch.evidence import deviance, poisson_gain, wandered
from detector.watch.newlevel import new_level
from detector.watch.segments import Segments
from detector.watch.span import SILENT, end, onset

REVISE_EACH, REVISE_OFTEN = 30, 240
"""Causes and onset are revised each window for so many windows after detection, then every 5th, then every 15th."""
BETTER_NATS = 3.0
"""New causes replace the old only if they explain so much more."""
DATE_EVERY = 5
QUARTER = 0.25
END_NATS = 8.0
SETTLE_MS = 30 * MINUTE_MS
RECOVERY_WINDOWS = 5
SILENCE_WINDOWS = 15
RELAPSE_NATS = 8.0
NEW_LEVEL_MS = 3 * HOUR_MS
"""Silence in which so long after it was found a good part of the volume still flows is a new level."""
BEFORE = 60
"""Windows of evidence shown before the onset."""


Flags = NDArray[np.bool_]


@dataclass
class WindowCells:
    """A window's cells: row, k, μ and n of each."""

    window_ms: int
    rows: Ints
    observed: Floats
    expected: Floats
    trials: Floats


@dataclass
class _Series:
    """Per window k, μ and n in the causes `key`: derived, kept only for speed."""

    key: tuple[tuple[tuple[str, str], ...], ...]
    rows: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass
class _Sums:
    """Per cell k, μ and n over a span: derived, added window by window, so the same however it came about."""

    from_ms: int
    until_ms: int
    seen: int = 0
    sums: Floats = field(default_factory=lambda: np.zeros((3, 0)))

    def add(self, windows: list[WindowCells], cells: int) -> None:
        if self.sums.shape[1] < cells:
            self.sums = np.concatenate([self.sums, np.zeros((3, cells - self.sums.shape[1]))], axis=1)
        for w in windows[self.seen :]:
            if self.from_ms <= w.window_ms < self.until_ms:
                self.sums[0, w.rows] += w.observed
                self.sums[1, w.rows] += w.expected
                self.sums[2, w.rows] += w.trials
        self.seen = len(windows)


@dataclass
class Track:
    """An open problem.

    `windows` begins some hours before the onset; `causes` are sets of dimension values, disjoint in the order found.
    """

    id: str
    detected_ms: int
    threshold: float
    source: str
    """What the threshold comes from."""
    segment: dict[str, str]
    """The segment that passed it."""
    share: bool
    up: bool
    noises: Floats
    """float64[families]: the learned noise when it was opened."""
    noise: float
    """That of the segment that raised it."""
    clump: float
    """Attempts that make one piece of evidence (1 for people)."""
    windows: list[WindowCells]
    phase: Phase = Phase.OPENED
    wheres: list[dict[str, str]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    same: list[list[dict[str, str]]] = field(default_factory=list)
    """Per cause other names of its cells."""
    onset_ms: int = 0
    ended_ms: int | None = None
    began: Floats = field(default_factory=lambda: np.zeros(0))
    """float64[first windows]: probability that it had begun by each; later ones: 1."""
    lasting: Floats = field(default_factory=lambda: np.zeros(0))
    """float64[windows from the onset to where the end was seen]: probability that it was still on."""
    likely_end_ms: int | None = None
    """Where it may have ended, not yet on evidence: what came after tells nothing of the causes."""
    recovering_since_ms: int | None = None
    new_level: float | None = None
    """It ended because it has become normal: so many times what was expected."""
    observed: int = 0
    expected: float = 0.0
    trials: int = 0
    score: float = 0.0
    told: int = 0
    """Windows (of `windows`) whose points were given out."""
    rewrite: bool = True
    _series: "_Series | None" = field(default=None, repr=False)
    _sums: "_Sums | None" = field(default=None, repr=False)

    # --- analysis -------------------------------------------------------------------------------------------------

    def inside(self, segments: Segments) -> Flags:
        """bool[cells]: the cells in any of the causes."""
        covered = np.zeros(len(segments.cells), np.bool_)
        for where in self.wheres:
            covered |= segments.covered(where)
        return covered

    def series(self, segments: Segments) -> tuple[Floats, Floats, Floats]:
        """float64[windows] each: k, μ and n in the causes."""
        key = tuple(map(key_of, self.wheres))
        if self._series is None or self._series.key != key:
            self._series = _Series(key)
        kept = self._series
        if len(kept.rows) < len(self.windows):
            covered = self.inside(segments)
            for w in self.windows[len(kept.rows) :]:
                here = covered[w.rows]
                mu = max(float(w.expected[here].sum()), 1e-9)
                kept.rows.append((float(w.observed[here].sum()), mu, float(w.trials[here].sum())))
        columns = np.array(kept.rows, np.float64).reshape(-1, 3)
        return columns[:, 0], columns[:, 1], columns[:, 2]

    def _summed(self, segments: Segments) -> Floats:
        """float64[3, cells]: k, μ and n of each cell over [onset, end or likely end or now)."""
        until_ms = self.ended_ms or self.likely_end_ms or 2**62
        if self._sums is None or (self._sums.from_ms, self._sums.until_ms) != (self.onset_ms, until_ms):
            self._sums = _Sums(self.onset_ms, until_ms)
        self._sums.add(self.windows, len(segments.cells))
        return self._sums.sums

    def _gathered(self, segments: Segments, free: Flags) -> Cells:
        """The cells summed over the problem's span, without those that belong to other tracks."""
        observed, expected, trials = self._summed(segments)
        used = np.flatnonzero(((trials > 0) | (expected > 0)) & free)
        clumped = np.maximum(expected[used], 1e-9) / self.clump
        return Cells(segments.cell_codes[used], observed[used] / self.clump, clumped, trials[used])

    def find(self, segments: Segments, free: Flags) -> bool:
        """Find (or revise) the causes over [onset, end or now); True if they changed."""
        cells = self._gathered(segments, free)
        if not len(cells.codes):
            return False
        sizes = tuple(max(len(v), 1) for v in segments.values)
        found = find_causes(cells, sizes, share=self.share, up=self.up, noise=self.noises)
        if not found:
            return False
        lead = self._lead(found, segments)
        wheres = [_where(f, segments) for f in [lead, *(f for f in found if f is not lead and f.family == lead.family)]]
        changed = sorted(map(key_of, wheres)) != sorted(map(key_of, self.wheres))
        if changed and self.wheres:
            needed = self._explained(cells, segments, self.wheres) + BETTER_NATS
            changed = self._explained(cells, segments, wheres) >= needed
        self._weigh(cells, segments, wheres if changed else self.wheres)
        self._sure(found, segments)
        return changed

    def _sure(self, found: list[Found], segments: Segments) -> None:
        """Set how sure each cause is, and its other names; one that is not the best any more is a toss-up."""
        known = {key_of(_where(one, segments)): one for one in found}
        of = [known.get(key_of(where)) for where in self.wheres]
        self.confidences = [round(one.confidence, 4) if one else 0.5 for one in of]
        self.same = [[_where(other, segments) for other in one.same] if one else [] for one in of]

    def _lead(self, found: list[Found], segments: Segments) -> Found:
        """The cause that this problem is about: the strongest, or the one it has been about if that is half as strong.

        Only values of the same dimensions join it ("BNI and BRI"). What else is wrong at the same time is a problem of
        its own: its cells stay in the population and raise what they have to say.
        """
        if self.wheres:
            now = set(self.wheres[0].items())
            for one in found:
                where = set(_where(one, segments).items())
                if (where <= now or now <= where) and one.score >= found[0].score / 2:
                    return one
        return found[0]

    def _weigh(self, cells: Cells, segments: Segments, wheres: list[dict[str, str]]) -> None:
        """Set the causes and the share of the excess that each explains."""
        excess = []
        rest = np.ones(len(cells.codes), np.bool_)
        for where in wheres:
            here = rest & segments.covers(where, cells.codes)
            excess.append(abs(float(cells.observed[here].sum() - cells.expected[here].sum())))
            rest &= ~here
        deviation = cells.observed - cells.expected
        whole = float(np.maximum(deviation if self.up else -deviation, 0.0).sum())
        net = abs(float(deviation.sum()))
        self.wheres = wheres
        self.shares = [min(1.0, e / max(net, sum(excess), 1e-9)) if whole > 0 else 0.0 for e in excess]

    def _explained(self, cells: Cells, segments: Segments, wheres: list[dict[str, str]]) -> float:
        """Log likelihood that these causes gain, less what naming them costs."""
        rest = np.ones(len(cells.codes), np.bool_)
        total = 0.0
        for where in wheres:
            here = rest & segments.covers(where, cells.codes)
            a, m = float(cells.observed[here].sum()), max(float(cells.expected[here].sum()), 1e-9)
            cost = sum(np.log(max(len(segments.values[segments.dimensions.index(d)]), 1)) + 1 for d in where)
            dimensions = tuple(sorted(segments.dimensions.index(d) for d in where))
            sigma = noise_of(dimensions, self.noises, len(segments.dimensions))
            null = wandered(np.array([m]), sigma, up=self.up)
            if (a > null[0]) == self.up:
                total += float(poisson_gain(np.array([a]), null)[0]) - cost
            rest &= ~here
        return total

    def date(self, segments: Segments) -> bool:
        """Date the onset from the windows up to the end; True if it (or how surely it had begun) moved."""
        k, mu, n = self.series(segments)
        first = sum(w.window_ms < self.onset_ms for w in self.windows)
        # What may have come after the end says nothing about the beginning.
        stop = first + end(k[first:] / self.clump, mu[first:] / self.clump, up=self.up)[0]
        weight = n if self.share else mu
        k, mu = k / self.clump, mu / self.clump
        found = sum(w.window_ms < self.detected_ms for w in self.windows) - 1
        null = wandered(mu[:stop], self.noise / 2, up=self.up)
        at, began = onset(k[:stop], null, weight[:stop], up=self.up, latest=max(found, 0))
        moved = self.windows[at].window_ms != self.onset_ms or not _alike(began, self.began)
        self.onset_ms = self.windows[at].window_ms
        self.began = began
        return moved

    # --- life -----------------------------------------------------------------------------------------------------

    def advance(self, segments: Segments, free: Flags, width_ms: int) -> None:
        """Take the newest window (already appended): revise, then judge the phase."""
        age = (self.windows[-1].window_ms - self.detected_ms) // width_ms + 1
        every = 1 if age <= REVISE_EACH else 5 if age <= REVISE_OFTEN else 15
        if self.ended_ms is None and age % every == 0:
            self.likely_end_ms = self._may_have_ended(segments, width_ms)
            changed = self.find(segments, free)
            moved = (changed or age % DATE_EVERY == 0) and self.date(segments)
            self.rewrite |= changed or moved
        self._judge(segments, width_ms)

    def _may_have_ended(self, segments: Segments, width_ms: int) -> int | None:
        k, mu, _ = self.series(segments)
        first = sum(w.window_ms < self.onset_ms for w in self.windows)
        stop = first + end(k[first:] / self.clump, mu[first:] / self.clump, up=self.up)[0]
        return None if stop >= len(self.windows) - 1 else self.windows[stop - 1].window_ms + width_ms

    def _judge(self, segments: Segments, width_ms: int) -> None:
        k, mu, n = self.series(segments)
        first = next(i for i, w in enumerate(self.windows) if w.window_ms >= self.onset_ms)
        now_ms = self.windows[-1].window_ms + width_ms
        seen, expected, k, mu = k, mu, k / self.clump, mu / self.clump
        if self.ended_ms is None:
            lasted, lasting = end(k[first:], mu[first:], up=self.up)
            if self._gone(k, mu, n, first, first + lasted):
                self.ended_ms = self.windows[first + lasted - 1].window_ms + width_ms
                self.recovering_since_ms = now_ms
                self.phase = Phase.RECOVERING
                self.date(segments)
                start = sum(w.window_ms < self.onset_ms for w in self.windows)
                self.lasting = np.concatenate([np.ones(max(first - start, 0)), lasting[max(start - first, 0) :]])
                self.rewrite = True
            elif not self.up and self._merely_lower(k, mu, width_ms):
                self.ended_ms, self.phase, self.rewrite = now_ms, Phase.ENDED, True
            elif (lasting_level := self._lasting(k, mu, n, first, now_ms, width_ms)) is not None:
                self.new_level = round(lasting_level, 6)
                self.ended_ms, self.phase, self.rewrite = now_ms, Phase.ENDED, True
            elif self.phase is not Phase.OPENED or self.told:
                self.phase = Phase.UPDATED
        else:
            after = sum(w.window_ms < self.ended_ms for w in self.windows)
            if self._back(k, mu, n, first, after):
                self.ended_ms = self.recovering_since_ms = None
                self.lasting = np.zeros(0)
                self.phase = Phase.RELAPSED
                self.rewrite = True
            elif self.recovering_since_ms is not None and now_ms - self.recovering_since_ms >= max(
                SETTLE_MS, 3 * width_ms
            ):
                self.phase = Phase.ENDED
            else:
                self.phase = Phase.RECOVERING
        last = len(k) if self.ended_ms is None else sum(w.window_ms < self.ended_ms for w in self.windows)
        self.observed, self.expected = int(seen[first:last].sum()), float(expected[first:last].sum())
        self.trials = int(n[first:last].sum())
        precision = np.array([1 / self.noise**2])
        pieces = np.array([self.observed, max(self.expected, 1e-9)]) / self.clump
        self.score = float(deviance(pieces[:1], pieces[1:], precision)[0])

    def _peak(self, k: Floats, mu: Floats, n: Floats, first: int, stop: int) -> float:
        """The excess per trial at its height: over 15 windows, as surely as it was seen there, or over all of them.

        The largest of many blocks of a few events is mostly chance: taken at its face value, a steady problem in sparse
        traffic seemed gone with every quiet quarter of an hour.
        """
        block = min(15, stop - first)
        kernel = np.ones(max(block, 1))
        sign = 1.0 if self.up else -1.0
        seen, usual = (np.convolve(column[first:stop], kernel, mode="valid") for column in (k, mu))
        weight = np.convolve((n if self.share else mu)[first:stop], kernel, mode="valid")
        surely = sign * (seen - usual) - 1.645 * np.sqrt(seen if self.up else usual)
        whole = sign * float((k - mu)[first:stop].sum()) / max(float((n if self.share else mu)[first:stop].sum()), 1e-9)
        return max(whole, float((surely / np.maximum(weight, 1e-9)).max(initial=0.0)))

    def _gone(self, k: Floats, mu: Floats, n: Floats, first: int, stop: int) -> bool:
        """Whether the windows from `stop` on show, with 95 % confidence, less than a quarter of the peak's excess.

        Of all windows `stop` is the one that looks most like an end: so "as usual" must also explain what came after it
        better than "as before" by `END_NATS`.
        """
        least = RECOVERY_WINDOWS if self.up else SILENCE_WINDOWS
        if len(k) - stop < least or stop <= first:
            return False
        a, m = float(k[stop:].sum()), float(mu[stop:].sum())
        ratio = float(k[first:stop].sum()) / max(float(mu[first:stop].sum()), 1e-9)
        ratio = max(ratio, 1.2) if self.up else min(max(ratio, SILENT), 0.5)
        if m * (ratio - 1.0) - a * float(np.log(ratio)) < END_NATS:
            return False
        weight = max(float((n if self.share else mu)[stop:].sum()), 1e-9)
        above = (a - m + 1.645 * np.sqrt(a + 1.0)) if self.up else (m - a + 1.645 * np.sqrt(m + 1.0))
        return bool(above / weight < QUARTER * self._peak(k, mu, n, first, stop))

    def _lasting(self, k: Floats, mu: Floats, n: Floats, first: int, now_ms: int, width_ms: int) -> float | None:
        """What has become normal, as a factor of what was expected; asked once an hour."""
        if now_ms // HOUR_MS == (now_ms - width_ms) // HOUR_MS:
            return None
        columns = k[first:], mu[first:], n[first:]
        found = new_level(*columns, width_ms, share=self.share, up=self.up, noise=self.noise)
        return None if found is None else found.factor

    def _merely_lower(self, k: Floats, mu: Floats, width_ms: int) -> bool:
        """Whether what looked like silence is a volume that is merely lower, and has been for hours."""
        hours, last = int(NEW_LEVEL_MS // width_ms), int(HOUR_MS // width_ms)
        age = (self.windows[-1].window_ms - self.detected_ms) // width_ms
        if age < hours or last < 1:
            return False
        return float(k[-last:].sum()) > max(2 * SILENT * float(mu[-last:].sum()), 20.0)

    def _back(self, k: Floats, mu: Floats, n: Floats, first: int, after: int) -> bool:
        """Whether the excess has come back since the end."""
        if after >= len(k):
            return False
        a, m = np.cumsum(k[after:][::-1])[::-1], np.maximum(np.cumsum(mu[after:][::-1])[::-1], 1e-9)
        weight = np.cumsum((n if self.share else mu)[after:][::-1])[::-1]
        excess = (a - m) if self.up else (m - a)
        nats = np.where(excess > 0, deviance(a, m, np.full(len(a), 1 / self.noise**2)), 0.0)
        strong = excess / np.maximum(weight, 1e-9) > QUARTER * self._peak(k, mu, n, first, after)
        return bool(((nats > RELAPSE_NATS) & strong).any())

    # --- out ------------------------------------------------------------------------------------------------------

    def beside(self, segments: Segments) -> tuple[Beside, ...]:
        """What the surroundings of the first cause show: for each of its dimensions the segment that leaves it open."""
        first, sums, outside = self.wheres[0], self._summed(segments), ~self.inside(segments)
        out = []
        for dimension in sorted(first):
            wider = {d: v for d, v in first.items() if d != dimension}
            k, mu, n = sums[:, outside[: sums.shape[1]] & segments.covered(wider)[: sums.shape[1]]].sum(axis=1).tolist()
            out.append(Beside(wider, round(k), round(mu, 3), round(n)))
        return tuple(out)

    def causes(self) -> tuple[Cause, ...]:
        columns = zip(self.wheres, self.shares, self.confidences, self.same, strict=True)
        return tuple(Cause(where, round(share, 6), sure, tuple(same)) for where, share, sure, same in columns)

    def contrasts(self, segments: Segments) -> tuple[Contrast, ...]:
        """What the cells' ordinary failure shares are, relative to their mean, as far as the problem adds to them.

        Of "every cell got the same extra share" and "every cell's share was multiplied" the likelier one decides, by
        its probability given the counts of the cells.
        """
        if not self.share:
            return ()
        sums = self._summed(segments)
        rows = np.flatnonzero(self.inside(segments) & (sums[2] > 0))
        k, mu, n = sums[0, rows], np.maximum(sums[1, rows], 1e-9), sums[2, rows]
        whole, base, trials = float(k.sum()), float(mu.sum()), float(n.sum())
        if whole <= base or len(rows) < 2:
            return ()
        odds = self._odds(segments, rows, k, mu)
        extra = (whole - base) / trials
        added = float((k * np.log1p(n * extra / mu)).sum()) - n.sum() * extra
        multiplied = whole * np.log(whole / base) - (whole - base)
        adds = 1.0 / (1.0 + np.exp(np.clip(multiplied - added, -50, 50)))
        weights = odds * (1.0 + adds * (mu / n / (base / trials) - 1.0))
        cells = [segments.cells[row] for row in rows.tolist()]
        return tuple(Contrast(c, round(w, 4)) for c, w in sorted(zip(cells, weights.tolist(), strict=True)))

    def _odds(self, segments: Segments, rows: Ints, k: Floats, mu: Floats) -> Floats:
        """float64[rows]: odds that a failure is ordinary, in the cell's own cause relative to all causes together."""
        out, rest = np.ones(len(rows)), np.ones(len(rows), np.bool_)
        whole = float(mu.sum()) / float(k.sum() - mu.sum())
        for where in self.wheres:
            here = rest & segments.covered(where)[rows]
            excess = float(k[here].sum() - mu[here].sum())
            if excess > 0:
                out[here] = float(mu[here].sum()) / excess / whole
            rest &= ~here
        return out

    def without(self, segments: Segments, wheres: list[dict[str, str]], from_ms: int, to_ms: int) -> None:
        """Leave another problem's cells out of the windows in which it lasted."""
        self.windows = [without(w, segments, wheres, from_ms, to_ms) for w in self.windows]
        self._series = self._sums = None

    def points(self, segments: Segments) -> tuple[tuple[Point, ...], bool]:
        """The evidence that is new since the last call; all of it (True) where causes or onset changed."""
        rewrite, self.rewrite = self.rewrite, False
        first = next(i for i, w in enumerate(self.windows) if w.window_ms >= self.onset_ms)
        start = max(0, first - BEFORE) if rewrite else self.told
        k, mu, n = self.series(segments)
        self.told = len(self.windows)
        out = []
        for i in range(start, len(self.windows)):
            half = 1.96 * float(np.sqrt(mu[i] + (self.noise * mu[i]) ** 2))
            point = Point(
                window_ms=self.windows[i].window_ms,
                observed=int(k[i]),
                expected=round(float(mu[i]), 6),
                trials=int(n[i]),
                low=round(max(0.0, float(mu[i]) - half), 6),
                high=round(float(mu[i]) + half, 6),
                active=round(self._active(i, first), 6),
            )
            out.append(point)
        return tuple(out), rewrite

    def _active(self, i: int, first: int) -> float:
        """Probability that the problem was on in window i; `first` is its onset's."""
        began = float(self.began[i]) if i < len(self.began) else 1.0
        if self.ended_ms is None or i < first:
            return began
        return began * (float(self.lasting[i - first]) if i - first < len(self.lasting) else 0.0)

    def state(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return {**kept, "phase": self.phase.value, "windows": [vars(w) for w in self.windows]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Track":
        return cls(**{**state, "phase": Phase(state["phase"]), "windows": [WindowCells(**w) for w in state["windows"]]})


def without(
    window: WindowCells, segments: Segments, wheres: list[dict[str, str]], from_ms: int, to_ms: int
) -> WindowCells:
    """The window less the cells in `wheres`, where it lies in [from_ms, to_ms)."""
    if not from_ms <= window.window_ms < to_ms:
        return window
    covered = np.zeros(len(segments.cells), np.bool_)
    for where in wheres:
        covered |= segments.covered(where)
    stay = ~covered[window.rows]
    columns = (window.rows[stay], window.observed[stay], window.expected[stay], window.trials[stay])
    return WindowCells(window.window_ms, *columns)


def _alike(a: Floats, b: Floats) -> bool:
    """Whether two probabilities over windows say the same for what anybody would notice."""
    n = max(len(a), len(b))
    padded = [np.concatenate([x, np.ones(n - len(x))]) for x in (a, b)]
    return bool(np.abs(padded[0] - padded[1]).max(initial=0.0) < 0.05)


def _where(found: Found, segments: Segments) -> dict[str, str]:
    out = {}
    for d, code in zip(found.family, found.values, strict=True):
        out[segments.dimensions[d]] = next(value for value, c in segments.values[d].items() if c == code)
    return out


def key_of(where: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(where.items()))
